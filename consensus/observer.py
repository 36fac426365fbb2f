"""What a node may want to measure: hooks that the engine calls, for metrics and logs. They must not block or raise."""

from enum import Enum
from typing import Protocol

from consensus.messages import Step
from genesis.primitives import Address, Height, Round
from genesis.types import Commit, Evidence, ValidatorSet


class VoteIgnored(Enum):
    """Why a vote told nothing new."""

    DUPLICATE = "duplicate"
    LATE = "late"
    """A vote of a height that is decided, or of a round long past."""


class Observer(Protocol):
    """Rounds and steps with their moments are the caller's to time; everything is called from the engine's task."""

    def step_entered(self, height: Height, round_: Round, step: Step) -> None:
        """The node stands at a new (height, round, step)."""
        ...

    def proposal_taken(self, height: Height, round_: Round, *, own: bool) -> None:
        """A proposal passed its checks; `own`: this node has just signed it."""
        ...

    def proposal_timed(self, height: Height, round_: Round, proposer: Address, *, ahead_ms: int, timely: bool) -> None:
        """Somebody's fresh proposal: its block's time less this node's clock when it came; `timely`: near enough for a vote."""
        ...

    def time_ahead(self, height: Height, ahead_ms: int) -> None:
        """The height waits, because its parent's time (before height 1: genesis) is ahead of this node's clock.

        Said about once a second, for as long as that is more than clocks may differ.
        """
        ...

    def polka_seen(self, height: Height, round_: Round) -> None:
        """More than 2/3 of the power prevoted the block of this round, as this node sees it first."""
        ...

    def timed_out(self, height: Height, round_: Round, step: Step) -> None:
        """The timer of a step ran out while it still mattered."""
        ...

    def vote_ignored(self, why: VoteIgnored) -> None:
        """A vote told nothing new."""
        ...

    def decided(self, commit: Commit, validators: ValidatorSet) -> None:
        """A block is final; absent signatures are the missing power."""
        ...

    def equivocation(self, evidence: Evidence) -> None:
        """A validator signed two different things."""
        ...

    def signing_refused(self, reason: str) -> None:
        """The signer refused; the node stays silent for this position."""
        ...

    def signing_stopped(self, reason: str) -> None:
        """This node signs nothing more until it is started anew: its key is in use elsewhere."""
        ...


class SilentObserver:
    """Observes nothing."""

    def proposal_taken(self, height: Height, round_: Round, *, own: bool) -> None:
        pass

    def proposal_timed(self, height: Height, round_: Round, proposer: Address, *, ahead_ms: int, timely: bool) -> None:
        pass

    def time_ahead(self, height: Height, ahead_ms: int) -> None:
        pass

    def polka_seen(self, height: Height, round_: Round) -> None:
        pass

    def timed_out(self, height: Height, round_: Round, step: Step) -> None:
        pass

    def vote_ignored(self, why: VoteIgnored) -> None:
        pass

    def step_entered(self, height: Height, round_: Round, step: Step) -> None:
        pass

    def decided(self, commit: Commit, validators: ValidatorSet) -> None:
        pass

    def equivocation(self, evidence: Evidence) -> None:
        pass

    def signing_refused(self, reason: str) -> None:
        pass

    def signing_stopped(self, reason: str) -> None:
        pass


def missing_power(commit: Commit, validators: ValidatorSet) -> int:
    """The power of the members whose signature a commit lacks."""
    return sum(m.power for m, signature in zip(validators.members, commit.signatures, strict=True) if not signature)

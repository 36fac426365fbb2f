"""What a node may want to measure: hooks that the engine calls, for metrics and logs. They must not block or raise."""

from typing import Protocol

from consensus.messages import Step
from genesis.primitives import Height, Round
from genesis.types import Commit, Evidence, ValidatorSet


class Observer(Protocol):
    """Rounds and steps with their moments are the caller's to time; everything is called from the engine's task."""

    def step_entered(self, height: Height, round_: Round, step: Step) -> None:
        """The node stands at a new (height, round, step)."""
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


class SilentObserver:
    """Observes nothing."""

    def step_entered(self, height: Height, round_: Round, step: Step) -> None:
        pass

    def decided(self, commit: Commit, validators: ValidatorSet) -> None:
        pass

    def equivocation(self, evidence: Evidence) -> None:
        pass

    def signing_refused(self, reason: str) -> None:
        pass


def missing_power(commit: Commit, validators: ValidatorSet) -> int:
    """The power of the members whose signature a commit lacks."""
    return sum(m.power for m, signature in zip(validators.members, commit.signatures, strict=True) if not signature)

"""What goes into the state machine, and what comes out of it.

Inputs are facts that have already been checked (signatures, proposer) and are written to the WAL in this very form before
they are processed. Effects are orders to the driver, to be carried out in the order given.
"""

from dataclasses import dataclass

from consensus.messages import Step
from genesis.primitives import Hash32, Height, Round
from genesis.types import Commit, Evidence, Proposal, Vote, VoteType, check_height_round


@dataclass(frozen=True, slots=True)
class EnterHeight:
    """There is reason to make a block: a transaction waits, or the empty timer ran out."""

    height: Height


@dataclass(frozen=True, slots=True)
class ProposalReceived:
    """A proposal signed by the proposer of its round, with a complete polka if it is a re-proposal.

    `received_ms` is the first receipt by the local clock: what timeliness is judged by, also after a restart.
    """

    proposal: Proposal
    received_ms: int


@dataclass(frozen=True, slots=True)
class VoteReceived:
    """A vote with a good signature of a member of the validator set. Own votes come in this way too."""

    vote: Vote


@dataclass(frozen=True, slots=True)
class CommitReceived:
    """A verified commit of this height, from a peer that has already decided."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class BlockValidated:
    """A block is held, and execution and the block rules have judged it. `round` and `time_ms` are the block's own."""

    height: Height
    block_hash: Hash32
    valid: bool
    time_ms: int
    round: Round

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """The answer to BuildBlock. A BlockValidated of the same block came before it."""

    height: Height
    round: Round
    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class TimeoutExpired:
    """A timer that ScheduleTimeout started ran out."""

    height: Height
    round: Round
    step: Step

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)
        if self.step is Step.NEW:
            raise ValueError("no timer belongs to the step NEW")


Input = EnterHeight | ProposalReceived | VoteReceived | CommitReceived | BlockValidated | BlockBuilt | TimeoutExpired


@dataclass(frozen=True, slots=True)
class PersistPolka:
    """Make the polka and its block durable before anything that comes after it in the list."""

    height: Height
    round: Round
    block_hash: Hash32
    locks: bool
    """True: lock and valid value; False: only the valid value (the node had precommitted otherwise already)."""
    polka: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class CastVote:
    """Sign and send a vote (zero hash: nil), then give it back as VoteReceived."""

    kind: VoteType
    round: Round
    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class Propose:
    """Sign and send a proposal, then give it back as ProposalReceived."""

    round: Round
    block_hash: Hash32
    valid_round: Round
    polka: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Build a block for this round; the answer is BlockBuilt, or nothing."""

    round: Round


@dataclass(frozen=True, slots=True)
class WantBlock:
    """Get hold of this block, execute it, and answer BlockValidated."""

    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class ScheduleTimeout:
    """Start a timer; the answer is TimeoutExpired."""

    round: Round
    step: Step


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """A validator signed two things where it may sign one."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Decide:
    """The block is final with the precommits of `round`."""

    round: Round
    block_hash: Hash32


Effect = PersistPolka | CastVote | Propose | BuildBlock | WantBlock | ScheduleTimeout | EvidenceFound | Decide

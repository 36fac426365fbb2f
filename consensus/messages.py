"""What validators and followers say to each other: one closed union, bounded and canonical.

Blocks are not here: they travel in chunks on a channel of their own. What a message claims is checked where it is used
(`driver.py`, `gossip.py`): here only shape and size.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, cast

from genesis.codec import decode, encode
from genesis.limits import CONSENSUS_MESSAGE_BYTES_MAX, VALIDATORS_MAX
from genesis.primitives import NO_ROUND, Hash32, Height, Round
from genesis.types import Commit, DuplicateProposal, DuplicateVote, Proposal, Vote, VoteType, check_height_round

BIT_BYTES_MAX: Final = (VALIDATORS_MAX + 7) // 8
VOTE_BITS_MAX: Final = 8
"""Vote sets that one RoundState may describe."""


class Step(IntEnum):
    """Where a node stands inside a round. NEW: the height is not entered yet (blocks are made on demand)."""

    NEW = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


@dataclass(frozen=True, slots=True)
class VoteBits:
    """The members whose vote a peer has of this kind and round: bit i % 8 of byte i // 8 stands for member i of the set.

    The length depends on the validator set, so it is checked where the set is known (`vote_set.check_bits`).
    """

    kind: VoteType
    round: Round
    bits: bytes

    def __post_init__(self) -> None:
        if self.kind not in (VoteType.PREVOTE, VoteType.PRECOMMIT):
            raise ValueError("vote bits are of prevotes or precommits")
        check_height_round(0, self.round)
        if len(self.bits) > BIT_BYTES_MAX:
            raise ValueError("more vote bits than validators")


@dataclass(frozen=True, slots=True)
class RoundState:
    """Where a peer stands and which votes it has, so that others can send what it misses.

    `round` is -1 before the height is entered. `has_proposal` speaks of `round`.
    """

    height: Height
    round: Round
    step: Step
    has_proposal: bool
    votes: tuple[VoteBits, ...]

    def __post_init__(self) -> None:
        check_height_round(self.height, max(self.round, 0))
        if (self.round == NO_ROUND) is not (self.step is Step.NEW):
            raise ValueError("round -1 goes with the step NEW, and only with it")
        if len(self.votes) > VOTE_BITS_MAX:
            raise ValueError("too many vote sets in one message")


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """Asks a peer for the bytes of a block by its hash; they come on the block channel."""

    height: Height
    block_hash: Hash32

    def __post_init__(self) -> None:
        check_height_round(self.height, 0)


ConsensusMessage = Proposal | Vote | Commit | RoundState | BlockRequest | DuplicateVote | DuplicateProposal
"""Order is wire format: append only."""


def encode_message(message: ConsensusMessage) -> bytes:
    """The canonical bytes of a message."""
    return encode(message, ConsensusMessage)


def decode_message(data: bytes) -> ConsensusMessage:
    """Read a message from outside. Raises WireError only."""
    return cast(ConsensusMessage, decode(cast(Any, ConsensusMessage), data, size_max=CONSENSUS_MESSAGE_BYTES_MAX))

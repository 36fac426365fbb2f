"""What a node and its signer say to each other: frames (4-byte length, canonical message) over a Unix socket.

The node begins with `Introduce`; then each request has one answer, in order. Asking again for what was signed gives the same
signature, so a request whose answer was lost may simply be repeated.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

from consensus.signer import SignRecord
from genesis.codec import decode, encode
from genesis.limits import CONSENSUS_MESSAGE_BYTES_MAX, VALIDATORS_MAX
from genesis.primitives import NO_ROUND, ZERO_HASH, Address, Hash32, Height, Round, Signature
from genesis.types import Vote, VoteType, check_height_round

SIGNER_PROTOCOL_VERSION: Final = 1
REQUEST_BYTES_MAX: Final = CONSENSUS_MESSAGE_BYTES_MAX - 256
"""So that what is signed, a few bytes longer than the request, still fits a consensus message."""
ANSWER_BYTES_MAX: Final = CONSENSUS_MESSAGE_BYTES_MAX + 1024
PEER_ID_CHARS_MAX: Final = 128
REASON_CHARS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Introduce:
    """Which chain the node is on. A signer serves the one chain of its own genesis file."""

    protocol_version: int
    chain_id: int
    genesis_hash: Hash32


@dataclass(frozen=True, slots=True)
class SignVote:
    """Sign a prevote or precommit."""

    kind: VoteType
    height: Height
    round: Round
    block_hash: Hash32
    validators_hash: Hash32

    def __post_init__(self) -> None:
        if self.kind not in (VoteType.PREVOTE, VoteType.PRECOMMIT):
            raise ValueError("a vote is a prevote or a precommit")
        check_height_round(self.height, self.round)


@dataclass(frozen=True, slots=True)
class SignProposal:
    """Sign a proposal. The polka is not signed, but remembered with the proposal, which is sent again as it was."""

    height: Height
    round: Round
    valid_round: Round
    block_hash: Hash32
    polka: tuple[Vote, ...]
    validators_hash: Hash32

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)
        if not NO_ROUND <= self.valid_round < self.round or self.block_hash == ZERO_HASH:
            raise ValueError("a proposal names a block and a valid_round of -1 or earlier than its round")
        if len(self.polka) > VALIDATORS_MAX or (self.valid_round == NO_ROUND and self.polka):
            raise ValueError("a polka goes with a valid_round and has at most one vote per validator")


@dataclass(frozen=True, slots=True)
class SignHello:
    """Sign that this validator stands behind a PeerId (see node/net/hello.py)."""

    peer_id: str

    def __post_init__(self) -> None:
        if not 0 < len(self.peer_id) <= PEER_ID_CHARS_MAX:
            raise ValueError("that is no PeerId")


@dataclass(frozen=True, slots=True)
class AskLast:
    """What was signed last? Another node may use the same signer."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """Whose key this is, and what it signed last."""

    address: Address
    last: SignRecord | None


@dataclass(frozen=True, slots=True)
class Signed:
    """The record of the vote or proposal that was asked for: it holds the signed message."""

    record: SignRecord


@dataclass(frozen=True, slots=True)
class SignedHello:
    """The signature of a hello."""

    signature: Signature


@dataclass(frozen=True, slots=True)
class Last:
    """What was signed last; None if nothing was."""

    record: SignRecord | None


@dataclass(frozen=True, slots=True)
class Refused:
    """No signature, and why."""

    reason: str


Request = Introduce | SignVote | SignProposal | SignHello | AskLast
Answer = Introduced | Signed | SignedHello | Last | Refused


def encode_request(request: Request) -> bytes:
    return encode(request, Request)


def decode_request(data: bytes) -> Request:
    """Raises WireError."""
    return cast(Request, decode(cast(Any, Request), data, size_max=REQUEST_BYTES_MAX))


def encode_answer(answer: Answer) -> bytes:
    return encode(answer, Answer)


def decode_answer(data: bytes) -> Answer:
    """Raises WireError."""
    return cast(Answer, decode(cast(Any, Answer), data, size_max=ANSWER_BYTES_MAX))

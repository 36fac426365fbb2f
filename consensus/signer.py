"""The consensus key and its memory. Whoever signs twice for one position is slashed, so the memory comes first.

One record holds the last signature: (height, round, step, message). A new position must be higher; the same position gives the
same message back, or, if something else is wanted, a refusal. The record is durable before the signature leaves `sign_*`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from consensus.messages import Step
from genesis.codec import decode, encode
from genesis.errors import InvariantError, LocalError, StorageCorrupt, WireError
from genesis.limits import CONSENSUS_MESSAGE_BYTES_MAX
from genesis.primitives import Address, Hash32, Height, Round, Signature
from genesis.types import ChainIdentity, Commit, Proposal, ValidatorSet, Vote, VoteType, check_height_round, sign_digest

RECORD_BYTES_MAX: Final = CONSENSUS_MESSAGE_BYTES_MAX + 1024

SignedMessage = Proposal | Vote


class SigningRefused(LocalError):
    """The signer will not sign: it has signed this position differently, or a later one."""


class SigningDelayed(SigningRefused):
    """There is no signature now (a signer elsewhere can't be reached), but there may be one when it is asked again."""


class SignRecordStore(Protocol):
    """One small value that survives everything: `save` returns when it is durable, whole or not at all."""

    def load(self) -> bytes | None:
        """The last saved value; None if none was saved yet."""
        ...

    def save(self, record: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class SignRecord:
    """The last position that was signed and the signed message itself, to be sent again as it was."""

    height: Height
    round: Round
    step: Step
    message: bytes

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)

    @property
    def position(self) -> tuple[Height, Round, Step]:
        return self.height, self.round, self.step

    def signed(self) -> SignedMessage:
        """The message. Raises StorageCorrupt if the record is garbled."""
        try:
            value = decode(cast(Any, SignedMessage), self.message, size_max=CONSENSUS_MESSAGE_BYTES_MAX)
        except WireError as error:
            raise StorageCorrupt(f"the sign record is garbled: {error}") from None
        return cast(SignedMessage, value)


STEP_OF: Final = {VoteType.PROPOSAL: Step.PROPOSE, VoteType.PREVOTE: Step.PREVOTE, VoteType.PRECOMMIT: Step.PRECOMMIT}


class Signer:
    """Signs what the state machine wants said, never two different things for one position.

    `sign_hash` holds the key: it signs 32 bytes for `address`. Raises StorageCorrupt if the record can't be read.
    """

    def __init__(
        self,
        chain: ChainIdentity,
        address: Address,
        sign_hash: Callable[[Hash32], Signature],
        store: SignRecordStore,
    ) -> None:
        self.address = address
        self._chain = chain
        self._sign_hash = sign_hash
        self._store = store
        data = store.load()
        self.last = None if data is None else _read_record(data)
        self._stopped = ""

    def sign_vote(
        self, kind: VoteType, height: Height, round_: Round, block_hash: Hash32, validators_hash: Hash32
    ) -> Vote:
        """A signed vote. Raises SigningRefused."""
        position = (height, round_, STEP_OF[kind])
        earlier = self._earlier(position)
        if earlier is not None:
            if isinstance(earlier, Vote) and earlier.block_hash == block_hash:
                return earlier
            raise _refusal(position)
        digest = sign_digest(self._chain, kind, height, round_, block_hash, validators_hash)
        vote = Vote(kind, height, round_, block_hash, self.address, self._sign_hash(digest))
        self._remember(position, vote)
        return vote

    def sign_proposal(
        self,
        height: Height,
        round_: Round,
        valid_round: Round,
        block_hash: Hash32,
        polka: tuple[Vote, ...],
        validators_hash: Hash32,
    ) -> Proposal:
        """A signed proposal. Raises SigningRefused."""
        position = (height, round_, Step.PROPOSE)
        earlier = self._earlier(position)
        if earlier is not None:
            wanted = (block_hash, valid_round)
            if isinstance(earlier, Proposal) and (earlier.block_hash, earlier.valid_round) == wanted:
                return earlier
            raise _refusal(position)
        digest = sign_digest(self._chain, VoteType.PROPOSAL, height, round_, block_hash, validators_hash, valid_round)
        signature = self._sign_hash(digest)
        proposal = Proposal(height, round_, valid_round, block_hash, self.address, signature, polka)
        self._remember(position, proposal)
        return proposal

    def covers(self, message: SignedMessage) -> bool:
        """False if `message`, signed with this key, can't be this signer's own: the key is used elsewhere."""
        return covers(self.last, message)

    def stop(self, reason: str) -> None:
        """Refuse everything from now on, until the node is started anew."""
        self._stopped = reason

    def _earlier(self, position: tuple[Height, Round, Step]) -> SignedMessage | None:
        if self._stopped:
            raise SigningRefused(self._stopped)
        if self.last is None or position > self.last.position:
            return None
        if position == self.last.position:
            return self.last.signed()
        raise SigningRefused(
            f"asked to sign (height, round, step) {_words(position)} after {_words(self.last.position)}"
        )

    def _remember(self, position: tuple[Height, Round, Step], message: SignedMessage) -> None:
        if self.last is not None and position <= self.last.position:
            raise InvariantError("the signer is about to go back")
        record = SignRecord(*position, encode(message, SignedMessage))
        self._store.save(encode(record))
        self.last = record


def covers(last: SignRecord | None, message: SignedMessage) -> bool:
    """Can a record's signer have signed `message`: is it older than the record, or what the record holds?

    Raises StorageCorrupt if the record is garbled.
    """
    if last is None or position_of(message) != last.position:
        return last is not None and position_of(message) < last.position
    return _says(message) == _says(last.signed())


def vote_in(commit: Commit, validators: ValidatorSet, address: Address) -> Vote | None:
    """The precommit of `address` in a commit of `validators`; None if there is none."""
    place = validators.index(address)
    if place is None or not commit.signatures[place]:
        return None
    signature = Signature(commit.signatures[place])
    return Vote(VoteType.PRECOMMIT, commit.height, commit.round, commit.block_hash, address, signature)


def double_sign_check(
    last: SignRecord | None, address: Address, commits: Iterable[tuple[ValidatorSet, Commit]]
) -> None:
    """Raises LocalError if a recent commit holds a signature of `address` that its sign record does not cover.

    Then the key is in use elsewhere, or the record is an old copy: signing would risk being slashed.
    """
    for validators, commit in commits:
        vote = vote_in(commit, validators, address)
        if vote is not None and not covers(last, vote):
            where = "is empty" if last is None else f"ends at height {last.height}, round {last.round}"
            raise LocalError(
                f"validator 0x{address.hex()} signed block {commit.height}, but its sign record {where}: is the key in "
                "use on another machine, or was an old sign record restored? Put the latest record back to go on"
            )


def _read_record(data: bytes) -> SignRecord:
    try:
        record = decode(SignRecord, data, size_max=RECORD_BYTES_MAX)
    except WireError as error:
        raise StorageCorrupt(f"the sign record is garbled: {error}") from None
    if record.position != position_of(record.signed()):
        raise StorageCorrupt("the sign record's position is not that of its message")
    return record


def position_of(message: SignedMessage) -> tuple[Height, Round, Step]:
    """Where a message stands: what is signed later has a higher position."""
    step = Step.PROPOSE if isinstance(message, Proposal) else STEP_OF[message.kind]
    return message.height, message.round, step


def author(message: SignedMessage) -> Address:
    """In whose name a message is signed."""
    return message.proposer if isinstance(message, Proposal) else message.validator


def _says(message: SignedMessage) -> tuple[Hash32, Round | None]:
    """What is said at a position: whoever says something else there contradicts it."""
    return message.block_hash, message.valid_round if isinstance(message, Proposal) else None


def _words(position: tuple[Height, Round, Step]) -> str:
    return f"({position[0]}, {position[1]}, {position[2].name.lower()})"


def _refusal(position: tuple[Height, Round, Step]) -> SigningRefused:
    return SigningRefused(f"something else was signed for (height, round, step) {_words(position)}")

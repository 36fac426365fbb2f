"""The write-ahead log: every input of the current height, in order, before it is processed.

A record is the mark `b"OLW\\x01"`, the body's length and CRC-32 (4 bytes each, big-endian), and the body: one `Record` in the
canonical codec, in which a zero byte is put after each `b"OLW"`. So the mark never stands inside a body, not even in a block
that somebody made to look like a log. Reading it:

- a torn tail (a crash in the middle of a write) is cut off: nothing that was sent depended on it, since the log is synced
  before anything is sent;
- damage with good records after it is refused (StorageCorrupt): what is missing could be a lock;
- records of finalized heights (up to the tip) are ignored; records beyond the height after the tip mean that the database went
  back, and are refused.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from consensus.events import (
    BlockBuilt,
    BlockValidated,
    CommitReceived,
    EnterHeight,
    ProposalReceived,
    TimeoutExpired,
    VoteReceived,
)
from genesis.codec import decode, encode
from genesis.errors import StorageCorrupt, WireError
from genesis.limits import BLOCK_BYTES_MAX, VALIDATORS_MAX
from genesis.primitives import Hash32, Height, Round
from genesis.types import Block, Vote, check_height_round

_PREFIX: Final = b"OLW"
MARK: Final = _PREFIX + b"\x01"
_ESCAPED: Final = _PREFIX + b"\x00"
_HEAD_BYTES: Final = 12
_RECORD_BYTES_MAX: Final = BLOCK_BYTES_MAX + 1024
_BODY_BYTES_MAX: Final = _RECORD_BYTES_MAX // 3 * 4


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """A block that this node proposed, locked or took as valid: it must be able to show it after a restart."""

    block: Block


@dataclass(frozen=True, slots=True)
class PolkaSeen:
    """The valid value, and the lock if `locks`. Its HeldBlock came before it; durable before the precommit is signed."""

    height: Height
    round: Round
    block_hash: Hash32
    locks: bool
    polka: tuple[Vote, ...]

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)
        if len(self.polka) > VALIDATORS_MAX:
            raise ValueError("more votes in a polka than validators")


@dataclass(frozen=True, slots=True)
class SitsOut:
    """This validator signs nothing more at this height: its log began anew after it had signed (`recovery`)."""

    height: Height

    def __post_init__(self) -> None:
        check_height_round(self.height, Round(0))


Record = (
    EnterHeight
    | ProposalReceived
    | VoteReceived
    | CommitReceived
    | BlockValidated
    | BlockBuilt
    | TimeoutExpired
    | HeldBlock
    | PolkaSeen
    | SitsOut
)
"""Order is the file format: append only."""


class LogFile(Protocol):
    """A file of bytes that only grows at its end. `sync` returns when all that was appended is durable."""

    def read_all(self) -> bytes: ...

    def append(self, data: bytes) -> None: ...

    def sync(self) -> None: ...

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes, durably."""
        ...


class Wal:
    """The log over a file. `append` is cheap and not durable; `sync` makes durable what was appended."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._dirty = False

    def append(self, record: Record) -> None:
        self._file.append(encode_record(record))
        self._dirty = True

    def sync(self) -> None:
        if self._dirty:
            self._file.sync()
            self._dirty = False

    def reset(self) -> None:
        """Forget everything: the height is final, and the database holds it durably."""
        self._file.truncate(0)
        self._dirty = False

    def replay(self, height: Height) -> list[Record]:
        """The records of `height`, the one after the tip, durable; cuts a torn tail off. Raises StorageCorrupt.

        A process that was killed before it synced left records that a power loss could still take, after they were acted on.
        """
        data = self._file.read_all()
        records, good = read_records(data)
        if good < len(data):
            self._file.truncate(good)
        elif data:
            self._file.sync()
        beyond = max((record_height(record) for record in records), default=height)
        if beyond > height:
            raise StorageCorrupt(
                f"the consensus log reaches height {beyond}, but the database ends before height {height}: finalized "
                "blocks are missing. Restore the database that belongs to this log"
            )
        return [record for record in records if record_height(record) == height]


def encode_record(record: Record) -> bytes:
    """The bytes of one record, head and payload."""
    body = encode(record, Record).replace(_PREFIX, _ESCAPED)
    return MARK + len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def read_records(data: bytes) -> tuple[list[Record], int]:
    """All records up to the first damage, and where it begins (`len(data)`: nowhere).

    Raises StorageCorrupt if a good record stands anywhere after the damage, or if a good checksum covers a bad payload.
    """
    records: list[Record] = []
    position = 0
    while position < len(data):
        body = _body_at(data, position)
        if body is None:
            break
        try:
            record = decode(cast(Any, Record), body.replace(_ESCAPED, _PREFIX), size_max=_RECORD_BYTES_MAX)
        except WireError as error:
            raise StorageCorrupt(f"the consensus log has an unknown record at byte {position}: {error}") from None
        records.append(cast(Record, record))
        position += _HEAD_BYTES + len(body)
    if any(_body_at(data, later) is not None for later in _marks(data, position + 1)):
        raise StorageCorrupt(f"the consensus log is damaged at byte {position}, in its middle: a lock could be lost")
    return records, position


def _body_at(data: bytes, position: int) -> bytes | None:
    """The body of the record that begins at `position`; None if there is no whole and good one."""
    head = data[position : position + _HEAD_BYTES]
    size = int.from_bytes(head[4:8], "big")
    if len(head) < _HEAD_BYTES or not head.startswith(MARK) or size > _BODY_BYTES_MAX:
        return None
    body = data[position + _HEAD_BYTES : position + _HEAD_BYTES + size]
    if not body or len(body) < size or zlib.crc32(body) != int.from_bytes(head[8:12], "big"):
        return None
    return body


def _marks(data: bytes, position: int) -> Iterator[int]:
    while (found := data.find(MARK, position)) >= 0:
        yield found
        position = found + 1


def record_height(record: Record) -> int:
    """The height that a record belongs to."""
    match record:
        case ProposalReceived(proposal):
            return proposal.height
        case VoteReceived(vote):
            return vote.height
        case CommitReceived(commit):
            return commit.height
        case HeldBlock(block):
            return block.height
        case _:
            return record.height

"""How a final block's parts are written under the keys of `keys.py`, and read back.

Blocks and commits are the wire codec's bytes, as peers send them. Receipts and results are Ethereum's own encodings in one
record per block. What cannot be read back is StorageCorrupt: it was canonical when it was written.
"""

from dataclasses import dataclass
from typing import TypeVar

from evm_runtime.header import Header
from evm_runtime.receipt import ExecutedTransaction, Receipt
from genesis.codec import decode, encode
from genesis.errors import StorageCorrupt, WireError
from genesis.limits import BLOCK_BYTES_MAX
from genesis.primitives import Hash32, Height
from genesis.types import Block, Commit
from node.interfaces import EventPlace

T = TypeVar("T")

RECORD_BYTES_MAX = 16 * BLOCK_BYTES_MAX
"""Receipts may be larger than their block: a log costs 8 gas a byte, so 30 M gas make less than 4 MiB of them."""


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """What executing a block gave, in block order."""

    receipts: tuple[bytes, ...]
    results: tuple[bytes, ...]


def encode_block(block: Block) -> bytes:
    return encode(block)


def encode_commit(commit: Commit) -> bytes:
    return encode(commit)


def encode_execution(receipts: tuple[Receipt, ...], results: tuple[ExecutedTransaction, ...]) -> bytes:
    return encode(ExecutionRecord(tuple(r.encode() for r in receipts), tuple(r.encode() for r in results)))


def read_block(data: bytes, what: str) -> Block:
    return _read(Block, data, what)


def read_commit(data: bytes, what: str) -> Commit:
    return _read(Commit, data, what)


def read_header(data: bytes, what: str) -> Header:
    try:
        return Header.from_rlp(data)
    except WireError as error:
        raise StorageCorrupt(f"stored {what} is garbled: {error}") from None


def read_execution(data: bytes, what: str) -> tuple[tuple[Receipt, ...], tuple[ExecutedTransaction, ...]]:
    record = _read(ExecutionRecord, data, what)
    try:
        return (
            tuple(Receipt.decode(item) for item in record.receipts),
            tuple(ExecutedTransaction.decode(item) for item in record.results),
        )
    except WireError as error:
        raise StorageCorrupt(f"stored {what} are garbled: {error}") from None


def read_height(data: bytes, what: str) -> Height:
    if len(data) != 8:
        raise StorageCorrupt(f"stored {what} has {len(data)} bytes, not 8")
    return Height(int.from_bytes(data, "big"))


def read_tip(data: bytes) -> tuple[Height, Hash32]:
    if len(data) != 40:
        raise StorageCorrupt(f"stored tip has {len(data)} bytes, not 40")
    return Height(int.from_bytes(data[:8], "big")), Hash32(data[8:])


def read_place(data: bytes) -> tuple[Height, int]:
    """(height, place in the block) of a transaction or a log."""
    if len(data) != 12:
        raise StorageCorrupt(f"stored place has {len(data)} bytes, not 12")
    return Height(int.from_bytes(data[:8], "big")), int.from_bytes(data[8:], "big")


def read_inference(data: bytes) -> tuple[EventPlace, Hash32]:
    """The event of an inference, and its model."""
    return EventPlace(*read_place(data[:-32])), Hash32(data[-32:])


def _read(as_type: type[T], data: bytes, what: str) -> T:
    try:
        return decode(as_type, data, size_max=RECORD_BYTES_MAX)
    except WireError as error:
        raise StorageCorrupt(f"stored {what} is garbled: {error}") from None

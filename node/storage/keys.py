"""The layout of the database: every key that the node writes, in one place.

| key                          | value                                                          |
| ---------------------------- | -------------------------------------------------------------- |
| `m` `schema`                 | SCHEMA_VERSION, 4 bytes                                        |
| `m` `spec`                   | the chain spec as canonical JSON                               |
| `m` `tip`                    | height (8 bytes) and hash (32) of the last final block         |
| `m` `redacted`               | height: content of contributions that died in it, or before, was dropped |
| `b` height                   | the block in the wire codec                                    |
| `e` height                   | its header alone, RLP (a quick way to what `b` holds too)      |
| `c` height                   | the commit that made it final, wire codec (none for genesis)   |
| `r` height                   | its receipts and execution results (`records.ExecutionRecord`) |
| `h` block hash               | height                                                         |
| `t` transaction hash         | height and index in the block (4 bytes)                        |
| `f` sender, nonce            | height and index of that transaction                           |
| `l` place, value, height     | empty: the block has a log with `value` at `place`             |
| `a` list, subject, event     | empty: the event is in that list of the subject's              |
| `i` receipt id               | the event of that inference, and its model as a topic          |
| `n` payout address, event    | the contribution, as a topic, that is given this address there |
| `s` …                        | the state: what follows is the runtime's own layout, blobs too |

Heights and nonces are 8 bytes, big-endian, so keys sort by them. The place of a log's address is 0, those of its topics are
1 to 4, one byte. An event of the attribution contract is named by its height and its place among the logs of its block (4
bytes); its lists are those of `interfaces.EventList`, one byte, and a subject is a topic, 32 bytes as they stand in a log.
Whoever changes this layout raises SCHEMA_VERSION.
"""

from typing import Final

from genesis.primitives import Address, Hash32, Height
from node.interfaces import EventList, EventPlace

SCHEMA_VERSION: Final = 4
SCHEMA_OF_SPEC_1: Final = 3
"""The last layout of chains of version 1 of the chain spec, which this node can't follow."""

META_SCHEMA: Final = b"mschema"
META_SPEC: Final = b"mspec"
META_TIP: Final = b"mtip"
META_REDACTED: Final = b"mredacted"
STATE_PREFIX: Final = b"s"

_BLOCK: Final = b"b"
_HEADER: Final = b"e"
_COMMIT: Final = b"c"
_RECEIPTS: Final = b"r"
_BLOCK_HASH: Final = b"h"
_TRANSACTION: Final = b"t"
_SENDER: Final = b"f"
_LOG: Final = b"l"
_EVENT: Final = b"a"
_INFERENCE: Final = b"i"
_PAYOUT: Final = b"n"

NUMBER_MAX: Final = (1 << 64) - 1
LOG_ADDRESS: Final = 0
"""The place of a log's address in the `l` index; topic i is at place i + 1."""


def height_bytes(height: int) -> bytes:
    return height.to_bytes(8, "big")


def block_key(height: Height) -> bytes:
    return _BLOCK + height_bytes(height)


def header_key(height: Height) -> bytes:
    return _HEADER + height_bytes(height)


def commit_key(height: Height) -> bytes:
    return _COMMIT + height_bytes(height)


def receipts_key(height: Height) -> bytes:
    return _RECEIPTS + height_bytes(height)


def block_hash_key(block_hash: Hash32) -> bytes:
    return _BLOCK_HASH + block_hash


def transaction_key(transaction_hash: Hash32) -> bytes:
    return _TRANSACTION + transaction_hash


def sender_key(sender: Address, nonce: int) -> bytes:
    return _SENDER + sender + height_bytes(nonce)


def log_key(place: int, value: bytes, height: int) -> bytes:
    return _LOG + bytes((place,)) + value + height_bytes(height)


def event_key(which: EventList, subject: bytes, event: EventPlace) -> bytes:
    return _EVENT + bytes((which,)) + subject + place_bytes(*event)


def inference_key(receipt_id: Hash32) -> bytes:
    return _INFERENCE + receipt_id


def payout_key(payout: Address, event: EventPlace) -> bytes:
    return _PAYOUT + payout + place_bytes(*event)


def place_bytes(height: Height, index: int) -> bytes:
    """The place of a transaction, or of a log, in the block at `height`: such values sort as they come in the chain."""
    return height_bytes(height) + index.to_bytes(4, "big")


def tip_bytes(height: Height, block_hash: Hash32) -> bytes:
    """The value of `m` `tip`."""
    return height_bytes(height) + block_hash

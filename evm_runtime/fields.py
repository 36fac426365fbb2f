"""Reading the fields of Ethereum's RLP objects, one rule per field type.

`decode_rlp` hands out nested lists of bytes. These functions turn one item into a value or raise WireError with the name of
the field, so that every decoder of the runtime refuses the same things: leading zeros, wrong sizes, lists where bytes belong.
"""

from typing import Any

from genesis.errors import WireError
from genesis.primitives import Address, Hash32

UINT64_MAX = (1 << 64) - 1
UINT256_MAX = (1 << 256) - 1


def int_bytes(value: int) -> bytes:
    """The RLP form of an integer: big-endian without leading zeros, zero is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def read_bytes(item: Any, what: str) -> bytes:
    if not isinstance(item, bytes):
        raise WireError(f"{what}: expected bytes, found a list")
    return item


def read_list(item: Any, what: str, length: int | None = None) -> list[Any]:
    """A list, of exactly `length` items if that is given."""
    if not isinstance(item, list):
        raise WireError(f"{what}: expected a list, found bytes")
    if length is not None and len(item) != length:
        raise WireError(f"{what}: expected {length} items, found {len(item)}")
    return item


def read_uint(item: Any, what: str, maximum: int = UINT256_MAX) -> int:
    """A canonical unsigned integer, at most `maximum`."""
    data = read_bytes(item, what)
    if not data:
        return 0
    if data[0] == 0:
        raise WireError(f"{what}: an integer has no leading zeros")
    value = int.from_bytes(data, "big")
    if value > maximum:
        raise WireError(f"{what}: the integer is too large")
    return value


def read_fixed(item: Any, what: str, size: int) -> bytes:
    data = read_bytes(item, what)
    if len(data) != size:
        raise WireError(f"{what}: expected {size} bytes, found {len(data)}")
    return data


def read_address(item: Any, what: str) -> Address:
    return Address(read_fixed(item, what, 20))


def read_hash(item: Any, what: str) -> Hash32:
    return Hash32(read_fixed(item, what, 32))

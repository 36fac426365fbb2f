"""The one gateway for bytes from outside: size cap → decode → re-encode must equal the input → else `WireError`.

Wire messages are frozen dataclasses. Their encoding is canonical MessagePack, one way to write each value:

- a dataclass is an array of its fields in order; a union of dataclasses is `[tag, field, …]`, tag = place in the union;
- `int` is an integer from -1 to 2**63 - 1, in its shortest form; an `IntEnum` is its value;
- `Hash32`, `Address`, `Signature` are binaries of 32, 20, 65 bytes; `bytes` any binary; `str` UTF-8;
- `bool`, `T | None` (nil), and `tuple[T, ...]` (array). No maps, floats or extension types exist.

A dataclass checks its own bounds in `__post_init__` by raising `ValueError`; the gateway turns that into `WireError`.
Ethereum's own objects are RLP and come in through `decode_rlp`; JSON through `decode_json`.
"""

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgpack
import orjson
import rusty_rlp

from genesis.errors import WireError
from genesis.primitives import Address, Hash32, Signature

T = TypeVar("T")

_FIXED_SIZES: dict[object, int] = {Hash32: 32, Address: 20, Signature: 65}
_INT_MAX = (1 << 63) - 1
_ARRAY_ITEMS_MAX = 65_536
RLP_DEPTH_MAX = 8


def encode(value: object, as_type: Any = None) -> bytes:
    """The canonical bytes of a wire value; give `as_type` where the receiver expects a union."""
    return msgpack.packb(_writer(typing.cast(Any, as_type or type(value)))(value), use_bin_type=True)


def decode(as_type: type[T], data: bytes, *, size_max: int) -> T:
    """Read one wire value of `as_type` (a dataclass, or a union of dataclasses passed as `Any`).

    Raises WireError, and nothing else, for any input that is not exactly what `encode` would have written.
    """
    if len(data) > size_max:
        raise WireError(f"{_name(as_type)}: {len(data)} bytes, at most {size_max} are allowed")
    try:
        raw = msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            max_map_len=0,
            max_ext_len=0,
            max_array_len=_ARRAY_ITEMS_MAX,
            strict_map_key=True,
        )
        value = _reader(typing.cast(Any, as_type))(raw)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"{_name(as_type)}: {error}") from None
    if encode(value, as_type) != data:
        raise WireError(f"{_name(as_type)}: not in canonical form")
    return typing.cast(T, value)


def decode_rlp(data: bytes, *, size_max: int, what: str = "RLP") -> Any:
    """Decode strict RLP into nested lists of bytes, at most `RLP_DEPTH_MAX` deep. Raises WireError only."""
    if len(data) > size_max:
        raise WireError(f"{what}: {len(data)} bytes, at most {size_max} are allowed")
    _check_rlp_depth(data, what)
    try:
        value, _ = rusty_rlp.decode_raw(data, True, False)
    except Exception as error:  # the extension's exception types are not part of its interface
        raise WireError(f"{what}: malformed RLP ({error})") from None
    if rusty_rlp.encode_raw(value) != data:
        raise WireError(f"{what}: not in canonical form")
    return value


def encode_rlp(value: Any) -> bytes:
    """RLP of nested lists and tuples of bytes."""
    return rusty_rlp.encode_raw(value)


def decode_json(data: bytes, *, size_max: int, what: str = "JSON") -> Any:
    """Parse one JSON document. Raises WireError only."""
    if len(data) > size_max:
        raise WireError(f"{what}: {len(data)} bytes, at most {size_max} are allowed")
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise WireError(f"{what}: {error}") from None


def _check_rlp_depth(data: bytes, what: str) -> None:
    """Refuse deep nesting before the recursive decoder sees it: walk the list headers with an explicit stack of ends."""
    position, length = 0, len(data)
    ends: list[int] = []
    while position < length:
        while ends and position >= ends[-1]:
            ends.pop()
        prefix = data[position]
        if prefix < 0x80:
            position += 1
        elif prefix < 0xB8:
            position += 1 + prefix - 0x80
        elif prefix < 0xC0:
            size = prefix - 0xB7
            position += 1 + size + int.from_bytes(data[position + 1 : position + 1 + size], "big")
        else:
            size = 0 if prefix < 0xF8 else prefix - 0xF7
            body = prefix - 0xC0 if prefix < 0xF8 else int.from_bytes(data[position + 1 : position + 1 + size], "big")
            position += 1 + size
            ends.append(position + body)
            if len(ends) > RLP_DEPTH_MAX:
                raise WireError(f"{what}: lists nested more than {RLP_DEPTH_MAX} deep")


# ---------------------------------------------------------------- the schema, compiled once per type


@functools.cache
def _writer(as_type: Any) -> Callable[[Any], Any]:
    if _is_dataclass_union(as_type):
        writers = {member: (tag, _writer(member)) for tag, member in enumerate(typing.get_args(as_type))}

        def write_union(value: Any) -> Any:
            tag, write = writers[type(value)]
            return [tag, *write(value)]

        return write_union
    inner = _optional_inner(as_type)
    if inner is not None:
        write_inner = _writer(inner)
        return lambda value: None if value is None else write_inner(value)
    if typing.get_origin(as_type) is tuple:
        write_item = _writer(typing.get_args(as_type)[0])
        return lambda value: [write_item(item) for item in value]
    if dataclasses.is_dataclass(as_type):
        fields = [(name, _writer(hint)) for name, hint in _fields(as_type)]
        return lambda value: [write(getattr(value, name)) for name, write in fields]
    if isinstance(as_type, type) and issubclass(as_type, enum.IntEnum):
        return int
    return lambda value: value


@functools.cache
def _reader(as_type: Any) -> Callable[[Any], Any]:
    if _is_dataclass_union(as_type):
        return _union_reader(as_type)
    inner = _optional_inner(as_type)
    if inner is not None:
        read_inner = _reader(inner)
        return lambda raw: None if raw is None else read_inner(raw)
    if typing.get_origin(as_type) is tuple:
        read_item = _reader(typing.get_args(as_type)[0])
        return lambda raw: tuple(read_item(item) for item in _expect(tuple, raw))
    if dataclasses.is_dataclass(as_type):
        return _dataclass_reader(as_type)
    if isinstance(as_type, type) and issubclass(as_type, enum.IntEnum):
        enumeration = as_type
        return lambda raw: enumeration(_read_int(raw))
    if as_type in _FIXED_SIZES:
        return functools.partial(_read_fixed, _FIXED_SIZES[as_type])
    plain = _strip_newtype(as_type)
    if plain is int:
        return _read_int
    if plain in (bytes, bool, str):
        return functools.partial(_expect, plain)
    raise TypeError(f"{as_type} has no wire form")


def _union_reader(as_type: Any) -> Callable[[Any], Any]:
    readers = [_reader(member) for member in typing.get_args(as_type)]

    def read_union(raw: Any) -> Any:
        items = _expect(tuple, raw)
        if not items or type(items[0]) is not int or not 0 <= items[0] < len(readers):
            raise ValueError("unknown message tag")
        return readers[items[0]](items[1:])

    return read_union


def _dataclass_reader(as_type: Any) -> Callable[[Any], Any]:
    readers = [_reader(hint) for _, hint in _fields(as_type)]

    def read_dataclass(raw: Any) -> Any:
        items = _expect(tuple, raw)
        if len(items) != len(readers):
            raise ValueError(f"{as_type.__name__} has {len(readers)} fields, not {len(items)}")
        return as_type(*(read(item) for read, item in zip(readers, items, strict=True)))

    return read_dataclass


def _expect(kind: type, raw: Any) -> Any:
    if type(raw) is not kind:
        raise ValueError(f"expected {kind.__name__}, found {type(raw).__name__}")
    return raw


def _read_int(raw: Any) -> int:
    value: int = _expect(int, raw)
    if not -1 <= value <= _INT_MAX:
        raise ValueError(f"integer {value} out of range")
    return value


def _read_fixed(size: int, raw: Any) -> bytes:
    value: bytes = _expect(bytes, raw)
    if len(value) != size:
        raise ValueError(f"expected {size} bytes, found {len(value)}")
    return value


def _fields(as_type: Any) -> list[tuple[str, Any]]:
    hints = typing.get_type_hints(as_type)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(as_type) if field.init]


def _is_dataclass_union(as_type: Any) -> bool:
    members = typing.get_args(as_type)
    is_union = typing.get_origin(as_type) in (typing.Union, types.UnionType)
    return is_union and all(dataclasses.is_dataclass(member) for member in members)


def _optional_inner(as_type: Any) -> Any:
    if typing.get_origin(as_type) not in (typing.Union, types.UnionType):
        return None
    members = [member for member in typing.get_args(as_type) if member is not type(None)]
    return members[0] if len(members) == 1 and len(typing.get_args(as_type)) == 2 else None


def _strip_newtype(as_type: Any) -> Any:
    while hasattr(as_type, "__supertype__"):
        as_type = as_type.__supertype__
    return as_type


def _name(as_type: Any) -> str:
    return getattr(as_type, "__name__", None) or str(as_type)

"""The contract ABI, strictly: one way to encode each value, and only that way is read.

Solidity, Vyper, ethers and web3.py all write arguments in the same canonical layout: heads in order, tails in the order of
their heads without gaps or sharing, zero padding. Reading only this layout makes decoding one linear pass, whose cost is
bounded by the length of the input: offsets can neither overlap nor point backwards, so a short input can't unfold into a
large value. What stands behind the last argument is ignored, as Solidity ignores it: Vyper sends its whole buffer, and wallets
append tags.

Reading and writing take time by the *value*, not by the byte: an array's items are told to `pay` before they are read, and
`count_values` says how many a result has before it is written.

A type is an `AbiType`; `parse_signature` reads the human-readable form of methods, events and errors
(`createDatanet(DatanetParams params) returns (uint64 datanetId)`), with structs and enums looked up by name.
"""

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from genesis.primitives import keccak256

WORD: Final = 32
Pay = Callable[[int], None]
"""Told how many values are about to be read; what it raises ends the reading."""


class AbiError(ValueError):
    """The bytes are not the canonical encoding of the expected types."""


@dataclass(frozen=True, slots=True)
class AbiType:
    """One ABI type: `canonical` is its name in selectors, `declared` the name in Solidity (they differ for structs, enums).

    `size` is the length of a static value, or of the smallest dynamic one without its offset, in bytes. `read(data, at, pay)`
    returns the value at `at` and the position behind it; `write(value)` its encoding. `values` is how many steps it takes to
    read one, beside the items of arrays, which `pay` is told of: one for each value and struct, another for each offset and
    for each length.
    """

    canonical: str
    declared: str
    dynamic: bool
    size: int
    values: int
    read: Callable[[bytes, int, Pay], tuple[Any, int]]
    write: Callable[[Any], bytes]
    components: tuple["Parameter", ...] = ()
    """The fields, for a struct or an array of structs."""
    labels: tuple[str, ...] = ()
    """The names, for an enum."""
    item: "AbiType | None" = None
    """What an array is made of."""
    has_array: bool = False
    """Whether it is one, or a struct with one: then it has more values than its type tells."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named, typed place of a method, event, error or struct."""

    type: AbiType
    name: str
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """What `parse_signature` reads: `name(inputs) returns (outputs)`."""

    name: str
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]

    @property
    def canonical(self) -> str:
        """`name(type,…)`, what selectors and event topics are hashed from."""
        return f"{self.name}({','.join(parameter.type.canonical for parameter in self.inputs)})"

    @property
    def selector(self) -> bytes:
        return keccak256(self.canonical.encode())[:4]


# ---------------------------------------------------------------- values in sequence


def decode(types: Sequence[AbiType], data: bytes, pay: Pay = lambda _values: None) -> tuple[Any, ...]:
    """Read the arguments `types` from the front of `data`; what stands behind them is ignored.

    Raises AbiError, and what `pay` raises.
    """
    pay(sum(abi_type.values for abi_type in types))
    values, _ = _read_sequence(types, data, 0, _head_size(types), pay)
    return values


def count_values(abi_type: AbiType, value: Any) -> int:
    """How many steps it takes to write `value`: what `pay` is told of when it is read."""
    if abi_type.item is not None:
        if abi_type.item.has_array:
            return abi_type.values + sum(count_values(abi_type.item, item) for item in value)
        return abi_type.values + len(value) * abi_type.item.values
    if abi_type.has_array:
        parts = zip(abi_type.components, value, strict=True)
        inside = sum(count_values(component.type, part) - component.type.values for component, part in parts)
        return abi_type.values + inside
    return abi_type.values


def encode(types: Sequence[AbiType], values: Sequence[Any]) -> bytes:
    """The canonical encoding of `values` (already checked by the caller: a misfit is a bug and raises ValueError)."""
    if len(types) != len(values):
        raise ValueError(f"{len(values)} values for {len(types)} types")
    if not any(abi_type.dynamic for abi_type in types):
        return b"".join([abi_type.write(value) for abi_type, value in zip(types, values, strict=True)])
    heads: list[bytes] = []
    tails: list[bytes] = []
    tail_at = _head_size(types)
    for abi_type, value in zip(types, values, strict=True):
        encoded = abi_type.write(value)
        if abi_type.dynamic:
            heads.append(tail_at.to_bytes(WORD, "big"))
            tails.append(encoded)
            tail_at += len(encoded)
        else:
            heads.append(encoded)
    return b"".join(heads + tails)


def _head_size(types: Sequence[AbiType]) -> int:
    return sum(WORD if abi_type.dynamic else abi_type.size for abi_type in types)


def _read_sequence(
    types: Sequence[AbiType], data: bytes, start: int, head_size: int, pay: Pay
) -> tuple[tuple[Any, ...], int]:
    head, tail = start, start + head_size
    if tail > len(data):
        raise AbiError("the input is too short")
    values = []
    for abi_type in types:
        if abi_type.dynamic:
            if _word(data, head) != tail - start:
                raise AbiError(f"the offset of a {abi_type.declared} is not canonical")
            head += WORD
            value, tail = abi_type.read(data, tail, pay)
        else:
            value, head = abi_type.read(data, head, pay)
        values.append(value)
    return tuple(values), tail


def _word(data: bytes, at: int) -> int:
    """A word of a head: that it is there has been checked."""
    return int.from_bytes(data[at : at + WORD], "big")


def _length(data: bytes, at: int) -> int:
    """The first word of a tail."""
    if at + WORD > len(data):
        raise AbiError("the input is too short")
    return _word(data, at)


# ---------------------------------------------------------------- elementary types


def _uint(bits: int) -> AbiType:
    name = f"uint{bits}"

    def read(data: bytes, at: int, _pay: Pay) -> tuple[int, int]:
        value = _word(data, at)
        if value >> bits:
            raise AbiError(f"{name} out of range")
        return value, at + WORD

    def write(value: int) -> bytes:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} is not a {name}")
        return value.to_bytes(WORD, "big")

    return AbiType(name, name, False, WORD, 1, read, write)


def _fixed_bytes(size: int) -> AbiType:
    name = f"bytes{size}"

    def read(data: bytes, at: int, _pay: Pay) -> tuple[bytes, int]:
        if any(data[at + size : at + WORD]):
            raise AbiError(f"{name} is not padded with zeros")
        return data[at : at + size], at + WORD

    def write(value: bytes) -> bytes:
        if len(value) != size:
            raise ValueError(f"{len(value)} bytes are not a {name}")
        return value.ljust(WORD, b"\0")

    return AbiType(name, name, False, WORD, 1, read, write)


def _read_address(data: bytes, at: int, _pay: Pay) -> tuple[bytes, int]:
    if _word(data, at) >> 160:
        raise AbiError("address out of range")
    return data[at + 12 : at + WORD], at + WORD


def _write_address(value: bytes) -> bytes:
    if len(value) != 20:
        raise ValueError(f"{len(value)} bytes are not an address")
    return value.rjust(WORD, b"\0")


def _read_bool(data: bytes, at: int, _pay: Pay) -> tuple[bool, int]:
    value = _word(data, at)
    if value > 1:
        raise AbiError("bool out of range")
    return value == 1, at + WORD


def _read_bytes(data: bytes, at: int, _pay: Pay) -> tuple[bytes, int]:
    length = _length(data, at)
    start = at + WORD
    end = start + length
    padded = start + (length + WORD - 1) // WORD * WORD
    if padded > len(data):
        raise AbiError("the input is too short")
    if any(data[end:padded]):
        raise AbiError("bytes are not padded with zeros")
    return data[start:end], padded


def _write_bytes(value: bytes) -> bytes:
    return len(value).to_bytes(WORD, "big") + value + bytes(-len(value) % WORD)


def _read_string(data: bytes, at: int, pay: Pay) -> tuple[str, int]:
    raw, end = _read_bytes(data, at, pay)
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        raise AbiError("a string is not UTF-8") from None


ELEMENTARY: Final[Mapping[str, AbiType]] = {
    **{f"uint{bits}": _uint(bits) for bits in range(8, 257, 8)},
    **{f"bytes{size}": _fixed_bytes(size) for size in range(1, 33)},
    "address": AbiType("address", "address", False, WORD, 1, _read_address, _write_address),
    "bool": AbiType("bool", "bool", False, WORD, 1, _read_bool, lambda value: int(value).to_bytes(WORD, "big")),
    "bytes": AbiType("bytes", "bytes", True, WORD, 3, _read_bytes, _write_bytes),
    "string": AbiType("string", "string", True, WORD, 3, _read_string, lambda value: _write_bytes(value.encode())),
}


# ---------------------------------------------------------------- composed types


def array(item: AbiType) -> AbiType:
    """`T[]`, read as a tuple."""
    item_size = WORD + item.size if item.dynamic else item.size
    head_size = WORD if item.dynamic else item.size

    def read(data: bytes, at: int, pay: Pay) -> tuple[tuple[Any, ...], int]:
        count = _length(data, at)
        if count * item_size > len(data) - at - WORD:
            raise AbiError("an array is longer than the input")
        pay(count * item.values)
        return _read_sequence((item,) * count, data, at + WORD, count * head_size, pay)

    def write(value: Sequence[Any]) -> bytes:
        return len(value).to_bytes(WORD, "big") + encode((item,) * len(value), value)

    return AbiType(
        f"{item.canonical}[]", f"{item.declared}[]", True, WORD, 3, read, write, item.components, (), item, True
    )


def struct(name: str, fields: str, build: Callable[..., Any], types: Mapping[str, AbiType] | None = None) -> AbiType:
    """A struct read into `build(*values)`; written from any sequence of its fields (a NamedTuple is one)."""
    components = _parse_parameters(fields, types or {})
    members = tuple(component.type for component in components)
    dynamic = any(member.dynamic for member in members)
    size = sum(WORD + member.size if member.dynamic else member.size for member in members)
    head_size = _head_size(members)
    steps = 1 + dynamic + sum(member.values for member in members)

    def read(data: bytes, at: int, pay: Pay) -> tuple[Any, int]:
        values, end = _read_sequence(members, data, at, head_size, pay)
        return build(*values), end

    canonical = f"({','.join(member.canonical for member in members)})"

    def write(value: Sequence[Any]) -> bytes:
        return encode(members, tuple(value))

    has_array = any(member.has_array for member in members)
    return AbiType(canonical, name, dynamic, size, steps, read, write, components, has_array=has_array)


def enumeration(name: str, members: type[enum.IntEnum]) -> AbiType:
    """A Solidity enum: a uint8 that must be one of the members (numbered from 0)."""

    def read(data: bytes, at: int, _pay: Pay) -> tuple[enum.IntEnum, int]:
        value = _word(data, at)
        if value >= len(members):
            raise AbiError(f"{value} is not a {name}")
        return members(value), at + WORD

    labels = tuple(member.name for member in members)
    return AbiType("uint8", name, False, WORD, 1, read, lambda value: int(value).to_bytes(WORD, "big"), (), labels)


# ---------------------------------------------------------------- the human-readable form

_SIGNATURE: Final = re.compile(r"(\w+)\(([^()]*)\)(?: returns \(([^()]*)\))?")
_PARAMETER: Final = re.compile(r"(\w+)(\[\])?( indexed)? (\w+)")


def parse_signature(text: str, types: Mapping[str, AbiType] | None = None) -> Signature:
    """Read `name(type name, …) returns (type name, …)`. Raises ValueError for anything else: declarations are code."""
    match = _SIGNATURE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a signature: {text}")
    name, inputs, outputs = match.groups()
    return Signature(name, _parse_parameters(inputs, types or {}), _parse_parameters(outputs or "", types or {}))


def _parse_parameters(text: str, types: Mapping[str, AbiType]) -> tuple[Parameter, ...]:
    parameters = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise ValueError(f"not a parameter: {part}")
        type_name, brackets, indexed, name = match.groups()
        found = types.get(type_name) or ELEMENTARY.get(type_name)
        if found is None:
            raise ValueError(f"unknown type {type_name}")
        parameters.append(Parameter(array(found) if brackets else found, name, indexed is not None))
    return tuple(parameters)

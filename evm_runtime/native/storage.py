"""Typed storage over plain 256-bit slots, laid out as Solidity would, so that any Ethereum tool can read and prove it.

- a value lives in its own slot;
- a mapping's value for key k at slot p lives at keccak(k ‖ p), nested mappings hash again;
- a record's fields share slots from the low end up, in order; a field that doesn't fit starts the next slot;
- an array keeps its length at p and its items from keccak(p) on;
- bytes of up to 31 share a slot with twice their length; longer ones keep 2 * length + 1 and the content from keccak(p) on.

The declarations here are stateless: each operation is given the `Slots` to work on (metered in a call, plain at the end of a
block, read-only for queries), so one layout serves them all.
"""

import dataclasses
import enum
import functools
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, Protocol, TypeVar

from genesis.errors import InvariantError
from genesis.primitives import Address, Hash32, keccak256

T = TypeVar("T")

U8 = Annotated[int, 8]
U16 = Annotated[int, 16]
U32 = Annotated[int, 32]
U40 = Annotated[int, 40]
U64 = Annotated[int, 64]
U96 = Annotated[int, 96]
U128 = Annotated[int, 128]
U160 = Annotated[int, 160]
U256 = Annotated[int, 256]
Flag = Annotated[bool, 8]
Account = Annotated[Address, 160]
Word = Annotated[Hash32, 256]

_WORD: Final = 32
_KNOWN_SLOTS: Final = 1 << 14


class Slots(Protocol):
    """The storage of one account."""

    def load(self, slot: int) -> int: ...

    def store(self, slot: int, value: int) -> None: ...


Key = int | bytes


@functools.lru_cache(_KNOWN_SLOTS)
def mapping_slot(slot: int, *keys: Key) -> int:
    """Where a (nested) mapping at `slot` keeps the value for `keys` (ints, 20-byte addresses or 32-byte words)."""
    for key in keys:
        word = key.to_bytes(_WORD, "big") if isinstance(key, int) else key.rjust(_WORD, b"\0")
        slot = int.from_bytes(keccak256(word + slot.to_bytes(_WORD, "big")), "big")
    return slot


@functools.lru_cache(_KNOWN_SLOTS)
def array_slot(slot: int) -> int:
    """Where the items of an array (or long bytes) declared at `slot` begin."""
    return int.from_bytes(keccak256(slot.to_bytes(_WORD, "big")), "big")


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """A uint256 of its own, or of a mapping when keys are given."""

    slot: int

    def get(self, slots: Slots, *keys: Key) -> int:
        return slots.load(mapping_slot(self.slot, *keys))

    def set(self, slots: Slots, value: int, *keys: Key) -> None:
        slots.store(mapping_slot(self.slot, *keys), value)

    def add(self, slots: Slots, amount: int, *keys: Key) -> int:
        """Add and return the sum."""
        at = mapping_slot(self.slot, *keys)
        total = slots.load(at) + amount
        slots.store(at, total)
        return total


@dataclasses.dataclass(frozen=True, slots=True)
class _Field:
    name: str
    slot: int
    shift: int
    bits: int
    kind: Any
    mask: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", (1 << self.bits) - 1)

    def unpack(self, word: int) -> Any:
        raw = word >> self.shift & self.mask
        kind = self.kind
        if kind is int:
            return raw
        return raw.to_bytes(self.bits // 8, "big") if kind is bytes else kind(raw)

    def pack(self, value: Any) -> int:
        raw = int.from_bytes(value, "big") if self.kind is bytes else int(value)
        if not 0 <= raw < 1 << self.bits:
            raise InvariantError(f"{self.name}: {raw} does not fit {self.bits} bits of storage")
        return raw << self.shift


class Packed(Generic[T]):
    """How a frozen dataclass whose fields are annotated with their widths (U64, Account, …) is packed into slots."""

    def __init__(self, record: type[T]) -> None:
        self._record = record
        hints = typing.get_type_hints(record, include_extras=True)
        fields: list[_Field] = []
        slot, shift = 0, 0
        for field in dataclasses.fields(typing.cast(Any, record)):
            hint, bits = typing.get_args(hints[field.name])
            if shift + bits > 256:
                slot, shift = slot + 1, 0
            fields.append(_Field(field.name, slot, shift, bits, _plain_kind(hint)))
            shift += bits
        self.size: Final = slot + 1
        """Slots of one record."""
        self._fields: Final = tuple(fields)
        self._by_name: Final = {field.name: field for field in fields}

    def load(self, slots: Slots, at: int) -> T:
        words = [slots.load(at + i) for i in range(self.size)]
        return self._record(*[field.unpack(words[field.slot]) for field in self._fields])

    def load_field(self, slots: Slots, at: int, name: str) -> Any:
        """One field, for the price of one slot."""
        field = self._by_name[name]
        return field.unpack(slots.load(at + field.slot))

    def store(self, slots: Slots, at: int, value: T) -> None:
        words = [0] * self.size
        for field in self._fields:
            words[field.slot] |= field.pack(getattr(value, field.name))
        for i, word in enumerate(words):
            slots.store(at + i, word)


def _plain_kind(hint: Any) -> Any:
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    if hint in (int, bool, bytes) or issubclass(hint, enum.IntEnum):
        return hint
    raise TypeError(f"{hint} has no storage form")


class Records(Generic[T]):
    """A mapping (nested by as many keys as given) of packed records."""

    def __init__(self, slot: int, record: type[T]) -> None:
        self.slot: Final = slot
        self._packed = Packed(record)
        self.size: Final = self._packed.size
        """Slots of one record."""

    def load(self, slots: Slots, *keys: Key) -> T:
        return self._packed.load(slots, mapping_slot(self.slot, *keys))

    def slots_of(self, *keys: Key) -> tuple[int, ...]:
        """Where a record is, for proofs."""
        at = mapping_slot(self.slot, *keys)
        return tuple(range(at, at + self.size))

    def load_field(self, slots: Slots, name: str, *keys: Key) -> Any:
        return self._packed.load_field(slots, mapping_slot(self.slot, *keys), name)

    def store(self, slots: Slots, value: T, *keys: Key) -> None:
        self._packed.store(slots, mapping_slot(self.slot, *keys), value)


class RecordLists(Generic[T]):
    """A mapping to append-only arrays of packed records."""

    def __init__(self, slot: int, record: type[T]) -> None:
        self.slot: Final = slot
        self._packed = Packed(record)

    def length(self, slots: Slots, *keys: Key) -> int:
        return slots.load(mapping_slot(self.slot, *keys))

    def get(self, slots: Slots, index: int, *keys: Key) -> T:
        return self._packed.load(slots, array_slot(mapping_slot(self.slot, *keys)) + index * self._packed.size)

    def append(self, slots: Slots, value: T, *keys: Key) -> int:
        """Append and return the index."""
        at = mapping_slot(self.slot, *keys)
        index = slots.load(at)
        slots.store(at, index + 1)
        self._packed.store(slots, array_slot(at) + index * self._packed.size, value)
        return index

    def replace(self, slots: Slots, values: Sequence[T], *keys: Key) -> None:
        """Put other records in place of all; what the old list had beyond them is cleared."""
        at, size = mapping_slot(self.slot, *keys), self._packed.size
        old = slots.load(at)
        slots.store(at, len(values))
        start = array_slot(at)
        for i, value in enumerate(values):
            self._packed.store(slots, start + i * size, value)
        for i in range(len(values) * size, old * size):
            slots.store(start + i, 0)


class Uint64Lists:
    """A mapping to append-only `uint64[]`, four to a slot."""

    def __init__(self, slot: int) -> None:
        self.slot: Final = slot

    def length(self, slots: Slots, *keys: Key) -> int:
        return slots.load(mapping_slot(self.slot, *keys))

    def get(self, slots: Slots, index: int, *keys: Key) -> int:
        word = slots.load(array_slot(mapping_slot(self.slot, *keys)) + index // 4)
        return (word >> (index % 4 * 64)) & 0xFFFF_FFFF_FFFF_FFFF

    def append(self, slots: Slots, value: int, *keys: Key) -> int:
        at = mapping_slot(self.slot, *keys)
        index = slots.load(at)
        slots.store(at, index + 1)
        place = array_slot(at) + index // 4
        slots.store(place, slots.load(place) | value << (index % 4 * 64))
        return index


class Texts:
    """A mapping to byte strings."""

    def __init__(self, slot: int) -> None:
        self.slot: Final = slot

    def get(self, slots: Slots, *keys: Key) -> bytes:
        at = mapping_slot(self.slot, *keys)
        head = slots.load(at)
        if not head & 1:
            return head.to_bytes(_WORD, "big")[: (head & 0xFF) // 2]
        length = head // 2
        start = array_slot(at)
        words = [slots.load(start + i).to_bytes(_WORD, "big") for i in range((length + _WORD - 1) // _WORD)]
        return b"".join(words)[:length]

    def set_once(self, slots: Slots, value: bytes, *keys: Key) -> None:
        """Write a text where none was."""
        if slots.load(mapping_slot(self.slot, *keys)):
            raise InvariantError("a stored text is written once")
        self.set(slots, value, *keys)

    def set(self, slots: Slots, value: bytes, *keys: Key) -> None:
        """Write a text over another; what the old one had beyond it is cleared."""
        at = mapping_slot(self.slot, *keys)
        old = slots.load(at)
        start = array_slot(at)
        for i in range(_long_words(len(value)), _long_words(old // 2) if old & 1 else 0):
            slots.store(start + i, 0)
        if len(value) < _WORD:
            slots.store(at, int.from_bytes(value.ljust(_WORD, b"\0"), "big") | len(value) * 2)
            return
        slots.store(at, len(value) * 2 + 1)
        for i in range(0, len(value), _WORD):
            slots.store(start + i // _WORD, int.from_bytes(value[i : i + _WORD].ljust(_WORD, b"\0"), "big"))


def _long_words(length: int) -> int:
    """Slots behind the first that a text of `length` bytes takes."""
    return 0 if length < _WORD else (length + _WORD - 1) // _WORD

"""Strict parsing of arguments. A `Kind` turns one JSON value into a value of ours, or says what was expected.

The wording is geth's where tools may look at it ("hex string without 0x prefix", "hex number > 64 bits").
Every kind carries its JSON schema, so that the API document can be generated from the declarations.
"""

import re
from binascii import unhexlify
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from genesis.limits import JSON_BODY_BYTES_MAX
from genesis.primitives import Address, Hash32

T = TypeVar("T")

_HEX: Final = re.compile(r"[0-9a-fA-F]*\Z")
TOPICS_MAX: Final = 4
TOPIC_CHOICES_MAX: Final = 1_000
ADDRESSES_MAX: Final = 1_000
FEE_PERCENTILES_MAX: Final = 100
PROOF_KEYS_MAX: Final = 1_024


class BadParam(ValueError):
    """An argument that is not what its kind wants. The message is shown to the caller."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of argument: its name, its parser (raises BadParam) and its JSON schema."""

    name: str
    parse: Callable[[Any], T]
    schema: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
    takes_null: bool = False


@dataclass(frozen=True, slots=True)
class BlockRef:
    """Which block: a height, a tag (`latest`, `safe`, `finalized`, `pending`, `earliest`), or a hash (EIP-1898)."""

    height: int | None = None
    tag: str | None = None
    hash: Hash32 | None = None

    @property
    def is_pending(self) -> bool:
        return self.tag == "pending"

    @property
    def is_tip(self) -> bool:
        """`latest`, `safe`, `finalized` and `pending` all have the tip's state."""
        return self.tag not in (None, "earliest")


LATEST: Final = BlockRef(tag="latest")
PENDING: Final = BlockRef(tag="pending")
TAGS: Final = ("latest", "safe", "finalized", "pending", "earliest")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What logs are asked for. `topics`: per place the accepted values, None for any."""

    addresses: frozenset[Address] = frozenset()
    topics: tuple[frozenset[Hash32] | None, ...] = ()
    from_block: BlockRef = LATEST
    to_block: BlockRef = LATEST
    block_hash: Hash32 | None = None


# ---------------------------------------------------------------- hex


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadParam(f"expected a string, found {json_type(value)}")
    return value


def hex_digits(value: Any) -> str:
    """The digits after 0x."""
    if not isinstance(value, str):
        raise BadParam(f"expected a hex string, found {json_type(value)}")
    if value == "":
        raise BadParam("empty hex string")
    if value[:2] not in ("0x", "0X"):
        raise BadParam("hex string without 0x prefix")
    if not _HEX.match(value, 2):
        raise BadParam("invalid hex string")
    return value[2:]


def quantity(value: Any, *, bits: int = 256) -> int:
    """A hex number without leading zeros, below 2**bits."""
    digits = hex_digits(value)
    if not digits:
        raise BadParam('hex string "0x"')
    if digits[0] == "0" and len(digits) > 1:
        raise BadParam("hex number with leading zero digits")
    if len(digits) * 4 - (4 - int(digits[0], 16).bit_length()) > bits:
        raise BadParam(f"hex number > {bits} bits")
    return int(digits, 16)


def data(value: Any) -> bytes:
    """0x-prefixed bytes, two digits each."""
    digits = hex_digits(value)
    if len(digits) % 2:
        raise BadParam("hex string of odd length")
    return unhexlify(digits)


def fixed(value: Any, size: int, name: str) -> bytes:
    digits = hex_digits(value)
    if len(digits) != 2 * size:
        raise BadParam(f"hex string has length {len(digits)}, want {2 * size} for {name}")
    return unhexlify(digits)


def address(value: Any) -> Address:
    return Address(fixed(value, 20, "address"))


def hash32(value: Any) -> Hash32:
    return Hash32(fixed(value, 32, "hash"))


def storage_key(value: Any) -> int:
    """A storage slot: up to 32 bytes, leading zeros allowed or left out (both are in use)."""
    if not isinstance(value, str):
        raise BadParam(f"expected a hex string, found {json_type(value)}")
    digits = value[2:] if value[:2] in ("0x", "0X") else value
    if not _HEX.match(digits):
        raise BadParam(f"invalid hex in storage key: {shorten(value)}")
    if len(digits) > 64:
        raise BadParam(f"storage key too long (want at most 32 bytes): {shorten(value)}")
    return int(digits, 16) if digits else 0


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadParam(f"expected a boolean, found {json_type(value)}")
    return value


def number_or_quantity(value: Any) -> int:
    """A count: geth takes a plain number and a decimal string as well as hex."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < 1 << 64:
            raise BadParam("number is negative or > 64 bits")
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
        return int(value)
    return quantity(value, bits=64)


# ---------------------------------------------------------------- blocks


def block_number(value: Any) -> BlockRef:
    """A height or a tag."""
    if isinstance(value, str) and value in TAGS:
        return BlockRef(tag=value)
    height = quantity(value, bits=64)
    if height >= 1 << 63:
        raise BadParam("block number larger than int64")
    return BlockRef(height=height)


def block_ref(value: Any) -> BlockRef:
    """A height, a tag, a hash, or an EIP-1898 object. `requireCanonical` changes nothing: no other block exists."""
    if isinstance(value, dict):
        if value.get("blockHash") is not None and value.get("blockNumber") is not None:
            raise BadParam("cannot specify both BlockHash and BlockNumber, choose one or the other")
        if not isinstance(value.get("requireCanonical", False), bool):
            raise BadParam("requireCanonical: expected a boolean")
        if value.get("blockHash") is not None:
            return BlockRef(hash=hash32(value["blockHash"]))
        if value.get("blockNumber") is not None:
            return block_number(value["blockNumber"])
        raise BadParam("a block object needs blockHash or blockNumber")
    if isinstance(value, str) and len(value) == 66:
        return BlockRef(hash=hash32(value))
    return block_number(value)


# ---------------------------------------------------------------- logs, fees, proofs


def log_filter(value: Any) -> LogFilter:
    """The object of eth_getLogs and of log filters."""
    entries = obj(value)
    return LogFilter(
        addresses=_addresses(entries.get("address")),
        topics=_topics(entries.get("topics")),
        **_range(entries),
    )


def _range(entries: dict[str, Any]) -> dict[str, Any]:
    given = [name for name in ("fromBlock", "toBlock") if entries.get(name) is not None]
    if entries.get("blockHash") is not None:
        if given:
            raise BadParam("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
        return {"block_hash": within("blockHash", hash32, entries["blockHash"])}
    names = {"fromBlock": "from_block", "toBlock": "to_block"}
    return {names[name]: within(name, block_number, entries[name]) for name in given}


def _addresses(value: Any) -> frozenset[Address]:
    if value is None:
        return frozenset()
    if not isinstance(value, list):
        return frozenset((within("address", address, value),))
    if len(value) > ADDRESSES_MAX:
        raise BadParam(f"exceed max addresses: at most {ADDRESSES_MAX}")
    return frozenset(within(f"address {place}", address, item) for place, item in enumerate(value))


def _topics(value: Any) -> tuple[frozenset[Hash32] | None, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadParam(f"topics: expected an array, found {json_type(value)}")
    if len(value) > TOPICS_MAX:
        raise BadParam(f"exceed max topics: at most {TOPICS_MAX}")
    return tuple(_topic(place, item) for place, item in enumerate(value))


def _topic(place: int, value: Any) -> frozenset[Hash32] | None:
    """One place: null or an empty list is any; a null in a list makes it any, as in geth."""
    if value is None or value == []:
        return None
    choices = value if isinstance(value, list) else [value]
    if len(choices) > TOPIC_CHOICES_MAX:
        raise BadParam(f"topic {place}: at most {TOPIC_CHOICES_MAX} choices")
    if any(choice is None for choice in choices):
        return None
    return frozenset(within(f"topic {place}", hash32, choice) for choice in choices)


def percentiles(value: Any) -> tuple[float, ...]:
    """Ascending percentiles of eth_feeHistory, in geth's words."""
    items = array(value)
    if len(items) > FEE_PERCENTILES_MAX:
        raise BadParam(f"over the query limit {FEE_PERCENTILES_MAX}")
    for place, item in enumerate(items):
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise BadParam(f"percentile {place}: expected a number, found {json_type(item)}")
        if not 0 <= item <= 100:
            raise BadParam(f"invalid reward percentile: {item}")
        if place and item <= items[place - 1]:
            raise BadParam(f"invalid reward percentile: #{place - 1}:{items[place - 1]} >= #{place}:{item}")
    return tuple(items)


def proof_keys(value: Any) -> tuple[tuple[int, str], ...]:
    """Slots of eth_getProof, each with the way it is to be written in the answer (as geth: 32 bytes stay 32 bytes)."""
    items = array(value)
    if len(items) > PROOF_KEYS_MAX:
        raise BadParam(f"too many keys, at most {PROOF_KEYS_MAX}")
    keys = []
    for item in items:
        slot = storage_key(item)
        keys.append((slot, item.lower() if len(item) == 66 else hex(slot)))
    return tuple(keys)


def storage_requests(value: Any) -> dict[str, tuple[int, ...]]:
    """Addresses, written as they came, to slots (eth_getStorageValues)."""
    entries = obj(value)
    if not entries:
        raise BadParam("empty request")
    found: dict[str, tuple[int, ...]] = {}
    for key, slots in entries.items():
        address(key)
        found[key] = tuple(within(key, storage_key, slot) for slot in within(key, array, slots))
    if sum(map(len, found.values())) > PROOF_KEYS_MAX:
        raise BadParam(f"too many slots, at most {PROOF_KEYS_MAX}")
    return found


# ---------------------------------------------------------------- helpers and the kinds themselves


def obj(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadParam(f"expected an object, found {json_type(value)}")
    return value


def array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadParam(f"expected an array, found {json_type(value)}")
    return value


def within(name: str, parse: Callable[[Any], T], value: Any) -> T:
    """Parse a member of an object; the error names it."""
    try:
        return parse(value)
    except BadParam as error:
        raise BadParam(f"{name}: {error}") from None


def json_type(value: Any) -> str:
    """What JSON calls the type of a decoded value."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return "null" if value is None else names[type(value)]


def shorten(value: str) -> str:
    return f'"{value if len(value) <= 100 else value[:97] + "..."}"'


def uint64(value: Any) -> int:
    return quantity(value, bits=64)


Schema = dict[str, Any]


def string(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


def members(**entries: Schema) -> Schema:
    """An object all of whose members may be left out; others are ignored."""
    return {"type": "object", "properties": entries}


QUANTITY_SCHEMA: Final = string("^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})$")
UINT64_SCHEMA: Final = string("^0x(0|[1-9a-fA-F][0-9a-fA-F]{0,15})$")
DATA_SCHEMA: Final[Schema] = {**string("^0x([0-9a-fA-F]{2})*$"), "maxLength": 2 * JSON_BODY_BYTES_MAX}
ADDRESS_SCHEMA: Final = string("^0x[0-9a-fA-F]{40}$")
HASH_SCHEMA: Final = string("^0x[0-9a-fA-F]{64}$")
_TAG_SCHEMA: Final[Schema] = {"type": "string", "enum": list(TAGS)}
_NUMBER_SCHEMA: Final[Schema] = {"anyOf": [UINT64_SCHEMA, _TAG_SCHEMA]}
_REF_SCHEMA: Final[Schema] = {
    "anyOf": [
        UINT64_SCHEMA,
        _TAG_SCHEMA,
        HASH_SCHEMA,
        members(blockNumber=_NUMBER_SCHEMA, blockHash=HASH_SCHEMA, requireCanonical={"type": "boolean"}),
    ]
}


def _one_or_list(schema: Schema, count_max: int) -> Schema:
    return {"anyOf": [schema, {"type": "array", "items": schema, "maxItems": count_max}, {"type": "null"}]}


_FILTER_SCHEMA: Final = members(
    fromBlock=_NUMBER_SCHEMA,
    toBlock=_NUMBER_SCHEMA,
    blockHash=HASH_SCHEMA,
    address=_one_or_list(ADDRESS_SCHEMA, ADDRESSES_MAX),
    topics={"type": "array", "items": _one_or_list(HASH_SCHEMA, TOPIC_CHOICES_MAX), "maxItems": TOPICS_MAX},
)

UINT64: Final = Kind("uint64", uint64, UINT64_SCHEMA)
COUNT: Final = Kind("count", number_or_quantity, {"anyOf": [{"type": "integer", "minimum": 0}, UINT64_SCHEMA]})
DATA: Final = Kind("data", data, DATA_SCHEMA)
ADDRESS: Final = Kind("address", address, ADDRESS_SCHEMA)
HASH: Final = Kind("hash", hash32, HASH_SCHEMA)
STORAGE_KEY: Final = Kind("storage key", storage_key, string("^(0x)?[0-9a-fA-F]{0,64}$"))
BOOLEAN: Final = Kind("boolean", boolean, {"type": "boolean"})
TEXT: Final = Kind("text", text, {"type": "string"})
BLOCK_NUMBER: Final = Kind("block number or tag", block_number, _NUMBER_SCHEMA)
BLOCK_REF: Final = Kind("block number, tag or hash", block_ref, _REF_SCHEMA)
LOG_FILTER: Final = Kind("log filter", log_filter, _FILTER_SCHEMA)
PERCENTILES: Final = Kind(
    "percentiles",
    percentiles,
    {
        "type": "array",
        "items": {"type": "number", "minimum": 0, "maximum": 100},
        "maxItems": FEE_PERCENTILES_MAX,
    },
)
PROOF_KEYS: Final = Kind(
    "storage keys", proof_keys, {"type": "array", "items": STORAGE_KEY.schema, "maxItems": PROOF_KEYS_MAX}
)
STORAGE_REQUESTS: Final = Kind(
    "storage requests",
    storage_requests,
    {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "array", "items": STORAGE_KEY.schema, "maxItems": PROOF_KEYS_MAX},
    },
)
ANYTHING: Final[Kind[Any]] = Kind("anything", lambda value: value, {})

"""The block header: Ethereum's, with every field of Prague, so that its hash is what wallets, explorers and proofs expect."""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Final

from evm_runtime.fields import UINT64_MAX, int_bytes, read_bytes, read_fixed, read_list, read_uint
from genesis.codec import decode_rlp, encode_rlp
from genesis.errors import WireError
from genesis.primitives import Address, Hash32, Height, keccak256

HEADER_BYTES_MAX: Final = 1_024
EMPTY_OMMERS_HASH: Final = keccak256(encode_rlp([]))
EMPTY_TRIE_ROOT: Final = keccak256(encode_rlp(b""))
EMPTY_REQUESTS_HASH: Final = Hash32(bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
"""sha256(''): the chain has no EIP-7685 requests."""
EMPTY_BLOOM: Final = bytes(256)
ZERO_NONCE: Final = bytes(8)


@dataclass(frozen=True)
class Header:
    """Fields in Ethereum's order. Hashes are 32 bytes, `bloom` 256, `nonce` 8; fees are in wei, times in seconds."""

    parent_hash: Hash32
    ommers_hash: Hash32
    coinbase: Address
    state_root: Hash32
    """The root of the state after the block."""
    transactions_root: Hash32
    receipts_root: Hash32
    bloom: bytes
    difficulty: int
    number: Height
    gas_limit: int
    gas_used: int
    timestamp: int
    """ConsensusData time in whole seconds; it may repeat from block to block."""
    extra_data: bytes
    prev_randao: Hash32
    nonce: bytes
    base_fee_per_gas: int
    withdrawals_root: Hash32
    blob_gas_used: int
    excess_blob_gas: int
    parent_beacon_block_root: Hash32
    """keccak of the block's ConsensusData."""
    requests_hash: Hash32

    def to_rlp(self) -> bytes:
        return encode_rlp([int_bytes(v) if isinstance(v, int) else v for v in (getattr(self, n) for n in _NAMES)])

    @classmethod
    def from_rlp(cls, data: bytes) -> "Header":
        """Raises WireError for bytes that are not the canonical encoding of a Prague header."""
        items = read_list(decode_rlp(data, size_max=HEADER_BYTES_MAX, what="header"), "header", len(_NAMES))
        return cls(**{name: _read_field(name, item) for name, item in zip(_NAMES, items, strict=True)})

    @cached_property
    def hash(self) -> Hash32:
        return keccak256(self.to_rlp())

    def replace(self, **changes: Any) -> "Header":
        """A copy with some fields changed."""
        return replace(self, **changes)


class NextHeader(Header):
    """The header of a block that is still to come. `state_root` is that of the state it begins on: its parent's."""

    @classmethod
    def begun_on(cls, parent: Header, draft: Header) -> "NextHeader":
        """`draft`, which follows `parent`."""
        values = {name: getattr(draft, name) for name in _NAMES}
        return cls(**{**values, "state_root": parent.state_root})


_NAMES: Final = tuple(field.name for field in fields(Header))
_SIZES: Final = {"coinbase": 20, "bloom": 256, "nonce": 8}
_UINT64_FIELDS: Final = {"number", "gas_limit", "gas_used", "timestamp", "blob_gas_used", "excess_blob_gas"}
_UINT256_FIELDS: Final = {"difficulty", "base_fee_per_gas"}


def _read_field(name: str, item: Any) -> Any:
    if name in _UINT64_FIELDS:
        return read_uint(item, f"header.{name}", UINT64_MAX)
    if name in _UINT256_FIELDS:
        return read_uint(item, f"header.{name}")
    if name == "extra_data":
        data = read_bytes(item, "header.extra_data")
        if len(data) > 32:
            raise WireError("header.extra_data: at most 32 bytes are allowed")
        return data
    return read_fixed(item, f"header.{name}", _SIZES.get(name, 32))

"""Logs, receipts and blooms (EIP-658, EIP-2718; Yellow Paper 4.3.1), and what a node keeps beside a receipt."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from evm_runtime.fields import (
    UINT64_MAX,
    int_bytes,
    read_address,
    read_bytes,
    read_fixed,
    read_hash,
    read_list,
    read_uint,
)
from genesis.codec import decode_rlp, encode_rlp
from genesis.errors import WireError
from genesis.limits import BLOCK_BYTES_MAX
from genesis.primitives import Address, Hash32, keccak256


@dataclass(frozen=True, slots=True)
class Log:
    """An event: up to four topics and a body."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the receipts root commits to. `status` is 1 for success; gas is cumulative within the block; `bloom` 256 bytes."""

    kind: int
    status: int
    cumulative_gas_used: int
    bloom: bytes
    logs: tuple[Log, ...]

    def encode(self) -> bytes:
        """RLP, after the kind byte of a typed transaction."""
        logs = [[log.address, list(log.topics), log.data] for log in self.logs]
        payload = encode_rlp([int_bytes(self.status), int_bytes(self.cumulative_gas_used), self.bloom, logs])
        return payload if self.kind == 0 else bytes([self.kind]) + payload

    @classmethod
    def decode(cls, data: bytes) -> "Receipt":
        """Raises WireError for anything that `encode` would not have written."""
        if not data:
            raise WireError("receipt: no bytes")
        kind = data[0] if data[0] < 0x80 else 0
        if kind not in (0, 1, 2, 4) or data[0] == 0:
            raise WireError(f"receipt: unknown type {data[0]}")
        items = decode_rlp(data[1:] if kind else data, size_max=BLOCK_BYTES_MAX, what="receipt")
        status, gas, bloom, logs = read_list(items, "receipt", 4)
        return cls(
            kind,
            read_uint(status, "receipt status", 1),
            read_uint(gas, "receipt gas", UINT64_MAX),
            read_fixed(bloom, "receipt bloom", 256),
            tuple(_read_log(log) for log in read_list(logs, "receipt logs")),
        )


@dataclass(frozen=True, slots=True)
class ExecutedTransaction:
    """What the receipt's RLP leaves out. `gas_used` is this transaction's own, `effective_gas_price` in wei per gas."""

    gas_used: int
    contract_address: Address | None
    effective_gas_price: int

    def encode(self) -> bytes:
        return encode_rlp([int_bytes(self.gas_used), self.contract_address or b"", int_bytes(self.effective_gas_price)])

    @classmethod
    def decode(cls, data: bytes) -> "ExecutedTransaction":
        """Raises WireError for anything that `encode` would not have written."""
        gas, address, price = read_list(decode_rlp(data, size_max=128, what="result"), "result", 3)
        contract = None if address == b"" else read_address(address, "contract address")
        return cls(read_uint(gas, "gas used", UINT64_MAX), contract, read_uint(price, "gas price"))


def bloom_of(logs: Iterable[Log]) -> bytes:
    """The 2048-bit bloom of the addresses and topics of `logs`, as 256 bytes."""
    bits = 0
    for log in logs:
        bits |= _bloom_bits(log.address)
        for topic in log.topics:
            bits |= _bloom_bits(topic)
    return bits.to_bytes(256, "big")


def bloom_union(blooms: Iterable[bytes]) -> bytes:
    bits = 0
    for bloom in blooms:
        bits |= int.from_bytes(bloom, "big")
    return bits.to_bytes(256, "big")


def bloom_may_contain(bloom: bytes, value: bytes) -> bool:
    """False if no log under `bloom` has `value` as its address or as a topic."""
    bits = _bloom_bits(value)
    return int.from_bytes(bloom, "big") & bits == bits


@lru_cache(maxsize=4_096)
def _bloom_bits(value: bytes) -> int:
    digest = keccak256(value)
    bits = 0
    for place in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[place : place + 2], "big") & 2_047)
    return bits


def _read_log(item: object) -> Log:
    address, topics, data = read_list(item, "log", 3)
    return Log(
        read_address(address, "log address"),
        tuple(read_hash(topic, "log topic") for topic in read_list(topics, "log topics")),
        read_bytes(data, "log data"),
    )

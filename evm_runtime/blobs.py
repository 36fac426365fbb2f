"""Blob transactions (EIP-4844) as the executor runs them in Ethereum's official tests. The chain itself never meets one.

`decode_transaction` refuses type 3, for the chain has no blob layer: no node admits such a transaction and no block can hold
one. What a blob transaction pays, and what BLOBHASH and BLOBBASEFEE see, is still Ethereum's.
"""

from dataclasses import dataclass
from typing import Final

from evm_runtime.hardforks import BlobSchedule
from evm_runtime.transaction import Transaction
from genesis.errors import InvalidTransaction
from genesis.primitives import Hash32

GAS_PER_BLOB: Final = 1 << 17
_BASE_FEE_MIN: Final = 1
_VERSION_KZG: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class BlobTransaction(Transaction):
    """A transaction that pays for blobs beside its gas; `max_fee_per_blob_gas` in wei."""

    max_fee_per_blob_gas: int
    blob_hashes: tuple[Hash32, ...]


def blob_base_fee(excess_blob_gas: int, schedule: BlobSchedule) -> int:
    """Wei per blob gas: EIP-4844's integer approximation of e ** (excess / fraction)."""
    numerator, denominator = excess_blob_gas, schedule.base_fee_update_fraction
    term = _BASE_FEE_MIN * denominator
    output, step = 0, 1
    while term > 0:
        output += term
        term = term * numerator // (denominator * step)
        step += 1
    return output // denominator


def hashes_of(tx: Transaction) -> tuple[Hash32, ...]:
    """The versioned hashes of a transaction's blobs; none but for a BlobTransaction."""
    return tx.blob_hashes if isinstance(tx, BlobTransaction) else ()


def fee_max(tx: Transaction) -> int:
    """Wei that a sender must own for its blobs."""
    return GAS_PER_BLOB * len(tx.blob_hashes) * tx.max_fee_per_blob_gas if isinstance(tx, BlobTransaction) else 0


def fee(tx: Transaction, base_fee: int) -> int:
    """Wei that are burned for a transaction's blobs at `base_fee` (of blob gas)."""
    return GAS_PER_BLOB * len(hashes_of(tx)) * base_fee


def check_blobs(tx: BlobTransaction, schedule: BlobSchedule, base_fee: int) -> None:
    """EIP-4844's rules for one transaction, and EIP-7594's cap. Raises InvalidTransaction in geth's words."""
    if tx.to is None:
        raise InvalidTransaction("input string too short for common.Address: a blob transaction cannot create")
    if not tx.blob_hashes:
        raise InvalidTransaction("blob transaction missing blob hashes")
    if len(tx.blob_hashes) > schedule.transaction_max:
        raise InvalidTransaction(
            f"blob transaction has too many blobs (max: {schedule.transaction_max}, have: {len(tx.blob_hashes)})"
        )
    for index, blob_hash in enumerate(tx.blob_hashes):
        if not blob_hash.startswith(_VERSION_KZG):
            raise InvalidTransaction(f"blob {index} has invalid hash version")
    if tx.max_fee_per_blob_gas < base_fee:
        raise InvalidTransaction(
            f"max fee per blob gas less than block blob gas fee: address 0x{tx.sender.hex()}, "
            f"blobGasFeeCap: {tx.max_fee_per_blob_gas}, blobBaseFee: {base_fee}"
        )

"""Blob transactions (EIP-4844) from their bytes. The node has no decoder for them, because it takes none."""

from typing import Any

from evm_runtime.blobs import BlobTransaction
from evm_runtime.fields import read_address, read_bytes, read_fixed, read_hash, read_list, read_uint
from evm_runtime.transaction import BLOB, signing_hash
from genesis.codec import decode_rlp
from genesis.crypto import recover
from genesis.limits import TRANSACTION_BYTES_MAX
from genesis.primitives import keccak256


def decode_blob_transaction(raw: bytes) -> BlobTransaction:
    """Raises WireError for bytes that are no blob transaction."""
    what = "type 3 transaction"
    fields = read_list(decode_rlp(raw[1:], size_max=TRANSACTION_BYTES_MAX, what=what), what, 14)
    y_parity = read_uint(fields[11], "y parity", 1)
    r, s = read_uint(fields[12], "r"), read_uint(fields[13], "s")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([y_parity])
    return BlobTransaction(
        kind=BLOB,
        chain_id=read_uint(fields[0], "chain id"),
        nonce=read_uint(fields[1], "nonce"),
        max_priority_fee_per_gas=read_uint(fields[2], "priority fee"),
        max_fee_per_gas=read_uint(fields[3], "max fee"),
        gas_limit=read_uint(fields[4], "gas limit"),
        to=read_address(fields[5], "to (a blob transaction cannot create)"),
        value=read_uint(fields[6], "value"),
        data=read_bytes(fields[7], "data"),
        access_list=tuple(_access(entry) for entry in read_list(fields[8], "access list")),
        authorizations=(),
        y_parity=y_parity,
        v=y_parity,
        r=r,
        s=s,
        sender=recover(signing_hash(BLOB, fields[:11]), signature),
        hash=keccak256(raw),
        raw=raw,
        max_fee_per_blob_gas=read_uint(fields[9], "max fee per blob gas"),
        blob_hashes=tuple(read_hash(item, "blob hash") for item in read_list(fields[10], "blob hashes")),
    )


def _access(entry: Any) -> tuple[Any, tuple[int, ...]]:
    address, keys = read_list(entry, "access list entry", 2)
    slots = [int.from_bytes(read_fixed(key, "storage key", 32), "big") for key in read_list(keys, "storage keys")]
    return read_address(address, "access list address"), tuple(slots)

"""Transactions from their fields: what is signed, and the bytes on the wire. (`transaction.py` reads them back.)"""

from dataclasses import replace
from typing import Any

from evm_runtime.fields import int_bytes
from evm_runtime.transaction import (
    ACCESS_LIST,
    LEGACY,
    SET_CODE,
    AccessList,
    Authorization,
    Transaction,
    signing_hash,
)
from genesis.codec import encode_rlp
from genesis.crypto import sign
from genesis.primitives import keccak256


def sign_transaction(tx: Transaction, key: bytes) -> Transaction:
    """`tx` signed by a 32-byte private key (a legacy one by EIP-155); its sender must be that key's address."""
    fields = _unsigned(tx)
    if tx.kind == LEGACY and tx.chain_id is not None:
        fields += [int_bytes(tx.chain_id), b"", b""]
    signature = sign(key, signing_hash(tx.kind, fields))
    parity = signature[64]
    v = parity if tx.kind != LEGACY else parity + (27 if tx.chain_id is None else 35 + 2 * tx.chain_id)
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    return encoded(replace(tx, y_parity=parity, v=v, r=r, s=s))


def encoded(tx: Transaction) -> Transaction:
    """`tx` with the `raw` and `hash` that its fields give, signature as it is (zero for one that nobody signed)."""
    payload = encode_rlp([*_unsigned(tx), int_bytes(tx.v), int_bytes(tx.r), int_bytes(tx.s)])
    raw = payload if tx.kind == LEGACY else bytes([tx.kind]) + payload
    return replace(tx, raw=raw, hash=keccak256(raw))


def _unsigned(tx: Transaction) -> list[Any]:
    """The fields before the signature, in their order on the wire."""
    body = [int_bytes(tx.gas_limit), tx.to or b"", int_bytes(tx.value), tx.data]
    if tx.kind == LEGACY:
        return [int_bytes(tx.nonce), int_bytes(tx.max_fee_per_gas), *body]
    prices = [tx.max_fee_per_gas] if tx.kind == ACCESS_LIST else [tx.max_priority_fee_per_gas, tx.max_fee_per_gas]
    head = [int_bytes(number) for number in (tx.chain_id or 0, tx.nonce, *prices)]
    fields = [*head, *body, _access_list(tx.access_list)]
    return [*fields, _authorizations(tx.authorizations)] if tx.kind == SET_CODE else fields


def _access_list(entries: AccessList) -> list[Any]:
    return [[address, [slot.to_bytes(32, "big") for slot in slots]] for address, slots in entries]


def _authorizations(authorizations: tuple[Authorization, ...]) -> list[Any]:
    return [
        [*map(int_bytes, (each.chain_id,)), each.address, *map(int_bytes, (each.nonce, each.y_parity, each.r, each.s))]
        for each in authorizations
    ]

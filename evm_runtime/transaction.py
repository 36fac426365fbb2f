"""Transactions: decode once, recover the sender once, check what needs no state.

Kinds: 0 legacy (EIP-155, and before it, so that keyless deployments work), 1 (EIP-2930), 2 (EIP-1559), 4 (EIP-7702). Kind 3
(EIP-4844) is refused: the chain has no blob layer. Error texts are those of geth where tools look at them.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from evm_runtime import work
from evm_runtime.fields import (
    UINT64_MAX,
    int_bytes,
    read_address,
    read_bytes,
    read_fixed,
    read_list,
    read_uint,
)
from evm_runtime.gas import INITCODE_BYTES_MAX, floor_gas, intrinsic_gas
from evm_runtime.hardforks import fork_at
from genesis.chain_spec import ChainSpec
from genesis.codec import decode_rlp, encode_rlp
from genesis.crypto import SECP256K1_HALF_N, SECP256K1_N, recover_any
from genesis.errors import InvalidTransaction, WireError
from genesis.limits import TRANSACTION_BYTES_MAX
from genesis.primitives import Address, Hash32, keccak256

LEGACY: Final = 0
ACCESS_LIST: Final = 1
DYNAMIC_FEE: Final = 2
BLOB: Final = 3
SET_CODE: Final = 4

NONCE_MAX: Final = UINT64_MAX - 1
"""EIP-2681: a nonce stays below 2**64 - 1."""
_AUTHORIZATION_MAGIC: Final = b"\x05"
_FIELD_COUNTS: Final = {ACCESS_LIST: 11, DYNAMIC_FEE: 12, SET_CODE: 13}

AccessList = tuple[tuple[Address, tuple[int, ...]], ...]


class GasTooLow(InvalidTransaction):
    """The gas limit is below what the transaction costs before it runs."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """An EIP-7702 tuple: `authority()` lets its account run the code of `address` (zero: clears the delegation)."""

    chain_id: int
    address: Address
    nonce: int
    y_parity: int
    r: int
    s: int

    def authority(self) -> Address | None:
        """Who signed it, or None if the signature is not a valid low-s one. One signature recovery."""
        message = encode_rlp([int_bytes(self.chain_id), self.address, int_bytes(self.nonce)])
        try:
            r_s = _r_s(self.y_parity, self.r, self.s)
        except InvalidTransaction:
            return None
        return recover_any(keccak256(_AUTHORIZATION_MAGIC + message), r_s, self.y_parity)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction with its sender. Fees in wei per gas; for kinds 0 and 1 both fee fields are the gas price."""

    kind: int
    chain_id: int | None
    """None for a legacy transaction signed without EIP-155."""
    nonce: int
    max_priority_fee_per_gas: int
    max_fee_per_gas: int
    gas_limit: int
    to: Address | None
    """None creates a contract."""
    value: int
    data: bytes
    access_list: AccessList
    authorizations: tuple[Authorization, ...]
    y_parity: int
    v: int
    """As on the wire: 27/28 or 35 + 2 * chain id + parity for legacy transactions, else the parity."""
    r: int
    s: int
    sender: Address
    hash: Hash32
    raw: bytes

    @property
    def intrinsic_gas(self) -> int:
        return intrinsic_gas(
            self.data,
            is_create=self.to is None,
            addresses=len(self.access_list),
            slots=sum(len(slots) for _, slots in self.access_list),
            authorizations=len(self.authorizations),
        )

    @property
    def floor_gas(self) -> int:
        return floor_gas(self.data)

    def effective_gas_price(self, base_fee: int) -> int:
        """Wei per gas paid in a block with `base_fee` (which must not exceed `max_fee_per_gas`)."""
        return min(self.max_fee_per_gas, base_fee + self.max_priority_fee_per_gas)


def decode_transaction(raw: bytes, *, chain_id: int) -> Transaction:
    """Decode a transaction as it stands on the wire (EIP-2718) and recover its sender.

    Raises WireError for bytes that are no canonical transaction, InvalidTransaction for more of them than any chain takes, a
    kind that this chain does not take, another chain's id, or a signature that is not valid.
    """
    parsed = parse_transaction(raw, chain_id=chain_id)
    return parsed.signed_by(parsed.recover())


class ParsedTransaction(NamedTuple):
    """A transaction whose sender is not known yet: for recovering many of them on several threads.

    `r_s` is r ‖ s, 64 bytes, both in range (EIP-2: low s).
    """

    digest: Hash32
    r_s: bytes
    y_parity: int
    fields: dict[str, Any]
    """Those of Transaction but the sender."""

    def recover(self) -> Address | None:
        """The signer, or None if the signature has none. Nearly all of it is C that other threads can run beside."""
        return recover_any(self.digest, self.r_s, self.y_parity)

    def signed_by(self, sender: Address | None) -> Transaction:
        """The transaction, given what `recover` found. Raises InvalidTransaction for None."""
        if sender is None:
            raise InvalidTransaction("invalid transaction v, r, s values: the signature does not recover")
        return Transaction(sender=sender, **self.fields)


def parse_transaction(raw: bytes, *, chain_id: int) -> ParsedTransaction:
    """The first part of `decode_transaction`, all but the recovery. Raises as it does."""
    if not raw:
        raise WireError("transaction: no bytes")
    _check_size(raw, TRANSACTION_BYTES_MAX)
    if raw[0] >= 0xC0:
        return _parse_legacy(raw, chain_id)
    kind = raw[0]
    if kind == BLOB:
        raise InvalidTransaction(
            "transaction type not supported: blob transactions (type 3) have no place on this chain"
        )
    if kind not in _FIELD_COUNTS:
        raise InvalidTransaction(f"transaction type not supported: {kind:#04x}")
    what = f"type {kind} transaction"
    fields = decode_rlp(raw[1:], size_max=TRANSACTION_BYTES_MAX, what=what)
    return _parse_typed(kind, read_list(fields, what, _FIELD_COUNTS[kind]), raw, chain_id)


def check_transaction(tx: Transaction, spec: ChainSpec, height: int | None = None) -> None:
    """The rules that need no state, in block `height` (None: of the schedule's last fork). Raises InvalidTransaction."""
    _check_size(tx.raw, spec.block.transaction_bytes_max)
    entries = sum(1 + len(keys) for _, keys in tx.access_list)
    if entries > spec.block.access_list_entries_max:
        raise InvalidTransaction(f"access list too long: {entries} entries, limit {spec.block.access_list_entries_max}")
    if tx.chain_id is not None and tx.chain_id != spec.chain_id:
        raise InvalidTransaction(_wrong_chain(tx.chain_id, spec.chain_id))
    if tx.nonce > NONCE_MAX:
        raise InvalidTransaction(f"nonce has max value: address 0x{tx.sender.hex()}, nonce: {tx.nonce}")
    if tx.gas_limit > spec.block.gas_limit:
        raise InvalidTransaction(f"exceeds block gas limit: have {tx.gas_limit}, limit {spec.block.gas_limit}")
    gas_max = fork_at(spec.forks, spec.forks[-1].height if height is None else height).transaction_gas_max
    if gas_max is not None and tx.gas_limit > gas_max:
        raise InvalidTransaction(f"transaction gas limit too high (cap: {gas_max}, tx: {tx.gas_limit})")
    if work.limit(tx.gas_limit, spec.block) > spec.block.work_limit:
        raise InvalidTransaction(
            f"exceeds block work limit: a gas limit of {tx.gas_limit} may need {work.limit(tx.gas_limit, spec.block)} work, "
            f"a block has {spec.block.work_limit}"
        )
    if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
        raise InvalidTransaction(
            f"max priority fee per gas higher than max fee per gas: address 0x{tx.sender.hex()}, "
            f"maxPriorityFeePerGas: {tx.max_priority_fee_per_gas}, maxFeePerGas: {tx.max_fee_per_gas}"
        )
    if tx.kind == SET_CODE and not tx.authorizations:
        raise InvalidTransaction("EIP-7702 transaction with empty auth list")
    check_gas(tx)


def _check_size(raw: bytes, bytes_max: int) -> None:
    if len(raw) > bytes_max:
        raise InvalidTransaction(f"oversized data: transaction size {len(raw)}, limit {bytes_max}")


def check_gas(tx: Transaction) -> None:
    """Initcode size, intrinsic gas and calldata floor (EIP-3860, EIP-7623). Raises InvalidTransaction.

    These come before execution because py-evm meets them too late, with nonce and balance already changed.
    """
    if tx.to is None and len(tx.data) > INITCODE_BYTES_MAX:
        raise InvalidTransaction(f"max initcode size exceeded: code size {len(tx.data)} limit {INITCODE_BYTES_MAX}")
    if tx.gas_limit < tx.intrinsic_gas:
        raise GasTooLow(f"intrinsic gas too low: have {tx.gas_limit}, want {tx.intrinsic_gas}")
    if tx.gas_limit < tx.floor_gas:
        raise GasTooLow(f"insufficient gas for floor data gas cost: have {tx.gas_limit}, want {tx.floor_gas}")


def signing_hash(kind: int, fields: list[Any]) -> Hash32:
    """What the sender signs: the fields without the signature, after the kind byte of a typed transaction."""
    payload = encode_rlp(fields)
    return keccak256(payload if kind == LEGACY else bytes([kind]) + payload)


# ---------------------------------------------------------------- decoding


def _parse_legacy(raw: bytes, chain_id: int) -> ParsedTransaction:
    what = "legacy transaction"
    fields = read_list(decode_rlp(raw, size_max=TRANSACTION_BYTES_MAX, what=what), what, 9)
    gas_price = read_uint(fields[1], "gas price")
    v = read_uint(fields[6], "v")
    r, s = read_uint(fields[7], "r"), read_uint(fields[8], "s")
    signed: list[Any] = fields[:6]
    if v in (27, 28):
        own_chain, y_parity = None, v - 27
    elif v >= 35:
        own_chain, y_parity = (v - 35) // 2, (v - 35) % 2
        if own_chain != chain_id:
            raise InvalidTransaction(_wrong_chain(own_chain, chain_id))
        signed = [*signed, int_bytes(own_chain), b"", b""]
    else:
        raise InvalidTransaction("invalid transaction v, r, s values")
    parsed = {
        "kind": LEGACY,
        "chain_id": own_chain,
        "nonce": read_uint(fields[0], "nonce", UINT64_MAX),
        "max_priority_fee_per_gas": gas_price,
        "max_fee_per_gas": gas_price,
        "gas_limit": read_uint(fields[2], "gas limit", UINT64_MAX),
        "to": _read_to(fields[3]),
        "value": read_uint(fields[4], "value"),
        "data": read_bytes(fields[5], "data"),
        "access_list": (),
        "authorizations": (),
        "y_parity": y_parity,
        "v": v,
        "r": r,
        "s": s,
        "hash": keccak256(raw),
        "raw": raw,
    }
    return ParsedTransaction(signing_hash(LEGACY, signed), _r_s(y_parity, r, s), y_parity, parsed)


def _parse_typed(kind: int, fields: list[Any], raw: bytes, chain_id: int) -> ParsedTransaction:
    own_chain = read_uint(fields[0], "chain id")
    if own_chain != chain_id:
        raise InvalidTransaction(_wrong_chain(own_chain, chain_id))
    nonce = read_uint(fields[1], "nonce", UINT64_MAX)
    priority_fee = read_uint(fields[2], "priority fee" if kind != ACCESS_LIST else "gas price")
    rest = fields[3:]
    max_fee = priority_fee if kind == ACCESS_LIST else read_uint(rest.pop(0), "max fee")
    gas_limit, to, value, data, access_list = rest[:5]
    y_parity = read_uint(fields[-3], "y parity", 1)
    r, s = read_uint(fields[-2], "r"), read_uint(fields[-1], "s")
    parsed = {
        "kind": kind,
        "chain_id": own_chain,
        "nonce": nonce,
        "max_priority_fee_per_gas": priority_fee,
        "max_fee_per_gas": max_fee,
        "gas_limit": read_uint(gas_limit, "gas limit", UINT64_MAX),
        "to": _read_to(to) if kind != SET_CODE else read_address(to, "to (a type 4 transaction cannot create)"),
        "value": read_uint(value, "value"),
        "data": read_bytes(data, "data"),
        "access_list": _read_access_list(access_list),
        "authorizations": _read_authorizations(rest[5]) if kind == SET_CODE else (),
        "y_parity": y_parity,
        "v": y_parity,
        "r": r,
        "s": s,
        "hash": keccak256(raw),
        "raw": raw,
    }
    return ParsedTransaction(signing_hash(kind, fields[:-3]), _r_s(y_parity, r, s), y_parity, parsed)


def _read_to(item: Any) -> Address | None:
    return None if item == b"" else read_address(item, "to")


def _read_access_list(item: Any) -> AccessList:
    entries = []
    for entry in read_list(item, "access list"):
        address, slots = read_list(entry, "access list entry", 2)
        keys = tuple(int.from_bytes(read_fixed(slot, "storage key", 32), "big") for slot in read_list(slots, "keys"))
        entries.append((read_address(address, "access list address"), keys))
    return tuple(entries)


def _read_authorizations(item: Any) -> tuple[Authorization, ...]:
    found = []
    for entry in read_list(item, "authorization list"):
        chain_id, address, nonce, y_parity, r, s = read_list(entry, "authorization", 6)
        found.append(
            Authorization(
                chain_id=read_uint(chain_id, "authorization chain id"),
                address=read_address(address, "authorization address"),
                nonce=read_uint(nonce, "authorization nonce", UINT64_MAX),
                y_parity=read_uint(y_parity, "authorization y parity", 255),
                r=read_uint(r, "authorization r"),
                s=read_uint(s, "authorization s"),
            )
        )
    return tuple(found)


def _r_s(y_parity: int, r: int, s: int) -> bytes:
    """EIP-2 (low s) holds for every kind; raises InvalidTransaction as geth words it."""
    if y_parity > 1 or not 0 < r < SECP256K1_N or not 0 < s <= SECP256K1_HALF_N:
        raise InvalidTransaction("invalid transaction v, r, s values")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _wrong_chain(have: int, want: int) -> str:
    return f"invalid chain id for signer: have {have} want {want}"

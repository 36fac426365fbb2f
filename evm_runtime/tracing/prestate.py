"""geth's prestateTracer: the accounts and slots that a transaction looks at, as they were before it, and in diff mode what it
made of those that it changed."""

from dataclasses import dataclass, field
from typing import Any, Final

from eth_utils.crypto import keccak

from evm_runtime.fork import Computation, State
from evm_runtime.source import EMPTY_ACCOUNT, Account
from evm_runtime.tracing.tracer import Tracer, address_of_word, memory_of, stack_of
from evm_runtime.transaction import Transaction
from evm_runtime.transition import Outcome, contract_address
from genesis.primitives import Address

_SLOAD, _SSTORE = 0x54, 0x55
_LOOKS_AT_TOP: Final = (0x31, 0x3B, 0x3C, 0x3F, 0xFF)
"""BALANCE, EXTCODESIZE, EXTCODECOPY, EXTCODEHASH, SELFDESTRUCT"""
_CALLS: Final = (0xF1, 0xF2, 0xF4, 0xFA)
_CREATE, _CREATE2 = 0xF0, 0xF5
_LOOKING: Final = frozenset({_SLOAD, _SSTORE, *_LOOKS_AT_TOP, *_CALLS, _CREATE, _CREATE2})


@dataclass(slots=True)
class _View:
    """One account at one time."""

    balance: int
    nonce: int
    code: bytes
    storage: dict[int, int] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        return bool(self.nonce or self.code or self.balance or any(self.storage.values()))


class PrestateTracer(Tracer):
    """Options: `diffMode`, `disableCode`, `disableStorage`, `includeEmpty` (in diff mode: accounts that were not there)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._diff = bool(config.get("diffMode"))
        self._code = not config.get("disableCode")
        self._storage = not config.get("disableStorage")
        self._include_empty = bool(config.get("includeEmpty"))
        self._seen: dict[Address, dict[int, None]] = {}

    def begin(self, state: State, tx: Transaction) -> None:
        for address in (tx.sender, tx.to or contract_address(tx.sender, tx.nonce), Address(state.coinbase)):
            self._look(address)
        for authorization in tx.authorizations:
            authority = authorization.authority()
            if authority is not None:
                self._look(authority)

    def step(self, computation: Computation, opcode: int, place: int) -> None:
        if opcode not in _LOOKING:
            return
        stack = stack_of(computation)
        own = Address(computation.msg.storage_address)
        if opcode in (_SLOAD, _SSTORE) and stack:
            self._look(own)[stack[-1]] = None
        elif opcode in _LOOKS_AT_TOP and stack:
            self._look(address_of_word(stack[-1]))
        elif opcode in _CALLS and len(stack) >= 5:
            self._look(address_of_word(stack[-2]))
        elif opcode == _CREATE and len(stack) >= 3:
            self._look(contract_address(own, computation.state.account_db.get_nonce(own)))
        elif opcode == _CREATE2 and len(stack) >= 4:
            self._look(_create2_address(own, computation))

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        db = state.account_db
        accounts, slots = db.accounts_before(), db.slots_before()
        for address, slot in slots:  # native contracts write without opcodes
            self._look(address)[slot] = None
        before = {
            address: self._view(
                state,
                accounts[address] if address in accounts else _account(state, address),
                {slot: slots.get((address, slot), db.get_storage(address, slot)) for slot in seen},
            )
            for address, seen in self._seen.items()
        }
        if not self._diff:
            created = contract_address(tx.sender, tx.nonce) if tx.to is None else None
            return {
                "0x" + address.hex(): self._json(view)
                for address, view in before.items()
                if view.exists or address != created
            }
        return self._difference(state, before)

    def _difference(self, state: State, before: dict[Address, _View]) -> Any:
        pre, post = {}, {}
        for address, old in before.items():
            account = _account(state, address)
            new = self._view(
                state, account, {slot: state.account_db.get_storage(address, slot) for slot in old.storage}
            )
            if new == old:
                continue
            changed = [slot for slot, value in old.storage.items() if new.storage[slot] != value]
            name = "0x" + address.hex()
            if old.exists or self._include_empty:
                pre[name] = self._json(_View(old.balance, old.nonce, old.code, _kept(old.storage, changed)))
            if account is not None:
                post[name] = self._changes(old, new, _kept(new.storage, changed))
        return {"post": post, "pre": pre}

    def _changes(self, old: _View, new: _View, storage: dict[int, int]) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if new.balance != old.balance:
            entry["balance"] = hex(new.balance)
        if new.nonce != old.nonce:
            entry["nonce"] = new.nonce
        if new.code != old.code:
            entry["code"] = "0x" + new.code.hex()
        if storage:
            entry["storage"] = _words(storage)
        return entry

    def _json(self, view: _View) -> dict[str, Any]:
        entry: dict[str, Any] = {"balance": hex(view.balance)}
        if view.code:
            entry["code"] = "0x" + view.code.hex()
        if view.nonce:
            entry["nonce"] = view.nonce
        if view.storage:
            entry["storage"] = _words(view.storage)
        return entry

    def _view(self, state: State, account: Account | None, storage: dict[int, int]) -> _View:
        nonce, balance, _, code_hash = account or EMPTY_ACCOUNT
        code = state.account_db.code_by_hash(code_hash) if self._code else b""
        return _View(balance, nonce, code, storage if self._storage else {})

    def _look(self, address: Address) -> dict[int, None]:
        return self._seen.setdefault(address, {})


def _account(state: State, address: Address) -> Account | None:
    """The account now; None if there is none."""
    db = state.account_db
    if not db.account_exists(address):
        return None
    nonce, balance, code_hash = db.get_nonce(address), db.get_balance(address), db.get_code_hash(address)
    return nonce, balance, EMPTY_ACCOUNT[2], code_hash


def _kept(storage: dict[int, int], changed: list[int]) -> dict[int, int]:
    """The changed slots, without those that hold nothing."""
    return {slot: storage[slot] for slot in changed if storage[slot]}


def _words(storage: dict[int, int]) -> dict[str, str]:
    return {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in storage.items()}


def _create2_address(creator: Address, computation: Computation) -> Address:
    _, offset, size, salt = stack_of(computation)[-1:-5:-1]
    memory = memory_of(computation)
    # Memory is not extended yet; a size that would be out of gas is no reason to make so many zeros.
    if size > (1 << 20):
        return creator
    initcode = bytes(memory[offset : offset + size]).ljust(size, b"\0")
    return Address(keccak(b"\xff" + creator + salt.to_bytes(32, "big") + keccak(initcode))[12:])

"""geth's prestateTracer: the accounts and slots that a transaction looks at, as they were before it, and in diff mode what it
made of those that it changed."""

from dataclasses import dataclass, field
from typing import Any, Final

from eth_utils.crypto import keccak

from evm_runtime.computation import Computation, State
from evm_runtime.state.source import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account
from evm_runtime.tracing.frames import FAULTS, Ending, Frame, address_of_word, memory_of, stack_of
from evm_runtime.tracing.tracer import Tracer
from evm_runtime.transaction import Transaction
from evm_runtime.transition import Outcome, contract_address, delegation
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
    code_hash: bytes
    code: bytes
    storage: dict[int, int] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether there was something. (geth counts slots that were looked at as nothing, even where they hold something.)"""
        return bool(self.nonce or self.balance or self.code_hash != EMPTY_CODE_HASH)


class PrestateTracer(Tracer):
    """Options: `diffMode`, `disableCode`, `disableStorage`, `includeEmpty` (accounts that were not there; not in diff mode).

    Raises ValueError for options that exclude each other.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._diff = bool(config.get("diffMode"))
        self._code = not config.get("disableCode")
        self._storage = not config.get("disableStorage")
        self._include_empty = bool(config.get("includeEmpty"))
        if self._diff and self._include_empty:
            raise ValueError("cannot use diffMode with includeEmpty")
        self._seen: dict[Address, dict[int, None]] = {}
        self._looking: list[tuple[Address, int | None]] = []
        """What the opcode that runs looks at: seen once it has not run out of gas."""
        self._created: set[Address] = set()
        self._creating: Address | None = None

    def begin(self, state: State, tx: Transaction) -> None:
        if tx.to is None:
            to = contract_address(tx.sender, tx.nonce)
            self._created.add(to)
        else:
            to = tx.to
            self._look_at_delegate(state, to)
        for address in (tx.sender, to, Address(state.coinbase)):
            self._look(address)
        for authorization in tx.authorizations:
            authority = authorization.authority()
            if authority is not None:
                self._look(authority)

    def step(self, computation: Computation, opcode: int, place: int) -> None:
        self._settle()
        if opcode not in _LOOKING:
            return
        stack = stack_of(computation)
        own = Address(computation.msg.storage_address)
        if opcode in (_SLOAD, _SSTORE) and stack:
            self._looking = [(own, stack[-1])]
        elif opcode in _LOOKS_AT_TOP and stack:
            self._looking = [(address_of_word(stack[-1]), None)]
        elif opcode in _CALLS and len(stack) >= 5:
            called = address_of_word(stack[-2])
            delegate = delegation(computation.state.account_db.get_code(called))
            self._looking = [(each, None) for each in (called, delegate) if each is not None]
        elif opcode == _CREATE and len(stack) >= 3:
            self._creating = contract_address(own, computation.state.account_db.get_nonce(own))
        elif opcode == _CREATE2 and len(stack) >= 4:
            self._creating = _create2_address(own, computation)
        if self._creating is not None:
            self._looking = [(self._creating, None)]

    def enter(self, frame: Frame) -> None:
        self._settle()

    def leave(self, ending: Ending) -> None:
        if isinstance(ending.error, FAULTS):
            self._looking, self._creating = [], None
        self._settle()

    finish = leave

    def _settle(self) -> None:
        for address, slot in self._looking:
            seen = self._look(address)
            if slot is not None:
                seen[slot] = None
        if self._creating is not None:
            self._created.add(self._creating)
        self._looking, self._creating = [], None

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        db = state.account_db
        if tx.to is not None:
            self._look_at_delegate(state, tx.to)  # anew: the transaction itself may have delegated it
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
        if self._diff:
            return self._difference(state, before)
        return {
            "0x" + address.hex(): self._json(view)
            for address, view in before.items()
            if view.exists or self._include_empty
        }

    def _difference(self, state: State, before: dict[Address, _View]) -> Any:
        pre, post = {}, {}
        for address, old in before.items():
            name = "0x" + address.hex()
            account = _account(state, address)
            if account is None and address in self._created and old.exists:
                pre[name] = self._json(old)  # made and destroyed: all that was seen of it
                continue
            new = self._view(
                state, account, {slot: state.account_db.get_storage(address, slot) for slot in old.storage}
            )
            if new == old:
                continue
            changed = [slot for slot, value in old.storage.items() if new.storage[slot] != value]
            if old.exists:
                kept = _kept(old.storage, changed)
                pre[name] = self._json(_View(old.balance, old.nonce, old.code_hash, old.code, kept))
            if account is not None or old.exists:
                post[name] = self._changes(old, new, _kept(new.storage, changed))
        return {"post": post, "pre": pre}

    def _changes(self, old: _View, new: _View, storage: dict[int, int]) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if new.balance != old.balance:
            entry["balance"] = hex(new.balance)
        if new.code != old.code:
            entry["code"] = "0x" + new.code.hex()
        if new.code_hash != old.code_hash:
            entry["codeHash"] = "0x" + new.code_hash.hex()
        if new.nonce != old.nonce:
            entry["nonce"] = new.nonce
        if storage:
            entry["storage"] = _words(storage)
        return entry

    def _json(self, view: _View) -> dict[str, Any]:
        entry: dict[str, Any] = {"balance": hex(view.balance)}
        if view.code:
            entry["code"] = "0x" + view.code.hex()
        if view.code_hash != EMPTY_CODE_HASH:
            entry["codeHash"] = "0x" + view.code_hash.hex()
        if view.nonce:
            entry["nonce"] = view.nonce
        if view.storage:
            entry["storage"] = _words(view.storage)
        return entry

    def _view(self, state: State, account: Account | None, storage: dict[int, int]) -> _View:
        nonce, balance, _, code_hash = account or EMPTY_ACCOUNT
        code = state.account_db.code_by_hash(code_hash) if self._code else b""
        return _View(balance, nonce, code_hash, code, storage if self._storage else {})

    def _look(self, address: Address) -> dict[int, None]:
        return self._seen.setdefault(address, {})

    def _look_at_delegate(self, state: State, address: Address) -> None:
        delegate = delegation(state.account_db.get_code(address))
        if delegate is not None:
            self._look(delegate)


def _account(state: State, address: Address) -> Account | None:
    """The account now; None if there is none."""
    db = state.account_db
    if not db.account_exists(address):
        return None
    nonce, balance, code_hash = db.get_nonce(address), db.get_balance(address), db.get_code_hash(address)
    return Account(nonce, balance, EMPTY_ACCOUNT.storage_root, code_hash)


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

"""The same accounts and transactions on three machines: stock py-evm, ours without the compiled tier, ours with it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.state import PragueState

from evm_runtime import transition, trie
from evm_runtime.fork import State, computation_class
from evm_runtime.hardforks import PRAGUE, Fork
from evm_runtime.jit.cache import JitLimits
from evm_runtime.kv import MemoryStore
from evm_runtime.llvm import engine
from evm_runtime.source import FlatSource
from evm_runtime.state import AccountDB
from evm_runtime.tiers import Tiers
from evm_runtime.transaction import Transaction, check_gas
from genesis.errors import InvalidTransaction
from tests.unit.evm_runtime.chain import CHAIN_ID

engine.load()  # or the native tier would run nothing natively

BASE_FEE = 7
COINBASE = b"\xc0" * 20
GAS_LIMIT = 30_000_000

TIERS = {
    "interpreted": Tiers(native=False, jit=False),
    "compiled": Tiers(native=False, jit_limits=JitLimits(steps_per_line=0)),
    "compiled while running": Tiers(native=False, jit_limits=JitLimits(steps_per_line=1, steps_between_looks=1)),
    "native": Tiers(native=True, jit=False),
}


@dataclass
class Account:
    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: dict[int, int] = field(default_factory=dict)


Accounts = Mapping[bytes, Account]


@dataclass(frozen=True)
class Result:
    """What one transaction did, as far as both stock py-evm and ours tell it."""

    status: int
    gas_used: int
    output: bytes
    logs: tuple[Any, ...]
    refund: int | None
    """None where the transaction failed, for stock py-evm does not tell then."""


@dataclass(frozen=True)
class Details:
    """What only our machines tell."""

    error: str
    refund: int
    warm: tuple[Any, ...]


@dataclass(frozen=True)
class Run:
    results: tuple[Result | None, ...]
    """None for a transaction that was invalid when its turn came."""
    root: bytes
    details: tuple[Details | None, ...] = ()


def context() -> ExecutionContext:
    made: Any = ExecutionContext
    return made(  # type: ignore[no-any-return]
        coinbase=COINBASE,
        timestamp=1_800_000_000,
        block_number=1,
        difficulty=0,
        mix_hash=b"\x5a" * 32,
        gas_limit=GAS_LIMIT,
        prev_hashes=(),
        chain_id=CHAIN_ID,
        base_fee_per_gas=BASE_FEE,
        excess_blob_gas=0,
    )


def run_stock(accounts: Accounts, transactions: Sequence[Transaction], valid: Sequence[bool]) -> Run:
    state: Any = PragueState(AtomicDB(MemoryDB()), context(), trie.EMPTY_ROOT)  # type: ignore[arg-type]
    _fill(state, accounts)
    decode = PragueVM.get_transaction_builder().decode
    results: list[Result | None] = []
    for tx, is_valid in zip(transactions, valid, strict=True):
        if not is_valid:
            results.append(None)
            continue
        state.lock_changes()
        stock_tx: Any = decode(tx.raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # stock py-evm warns at each SELFDESTRUCT
            computation = state.apply_transaction(stock_tx)
        logs = tuple(
            (bytes(address), tuple(topic.to_bytes(32, "big") for topic in topics), bytes(data))
            for address, topics, data in computation.get_log_entries()
        )
        results.append(
            Result(
                int(computation.is_success),
                PragueVM.finalize_gas_used(stock_tx, computation),
                bytes(computation.output),
                logs,
                None if computation.is_error else computation.get_gas_refund() - computation.msg.refund,
            )
        )
    state.lock_changes()
    return Run(tuple(results), state.make_state_root())


def run_ours(accounts: Accounts, transactions: Sequence[Transaction], tiers: Tiers, fork: Fork = PRAGUE) -> Run:
    store = MemoryStore()
    db = AccountDB(FlatSource(store), trie.EMPTY_ROOT)
    _fill(db, accounts)
    root, writes = db.finalize()
    store.apply(writes)
    db = AccountDB(FlatSource(store), root)
    state = State(db, context(), computation_class({}, tiers.make(), fork))
    results: list[Result | None] = []
    details: list[Details | None] = []
    for tx in transactions:
        try:
            check_gas(tx)
            transition.check_sender(state, tx, BASE_FEE)
        except InvalidTransaction:
            results.append(None)
            details.append(None)
            continue
        outcome = transition.execute(state, tx, BASE_FEE)
        logs = tuple((log.address, log.topics, log.data) for log in outcome.logs)
        refund = db.refund if outcome.succeeded else None
        results.append(Result(int(outcome.succeeded), outcome.gas_used, outcome.output, logs, refund))
        details.append(Details(type(outcome.error).__name__, db.refund, tuple(sorted(map(repr, db._warm)))))
    return Run(tuple(results), db.finalize()[0], tuple(details))


def _fill(state: Any, accounts: Accounts) -> None:
    for address, account in accounts.items():
        state.set_balance(address, account.balance)
        state.set_nonce(address, account.nonce)
        if account.code:
            state.set_code(address, account.code)
        for slot, value in account.storage.items():
            state.set_storage(address, slot, value)

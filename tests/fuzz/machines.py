"""Our own machines: the reference loop, and every tier above it. A new tier is one line in `TIERS`."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from eth.vm.execution_context import ExecutionContext

from evm_runtime import tracing, transition
from evm_runtime.computation import State, computation_class
from evm_runtime.hardforks import OSAKA, PRAGUE, Fork
from evm_runtime.jit.cache import JitLimits
from evm_runtime.llvm import engine
from evm_runtime.native import Base, NativeContract
from evm_runtime.state import trie
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import MemoryStore
from evm_runtime.state.source import FlatSource
from evm_runtime.tiers import Tiers
from evm_runtime.transaction import Transaction, check_gas
from genesis.errors import InvalidTransaction
from genesis.primitives import ZERO_HASH
from tests.fuzz.model import (
    BASE_FEE,
    COINBASE,
    GAS_LIMIT,
    NUMBER,
    PREV_RANDAO,
    TIMESTAMP,
    Account,
    Accounts,
    Result,
    Run,
    Step,
)
from tests.unit.evm_runtime.chain import CHAIN_ID

__all__ = ["TIERS", "Account", "Run", "context", "fill", "run_ours"]

engine.load()  # or the native tier would run nothing natively

TIERS = {
    "interpreted": Tiers(native=False, jit=False),
    "compiled": Tiers(native=False, jit_limits=JitLimits(steps_per_line=0)),
    "compiled while running": Tiers(native=False, jit_limits=JitLimits(steps_per_line=1, steps_between_looks=1)),
    "native": Tiers(native=True, jit=False),
}
_TRACES = {memory: tracing.TraceOptions(config={"enableMemory": memory}) for memory in (False, True)}
_OPCODES = {OSAKA.opcodes[value].mnemonic: value for value in range(256)} | {"INVALID": 0xFE}


def context() -> ExecutionContext:
    made: Any = ExecutionContext
    return made(  # type: ignore[no-any-return]
        coinbase=COINBASE,
        timestamp=TIMESTAMP,
        block_number=NUMBER,
        difficulty=0,
        mix_hash=PREV_RANDAO,
        gas_limit=GAS_LIMIT,
        prev_hashes=(),
        chain_id=CHAIN_ID,
        base_fee_per_gas=BASE_FEE,
        excess_blob_gas=0,
    )


def run_ours(
    accounts: Accounts,
    transactions: Sequence[Transaction],
    tiers: Tiers,
    fork: Fork = PRAGUE,
    *,
    natives: Sequence[NativeContract] = (),
    traced: bool = False,
    memory: bool = True,
) -> Run:
    """Run the transactions one after the other; `traced` through the struct logger that `debug_trace*` answers with,
    which tells of memory too (and is slow then) if `memory`."""
    store = MemoryStore()
    db = AccountDB(FlatSource(store), trie.EMPTY_ROOT)
    fill(db, accounts)
    root, writes = db.finalize()
    store.apply(writes)
    db = AccountDB(FlatSource(store), root)
    computation = computation_class({each.address: each for each in natives}, tiers.make(), fork)
    state = State(db, context(), computation, Base(ZERO_HASH))
    results: list[Result | None] = []
    steps: list[tuple[Step, ...]] = []
    for tx in transactions:
        try:
            _check(state, tx, fork)
        except InvalidTransaction:
            results.append(None)
            continue
        outcomes: list[transition.Outcome] = []

        def execute(tx: Transaction = tx, outcomes: list[transition.Outcome] = outcomes) -> transition.Outcome:
            outcomes.append(transition.execute(state, tx, BASE_FEE))
            return outcomes[0]

        if traced:
            steps.append(tuple(_steps(tracing.record(state, tx, _TRACES[memory], execute))))
        else:
            execute()
        results.append(_result(db, outcomes[0]))
    return Run(tuple(results), db.finalize()[0], tuple(steps) if traced else None)


def _check(state: State, tx: Transaction, fork: Fork) -> None:
    check_gas(tx)
    if fork.transaction_gas_max is not None and tx.gas_limit > fork.transaction_gas_max:
        raise InvalidTransaction("the gas limit is above the cap of EIP-7825")
    transition.check_sender(state, tx, BASE_FEE)


def _result(db: AccountDB, outcome: transition.Outcome) -> Result:
    return Result(
        status=int(outcome.succeeded),
        gas_used=outcome.gas_used,
        output=outcome.output,
        logs=tuple((log.address, log.topics, log.data) for log in outcome.logs),
        refund=db.refund,
        error=_kind(outcome.error),
        warm=tuple(sorted(map(repr, db._warm))) or None,  # a plain transfer on its short way warms nothing
        work=outcome.work,
    )


def _kind(error: Exception | None) -> str:
    """py-evm's own name for an error: ours are kinds of its kinds."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "evm_runtime.vm_errors")


def _steps(trace: dict[str, Any]) -> Iterator[Step]:
    for entry in trace["structLogs"]:
        memory = b"".join(bytes.fromhex(word[2:]) for word in entry["memory"]) if "memory" in entry else None
        name = entry["op"]
        yield Step(
            pc=entry["pc"],
            opcode=int(name.split()[1], 16) if name.startswith("opcode ") else _OPCODES[name],
            gas=entry["gas"],
            depth=entry["depth"],
            stack=tuple(int(word, 16) for word in entry["stack"]),
            memory=None if memory is None else (len(memory), zlib.crc32(memory)),
            cost=None if "error" in entry else entry["gasCost"],
            refund=entry.get("refund", 0),
        )


def fill(state: Any, accounts: Accounts) -> None:
    """Write accounts into a py-evm state, or into our account database."""
    for address, account in accounts.items():
        state.set_balance(address, account.balance)
        state.set_nonce(address, account.nonce)
        if account.code:
            state.set_code(address, account.code)
        for slot, value in account.storage.items():
            state.set_storage(address, slot, value)

"""Stock py-evm as an oracle: its own state, messages, loop and precompiles.

Its traps (of 0.12.1b1), and what keeps them from being taken for differences:

- An account with storage and neither nonce, balance nor code is wiped (EIP-161): every account with storage has a nonce.
- The floor of EIP-7623, oversized initcode, the chain id, EIP-3607 and the order of the fees are not checked before the state
  is touched: stock is given only what our own checks let pass, and EELS says which that must be.
- A delegated sender pays for initcode twice: cases where senders delegate themselves are not given to stock.
- The set-up for KZG proofs is loaded anew at each call of 0x0A (seconds): such calls are in cases of Osaka only.
- MODEXP says 0 where the base has no bytes, even for 0 ** 0: such calls are ours in both. (EELS says 1, as we do.)
- There is no Osaka: such cases are not given to stock.
- The walk for self-destructed accounts is quadratic in the depth: programs recurse some hundred frames deep, not a thousand.
- It removes empty accounts (EIP-161) only where a message touched them: the native contract of the cases pays nobody nothing.
- `execute_bytecode`, `set_system_contracts`, `mine_all` are broken, and not used here.
"""

import warnings
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState
from eth.vm.logic.invalid import InvalidOpcode

from evm_runtime.native import NativeContract
from evm_runtime.precompiles import PRAGUE_PRECOMPILES
from evm_runtime.state import trie
from evm_runtime.transaction import Transaction
from genesis.primitives import Address
from tests.fuzz.machines import context, fill
from tests.fuzz.model import Accounts, Result, Run, Step

_MODEXP = Address(bytes(19) + b"\x05")


def run_stock(
    accounts: Accounts,
    transactions: Sequence[Transaction],
    valid: Sequence[bool],
    *,
    natives: Sequence[NativeContract] = (),
    traced: bool = False,
) -> Run:
    """Run those transactions that are `valid`. Native contracts are hung in among stock's precompiles."""
    steps: list[Step] = []
    state: Any = _state_class(natives, steps if traced else None)(AtomicDB(MemoryDB()), context(), trie.EMPTY_ROOT)
    fill(state, accounts)
    decode = PragueVM.get_transaction_builder().decode
    results: list[Result | None] = []
    traces: list[tuple[Step, ...]] = []
    for tx, is_valid in zip(transactions, valid, strict=True):
        if not is_valid:
            results.append(None)
            continue
        state.lock_changes()
        stock_tx: Any = decode(tx.raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # stock py-evm warns at each SELFDESTRUCT
            computation = state.apply_transaction(stock_tx)
        results.append(_result(stock_tx, computation))
        traces.append(tuple(steps))
        steps.clear()
    state.lock_changes()
    return Run(tuple(results), state.make_state_root(), tuple(traces) if traced else None)


def _result(tx: Any, computation: Any) -> Result:
    logs = tuple(
        (bytes(address), tuple(topic.to_bytes(32, "big") for topic in topics), bytes(data))
        for address, topics, data in computation.get_log_entries()
    )
    return Result(
        status=int(computation.is_success),
        gas_used=PragueVM.finalize_gas_used(tx, computation),
        output=bytes(computation.output),
        logs=logs,
        refund=computation.get_gas_refund(),
        error=type(computation.error).__name__ if computation.is_error else "NoneType",
    )


def _state_class(natives: Sequence[NativeContract], steps: list[Step] | None) -> Any:
    opcodes: Mapping[int, Any] = PragueComputation.opcodes
    if steps is not None:
        known = {value: opcodes.get(value) or InvalidOpcode(value) for value in range(256)}
        opcodes = {value: _Recorded(value, opcode, steps) for value, opcode in known.items()}
    precompiles: Any = {**PragueComputation._precompiles, **{each.address: each for each in natives}}
    precompiles[_MODEXP] = partial(_modexp, precompiles[_MODEXP])
    computation = type("StockComputation", (PragueComputation,), {"opcodes": opcodes, "_precompiles": precompiles})
    return type("StockState", (PragueState,), {"computation_class": computation})


def _modexp(stock: Any, computation: Any) -> Any:
    has_base = any(bytes(computation.msg.data[:32]))
    return stock(computation) if has_base else PRAGUE_PRECOMPILES[_MODEXP](computation)


class _Recorded:
    """An opcode that writes down the frame before it runs."""

    def __init__(self, value: int, opcode: Any, steps: list[Step]) -> None:
        self._value, self._opcode, self._steps = value, opcode, steps

    def __call__(self, computation: Any) -> Any:
        if len(computation.code):
            memory = bytes(computation._memory._bytes)
            words = computation._stack.values
            step = Step(
                pc=_place(computation.code, self._value),
                opcode=self._value,
                gas=computation.get_gas_remaining(),
                depth=computation.msg.depth + 1,
                stack=tuple(word if isinstance(word, int) else int.from_bytes(word, "big") for word in words),
                memory=(len(memory), zlib.crc32(memory)),
            )
            self._steps.append(step)
        return self._opcode(computation=computation)


def _place(code: Any, opcode: int) -> int:
    """py-evm reads a STOP behind the end of the code without moving its counter."""
    here: int = code.program_counter
    last = len(code) - 1
    written = here <= last or (here == last + 1 and code[last] == 0 and code.is_valid_opcode(last))
    return here - 1 if opcode != 0 or written else here

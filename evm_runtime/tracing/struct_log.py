"""geth's struct logs: every opcode with gas, stack, and on request memory, storage and return data. The default tracer."""

from typing import Any, Final, cast

from eth.exceptions import Revert

from evm_runtime.computation import CODE_DEPOSIT_GAS, Computation, State
from evm_runtime.tracing.frames import FAULTS, Ending, Frame, memory_of, stack_of
from evm_runtime.tracing.tracer import Tracer
from evm_runtime.transaction import Transaction
from evm_runtime.transition import Outcome
from evm_runtime.vm_errors import REFUSED_CODE, error_text
from genesis.errors import LocalError

STEPS_MAX: Final = 500_000
"""Bytes of one trace: what a node holds in memory for it. A trace with a `limit` of its own stops there without an error."""
_SLOAD, _SSTORE = 0x54, 0x55


class TraceTooLong(LocalError):
    """The trace would be larger than a node hands out; `limit`, `disableStack` or another tracer may help."""


class StructLogTracer(Tracer):
    """Options as in geth: `enableMemory`, `disableStack`, `disableStorage`, `enableReturnData`, `limit` (steps, 0: all).

    Memory and storage are in 0x-prefixed words, as geth writes them since 1.17."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._memory = bool(config.get("enableMemory"))
        self._stack = not config.get("disableStack")
        self._storage = not config.get("disableStorage")
        self._return_data = bool(config.get("enableReturnData"))
        self._limit = int(config.get("limit") or 0)
        self._steps: list[dict[str, Any]] = []
        self._slots: dict[Any, dict[str, str]] = {}
        self._running: list[tuple[Computation | None, dict[str, Any] | None]] = [(None, None)]
        """For each frame the computation and its step whose cost is not known yet."""

    def step(self, computation: Computation, opcode: int, place: int) -> None:
        gas = computation.get_gas_remaining()
        before = self._running[-1][1]
        if before is not None and "gasCost" not in before:
            before["gasCost"] = before["gas"] - gas
        entry = None
        if not self._limit or len(self._steps) < self._limit:
            if len(self._steps) >= STEPS_MAX:
                raise TraceTooLong(f"the trace has more than {STEPS_MAX} steps: set a limit, or use another tracer")
            entry = self._entry(computation, opcode, place)
            self._steps.append(entry)
        self._running[-1] = (computation, entry)

    def enter(self, frame: Frame) -> None:
        computation, before = self._running[-1]
        if computation is not None and before is not None and frame.kind != "SELFDESTRUCT":
            cost = before["gas"] - computation.get_gas_remaining()
            # geth charges what a creation hands on apart from the opcode, what a call hands on with it.
            if frame.kind in ("CREATE", "CREATE2"):
                before["gasCost"] = cost if frame.given_back else cost - frame.gas
            else:
                before["gasCost"] = cost + frame.gas if frame.given_back else cost
        self._running.append((None, None))

    def leave(self, ending: Ending) -> None:
        _close(*self._running.pop(), ending)

    def finish(self, ending: Ending) -> None:
        _close(*self._running[0], ending)

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        shown = outcome.error is None or isinstance(outcome.error, Revert)
        return {
            "gas": outcome.gas_used,
            "failed": not outcome.succeeded,
            "returnValue": "0x" + (outcome.output.hex() if shown else ""),
            "structLogs": [_shown(entry) for entry in self._steps],
        }

    def _entry(self, computation: Computation, opcode: int, place: int) -> dict[str, Any]:
        stack, gas = stack_of(computation), computation.get_gas_remaining()
        known = computation.opcodes[opcode]
        name = f"opcode {opcode:#x} not defined" if known.mnemonic == "INVALID" and opcode != 0xFE else known.mnemonic
        entry: dict[str, Any] = {"pc": place, "op": name, "gas": gas, "depth": computation.msg.depth + 1}
        entry["static"] = int(known.gas_cost)
        if self._stack:
            entry["stack"] = [hex(word) for word in stack]
        if self._return_data and computation.return_data:
            entry["returnData"] = "0x" + computation.return_data.hex()
        if self._memory:
            memory = memory_of(computation)
            entry["memory"] = ["0x" + memory[at : at + 32].hex() for at in range(0, len(memory), 32)]
        if self._storage:
            self._add_storage(entry, computation, opcode, stack)
        refund = computation.state.account_db.refund
        if refund:
            entry["refund"] = refund
        return entry

    def _add_storage(self, entry: dict[str, Any], computation: Computation, opcode: int, stack: list[int]) -> None:
        address = computation.msg.storage_address
        if opcode == _SLOAD and stack:
            value = computation.state.account_db.get_storage(address, stack[-1])
        elif opcode == _SSTORE and len(stack) >= 2:
            value = stack[-2]
        else:
            return
        slots = self._slots.setdefault(address, {})
        slots[f"0x{stack[-1]:064x}"] = f"0x{value:064x}"
        entry["storage"] = dict(slots)


_ORDER = ("pc", "op", "gas", "gasCost", "depth", "error", "stack", "returnData", "memory", "storage", "refund")


def _close(computation: Computation | None, last: dict[str, Any] | None, ending: Ending) -> None:
    """The cost of a frame's last opcode, and its error where geth shows it on the opcode."""
    if computation is None or last is None or "gasCost" in last:
        return
    if isinstance(ending.error, REFUSED_CODE):
        last["gasCost"] = (
            last["gas"] - cast(Any, computation)._gas_meter.gas_remaining
        )  # what is burned then isn't its cost
        return
    if ending.error is None or isinstance(ending.error, Revert):
        last["gasCost"] = last["gas"] - computation.get_gas_remaining()
        if computation.msg.is_create and ending.error is None:
            last["gasCost"] -= CODE_DEPOSIT_GAS * len(ending.output)
        return
    last["gasCost"] = last["static"]  # what an opcode would have cost that failed is not known
    if isinstance(ending.error, FAULTS):
        last["error"] = error_text(ending.error)


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in _ORDER if name in entry}

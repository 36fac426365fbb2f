"""geth's callTracer, 4byteTracer: the tree of messages, and the selectors that were called."""

from collections.abc import Sequence
from typing import Any, cast

from eth.exceptions import Revert

from evm_runtime.computation import Computation, State
from evm_runtime.reverts import revert_reason
from evm_runtime.tracing.frames import Ending, Frame
from evm_runtime.tracing.tracer import Tracer
from evm_runtime.transaction import Transaction
from evm_runtime.transition import Outcome, contract_address
from evm_runtime.vm_errors import error_text
from genesis.primitives import Address


def root_frame(tx: Transaction) -> Frame:
    """The transaction's own message."""
    to = tx.to if tx.to is not None else contract_address(tx.sender, tx.nonce)
    return Frame("CALL" if tx.to is not None else "CREATE", tx.sender, to, tx.value, tx.gas_limit, tx.data)


class CallTracer(Tracer):
    """Options: `onlyTopCall` leaves out inner messages, `withLog` puts each log into the frame that made it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._only_top = bool(config.get("onlyTopCall"))
        self._with_log = bool(config.get("withLog"))
        self._stack: list[dict[str, Any]] = []
        self._depth = 0
        self._state: State | None = None

    def begin(self, state: State, tx: Transaction) -> None:
        self._state = state
        self._stack = [_begin(root_frame(tx))]

    def enter(self, frame: Frame) -> None:
        self._depth += 1
        if not self._only_top:
            self._stack.append(_begin(frame))

    def leave(self, ending: Ending) -> None:
        self._depth -= 1
        if not self._only_top:
            frame = self._stack.pop()
            _end(frame, ending)
            self._stack[-1].setdefault("calls", []).append(frame)

    def log(self, address: Address, topics: Sequence[int], data: bytes) -> None:
        if self._state is None or not self._with_log or (self._only_top and self._depth):
            return
        frame = self._stack[-1]
        entry = {
            "address": "0x" + address.hex(),
            "topics": [f"0x{topic:064x}" for topic in topics],
            "data": "0x" + data.hex(),
            # What later reverts gives its index to the next; its entry is taken out in the end.
            "index": hex(self._state.account_db.log_count - 1),
            "position": hex(len(frame.get("calls", ()))),
        }
        frame.setdefault("logs", []).append(entry)

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        root = self._stack[0]
        _end(root, Ending(outcome.gas_used, outcome.output, outcome.error))
        if self._with_log:
            _drop_failed_logs(root)
        return _ordered(root)


class FourByteTracer(Tracer):
    """Counts `selector-size of the arguments` over all calls that are not to precompiles."""

    def __init__(self, _config: dict[str, Any]) -> None:
        self._counts: dict[str, int] = {}
        self._precompiles: frozenset[Any] = frozenset()

    def begin(self, state: State, tx: Transaction) -> None:
        running = cast(type[Computation], state.computation_class)
        self._precompiles = running.warm - frozenset(running.natives)
        self._count(tx.data)

    def enter(self, frame: Frame) -> None:
        if frame.kind in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL") and frame.to not in self._precompiles:
            self._count(frame.data)

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        return self._counts

    def _count(self, data: bytes) -> None:
        if len(data) >= 4:
            key = f"0x{data[:4].hex()}-{len(data) - 4}"
            self._counts[key] = self._counts.get(key, 0) + 1


def _begin(frame: Frame) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "from": "0x" + frame.sender.hex(),
        "gas": hex(frame.gas),
        "gasUsed": "0x0",
        "to": "0x" + frame.to.hex(),
        "input": "0x" + frame.data.hex(),
        "type": frame.kind,
    }
    if frame.value is not None:
        entry["value"] = hex(frame.value)
    return entry


def _end(frame: dict[str, Any], ending: Ending) -> None:
    frame["gasUsed"] = hex(ending.gas_used)
    if ending.error is None:
        if ending.output:
            frame["output"] = "0x" + ending.output.hex()
        return
    frame["error"] = error_text(ending.error)
    if frame["type"] in ("CREATE", "CREATE2"):
        frame.pop("to", None)
    if isinstance(ending.error, Revert) and ending.output:
        frame["output"] = "0x" + ending.output.hex()
        reason = revert_reason(ending.output)
        if reason:  # geth leaves an empty one out, too
            frame["revertReason"] = reason


_ORDER = ("from", "gas", "gasUsed", "to", "input", "output", "error", "revertReason", "calls", "logs", "value", "type")


def _ordered(frame: dict[str, Any]) -> dict[str, Any]:
    """Fields in geth's order, all the way down (without recursion: calls nest 1024 deep)."""
    root: dict[str, Any] = {}
    pending = [(frame, root)]
    while pending:
        source, target = pending.pop()
        for name in _ORDER:
            if name == "calls" and name in source:
                target[name] = [{} for _ in source[name]]
                pending.extend(zip(source[name], target[name], strict=True))
            elif name in source:
                target[name] = source[name]
    return root


def _drop_failed_logs(root: dict[str, Any]) -> None:
    """Take out the logs of frames that failed, or whose caller did."""
    pending = [(root, False)]
    while pending:
        frame, failed = pending.pop()
        failed = failed or "error" in frame
        if failed:
            frame.pop("logs", None)
        pending.extend((call, failed) for call in frame.get("calls", ()))

"""Traces of transactions, blocks and calls, in geth's shapes: struct logs, callTracer, prestateTracer, 4byteTracer, muxTracer.

A transaction of a kept block is traced by running its block again, on the parent's state through the trie, up to it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from evm_runtime.block import BlockRun
from evm_runtime.calls import CallEnvironment, CallRequest, call_transaction, interrupter, run_message
from evm_runtime.computation import Computation, State
from evm_runtime.header import Header
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import KeyValueReader
from evm_runtime.state.source import TrieSource
from evm_runtime.tracing.call_tracer import CallTracer, FourByteTracer
from evm_runtime.tracing.prestate import PrestateTracer
from evm_runtime.tracing.struct_log import StructLogTracer, TraceTooLong
from evm_runtime.tracing.tracer import Recorder, Tracer, traced_class
from evm_runtime.transaction import Transaction
from evm_runtime.transition import Outcome
from genesis.chain_spec import ChainSpec
from genesis.errors import InvalidTransaction, InvariantError, LocalError

__all__ = ["TraceOptions", "TraceTooLong", "UnknownTracer", "record", "replay", "state_within", "trace_call"]

TRACERS_MAX: Final = 8
"""In one muxTracer."""


class UnknownTracer(LocalError):
    """There is no tracer of that name (JavaScript tracers are not run), or its configuration makes no sense."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Which tracer (None: struct logs) and its configuration, as in geth's TraceConfig."""

    tracer: str | None = None
    config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, options: dict[str, Any] | None) -> "TraceOptions":
        """Read geth's TraceConfig: `tracer` with `tracerConfig`, or the struct logs' flags at the top. Raises UnknownTracer."""
        options = options or {}
        tracer = options.get("tracer") or None
        config = (options.get("tracerConfig") or {}) if tracer is not None else options
        if not isinstance(config, dict) or not (tracer is None or isinstance(tracer, str)):
            raise UnknownTracer("tracer must be a name, and tracerConfig an object")
        found = cls(tracer, config)
        found.make()
        return found

    def make(self) -> Tracer:
        """A fresh tracer. Raises UnknownTracer."""
        if self.tracer is None:
            limit = self.config.get("limit") or 0
            if not isinstance(limit, int) or limit < 0:
                raise UnknownTracer("limit must be a number of steps")
            return StructLogTracer(self.config)
        if self.tracer == "muxTracer":
            return MuxTracer(self.config)
        if self.tracer not in _TRACERS:
            known = ", ".join(sorted([*_TRACERS, "muxTracer"]))
            raise UnknownTracer(f"tracer {self.tracer!r} is not known; there are {known}")
        try:
            return _TRACERS[self.tracer](self.config)
        except ValueError as error:
            raise UnknownTracer(f"{self.tracer}: {error}") from None


class MuxTracer(Tracer):
    """Several tracers in one run: the configuration maps names to configurations, the result names to results."""

    def __init__(self, config: dict[str, Any]) -> None:
        if len(config) > TRACERS_MAX or "muxTracer" in config:
            raise UnknownTracer(f"muxTracer takes up to {TRACERS_MAX} tracers, itself not among them")
        for inner in config.values():
            if not (inner is None or isinstance(inner, dict)):
                raise UnknownTracer("muxTracer maps names of tracers to their configurations")
        self.tracers: Final = {name: TraceOptions(name, inner or {}).make() for name, inner in config.items()}

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        return {name: tracer.result(state, tx, outcome) for name, tracer in self.tracers.items()}


class NoopTracer(Tracer):
    """Listens to nothing."""

    def __init__(self, _config: dict[str, Any]) -> None:
        pass

    def result(self, state: State, tx: Transaction, outcome: Outcome) -> Any:
        return {}


_TRACERS: Final[dict[str, Callable[[dict[str, Any]], Tracer]]] = {
    "callTracer": CallTracer,
    "prestateTracer": PrestateTracer,
    "4byteTracer": FourByteTracer,
    "noopTracer": NoopTracer,
}


def record(state: State, tx: Transaction, options: TraceOptions, execute: Callable[[], Outcome]) -> Any:
    """The trace of `tx`, which `execute` runs on `state`. Raises what `execute` does, UnknownTracer, TraceTooLong."""
    tracer = options.make()
    heard = list(tracer.tracers.values()) if isinstance(tracer, MuxTracer) else [tracer]
    untraced = state.computation_class
    recorder = Recorder(heard)
    state.step_hook = recorder.on_step
    state.computation_class = traced_class(cast(type[Computation], untraced), recorder)
    for each in heard:
        each.begin(state, tx)
    try:
        outcome = execute()
    finally:
        state.step_hook, state.computation_class = None, untraced
    return tracer.result(state, tx, outcome)


def replay(
    spec: ChainSpec,
    store: KeyValueReader,
    computation: type[Computation],
    parent: Header,
    header: Header,
    transactions: Sequence[Transaction],
    wanted: Iterable[int],
    options: TraceOptions,
    interrupt: Callable[[], bool] | None = None,
) -> Iterator[Any]:
    """Run a kept block again on its parent's state and yield the trace of each wanted transaction, in rising order.

    Raises InvariantError if the block can't be repeated, ExecutionInterrupted, TraceTooLong, IndexError for an index beyond.
    """
    places = sorted(set(wanted))
    if places and not 0 <= places[-1] < len(transactions):
        raise IndexError(f"block {header.number} has {len(transactions)} transactions")
    run = _begun_again(spec, store, computation, parent, header, interrupt)
    for index, tx in enumerate(transactions[: places[-1] + 1] if places else ()):
        if index in places:
            yield record(run.state, tx, options, partial(_apply_again, run, tx))
        else:
            _apply_again(run, tx)


def state_within(
    spec: ChainSpec,
    store: KeyValueReader,
    computation: type[Computation],
    parent: Header,
    header: Header,
    transactions: Sequence[Transaction],
    interrupt: Callable[[], bool] | None = None,
) -> AccountDB:
    """The state within a kept block once `transactions`, its first ones, have run. Raises as `replay` does."""
    run = _begun_again(spec, store, computation, parent, header, interrupt)
    for tx in transactions:
        _apply_again(run, tx)
    return run.state.account_db


def _begun_again(
    spec: ChainSpec,
    store: KeyValueReader,
    computation: type[Computation],
    parent: Header,
    header: Header,
    interrupt: Callable[[], bool] | None,
) -> BlockRun:
    """A kept block before its first transaction."""
    run = BlockRun(spec, AccountDB(TrieSource(store, parent.state_root), parent.state_root), computation, header)
    run.begin()
    if interrupt is not None:
        run.state.poll = interrupter(interrupt)
    return run


def _apply_again(run: BlockRun, tx: Transaction) -> Outcome:
    try:
        return run.apply(tx)
    except InvalidTransaction as error:
        index, number = len(run.transactions), run.state.block_number
        raise InvariantError(f"transaction {index} of block {number} was valid once: {error}") from error


def trace_call(
    environment: CallEnvironment,
    header: Header,
    request: CallRequest,
    options: TraceOptions,
    gas_cap: int,
    within: AccountDB | None = None,
) -> Any:
    """Trace a message on the state after `header`, or on the state `within` that block.

    Raises as `CallEnvironment.call` does, and TraceTooLong.
    """
    state = environment.state(header, request) if within is None else environment.state_within(within, header, request)
    gas = gas_cap if request.gas is None else min(request.gas, gas_cap)
    tx = call_transaction(state, request, gas)
    return record(state, tx, options, lambda: run_message(state, request, gas))

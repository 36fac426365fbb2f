"""debug: traces, by running a block's transactions again on the state before it, or a message on the state after one.

Bounded in time like a call, and in size by the runtime (`TraceTooLong`); tracers in JavaScript are not run.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32, Height
from node.interfaces import StoredBlock
from node.rpc.context import Context
from node.rpc.methods.eth_calls import Worded, call_overrides, call_request, surroundings
from node.rpc.reads.lookup import block_at, transaction_at
from node.rpc.schema.call_params import BLOCK_OVERRIDES, CALL, STATE_OVERRIDES, CallArgs
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import header_not_found, invalid_params, server_error
from node.rpc.schema.format import Json, data
from node.rpc.schema.params import BLOCK_NUMBER, BLOCK_REF, HASH, LATEST, UINT64, BadParam, BlockRef, Kind, obj, within

if TYPE_CHECKING:
    from evm_runtime.header import Header
    from evm_runtime.transaction import Transaction

T = TypeVar("T")

OPTIONS: Final = Kind("trace options", obj, {"type": "object"})
_OPTIONS = Param("options", OPTIONS, default=None)


@method("debug_traceTransaction", Param("hash", HASH), _OPTIONS, result="anything", runs=Runs.CALL)
def trace_transaction(context: Context, transaction_hash: Hash32, options: Json | None) -> Any:
    """What a final transaction did, as the tracer tells it."""
    from evm_runtime.tracing import TraceOptions

    found = transaction_at(context.chain, transaction_hash)
    if found is None:
        raise server_error("transaction not found")
    stored, place = found
    stopwatch = context.stopwatch(context.limits.trace_timeout_s)
    with Worded(stopwatch):
        return context.chain.runtime.trace_transaction(
            _parent(context, stored),
            stored.header,
            stored.transactions,
            place,
            TraceOptions.from_json(options),
            interrupt=stopwatch.expired,
        )


@method(
    "debug_traceBlockByNumber", Param("block", BLOCK_NUMBER), _OPTIONS, result="trace by transaction[]", runs=Runs.CALL
)
def trace_block(context: Context, ref: BlockRef, options: Json | None) -> list[Json]:
    """What every transaction of a block did."""
    from evm_runtime.tracing import TraceOptions

    stored = block_at(context.chain, ref)
    if stored is None:
        raise server_error(f"block {data(ref.hash) if ref.hash else f'#{ref.height}'} not found")
    stopwatch = context.stopwatch(context.limits.trace_timeout_s)
    with Worded(stopwatch):
        traces = context.chain.runtime.trace_block(
            _parent(context, stored),
            stored.header,
            stored.transactions,
            TraceOptions.from_json(options),
            interrupt=stopwatch.expired,
        )
        return [{"txHash": data(tx_hash), "result": trace} for tx_hash, trace in traces]


@method("debug_traceBlockByHash", Param("hash", HASH), _OPTIONS, result="trace by transaction[]", runs=Runs.CALL)
def trace_block_by_hash(context: Context, block_hash: Hash32, options: Json | None) -> list[Json]:
    """What every transaction of a block did, by the block's hash."""
    return trace_block(context, BlockRef(hash=block_hash), options)


@method(
    "debug_traceCall",
    Param("call", CALL),
    Param("block", BLOCK_REF, default=LATEST),
    _OPTIONS,
    result="anything",
    runs=Runs.CALL,
)
def trace_call(context: Context, args: CallArgs, ref: BlockRef, options: Json | None) -> Any:
    """What a message would do; `stateOverrides`, `blockOverrides` and `txIndex` stand among the options, as in geth.

    `txIndex` puts the message into the block itself, before the transaction of that place.
    """
    from evm_runtime.tracing import TraceOptions

    request = call_request(context, args)
    try:
        state = _member(options, "stateOverrides", STATE_OVERRIDES)
        around = _member(options, "blockOverrides", BLOCK_OVERRIDES)
        place = _member(options, "txIndex", UINT64)
    except BadParam as error:
        raise invalid_params(f"invalid argument 2: {error}") from None
    header, behind = _place(context, ref, place)
    stopwatch = context.stopwatch(context.limits.trace_timeout_s)
    with Worded(stopwatch):
        return context.chain.runtime.trace_call(
            header,
            request,
            TraceOptions.from_json(options),
            gas_cap=context.limits.call_gas_max,
            behind=behind,
            interrupt=stopwatch.expired,
            **call_overrides(state, around),
        )


def _place(
    context: Context, ref: BlockRef, place: int | None
) -> tuple["Header", tuple["Header", Sequence["Transaction"]] | None]:
    """The block that a traced message runs in, and with a place what runs there before it: parent and transactions."""
    if place is None or (ref.is_pending and place == 0):
        return surroundings(context, ref, next_block=ref.is_pending), None
    stored = block_at(context.chain, ref)
    if stored is None:
        raise header_not_found()
    count = 0 if ref.is_pending else len(stored.transactions)
    if place and place >= count:
        which = "the pending block" if ref.is_pending else f"block {data(stored.hash)}"
        raise server_error(f"transaction index {place} out of range for {which}")
    return stored.header, (_parent(context, stored), stored.transactions[:place])


def _member(options: Json | None, name: str, kind: Kind[T]) -> T | None:
    value = None if options is None else options.get(name)
    return None if value is None else within(name, kind.parse, value)


def _parent(context: Context, stored: StoredBlock) -> "Header":
    if stored.height == 0:
        raise server_error("genesis is not traceable")
    parent = context.chain.header(Height(stored.height - 1))
    if parent is None:
        raise StorageCorrupt(f"block {stored.height - 1} is missing below the tip")
    return parent

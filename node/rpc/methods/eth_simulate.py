"""eth_simulateV1: what blocks of calls would do, one after the other, on top of a real block."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from genesis.primitives import Address
from node.rpc.context import Context
from node.rpc.methods.eth_calls import Worded, call_overrides, call_request
from node.rpc.reads.lookup import header_at
from node.rpc.reads.reverts import reverted
from node.rpc.schema.call_params import (
    BLOCK_SCHEMA,
    CALL_SCHEMA,
    STATE_SCHEMA,
    AccountOverrideArgs,
    BlockOverrideArgs,
    CallArgs,
    block_overrides,
    call_args,
    state_overrides,
)
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import EXECUTION_REVERTED, VM_ERROR, RpcError
from node.rpc.schema.format import Json, block_of_parts, data, log_json, quantity
from node.rpc.schema.params import (
    BLOCK_REF,
    LATEST,
    BadParam,
    BlockRef,
    Kind,
    Schema,
    array,
    boolean,
    members,
    obj,
    within,
)

if TYPE_CHECKING:
    from evm_runtime.simulate import CallOutcome, SimulatedBlock, SimulatedCalls

CALLS_MAX: Final = 1_000
"""In all blocks together."""


@dataclass(frozen=True, slots=True)
class BlockArgs:
    """One block as it was asked for."""

    calls: tuple[CallArgs, ...]
    accounts: dict[Address, AccountOverrideArgs]
    around: BlockOverrideArgs


@dataclass(frozen=True, slots=True)
class SimulateArgs:
    """The payload."""

    blocks: tuple[BlockArgs, ...]
    trace_transfers: bool
    validation: bool
    full: bool


def simulate_args(value: Any) -> SimulateArgs:
    entries = obj(value)
    blocks = within("blockStateCalls", array, entries.get("blockStateCalls"))
    if not blocks:
        raise BadParam("empty input: blockStateCalls holds no block")
    return SimulateArgs(
        blocks=tuple(within(f"blockStateCalls {place}", _block_args, each) for place, each in enumerate(blocks)),
        trace_transfers=_flag(entries, "traceTransfers"),
        validation=_flag(entries, "validation"),
        full=_flag(entries, "returnFullTransactions"),
    )


def _flag(entries: Json, name: str) -> bool:
    value = entries.get(name)
    return False if value is None else within(name, boolean, value)


def _block_args(value: Any) -> BlockArgs:
    entries = obj(value)

    def member(name: str, parse: Callable[[Any], Any], absent: Any) -> Any:
        given = entries.get(name)
        return absent if given is None else within(name, parse, given)

    calls = member("calls", array, [])
    return BlockArgs(
        calls=tuple(within(f"calls {place}", call_args, each) for place, each in enumerate(calls)),
        accounts=member("stateOverrides", state_overrides, {}),
        around=member("blockOverrides", block_overrides, BlockOverrideArgs()),
    )


_SCHEMA: Final[Schema] = {
    "type": "object",
    "required": ["blockStateCalls"],
    "properties": {
        "blockStateCalls": {
            "type": "array",
            "minItems": 1,
            "items": members(
                calls={"type": "array", "items": CALL_SCHEMA, "maxItems": CALLS_MAX},
                stateOverrides=STATE_SCHEMA,
                blockOverrides=BLOCK_SCHEMA,
            ),
        },
        "traceTransfers": {"type": "boolean"},
        "validation": {"type": "boolean"},
        "returnFullTransactions": {"type": "boolean"},
    },
}
SIMULATION: Final = Kind("simulation", simulate_args, _SCHEMA)


@method(
    "eth_simulateV1",
    Param("simulation", SIMULATION),
    Param("block", BLOCK_REF, default=LATEST),
    result="simulated block[]",
    runs=Runs.CALL,
)
def simulate(context: Context, args: SimulateArgs, ref: BlockRef) -> list[Json]:
    """Run blocks of calls, each on what the last one left, with overrides of block and state; nothing is kept."""
    from evm_runtime.simulate import BLOCKS_MAX, LIMIT_EXCEEDED, SimulationOptions, SimulationRefused

    if len(args.blocks) > BLOCKS_MAX:
        raise RpcError(LIMIT_EXCEEDED, "too many blocks")
    calls = sum(len(block.calls) for block in args.blocks)
    if calls > CALLS_MAX:
        raise RpcError(LIMIT_EXCEEDED, f"too many calls: {calls} > {CALLS_MAX}")
    runtime, base = context.chain.runtime, header_at(context.chain, ref)
    stopwatch = context.stopwatch(context.limits.call_timeout_s)
    options = SimulationOptions(
        validation=args.validation,
        trace_transfers=args.trace_transfers,
        gas_cap=context.limits.call_gas_max,
        seconds_between=max(1, context.chain.spec.block.interval_ms // 1_000),
    )
    wanted = [_simulated_calls(context, block) for block in args.blocks]
    with Worded(stopwatch):
        try:
            blocks = runtime.simulate(base, wanted, options, interrupt=stopwatch.expired)
        except SimulationRefused as refused:
            raise RpcError(refused.code, str(refused)) from None
    return [_block_json(block, full=args.full) for block in blocks]


def _simulated_calls(context: Context, block: BlockArgs) -> "SimulatedCalls":
    from evm_runtime.simulate import SimulatedCalls

    overrides = call_overrides(block.accounts, block.around)
    return SimulatedCalls(
        calls=tuple(call_request(context, call) for call in block.calls),
        block=overrides["block_overrides"],
        accounts=overrides["state_overrides"],
    )


def _block_json(block: "SimulatedBlock", *, full: bool) -> Json:
    answer = block_of_parts(block.header, block.transactions, (), full=full)
    first_log, calls = 0, []
    for place, outcome in enumerate(block.outcomes):
        calls.append(_call_json(block, place, outcome, first_log))
        first_log += len(outcome.logs)
    return {**answer, "calls": calls}


def _call_json(block: "SimulatedBlock", place: int, outcome: "CallOutcome", first_log: int) -> Json:
    transaction_hash = block.transactions[place].hash
    answer: Json = {
        "returnData": "0x" if outcome.reverted else data(outcome.output),  # as geth: revert data stand in the error
        "logs": [
            log_json(log, block.header, transaction_hash, place, first_log + offset)
            for offset, log in enumerate(outcome.logs)
        ],
        "gasUsed": quantity(outcome.gas_used),
        "maxUsedGas": quantity(outcome.gas_peak),
        "status": quantity(int(outcome.error is None)),
    }
    if outcome.reverted:
        error = reverted(outcome.output)
        answer["error"] = {"code": EXECUTION_REVERTED, "message": error.message, "data": error.data}
    elif outcome.error is not None:
        answer["error"] = {"code": VM_ERROR, "message": outcome.error}
    return answer

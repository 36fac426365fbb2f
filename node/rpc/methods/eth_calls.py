"""eth: calls that change nothing, what they would cost, and what they touch.

Each runs in a worker thread, bounded in gas (`call_gas_max`) and in time (`call_timeout_s`): the runtime asks a stopwatch every
few hundred opcodes, so a call that never ends costs one thread for that long and nothing else.
"""

import time
from typing import TYPE_CHECKING, Any

from genesis.errors import InvalidTransaction, LocalError
from genesis.primitives import ZERO_ADDRESS, Address
from node.rpc.context import Context
from node.rpc.reads.lookup import header_at, next_header
from node.rpc.reads.reverts import reverted
from node.rpc.schema.call_params import (
    BLOCK_OVERRIDES,
    CALL,
    STATE_OVERRIDES,
    AccountOverrideArgs,
    BlockOverrideArgs,
    CallArgs,
)
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.errors import server_error
from node.rpc.schema.format import Json, access_list_json, data, quantity
from node.rpc.schema.params import BLOCK_REF, LATEST, PENDING, BlockRef
from node.rpc.stopwatch import Stopwatch

if TYPE_CHECKING:
    from evm_runtime.calls import CallRequest, CallResult
    from evm_runtime.header import Header

_CALL = Param("call", CALL)
_BLOCK = Param("block", BLOCK_REF, default=LATEST)
_NEXT = Param("block", BLOCK_REF, default=PENDING)
_STATE = Param("state overrides", STATE_OVERRIDES, default=None)
_AROUND = Param("block overrides", BLOCK_OVERRIDES, default=None)

StateArgs = dict[Address, AccountOverrideArgs] | None


def _call_briefly(
    context: Context, args: CallArgs, ref: BlockRef, state: StateArgs, around: BlockOverrideArgs | None
) -> str | None:
    """`call` on the tip's state, if it succeeds in a moment."""
    if not ref.is_tip or state or around:
        return None
    limits = context.limits
    end = time.thread_time() + limits.brief_s  # of this thread: a busy machine is not the call's fault
    result = context.chain.runtime.call_briefly(
        surroundings(context, ref, next_block=ref.is_pending),
        call_request(context, args),
        gas_cap=limits.call_gas_max,
        work_max=limits.brief_work_max,
        interrupt=lambda: time.thread_time() > end,
    )
    return data(result.output) if result is not None and result.status == "success" else None


@method(
    "eth_call",
    _CALL,
    _BLOCK,
    _STATE,
    _AROUND,
    result="data",
    runs=Runs.CALL,
    keeps=Keeps.TIP,
    brief=_call_briefly,
)
def call(context: Context, args: CallArgs, ref: BlockRef, state: StateArgs, around: BlockOverrideArgs | None) -> str:
    """Run a message on the state after a block, and forget it; answers what it returns."""
    header, runtime = surroundings(context, ref, next_block=ref.is_pending), context.chain.runtime
    request = call_request(context, args)
    stopwatch = context.stopwatch(context.limits.call_timeout_s)
    with Worded(stopwatch):
        result = runtime.call(
            header,
            request,
            gas_cap=context.limits.call_gas_max,
            interrupt=stopwatch.expired,
            **call_overrides(state, around),
        )
    return data(_output(result))


@method("eth_estimateGas", _CALL, _NEXT, _STATE, _AROUND, result="quantity", runs=Runs.CALL, keeps=Keeps.SECOND)
def estimate_gas(
    context: Context, args: CallArgs, ref: BlockRef, state: StateArgs, around: BlockOverrideArgs | None
) -> str:
    """The least gas with which a message succeeds."""
    header, runtime = surroundings(context, ref, next_block=ref.is_tip), context.chain.runtime
    request = call_request(context, args)
    gas_cap = min(context.limits.call_gas_max, context.chain.spec.block.gas_limit)
    stopwatch = context.stopwatch(context.limits.call_timeout_s)
    with Worded(stopwatch):
        found = runtime.estimate_gas(
            header, request, gas_cap=gas_cap, interrupt=stopwatch.expired, **call_overrides(state, around)
        )
    return quantity(found)


@method("eth_createAccessList", _CALL, _NEXT, _STATE, result="access list", runs=Runs.CALL, keeps=Keeps.SECOND)
def create_access_list(context: Context, args: CallArgs, ref: BlockRef, state: StateArgs) -> Json:
    """The accounts and slots that a message touches, and its gas with that list; `error` if it fails."""
    header, runtime = surroundings(context, ref, next_block=ref.is_tip), context.chain.runtime
    request = call_request(context, args)
    stopwatch = context.stopwatch(context.limits.call_timeout_s)
    with Worded(stopwatch):
        entries, result = runtime.create_access_list(
            header,
            request,
            gas_cap=context.limits.call_gas_max,
            state_overrides=call_overrides(state, None)["state_overrides"],
            interrupt=stopwatch.expired,
        )
    answer: Json = {"accessList": access_list_json(entries), "gasUsed": quantity(result.gas_used)}
    if result.status != "success":
        answer["error"] = "execution reverted" if result.status == "revert" else result.error
    return answer


# ---------------------------------------------------------------- to and from the runtime


class Worded:
    """Turns the runtime's refusals into error answers."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        from evm_runtime.calls import ExecutionInterrupted
        from evm_runtime.estimate import ExecutionReverted

        if isinstance(error, ExecutionReverted):
            raise reverted(error.data) from None
        if isinstance(error, ExecutionInterrupted):
            raise self._stopwatch.error() from None
        if isinstance(error, InvalidTransaction | LocalError):
            raise server_error(str(error)) from None


def surroundings(context: Context, ref: BlockRef, *, next_block: bool) -> "Header":
    """The block that a message runs in: the one named, or the next one on top of it, which is as if sent now.

    `pending` is the next block. What is asked with a transaction to come in mind (gas, access lists) runs in the next block
    for `latest` too: most tools send that, and blocks here come on demand, so what a contract allows from the next block on
    would seem forbidden for as long as nobody sends anything.
    """
    return next_header(context.chain, context.now_ms()) if next_block else header_at(context.chain, ref)


def _output(result: "CallResult") -> bytes:
    """What the message returned. Raises RpcError if it failed."""
    if result.status == "success":
        return result.output
    if result.status == "revert":
        raise reverted(result.output)
    raise server_error(result.error or "execution failed")


def call_request(context: Context, args: CallArgs) -> "CallRequest":
    """The runtime's form of a call object. Raises RpcError for another chain's id."""
    from evm_runtime.calls import CallRequest
    from evm_runtime.transaction import Authorization

    chain_id = context.chain.spec.chain_id
    if args.chain_id is not None and args.chain_id != chain_id:
        raise server_error(f"chainId does not match node's (have={args.chain_id}, want={chain_id})")
    if args.to is None and args.authorizations:
        raise server_error("EIP-7702 transaction cannot be used to create contract")
    return CallRequest(
        sender=args.sender or ZERO_ADDRESS,
        to=args.to,
        value=args.value,
        data=args.data,
        gas=args.gas,
        gas_price=args.gas_price,
        max_fee_per_gas=args.max_fee_per_gas,
        max_priority_fee_per_gas=args.max_priority_fee_per_gas,
        access_list=args.access_list,
        authorizations=tuple(
            Authorization(each.chain_id, each.address, each.nonce, each.y_parity, each.r, each.s)
            for each in args.authorizations
        ),
        nonce=args.nonce,
    )


def call_overrides(state: StateArgs, around: BlockOverrideArgs | None) -> dict[str, Any]:
    from evm_runtime.overrides import AccountOverride, BlockOverrides

    accounts = {
        address: AccountOverride(
            each.balance, each.nonce, each.code, each.state, each.state_diff, each.move_precompile_to
        )
        for address, each in (state or {}).items()
    }
    block = None
    if around is not None:
        block = BlockOverrides(
            number=around.number,
            time=around.time,
            gas_limit=around.gas_limit,
            coinbase=around.coinbase,
            prev_randao=around.prev_randao,
            base_fee=around.base_fee,
            blob_base_fee=around.blob_base_fee,
            block_hashes=around.block_hashes or {},
        )
    return {"state_overrides": accounts, "block_overrides": block}

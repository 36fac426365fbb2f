"""The span index as methods ask it: as of a block, and for no longer than a call may take."""

from typing import TYPE_CHECKING

from genesis.primitives import Hash32
from node.rpc.context import Context
from node.rpc.stopwatch import Stopwatch

if TYPE_CHECKING:
    from attribution_precompile.index.span_index import Charge, IndexView


def index_at(context: Context, block_hash: Hash32, stopwatch: Stopwatch | None = None) -> "tuple[IndexView, Charge]":
    """The index on the state after a block, and what to charge: time. Both raise RpcError once that is over."""
    from evm_runtime.native import Base

    watch = stopwatch or context.stopwatch(context.limits.call_timeout_s)
    index = context.services.backend.span_index.at(Base(block_hash, poll=watch.check))
    return index, lambda _amount, _reason: watch.check()

"""eth: logs, filters that are polled, and subscriptions."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from genesis.errors import InvariantError
from genesis.primitives import Hash32, Height
from node.interfaces import ChainReader
from node.rpc.context import Context
from node.rpc.filters import BlockPoll, LogPoll, PendingPoll
from node.rpc.reads.attributions import attribution_filter
from node.rpc.reads.logs import LogQuery, search, search_some
from node.rpc.reads.lookup import transaction_at
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.errors import METHOD_NOT_FOUND, RpcError, invalid_params, server_error
from node.rpc.schema.format import Json, data, transaction_json
from node.rpc.schema.params import (
    ANYTHING,
    BOOLEAN,
    LOG_FILTER,
    TEXT,
    BadParam,
    BlockRef,
    LogFilter,
    boolean,
    log_filter,
)
from node.rpc.subscriptions import (
    AttributionSubscription,
    HeadSubscription,
    LogSubscription,
    PendingSubscription,
    Subscription,
)

if TYPE_CHECKING:
    from evm_runtime.transaction import Transaction

_JSON_BYTES: Final = 1_024
_JSON_PER_BYTE: Final = 5
"""At most, of a transaction in an answer: beside its bytes, and for each of them."""
_FILTER = Param("filter", LOG_FILTER)
_ID = Param("id", TEXT)


@method("eth_getLogs", _FILTER, result="logs", runs=Runs.CALL, keeps=Keeps.FINAL)
def get_logs(context: Context, wanted: LogFilter) -> list[Json]:
    """The logs that match, of one block by hash or of a range of heights."""
    chain, query = context.chain, LogQuery(wanted)
    if wanted.block_hash is not None:
        stored = chain.block_by_hash(wanted.block_hash)
        if stored is None:
            raise server_error("unknown block")
        return query.in_block(stored)
    heights = _range(chain, wanted)
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    return search(chain, query, heights, context.limits.log_results_max, stopwatch)


def _range(chain: ChainReader, wanted: LogFilter) -> range:
    """The heights asked for. Raises RpcError in geth's words for a range that is inverted or not here yet."""
    _refuse_pending(wanted)
    tip = chain.tip().height
    low, high = _height(wanted.from_block, tip), _height(wanted.to_block, tip)
    if low > high:
        raise invalid_params("invalid block range params")
    if high > tip:
        raise invalid_params("block range extends beyond current head block")
    return range(low, high + 1)


def _refuse_pending(wanted: LogFilter) -> None:
    if wanted.from_block.is_pending or wanted.to_block.is_pending:
        raise invalid_params("pending logs are not supported")


def _height(ref: BlockRef, tip: int) -> int:
    if ref.height is not None:
        return ref.height
    return 0 if ref.tag == "earliest" else tip


# ---------------------------------------------------------------- filters


@method("eth_newFilter", _FILTER, result="filter id")
def new_filter(context: Context, wanted: LogFilter) -> str:
    """Begin to collect matching logs of blocks from now on."""
    if wanted.block_hash is not None:
        raise invalid_params("a filter of one block never changes; use eth_getLogs")
    _refuse_pending(wanted)
    tip = context.chain.tip().height
    low, high = wanted.from_block.height, wanted.to_block.height
    if low is not None and high is not None and low > high:
        raise invalid_params("invalid block range params")
    return context.services.filters.add(LogPoll(wanted, LogQuery(wanted), max(tip + 1, low or 0)))


@method("eth_newBlockFilter", result="filter id")
def new_block_filter(context: Context) -> str:
    """Begin to collect the hashes of blocks from now on."""
    return context.services.filters.add(BlockPoll(context.chain.tip().height + 1))


@method("eth_newPendingTransactionFilter", Param("full", BOOLEAN, default=False), result="filter id")
def new_pending_filter(context: Context, full: bool) -> str:
    """Begin to collect transactions that the mempool admits: their hashes, or whole ones with `true`."""
    return context.services.filters.add(PendingPoll(deque(maxlen=context.limits.filter_pending_max), full))


@method("eth_getFilterChanges", _ID, result="logs, hashes or transactions")
async def filter_changes(context: Context, filter_id: str) -> list[Any]:
    """What came since the last poll."""
    poll = context.services.filters.get(filter_id)
    async with poll.lock:
        if isinstance(poll, PendingPoll):
            return await _pending_changes(context, poll)
        tip = context.chain.tip().height
        if isinstance(poll, BlockPoll):
            heights = range(poll.next_height, tip + 1)
            changes: list[Any] = await context.read(_hashes, context.chain, heights)
            poll.next_height = max(poll.next_height, heights.stop)
            return changes
        if isinstance(poll, LogPoll):
            return await _log_changes(context, poll, tip)
        raise InvariantError(f"a filter of unknown kind {type(poll).__name__}")


async def _pending_changes(context: Context, poll: PendingPoll) -> list[Any]:
    """Whole transactions as far as one answer holds them; those that were dropped meanwhile are left out."""
    if not poll.full:
        hashes = [data(each) for each in poll.hashes]
        poll.hashes.clear()
        return hashes
    found, size = [], 0
    while poll.hashes and size < context.limits.response_bytes_max // 2:
        transaction_hash = poll.hashes.popleft()
        transaction = context.mempool.get(transaction_hash)
        if transaction is None:
            transaction = await context.read(_final_transaction, context.chain, transaction_hash)
        if transaction is not None:
            found.append(transaction_json(transaction, None))
            size += _JSON_BYTES + _JSON_PER_BYTE * len(transaction.raw)
    return found


def _final_transaction(chain: ChainReader, transaction_hash: Hash32) -> "Transaction | None":
    place = transaction_at(chain, transaction_hash)
    return None if place is None else place[0].transactions[place[1]]


async def _log_changes(context: Context, poll: LogPoll, tip: int) -> list[Any]:
    last = tip if poll.wanted.to_block.height is None else min(tip, poll.wanted.to_block.height)
    heights = range(poll.next_height, last + 1)
    if not heights:
        return []
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    logs, poll.next_height = await context.call(
        search_some, context.chain, poll.query, heights, context.limits.log_results_max, stopwatch
    )
    return logs


def _hashes(chain: ChainReader, heights: range) -> list[str]:
    headers = (chain.header(Height(height)) for height in heights)
    return [data(header.hash) for header in headers if header is not None]


@method("eth_getFilterLogs", _ID, result="logs")
async def filter_logs(context: Context, filter_id: str) -> list[Json]:
    """All logs that a log filter matches, whatever was polled before."""
    poll = context.services.filters.get(filter_id)
    if not isinstance(poll, LogPoll):
        raise server_error("filter not found")
    return await context.call(get_logs, context, poll.wanted)


@method("eth_uninstallFilter", _ID, result="boolean")
def uninstall_filter(context: Context, filter_id: str) -> bool:
    """Forget a filter; false if there was none."""
    return context.services.filters.remove(filter_id)


# ---------------------------------------------------------------- subscriptions


@method("eth_subscribe", Param("kind", TEXT), Param("options", ANYTHING, default=None), result="subscription id")
def subscribe(context: Context, kind: str, options: Any) -> str:
    """Be notified of `newHeads`, `logs`, `newPendingTransactions` (whole ones with `true`) or `attributions`."""
    make = _SUBSCRIPTIONS.get(kind)
    if make is None:
        raise RpcError(METHOD_NOT_FOUND, f'no "{kind[:64]}" subscription in eth namespace')
    try:
        subscription = make(context, options)
    except BadParam as error:
        raise invalid_params(f"invalid argument 1: {error}") from None
    context.services.hub.add(subscription)
    context.after.append(subscription.activate)
    return subscription.id


@method("eth_unsubscribe", _ID, result="boolean")
def unsubscribe(context: Context, subscription_id: str) -> bool:
    """End a subscription of this connection."""
    if not context.services.hub.remove(context.session, subscription_id):
        raise server_error("subscription not found")
    return True


def _new_heads(context: Context, options: Any) -> Subscription:
    return HeadSubscription(context.session)


def _logs(context: Context, options: Any) -> Subscription:
    wanted = log_filter(options if options is not None else {})
    if wanted.block_hash is not None:
        raise BadParam("a subscription is to blocks to come, not to one by hash")
    _refuse_pending(wanted)
    return LogSubscription(context.session, wanted)


def _pending(context: Context, options: Any) -> Subscription:
    return PendingSubscription(context.session, full=boolean(options) if options is not None else False)


def _attributions(context: Context, options: Any) -> Subscription:
    return AttributionSubscription(context.session, attribution_filter(options if options is not None else {}))


_SUBSCRIPTIONS: dict[str, Callable[[Context, Any], Subscription]] = {
    "newHeads": _new_heads,
    "logs": _logs,
    "newPendingTransactions": _pending,
    "attributions": _attributions,
}

"""txpool: what waits in this node's mempool, in geth's shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genesis.primitives import Address
from node.rpc.context import Context
from node.rpc.schema.declare import Param, method
from node.rpc.schema.format import Json, checksum, data, transaction_json
from node.rpc.schema.params import ADDRESS

if TYPE_CHECKING:
    from evm_runtime.transaction import Transaction

Waiting = Mapping[Address, Sequence["Transaction"]]


@method("txpool_status", result="object of counts")
def status(context: Context) -> Json:
    """How many transactions are executable, and how many wait behind a nonce gap."""
    stats = context.mempool.stats()
    return {"pending": hex(stats.pending), "queued": hex(stats.queued)}


@method("txpool_content", result="transactions by sender and nonce")
def content(context: Context) -> Json:
    """All waiting transactions, whole."""
    return _all(context, lambda tx: transaction_json(tx, None))


@method("txpool_contentFrom", Param("address", ADDRESS), result="transactions by nonce")
def content_from(context: Context, sender: Address) -> Json:
    """The waiting transactions of one sender."""
    waiting = context.mempool.content()
    return {
        name: {str(tx.nonce): transaction_json(tx, None) for tx in group.get(sender, ())}
        for name, group in (("pending", waiting.pending), ("queued", waiting.queued))
    }


@method("txpool_inspect", result="summaries by sender and nonce")
def inspect(context: Context) -> Json:
    """All waiting transactions, a line each."""
    return _all(context, _summary)


def _all(context: Context, show: Callable[["Transaction"], Any]) -> Json:
    waiting = context.mempool.content()
    return {"pending": _by_sender(waiting.pending, show), "queued": _by_sender(waiting.queued, show)}


def _by_sender(group: Waiting, show: Callable[["Transaction"], Any]) -> Json:
    return {checksum(sender): {str(tx.nonce): show(tx) for tx in txs} for sender, txs in group.items()}


def _summary(tx: "Transaction") -> str:
    target = "contract creation" if tx.to is None else data(tx.to)
    return f"{target}: {tx.value} wei + {tx.gas_limit} gas × {tx.max_fee_per_gas} wei"

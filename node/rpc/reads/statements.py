"""Statements: what a contribution was paid, with the spans behind each payment.

Spans are found by tracing the output again, on the state of the payment's block. The output is read from the transaction's own
calldata; where a contract called `infer`, it stands in an inner call that a node doesn't keep, and the statement says nothing
of spans.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import ErasedContent
from genesis.primitives import Hash32, Height
from node.chain.contract_reader import ContractReader
from node.interfaces import EventList, EventPlace, StoredBlock
from node.rpc.context import Context
from node.rpc.reads.attributions import Payment, cursor_of, payment_at, place_of, topic
from node.rpc.reads.index import index_at
from node.rpc.reads.lookup import stored_at
from node.rpc.schema.errors import invalid_params, server_error
from node.rpc.stopwatch import Stopwatch

if TYPE_CHECKING:
    from attribution_precompile.reading.explain import TracedSpan
    from evm_runtime.receipt import Log
    from evm_runtime.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Entry:
    """One payment and its block. `spans` are None where the output isn't to be had, the method has none, or a pool paid."""

    paid: Payment
    stored: StoredBlock
    spans: tuple["TracedSpan", ...] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """Payments in blocks `first` to `last`, in order; `next` is the cursor of those after them, None if there are none."""

    contribution_id: int
    first: int
    last: int
    next: int | None
    entries: tuple[Entry, ...]
    owed_by_pool: int


def statement_of(
    context: Context, contribution_id: int, first: int, last: int | None, limit: int, cursor: int
) -> Statement:
    """At most `limit` payments. Raises RpcError for an unknown contribution, a bad range, or when time is over."""
    from attribution_precompile.reading.audit import AuditQueries

    chain = context.chain
    tip = chain.tip().height
    end = tip if last is None else last
    if first > end or end > tip:
        raise invalid_params(f"the blocks are {first} to {end}, and the chain has 0 to {tip}")
    found = AuditQueries(ContractReader(chain.runtime.state()), chain.spec.chain_id)
    if found.contribution(contribution_id) is None:
        raise server_error(f"there is no contribution {contribution_id}")
    start, beyond = max(EventPlace(Height(first), 0), place_of(cursor)), EventPlace(Height(end + 1), 0)
    events = chain.events(EventList.PAID_FOR_CONTRIBUTION, topic(contribution_id), start, beyond)
    places = list(itertools.islice(events, limit + 1))
    stopwatch = context.stopwatch(context.limits.call_timeout_s)
    entries = []
    for place in places[:limit]:
        stopwatch.check()
        stored = stored_at(chain, place.height)
        paid = payment_at(chain, stored, place)
        entries.append(Entry(paid, stored, _spans(context, stopwatch, stored, paid)))
    return Statement(
        contribution_id,
        first,
        end,
        cursor_of(places[limit]) if len(places) > limit else None,
        tuple(entries),
        found.pool_share(contribution_id),
    )


def _outputs(transaction: "Transaction", logs: Sequence["Log"]) -> dict[Hash32, tuple[int, bytes]]:
    """Receipt id to (model, output), of a transaction that calls `infer` or `inferBatch` itself."""
    from attribution_precompile.contract import AttributionContract
    from attribution_precompile.declarations import INFERRED
    from evm_runtime.native.abi import AbiError, decode

    if transaction.to != ATTRIBUTION_ADDRESS:
        return {}
    called = AttributionContract.methods.get(transaction.data[:4])
    if called is None or called.signature.name not in ("infer", "inferBatch"):
        return {}
    try:
        [argument] = decode([parameter.type for parameter in called.signature.inputs], transaction.data[4:])
    except AbiError:
        return {}
    calls = argument if called.signature.name == "inferBatch" else (argument,)
    inferred = [log for log in logs if log.address == ATTRIBUTION_ADDRESS and log.topics[0] == INFERRED.topic_word]
    receipts = [log.topics[1] for log in inferred]
    return {receipt: (call.model_id, call.output) for receipt, call in zip(receipts, calls, strict=False)}


def _spans(
    context: Context, stopwatch: Stopwatch, stored: StoredBlock, paid: Payment
) -> tuple["TracedSpan", ...] | None:
    from attribution_precompile.reading.explain import TraceError, explain
    from attribution_precompile.rules.tokens import TextError

    if paid.receipt is None:
        return None
    transaction, receipt = stored.transactions[paid.transaction_place], stored.receipts[paid.transaction_place]
    called = _outputs(transaction, receipt.logs).get(paid.receipt)
    if called is None:
        return None
    model_id, output = called
    limit = context.chain.spec.attribution.output_tokens_max
    # The block attributed on its parent's state. Only a model that is as new is not in there.
    for block_hash in (stored.header.parent_hash, stored.hash):
        index, check = index_at(context, block_hash, stopwatch)
        try:
            report = explain(index, model_id, output, tokens_max=limit, charge=check)
        except TraceError:
            continue
        except (TextError, ErasedContent):
            return None
        break
    else:
        return None
    return tuple(span for span in report.spans if span.contribution == paid.contribution)

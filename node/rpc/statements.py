"""Statements: what a contribution was paid, from the logs of the attribution contract, with the spans behind each payment.

Spans are found by tracing the output again, on the state of the payment's block. The output is read from the transaction's own
calldata; where a contract called `infer`, it stands in an inner call that a node doesn't keep, and the statement says nothing
of spans.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Address, Hash32, Height
from node.contract_reader import ContractReader
from node.interfaces import StoredBlock
from node.rpc.backend import Context
from node.rpc.errors import invalid_params, server_error
from node.rpc.logs import LogQuery
from node.rpc.params import LogFilter

if TYPE_CHECKING:
    from attribution_precompile.explain import TracedSpan
    from evm_runtime.transaction import Transaction

LIMIT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment by score. `spans` are None where the output isn't to be had, or the method has none."""

    receipt_id: Hash32
    block_number: int
    transaction_hash: Hash32
    model_id: int | None
    payout: Address
    weight: int
    amount: int
    spans: tuple["TracedSpan", ...] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """Payments and pool claims of blocks `first` to `last`; `next` is the block to go on from."""

    contribution_id: int
    first: int
    last: int
    next: int | None
    payments: tuple[Payment, ...]
    claims: tuple[tuple[int, int], ...]
    """(block, wei) that the pool paid to the payout's balance."""
    owed_by_pool: int


def statement_of(context: Context, contribution_id: int, first: int, last: int | None, limit: int) -> Statement:
    """Raises RpcError for an unknown contribution, a bad range or limit, or when time is over."""
    from attribution_precompile.audit import AuditQueries
    from attribution_precompile.declarations import ATTRIBUTED, POOL_CLAIMED

    chain = context.chain
    tip = chain.tip().height
    end = tip if last is None else last
    if not 1 <= limit <= LIMIT_MAX:
        raise invalid_params(f"limit is 1 to {LIMIT_MAX}")
    if first > end or end > tip:
        raise invalid_params(f"the blocks are {first} to {end}, and the chain has 0 to {tip}")
    found = AuditQueries(ContractReader(chain.runtime.state()), chain.spec.chain_id)
    if found.contribution(contribution_id) is None:
        raise server_error(f"there is no contribution {contribution_id}")
    paid, claimed = (_topic(event.topic) for event in (ATTRIBUTED, POOL_CLAIMED))
    subject = _topic(contribution_id)
    wanted = [_query(paid, None, subject), _query(claimed, subject)]
    stopwatch = context.stopwatch(context.limits.call_timeout_s)
    heights = sorted(
        {h for query in wanted for h, logs in query.by_block(chain, range(first, end + 1), stopwatch) if logs}
    )
    payments: list[Payment] = []
    claims: list[tuple[int, int]] = []
    following = None
    for height in heights:
        if len(payments) >= limit:
            following = height
            break
        stopwatch.check()
        stored = chain.block(Height(height))
        if stored is not None:
            payments += _payments(context, stored, paid, subject)
            claims += [
                (height, int.from_bytes(log.data, "big")) for log in _logs(stored, claimed) if log.topics[1] == subject
            ]
    return Statement(
        contribution_id,
        first,
        end if following is None else following - 1,
        following,
        tuple(payments),
        tuple(claims),
        found.pool_share(contribution_id, chain.spec.attribution.pool_windows_max),
    )


def _query(*topics: Hash32 | None) -> LogQuery:
    """For logs of the contract with these topics; None stands for any."""
    places = tuple(None if topic is None else frozenset({topic}) for topic in topics)
    return LogQuery(LogFilter(frozenset({ATTRIBUTION_ADDRESS}), places))


def _topic(value: int) -> Hash32:
    return Hash32(value.to_bytes(32, "big"))


def _logs(stored: StoredBlock, topic: Hash32) -> list[Any]:
    receipts = stored.receipts
    return [log for r in receipts for log in r.logs if log.address == ATTRIBUTION_ADDRESS and log.topics[0] == topic]


def _payments(context: Context, stored: StoredBlock, paid: Hash32, subject: Hash32) -> list[Payment]:
    found = []
    for transaction, receipt in zip(stored.transactions, stored.receipts, strict=True):
        logs = [log for log in receipt.logs if log.address == ATTRIBUTION_ADDRESS]
        mine = [log for log in logs if log.topics[0] == paid and log.topics[2] == subject]
        outputs = _outputs(transaction, logs) if mine else {}
        for log in mine:
            model_id, spans = None, None
            if log.topics[1] in outputs:
                model_id, output = outputs[log.topics[1]]
                spans = _spans(context, stored, model_id, output, int.from_bytes(subject, "big"))
            payment = Payment(
                receipt_id=log.topics[1],
                block_number=stored.header.number,
                transaction_hash=transaction.hash,
                model_id=model_id,
                payout=Address(log.topics[3][12:]),
                weight=int.from_bytes(log.data[:32], "big"),
                amount=int.from_bytes(log.data[32:64], "big"),
                spans=spans,
            )
            found.append(payment)
    return found


def _outputs(transaction: "Transaction", logs: list[Any]) -> dict[Hash32, tuple[int, bytes]]:
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
    receipts = [log.topics[1] for log in logs if log.topics[0] == _topic(INFERRED.topic)]
    return {receipt: (call.model_id, call.output) for receipt, call in zip(receipts, calls, strict=False)}


def _spans(
    context: Context, stored: StoredBlock, model_id: int, output: bytes, contribution_id: int
) -> tuple["TracedSpan", ...] | None:
    from attribution_precompile.explain import TraceError, explain
    from attribution_precompile.tokens import TextError

    reader = ContractReader(context.chain.runtime.state(stored.header))
    limit = context.chain.spec.attribution.output_tokens_max
    try:
        report = explain(reader, context.services.backend.span_index, model_id, output, tokens_max=limit)
    except (TraceError, TextError):
        return None
    return tuple(span for span in report.spans if span.contribution == contribution_id)

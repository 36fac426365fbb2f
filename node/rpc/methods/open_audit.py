"""open: who was paid for what and why, what a model was built from, disputes and attested scores. For people and for audits."""

from typing import TYPE_CHECKING, Final

from genesis.primitives import Address, Hash32
from node.chain.contract_reader import ContractReader
from node.rpc.context import Context
from node.rpc.methods.open_registry import PAGE_DEFAULT, check_limit, page, span_json
from node.rpc.reads.exports import TrainingSummary, UsedVersion, croissant, spdx
from node.rpc.reads.index import index_at
from node.rpc.reads.lookup import header_at, state_at
from node.rpc.reads.statements import Entry, Statement, statement_of
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import invalid_params, server_error
from node.rpc.schema.format import Json, data, optional_data, quantity
from node.rpc.schema.params import ADDRESS, BLOCK_REF, COUNT, DATA, HASH, LATEST, TEXT, BlockRef

if TYPE_CHECKING:
    from attribution_precompile.reading.audit import AuditQueries, DisputeInfo

_BLOCK = Param("block", BLOCK_REF, default=LATEST)
_CONTRIBUTION = Param("contribution", COUNT)
_FORMATS: Final = {"croissant": croissant, "spdx": spdx}


def audit(context: Context, ref: BlockRef) -> "AuditQueries":
    """The registry as it was after a block. Raises RpcError ("header not found")."""
    from attribution_precompile.reading.audit import AuditQueries

    return AuditQueries(ContractReader(state_at(context.chain, ref)), context.chain.spec.chain_id)


# ---------------------------------------------------------------- what a model was built from


@method(
    "open_exportTrainingSummary",
    Param("model", COUNT),
    Param("format", TEXT, default="croissant"),
    _BLOCK,
    result="anything",
    runs=Runs.CALL,
)
def export_training_summary(context: Context, model_id: int, form: str, ref: BlockRef) -> Json | None:
    """What a model was built from, as `croissant` (1.1) or `spdx` (3.0.1, an AI bill of materials); null if it is unknown."""
    export = _FORMATS.get(form)
    if export is None:
        raise invalid_params(f"invalid argument 1: the format is one of {', '.join(_FORMATS)}")
    found, header = audit(context, ref), header_at(context.chain, ref)
    model = found.model(model_id)
    if model is None:
        return None
    uses = []
    for use in model.uses:
        datanet, version = found.datanet(use.datanet_id), found.version(use.datanet_id, use.version)
        if datanet is None or version is None:
            raise server_error(f"model {model_id} uses what this state does not have")
        uses.append(UsedVersion(use.stage, use.bps, datanet, version, found.terms_hash(use.datanet_id, use.version)))
    chain = context.chain.spec
    summary = TrainingSummary(
        chain=chain.name,
        chain_id=chain.chain_id,
        block_number=header.number,
        time=header.timestamp,
        model=model,
        royalties=found.royalties(model_id),
        uses=tuple(uses),
    )
    return export(summary)


# ---------------------------------------------------------------- who was paid, and why


@method(
    "open_statement",
    _CONTRIBUTION,
    Param("fromBlock", COUNT, default=0),
    Param("toBlock", COUNT, default=None),
    Param("limit", COUNT, default=PAGE_DEFAULT),
    Param("cursor", COUNT, default=0),
    result="statement",
    runs=Runs.CALL,
)
def statement(context: Context, contribution_id: int, first: int, last: int | None, limit: int, cursor: int) -> Json:
    """What a contribution has earned: each payment with its inference and spans, what the pool paid and owes now.

    At most `limit` payments of the blocks named; `next` is the cursor of those after them, null at the end.
    """
    check_limit(limit)
    return _statement_json(statement_of(context, contribution_id, first, last, limit, cursor))


def _statement_json(found: Statement) -> Json:
    scored = [entry for entry in found.entries if entry.paid.receipt is not None]
    pooled = [entry for entry in found.entries if entry.paid.receipt is None]
    return {
        "contribution": quantity(found.contribution_id),
        "fromBlock": quantity(found.first),
        "toBlock": quantity(found.last),
        "next": None if found.next is None else quantity(found.next),
        "earned": quantity(sum(entry.paid.amount for entry in scored)),
        "fromPool": quantity(sum(entry.paid.amount for entry in pooled)),
        "owedByPool": quantity(found.owed_by_pool),
        "payments": [_scored_json(entry) for entry in scored],
        "poolClaims": [
            {"blockNumber": quantity(entry.stored.height), "amount": quantity(entry.paid.amount)} for entry in pooled
        ],
    }


def _scored_json(entry: Entry) -> Json:
    paid, stored = entry.paid, entry.stored
    return {
        "receipt": optional_data(paid.receipt),
        "blockNumber": quantity(stored.height),
        "transactionHash": data(stored.transactions[paid.transaction_place].hash),
        "model": None if paid.model is None else quantity(paid.model),
        "payout": data(paid.payout),
        "weight": None if paid.weight is None else quantity(paid.weight),
        "amount": quantity(paid.amount),
        "spans": None if entry.spans is None else [span_json(span) for span in entry.spans],
    }


@method(
    "open_explain",
    Param("model", COUNT),
    Param("output", DATA),
    _CONTRIBUTION,
    _BLOCK,
    result="explanation",
    runs=Runs.CALL,
)
def explain(context: Context, model_id: int, output: bytes, contribution_id: int, ref: BlockRef) -> Json:
    """Why a contribution is paid by score for an output of a model, or why it isn't."""
    from attribution_precompile.reading.explain import TraceError, why
    from attribution_precompile.rules.tokens import TextError

    limits = context.chain.spec.attribution
    if len(output) > limits.call_bytes_max:
        raise invalid_params(f"invalid argument 1: the output has {len(output)} bytes, at most {limits.call_bytes_max}")
    index, check = index_at(context, header_at(context.chain, ref).hash)
    bounds = {"tokens_max": limits.output_tokens_max, "payees_max": limits.payees_max}
    try:
        found = why(index, model_id, output, contribution_id, **bounds, charge=check)
    except (TraceError, TextError) as error:
        raise server_error(str(error)) from None
    return {
        "verdict": found.verdict.value,
        "tokens": quantity(found.tokens),
        "spans": [span_json(span) for span in found.spans],
        "windows": quantity(found.windows),
        "owners": [{"contribution": quantity(who), "windows": quantity(count)} for who, count in found.owners],
    }


@method("open_newWindows", _CONTRIBUTION, _BLOCK, result="window count", runs=Runs.CALL)
def new_windows(context: Context, contribution_id: int, ref: BlockRef) -> Json:
    """How many windows a contribution has, and how many of them a review would count as its own now: of a copy none.

    So curators see what is worth their gas before they spend it.
    """
    from attribution_precompile.reading.explain import TraceError, count_windows

    index, check = index_at(context, header_at(context.chain, ref).hash)
    try:
        found = count_windows(index, contribution_id, charge=check)
    except TraceError as error:
        raise server_error(str(error)) from None
    return {"windows": quantity(found.windows), "owned": quantity(found.owned)}


@method("open_segments", _CONTRIBUTION, _BLOCK, result="segment places", runs=Runs.READ)
def segments(context: Context, contribution_id: int, ref: BlockRef) -> list[Json]:
    """A contribution's segments: their places in the datanet, as a priority challenge names them, and in the chain's order.

    `lost` are the window places [start, end) that a segment has lost to such challenges.
    """
    return [
        {
            "place": quantity(segment.place),
            "order": quantity(segment.order),
            "tokens": quantity(segment.tokens),
            "contentHash": data(segment.content_hash),
            "lost": [{"start": quantity(start), "end": quantity(end)} for start, end in segment.lost],
        }
        for segment in audit(context, ref).segments(contribution_id)
    ]


# ---------------------------------------------------------------- disputes, attested scores


@method("open_dispute", Param("id", COUNT), _BLOCK, result="dispute or null", runs=Runs.READ)
def dispute(context: Context, dispute_id: int, ref: BlockRef) -> Json | None:
    """A dispute: about what, who opened it, until when it waits, and how it ended."""
    found = audit(context, ref).dispute(dispute_id)
    return None if found is None else _dispute_json(found)


@method(
    "open_disputes",
    Param("cursor", COUNT, default=1),
    Param("limit", COUNT, default=PAGE_DEFAULT),
    _BLOCK,
    result="page of disputes",
    runs=Runs.READ,
)
def disputes(context: Context, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All disputes, by id."""
    return page(audit(context, ref).disputes, _dispute_json, cursor, limit)


def _dispute_json(found: "DisputeInfo") -> Json:
    return {
        "id": quantity(found.id),
        "kind": found.kind.name.lower(),
        "state": found.state.name.lower(),
        "challenger": data(found.challenger),
        "subject": data(found.subject),
        "window": quantity(found.window),
        "bond": quantity(found.bond),
        "deadline": quantity(found.deadline),
        "evidence": data(found.evidence),
    }


@method("open_attestation", Param("receipt", HASH), _BLOCK, result="attestation or null", runs=Runs.READ)
def attestation(context: Context, receipt_id: Hash32, ref: BlockRef) -> Json | None:
    """Attested scores of a receipt: who vouches for them with what, from when on they are final, and what is unclaimed."""
    found = audit(context, ref).attestation(receipt_id)
    if found is None:
        return None
    return {
        "receipt": data(receipt_id),
        "attestor": data(found.attestor),
        "finalAt": quantity(found.final_at),
        "scoreRoot": data(found.score_root),
        "totalWeight": quantity(found.total_weight),
        "claimedWeight": quantity(found.claimed_weight),
        "held": quantity(found.held),
        "locked": quantity(found.bond),
        "slashed": found.slashed,
        "dispute": quantity(found.dispute) if found.dispute else None,
    }


@method("open_bond", Param("address", ADDRESS), _BLOCK, result="bond", runs=Runs.READ)
def bond(context: Context, who: Address, ref: BlockRef) -> Json:
    """An attestor's bond: what is free, and what is locked for scores that aren't final."""
    free, locked = audit(context, ref).bond(who)
    return {"address": data(who), "free": quantity(free), "locked": quantity(locked)}

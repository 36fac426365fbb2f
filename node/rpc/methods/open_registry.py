"""open: the attribution registry: datanets, contributions, versions, models, receipts, traces, what is claimable.

Lists are pages: `cursor` is the first id (or place) wanted, 1 by default; the answer's `next` is the cursor of the page after
it, null at the end.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from genesis.primitives import Address, Hash32
from node.chain.contract_reader import ContractReader
from node.rpc.context import Context
from node.rpc.reads.index import index_at
from node.rpc.reads.lookup import header_at, state_at
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import invalid_params, server_error
from node.rpc.schema.format import Json, data, quantity
from node.rpc.schema.params import ADDRESS, BLOCK_REF, COUNT, DATA, HASH, LATEST, BlockRef

if TYPE_CHECKING:
    from attribution_precompile.reading.queries import (
        ContributionInfo,
        DatanetInfo,
        ModelInfo,
        Queries,
        ReceiptInfo,
        VersionInfo,
    )


T = TypeVar("T")

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000

_BLOCK = Param("block", BLOCK_REF, default=LATEST)
_ID = Param("id", COUNT)
_CURSOR = Param("cursor", COUNT, default=1)
_LIMIT = Param("limit", COUNT, default=PAGE_DEFAULT)


def queries(context: Context, ref: BlockRef) -> "Queries":
    """The registry as it was after a block. Raises RpcError ("header not found")."""
    from attribution_precompile.reading.queries import Queries

    return Queries(ContractReader(state_at(context.chain, ref)), context.chain.spec.chain_id)


def check_limit(limit: int) -> None:
    """Raises RpcError for a page of none, or of too many."""
    if not 1 <= limit <= PAGE_MAX:
        raise invalid_params(f"limit is 1 to {PAGE_MAX}")


def page(read: Callable[[int, int], Iterator[T]], show: Callable[[T], Json], cursor: int, limit: int) -> Json:
    """At most `limit` items from `cursor` on; one more is asked for to see whether there is a next page."""
    check_limit(limit)
    first = max(cursor, 1)
    items = [show(item) for item in read(first, limit + 1)]
    more = len(items) > limit
    return {"items": items[:limit], "next": quantity(first + limit) if more else None}


# ---------------------------------------------------------------- datanets, versions


@method("open_counts", _BLOCK, result="counts", runs=Runs.READ)
def counts(context: Context, ref: BlockRef) -> Json:
    """How many datanets, contributions, models and receipts there are; ids run from 1 to these."""
    found = queries(context, ref).counts()
    return {
        "datanets": quantity(found.datanets),
        "contributions": quantity(found.contributions),
        "models": quantity(found.models),
        "receipts": quantity(found.receipts),
    }


@method("open_datanet", _ID, _BLOCK, result="datanet or null", runs=Runs.READ)
def datanet(context: Context, datanet_id: int, ref: BlockRef) -> Json | None:
    """A datanet: owner, terms, parameters, sizes."""
    found = queries(context, ref).datanet(datanet_id)
    return None if found is None else _datanet_json(found)


@method("open_datanets", _CURSOR, _LIMIT, _BLOCK, result="page of datanets", runs=Runs.READ)
def datanets(context: Context, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All datanets, by id."""
    return page(queries(context, ref).datanets, _datanet_json, cursor, limit)


def _datanet_json(found: "DatanetInfo") -> Json:
    params = found.params
    return {
        "id": quantity(found.id),
        "owner": data(found.owner),
        "uri": params.uri,
        "termsHash": data(params.terms_hash),
        "tokenizer": data(params.tokenizer),
        "minSpan": quantity(params.min_span),
        "commitOnly": params.commit_only,
        "openToModels": params.open_to_models,
        "useMask": quantity(params.use_mask),
        "minFeePer1k": quantity(params.min_fee_per_1k),
        "curatorBps": quantity(params.curator_bps),
        "softCapBps": quantity(params.soft_cap_bps),
        "bondPerKiB": quantity(params.bond_per_kib),
        "reviewSeconds": quantity(params.review_seconds),
        "contributions": quantity(found.contributions),
        "versions": quantity(found.versions),
        "segments": quantity(found.segments),
        "poolWeight": quantity(found.pool_weight),
        "poolNextWeight": quantity(found.pool_next_weight),
    }


@method(
    "open_version", Param("datanet", COUNT), Param("version", COUNT), _BLOCK, result="version or null", runs=Runs.READ
)
def version(context: Context, datanet_id: int, number: int, ref: BlockRef) -> Json | None:
    """A published version of a datanet."""
    found = queries(context, ref).version(datanet_id, number)
    return None if found is None else _version_json(found)


@method("open_versions", Param("datanet", COUNT), _CURSOR, _LIMIT, _BLOCK, result="page of versions", runs=Runs.READ)
def versions(context: Context, datanet_id: int, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All published versions of a datanet."""
    found = queries(context, ref)
    return page(lambda first, count: found.versions_of(datanet_id, first, count), _version_json, cursor, limit)


def _version_json(found: "VersionInfo") -> Json:
    return {
        "datanet": quantity(found.datanet_id),
        "version": quantity(found.version),
        "time": quantity(found.time),
        "blockNumber": quantity(found.block_number),
        "contributions": quantity(found.contributions),
        "contentRoot": data(found.content_root),
    }


# ---------------------------------------------------------------- contributions


@method("open_contribution", _ID, _BLOCK, result="contribution or null", runs=Runs.READ)
def contribution(context: Context, contribution_id: int, ref: BlockRef) -> Json | None:
    """A contribution: who, what root, how much, and its status."""
    found = queries(context, ref).contribution(contribution_id)
    return None if found is None else contribution_json(found)


@method("open_contributions", _CURSOR, _LIMIT, _BLOCK, result="page of contributions", runs=Runs.READ)
def contributions(context: Context, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All contributions of the chain, by id."""
    return page(queries(context, ref).contributions, contribution_json, cursor, limit)


@method(
    "open_contributionsOf",
    Param("datanet", COUNT),
    _CURSOR,
    _LIMIT,
    _BLOCK,
    result="page of contributions",
    runs=Runs.READ,
)
def contributions_of(context: Context, datanet_id: int, cursor: int, limit: int, ref: BlockRef) -> Json:
    """The contributions of one datanet, by their place in it."""
    found = queries(context, ref)
    return page(lambda first, count: found.contributions_of(datanet_id, first, count), contribution_json, cursor, limit)


@method("open_content", _ID, _BLOCK, result="segments or null", runs=Runs.CALL)
def content(context: Context, contribution_id: int, ref: BlockRef) -> list[str] | None:
    """The public content of a contribution, a piece for each call that brought it; null if this node does not hold it.

    Once it has died (erased, or lost in a dispute) it is served for no block any more.
    """
    died = queries(context, LATEST).died_in(contribution_id)
    if died:
        raise server_error(f"contribution {contribution_id} was erased or lost a dispute in block {died}")
    found = queries(context, ref).content(contribution_id)
    return None if found is None else [data(piece) for piece in found]


def contribution_json(found: "ContributionInfo") -> Json:
    return {
        "id": quantity(found.id),
        "datanet": quantity(found.datanet_id),
        "contributor": data(found.contributor),
        "payout": data(found.payout),
        "contentRoot": data(found.content_root),
        "provenance": data(found.provenance),
        "tokens": quantity(found.tokens),
        "ownedWindows": quantity(found.owned_windows),
        "quality": quantity(found.quality),
        "status": found.status.name.lower(),
        "acceptedVersion": quantity(found.accepted_version),
        "deadline": quantity(found.deadline),
    }


# ---------------------------------------------------------------- models, receipts


@method("open_model", _ID, _BLOCK, result="model or null", runs=Runs.READ)
def model(context: Context, model_id: int, ref: BlockRef) -> Json | None:
    """A model: owner, signer, prices, and the datanet versions it was built from."""
    found = queries(context, ref).model(model_id)
    return None if found is None else _model_json(found)


@method("open_models", _CURSOR, _LIMIT, _BLOCK, result="page of models", runs=Runs.READ)
def models(context: Context, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All models, by id."""
    return page(queries(context, ref).models, _model_json, cursor, limit)


def _model_json(found: "ModelInfo") -> Json:
    return {
        "id": quantity(found.id),
        "owner": data(found.owner),
        "signer": data(found.signer),
        "uri": found.uri,
        "weights": data(found.weights),
        "method": found.method.name.lower(),
        "active": found.active,
        "inputPer1k": quantity(found.input_per_1k),
        "outputPer1k": quantity(found.output_per_1k),
        "tokenizer": data(found.tokenizer),
        "uses": [
            {
                "datanet": quantity(use.datanet_id),
                "version": quantity(use.version),
                "stage": quantity(use.stage),
                "bps": quantity(use.bps),
                "allowed": use.allowed,
            }
            for use in found.uses
        ],
    }


@method("open_receipt", Param("id", HASH), _BLOCK, result="inference receipt or null", runs=Runs.READ)
def receipt(context: Context, receipt_id: Hash32, ref: BlockRef) -> Json | None:
    """The receipt of an inference, by the id that `infer` returned."""
    found = queries(context, ref).receipt(receipt_id)
    return None if found is None else _receipt_json(found)


@method("open_receipts", _CURSOR, _LIMIT, _BLOCK, result="page of inference receipts", runs=Runs.READ)
def receipts(context: Context, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All inference receipts, in the order of inference."""
    return page(queries(context, ref).receipts, _receipt_json, cursor, limit)


def _receipt_json(found: "ReceiptInfo") -> Json:
    return {
        "id": data(found.id),
        "model": quantity(found.model_id),
        "agent": quantity(found.agent_id),
        "payer": data(found.payer),
        "fee": quantity(found.fee),
        "blockNumber": quantity(found.block_number),
        "tokens": quantity(found.tokens),
        "unmatched": quantity(found.unmatched),
        "scoresHash": data(found.scores_hash),
    }


@method("open_claimable", Param("address", ADDRESS), _BLOCK, result="quantity", runs=Runs.READ)
def claimable(context: Context, who: Address, ref: BlockRef) -> str:
    """What an address can claim now, in wei."""
    return quantity(queries(context, ref).claimable(who))


# ---------------------------------------------------------------- traces


@method("open_trace", Param("model", COUNT), Param("output", DATA), _BLOCK, result="trace", runs=Runs.CALL)
def trace(context: Context, model_id: int, output: bytes, ref: BlockRef) -> Json:
    """Which contributions an output comes from, span by span, exactly as the chain attributes it; costs nothing.

    Spans are in tokens, and in bytes of the output: [byteStart, byteEnd).
    """
    from attribution_precompile.reading.explain import TraceError, explain
    from attribution_precompile.rules.tokens import TextError

    limit = context.chain.spec.attribution
    if len(output) > limit.call_bytes_max:
        raise invalid_params(f"invalid argument 1: the output has {len(output)} bytes, at most {limit.call_bytes_max}")
    index, check = index_at(context, header_at(context.chain, ref).hash)
    try:
        found = explain(index, model_id, output, tokens_max=limit.output_tokens_max, charge=check)
    except (TraceError, TextError) as error:
        raise server_error(str(error)) from None
    return {
        "model": quantity(model_id),
        "tokens": quantity(found.tokens),
        "unmatched": quantity(found.unmatched),
        "scores": [{"contribution": quantity(who), "tokens": quantity(tokens)} for who, tokens in found.scores],
        "spans": [span_json(span) for span in found.spans],
    }


def span_json(span: Any) -> Json:
    return {
        "startToken": quantity(span.start_token),
        "tokens": quantity(span.length),
        "byteStart": quantity(span.byte_start),
        "byteEnd": quantity(span.byte_end),
        "use": quantity(span.use),
        "datanet": quantity(span.datanet),
        "contribution": quantity(span.contribution),
    }

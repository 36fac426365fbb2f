"""open: what was paid to whom, over the chain's history, and what its events tell of contributions and agents.

Found through the store's lists of the contract's events, so a page costs what it shows and not the length of the chain.
`cursor` is opaque here: take it from `next` of the page before, or leave it out to begin at the first.
"""

import itertools
from typing import TYPE_CHECKING

from genesis.primitives import Address
from node.interfaces import EventPlace
from node.rpc.context import Context
from node.rpc.methods.open_registry import PAGE_DEFAULT, check_limit, contribution_json, queries
from node.rpc.reads.attributions import (
    ATTRIBUTION_FILTER,
    PAYMENT_FILTER,
    AttributionFilter,
    PaymentFilter,
    cursor_of,
    inference_json,
    matching,
    payment_at,
    payment_json,
    place_of,
)
from node.rpc.reads.lookup import stored_at
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.format import Json, data, quantity
from node.rpc.schema.params import ADDRESS, BLOCK_REF, COUNT, LATEST, BlockRef

if TYPE_CHECKING:
    from attribution_precompile.reading.queries import AgentInfo

_BLOCK = Param("block", BLOCK_REF, default=LATEST)
_CURSOR = Param("cursor", COUNT, default=0)
_LIMIT = Param("limit", COUNT, default=PAGE_DEFAULT)


@method(
    "open_attributions",
    Param("filter", ATTRIBUTION_FILTER, default=AttributionFilter()),
    _CURSOR,
    _LIMIT,
    result="page of attributions",
    runs=Runs.CALL,
    keeps=Keeps.TIP,
)
def attributions(context: Context, wanted: AttributionFilter, cursor: int, limit: int) -> Json:
    """Paid inferences with every payment, oldest first, by model, payer, receipt, contribution or payout address."""
    check_limit(limit)
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    first = place_of(cursor)
    items: list[Json] = []
    for height in wanted.heights(context.chain, first.height, stopwatch):
        stored = stored_at(context.chain, height)
        for found in matching(stored, wanted):
            place = EventPlace(height, found.log_place)
            if place < first:
                continue
            if len(items) == limit:
                return {"items": items, "next": quantity(cursor_of(place))}
            items.append(inference_json(found, stored))
    return {"items": items, "next": None}


@method(
    "open_payments",
    Param("filter", PAYMENT_FILTER),
    _CURSOR,
    _LIMIT,
    result="page of payments",
    runs=Runs.CALL,
    keeps=Keeps.TIP,
)
def payments(context: Context, wanted: PaymentFilter, cursor: int, limit: int) -> Json:
    """All payments for contributions, oldest first, by contribution, payout address or model: from which inference, or a pool.

    Attested scores come when they are claimed. What a pool pays belongs to no model.
    """
    check_limit(limit)
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    items: list[Json] = []
    for place in wanted.places(context.chain, place_of(cursor), stopwatch):
        if len(items) == limit:
            return {"items": items, "next": quantity(cursor_of(place))}
        stored = stored_at(context.chain, place.height)
        items.append(payment_json(payment_at(context.chain, stored, place), stored, place))
    return {"items": items, "next": None}


@method(
    "open_contributionsBy",
    Param("payout", ADDRESS),
    _CURSOR,
    _LIMIT,
    result="page of contributions",
    runs=Runs.CALL,
    keeps=Keeps.TIP,
)
def contributions_by(context: Context, payout: Address, cursor: int, limit: int) -> Json:
    """Contributions that were made with this payout address, or given it later and still have it; oldest first."""
    check_limit(limit)
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    found = queries(context, LATEST)
    first = place_of(cursor)
    items: list[Json] = []
    seen: set[int] = set()
    for place, contribution_id in context.chain.payouts_named(payout):
        stopwatch.check()
        if contribution_id in seen:
            continue
        seen.add(contribution_id)
        info = found.contribution(contribution_id) if place >= first else None
        if info is None or payout not in (info.payout, info.contributor):
            continue
        if len(items) == limit:
            return {"items": items, "next": quantity(cursor_of(place))}
        items.append(contribution_json(info))
    return {"items": items, "next": None}


# ---------------------------------------------------------------- agents, lineage


@method("open_agent", Param("id", COUNT), _BLOCK, result="agent or null", runs=Runs.READ, keeps=Keeps.TIP)
def agent(context: Context, agent_id: int, ref: BlockRef) -> Json | None:
    """An agent: who owns it, which wallet acts for it, its deposit and what it may spend a day."""
    found = queries(context, ref).agent(agent_id)
    return None if found is None else _agent_json(found)


@method(
    "open_agents",
    Param("cursor", COUNT, default=1),
    _LIMIT,
    _BLOCK,
    result="page of agents",
    runs=Runs.READ,
    keeps=Keeps.TIP,
)
def agents(context: Context, cursor: int, limit: int, ref: BlockRef) -> Json:
    """All agents, by id."""
    check_limit(limit)
    first, found = max(cursor, 1), queries(context, ref)
    known = itertools.takewhile(lambda each: each is not None, map(found.agent, itertools.count(first)))
    items = [_agent_json(each) for each in itertools.islice(known, limit + 1) if each is not None]
    return {"items": items[:limit], "next": quantity(first + limit) if len(items) > limit else None}


def _agent_json(found: "AgentInfo") -> Json:
    return {
        "id": quantity(found.id),
        "owner": data(found.owner),
        "wallet": data(found.wallet),
        "uri": found.uri,
        "deposit": quantity(found.deposit),
        "dailyCap": quantity(found.daily_cap),
        "spent": quantity(found.spent),
        "day": quantity(found.day),
    }


@method("open_lineage", Param("model", COUNT), _BLOCK, result="royalty[]", runs=Runs.READ, keeps=Keeps.TIP)
def lineage(context: Context, model_id: int, ref: BlockRef) -> list[Json]:
    """The ancestors of a model that are paid royalties, each with its part of the owner's part in basis points."""
    return [
        {"model": quantity(ancestor), "bps": quantity(bps)}
        for ancestor, bps in queries(context, ref).royalties(model_id)
    ]

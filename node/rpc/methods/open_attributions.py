"""open: what was paid to whom, over the chain's history, and what its events tell of contributions and agents.

Found through the index of events, so a page costs what it shows and not the length of the chain. `cursor` is opaque here: take
it from `next` of the page before, or leave it out to begin at the first.
"""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import StorageCorrupt
from genesis.primitives import Address, Hash32, Height
from node.interfaces import StoredBlock
from node.rpc.attributions import ATTRIBUTION_FILTER, AttributionFilter, inference_json, matching
from node.rpc.backend import Context, Stopwatch
from node.rpc.errors import invalid_params
from node.rpc.format import Json, data, logs_of, quantity
from node.rpc.logs import LogQuery
from node.rpc.methods.open_registry import PAGE_DEFAULT, PAGE_MAX, contribution_json, queries
from node.rpc.params import ADDRESS, BLOCK_REF, COUNT, LATEST, BlockRef, LogFilter
from node.rpc.registry import Keeps, Param, Runs, method

if TYPE_CHECKING:
    from attribution_precompile.queries import AgentInfo

_BLOCK = Param("block", BLOCK_REF, default=LATEST)
_CURSOR = Param("cursor", COUNT, default=0)
_LIMIT = Param("limit", COUNT, default=PAGE_DEFAULT)
_PLACE_BITS: Final = 24
"""A cursor is a height and, below it, the place of a log in that block."""


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
    _check(limit)
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    items: list[Json] = []
    for stored in _blocks(context, wanted.log_filter(), cursor >> _PLACE_BITS, stopwatch):
        for found in matching(stored, wanted):
            place = stored.height << _PLACE_BITS | found.log_place
            if place < cursor:
                continue
            if len(items) == limit:
                return {"items": items, "next": quantity(place)}
            items.append(inference_json(found, stored))
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
    _check(limit)
    stopwatch = context.stopwatch(context.limits.log_timeout_s)
    found = queries(context, LATEST)
    items: list[Json] = []
    seen: set[int] = set()
    for place, contribution_id in _named(context, payout, cursor >> _PLACE_BITS, stopwatch):
        info = None if contribution_id in seen else found.contribution(contribution_id)
        seen.add(contribution_id)
        if info is None or payout not in (info.payout, info.contributor) or place < cursor:
            continue
        if len(items) == limit:
            return {"items": items, "next": quantity(place)}
        items.append(contribution_json(info))
    return {"items": items, "next": None}


def _named(context: Context, payout: Address, first: int, stopwatch: Stopwatch) -> Iterator[tuple[int, int]]:
    """(cursor, contribution) of the events that give a contribution this payout address, in order."""
    from attribution_precompile import declarations as d

    who = Hash32(bytes(12) + payout)
    made, changed = (Hash32(event.topic.to_bytes(32, "big")) for event in (d.CONTRIBUTED, d.PAYOUT_SET))
    places = {made: (2, 3), changed: (1, 2)}  # which topics hold the contribution and the address
    heights: set[Height] = set()
    tip = context.chain.tip().height
    for event, (_, at) in places.items():
        topics = (frozenset({event}), *([None] * (at - 1)), frozenset({who}))
        query = LogQuery(LogFilter(addresses=frozenset({ATTRIBUTION_ADDRESS}), topics=topics))
        heights.update(query.heights(context.chain, range(first, tip + 1), stopwatch))
    for height in sorted(heights):
        stopwatch.check()
        for log, _, _, place in logs_of(_block(context, height)):
            kind = log.topics[0] if log.topics and log.address == ATTRIBUTION_ADDRESS else None
            if kind in places and log.topics[places[kind][1]] == who:
                yield height << _PLACE_BITS | place, int.from_bytes(log.topics[places[kind][0]], "big")


def _blocks(context: Context, wanted: LogFilter, first: int, stopwatch: Stopwatch) -> Iterator[StoredBlock]:
    """The blocks from height `first` on that hold a log that is wanted, as far as the index can tell."""
    heights = range(first, context.chain.tip().height + 1)
    for height in LogQuery(wanted).heights(context.chain, heights, stopwatch):
        stopwatch.check()
        yield _block(context, height)


def _block(context: Context, height: Height) -> StoredBlock:
    stored = context.chain.block(height)
    if stored is None:
        raise StorageCorrupt(f"block {height} is missing below the tip")
    return stored


def _check(limit: int) -> None:
    if not 1 <= limit <= PAGE_MAX:
        raise invalid_params(f"limit is 1 to {PAGE_MAX}")


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
    _check(limit)
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

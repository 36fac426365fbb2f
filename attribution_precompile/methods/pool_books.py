"""Pools in storage: which of a datanet's nodes and its members' steps an operation reads and writes (see `pool.py`).

A payment touches one node a level, a claim or a death at most 76 for a member's first step and some 40 for each other,
and a member has at most `pool_steps_max` steps: so no number of versions makes any of them dear (`versions_max` bounds
the levels). A node is not zero from the version that begins it on, so that nobody pays 20,000 gas for being the first
to touch it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile.layout import (
    POOL_NODES,
    POOL_REMAINDERS,
    POOL_RESIDUES,
    POOL_STEPS,
    POOL_WEIGHTS,
    PoolNode,
    PoolStep,
)
from attribution_precompile.rules import pool
from evm_runtime.native import Slots
from genesis.primitives import Wei

_INDEX_BITS: Final = 32


def pay_pool(slots: Slots, datanet_id: int, version: int, amount: Wei) -> Wei:
    """Pay the members of a version; returns what is the treasury's, for want of weight (all or nothing)."""
    if amount == 0:
        return Wei(0)
    nodes = {place: _load(slots, datanet_id, place) for place in pool.path(version)}
    weight = _sum_of_weights(list(nodes.values()))
    if weight == 0:
        return amount
    remainder = POOL_REMAINDERS.get(slots, datanet_id, version)
    gained, remainder = pool.divide(amount, remainder, weight)
    POOL_REMAINDERS.set(slots, remainder, datanet_id, version)
    for place, node in nodes.items():
        _store(slots, datanet_id, place, replace(node, sum=(node.sum + gained) % pool.SUM_MODULUS))
    return Wei(0)


def version_weight(slots: Slots, datanet_id: int, version: int) -> int:
    """The weight of a version's members now; 0 of versions that don't exist."""
    return _sum_of_weights([_load(slots, datanet_id, place) for place in pool.path(version)])


def next_weight(slots: Slots, datanet_id: int) -> int:
    """The weight that the next version of a datanet would have."""
    return POOL_WEIGHTS.get(slots, datanet_id)


def open_version(slots: Slots, datanet_id: int, version: int) -> None:
    """Begin the pool of a version that is being published, with all weight that waited for it."""
    places = list(pool.path(version))
    new = pool.begun_by(version)
    for place in places[1:new]:
        _store(slots, datanet_id, place, PoolNode(0, 0, True))
    above = _sum_of_weights([_load(slots, datanet_id, place) for place in places[new:]])
    own = (next_weight(slots, datanet_id) - above) % pool.WEIGHT_MODULUS
    _store(slots, datanet_id, places[0], PoolNode(0, own, True))


# ---------------------------------------------------------------- members


def share_of(slots: Slots, contribution_id: int, datanet_id: int, versions: int) -> Wei:
    """What a contribution is owed, `versions` being how many its datanet has."""
    return _settled(slots, contribution_id, datanet_id, versions)[2]


def take_share(slots: Slots, contribution_id: int, datanet_id: int, versions: int) -> Wei:
    """Settle a contribution: what it is owed leaves the pool."""
    steps, residue, due = _settled(slots, contribution_id, datanet_id, versions)
    if steps:
        POOL_STEPS.replace(slots, steps, contribution_id)
        POOL_RESIDUES.set(slots, residue, contribution_id)
    return due


def weigh_next(slots: Slots, contribution_id: int, datanet_id: int, versions: int, weight: int, steps_max: int) -> None:
    """Give a contribution another weight from the next version on. Refuses one change too many (never the one to zero),
    and weights that 64 bits don't hold."""
    before = load_steps(slots, contribution_id)
    after = pool.step_to(before, versions + 1, weight)
    limit = steps_max - (weight > 0)
    if len(after) > max(limit, len(before)):
        raise d.TOO_LONG("changes of weight", len(after), limit)
    total = next_weight(slots, datanet_id) + weight - _last_weight(before)
    if total >= pool.WEIGHT_MODULUS:
        raise d.TOO_LONG("weight of the pool", total, pool.WEIGHT_MODULUS - 1)
    if after != before:
        POOL_STEPS.replace(slots, after, contribution_id)
        POOL_WEIGHTS.set(slots, total, datanet_id)


def scale_now(slots: Slots, contribution_id: int, datanet_id: int, versions: int, kept: int, of: int) -> None:
    """Leave a settled contribution `kept` parts of `of` of its weight in every version, from now on."""
    before = load_steps(slots, contribution_id)
    after = pool.scale(before, kept, of)
    changed = Counter[pool.Place]()
    for step, old, new in zip(before, pool.changes(before), pool.changes(after), strict=True):
        for place, sign in pool.cover(step.first, versions):
            changed[place] += sign * (new - old)
    for place, change in changed.items():
        node = _load(slots, datanet_id, place)
        _store(slots, datanet_id, place, replace(node, weight=(node.weight + change) % pool.WEIGHT_MODULUS))
    POOL_WEIGHTS.add(slots, _last_weight(after) - _last_weight(before), datanet_id)
    POOL_STEPS.replace(slots, after if any(step.weight for step in after) else [], contribution_id)


def load_steps(slots: Slots, contribution_id: int) -> list[PoolStep]:
    """A contribution's weights, by the versions from which they count."""
    return [POOL_STEPS.get(slots, i, contribution_id) for i in range(POOL_STEPS.length(slots, contribution_id))]


def _settled(slots: Slots, contribution_id: int, datanet_id: int, versions: int) -> tuple[list[PoolStep], int, Wei]:
    steps = load_steps(slots, contribution_id)
    if not steps:
        return [], 0, Wei(0)
    sums = [_sum_from(slots, datanet_id, step.first, versions) for step in steps]
    return pool.settle(steps, sums, POOL_RESIDUES.get(slots, contribution_id))


def _last_weight(steps: Sequence[PoolStep]) -> int:
    return steps[-1].weight if steps else 0


# ---------------------------------------------------------------- the tree


def _load(slots: Slots, datanet_id: int, place: pool.Place) -> PoolNode:
    level, index = place
    return POOL_NODES.load(slots, datanet_id, level << _INDEX_BITS | index)


def _store(slots: Slots, datanet_id: int, place: pool.Place, node: PoolNode) -> None:
    level, index = place
    POOL_NODES.store(slots, node, datanet_id, level << _INDEX_BITS | index)


def _sum_of_weights(nodes: Sequence[PoolNode]) -> int:
    return sum(node.weight for node in nodes) % pool.WEIGHT_MODULUS


def _sum_from(slots: Slots, datanet_id: int, first: int, versions: int) -> int:
    """S(first)."""
    nodes = pool.cover(first, versions)
    return sum(sign * _load(slots, datanet_id, place).sum for place, sign in nodes) % pool.SUM_MODULUS

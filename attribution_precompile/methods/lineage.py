"""Lineage: which models a model was made from, and what its owner owes theirs.

A model names its parents with a royalty in basis points of its own owner's part, at least what each parent asks for. The rates
that the parents owe to their own ancestors hold for the child as well, so a model put in between dilutes nothing; where an
ancestor is reached by several paths, the highest rate counts. The flattened list is fixed at registration. A parent exists
before its child, so its id is smaller and lineage has no cycles.

Floors and contributors of what a model was built from can't be left behind either: its uses have those that its ancestors had
when it was registered. They are marked, and stay whatever the ancestors add later. Who agrees to what these use by then, by
naming all of it, carries that from then on.
"""

from collections.abc import Iterable, Sequence

from attribution_precompile import declarations as d
from attribution_precompile.declarations import Parent
from attribution_precompile.layout import LINEAGES, MODELS, USES, Model, Royalty
from attribution_precompile.methods.base import check, require_model
from evm_runtime.native import Slots
from genesis.chain_spec import AttributionParams
from genesis.emission import BPS
from genesis.primitives import Address, Wei


def flatten(parents: Iterable[tuple[Parent, Sequence[Royalty]]]) -> tuple[Royalty, ...]:
    """All ancestors with the rates owed to them, by id, from the parents and what those owe."""
    rates: dict[int, int] = {}
    for parent, inherited in parents:
        for royalty in (Royalty(parent.model_id, parent.bps), *inherited):
            rates[royalty.model_id] = max(rates.get(royalty.model_id, 0), royalty.bps)
    return tuple(Royalty(*item) for item in sorted(rates.items()))


def load_lineage(slots: Slots, model_id: int, model: Model) -> tuple[Royalty, ...]:
    return tuple(LINEAGES.get(slots, i, model_id) for i in range(model.ancestors))


def found_lineage(
    slots: Slots, parents: Sequence[Parent], limits: AttributionParams
) -> tuple[tuple[Royalty, ...], int]:
    """The lineage of a model about to be registered, and its depth. Refuses what breaks a limit or a parent's minimum."""
    if len(parents) > limits.ancestors_max:
        raise d.TOO_LONG("parents", len(parents), limits.ancestors_max)
    check(len({parent.model_id for parent in parents}) == len(parents), "parents", "each is named once")
    found, depth = [], 0
    for parent in parents:
        record = require_model(slots, parent.model_id)
        if parent.bps < record.min_royalty_bps:
            raise d.ROYALTY_TOO_LOW(parent.model_id, record.min_royalty_bps)
        found.append((parent, load_lineage(slots, parent.model_id, record)))
        depth = max(depth, record.depth + 1)
    royalties = flatten(found)
    if len(royalties) > limits.ancestors_max:
        raise d.TOO_LONG("ancestors", len(royalties), limits.ancestors_max)
    if depth > limits.lineage_depth_max:
        raise d.TOO_LONG("lineage (generations)", depth, limits.lineage_depth_max)
    total = sum(royalty.bps for royalty in royalties)
    if total > limits.royalty_bps_max:
        raise d.TOO_LONG("royalties (basis points)", total, limits.royalty_bps_max)
    return royalties, depth


Named = tuple[int, int]
"""A version of a datanet."""


def inherited_uses(slots: Slots, royalties: Sequence[Royalty]) -> set[Named]:
    """What a model's ancestors use now."""
    uses = set()
    for royalty in royalties:
        for i in range(USES.length(slots, royalty.model_id)):
            use = USES.get(slots, i, royalty.model_id)
            uses.add((use.datanet_id, use.version))
    return uses


def carried_uses(slots: Slots, model_id: int) -> set[Named]:
    """What a model has to keep for its ancestors' sake."""
    uses = [USES.get(slots, i, model_id) for i in range(USES.length(slots, model_id))]
    return {(use.datanet_id, use.version) for use in uses if use.carried}


def require_all(named: set[Named], needed: set[Named]) -> None:
    missing = needed - named
    if missing:
        raise d.MISSING_USE(*min(missing))


def royalties_due(slots: Slots, royalties: Sequence[Royalty], owner_part: Wei) -> list[tuple[int, Address, Wei]]:
    """(ancestor, its owner, amount) out of a model owner's part of a fee, each rounded down; the rest is the owner's."""
    due = []
    for royalty in royalties:
        amount = Wei(owner_part * royalty.bps // BPS)
        if amount:
            due.append((royalty.model_id, Address(MODELS.load_field(slots, "owner", royalty.model_id)), amount))
    return due

"""Lineage: who is owed a royalty, how much, and what a child can't leave out."""

import random
from contextlib import suppress

import pytest

from attribution_precompile.declarations import Parent
from attribution_precompile.layout import Royalty
from attribution_precompile.methods.lineage import flatten
from attribution_precompile.rules import reference
from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, USER, World, words
from tests.unit.native.harness import Reverted

USES = [(1, 1, 0, 10_000)]
PRICE = 1_000 * WEI_PER_OPEN


@pytest.fixture
def world() -> World:
    world = World()
    world.datanet()
    world.accept(world.give(1, ALICE, words(0, 40)))
    world.publish(1)
    return world


def test_royalties_are_paid_out_of_the_owners_part_to_the_wei(world: World) -> None:
    root = world.model(USES, sender=BOB, min_royalty=1_000)
    middle = world.model(USES, sender=CAROL, parents=[(root, 1_000)])
    leaf = world.model(USES, output_price=PRICE, parents=[(middle, 333)])
    assert world.getRoyalties(leaf) == ((root, middle), (1_000, 333)), "what the parent owes, the child owes"
    assert world.getRoyalties(root) == ((), ())
    fee = 10 * WEI_PER_OPEN
    world.run(leaf, words(0, 10), fee)
    paid = [(event["modelId"], event["amount"]) for event in world.events("RoyaltyPaid")]
    part = fee * 3_000 // 10_000
    assert paid == [(root, part // 10), (middle, part * 333 // 10_000)]
    assert (world.balance(BOB), world.balance(CAROL)) == (part // 10, part * 333 // 10_000)
    assert world.balance(DEV) == part - part // 10 - part * 333 // 10_000
    world.transferModel(root, USER, sender=BOB)
    world.acceptModel(root, sender=USER)
    world.run(leaf, words(0, 10), fee)
    assert (world.balance(BOB), world.balance(USER)) == (part // 10, part // 10), "to who owns the ancestor now"


def test_a_model_put_in_between_dilutes_nothing(world: World) -> None:
    root = world.model(USES, sender=BOB, min_royalty=2_000)
    shell = world.model(USES, parents=[(root, 2_000)])
    free = world.model(USES, parents=[(shell, 0)])
    assert world.getRoyalties(free) == ((root, shell), (2_000, 0))


def test_a_parents_minimum_is_respected(world: World) -> None:
    root = world.model(USES, min_royalty=500)
    refused(world, "RoyaltyTooLow", lambda: world.model(USES, parents=[(root, 499)]), root, 500)
    world.model(USES, parents=[(root, 500)])


def test_limits_of_lineage(world: World) -> None:
    limits = world.contract.params
    first = world.model(USES)
    refused(world, "InvalidParameter", lambda: world.model(USES, parents=[(first, 1), (first, 2)]))
    refused(world, "UnknownModel", lambda: world.model(USES, parents=[(first + 1, 1)]))
    refused(
        world, "TooLong", lambda: world.model(USES, parents=[(first, 5_001)]), "royalties (basis points)", 5_001, 5_000
    )
    world.model(USES, parents=[(first, 5_000)])
    chain = first
    for _ in range(limits.lineage_depth_max):
        chain = world.model(USES, parents=[(chain, 1)])
    refused(world, "TooLong", lambda: world.model(USES, parents=[(chain, 1)]), "lineage (generations)", 17, 16)
    roots = [world.model(USES) for _ in range(limits.ancestors_max)]
    many = world.model(USES, parents=[(root, 1) for root in roots[:63]])
    refused(world, "TooLong", lambda: world.model(USES, parents=[(many, 1), (roots[63], 1)]), "ancestors", 65, 64)
    refused(
        world, "TooLong", lambda: world.model(USES, parents=[(root, 0) for root in [*roots, many]]), "parents", 65, 64
    )
    full = world.model(USES, parents=[(many, 1)], output_price=PRICE)
    world.run(full, words(0, 10), 10 * WEI_PER_OPEN)
    assert len(world.events("RoyaltyPaid")) == 64


def test_a_childs_uses_include_its_ancestors(world: World) -> None:
    """Else floors and contributors of what an ancestor was built from could be left behind."""
    other = world.datanet(min_fee_per_1k=WEI_PER_OPEN)
    world.accept(world.give(other, BOB, words(900, 20)))
    world.publish(other)
    root = world.model([(other, 1, 0, 10_000)])
    middle = world.model([(other, 1, 0, 1), (1, 1, 0, 9_999)], parents=[(root, 0)])
    refused(world, "MissingUse", lambda: world.model(USES, parents=[(root, 0)]), other, 1)
    refused(world, "MissingUse", lambda: world.model(USES, parents=[(middle, 0)]), other, 1)
    refused(world, "MissingUse", lambda: world.setUses(middle, USES, sender=DEV), other, 1)
    world.publish(other)
    newer = [(other, 2, 0, 1), (1, 1, 0, 9_999)]
    refused(world, "MissingUse", lambda: world.setUses(middle, newer, sender=DEV), other, 1)
    world.setUses(middle, [*newer[:1], (other, 1, 0, 4), (1, 1, 0, 9_995)], sender=DEV)
    assert world.quote(middle, 0, 1_000) == 2 * WEI_PER_OPEN, "a floor for each use"


def test_what_a_child_carries_is_fixed_when_it_registers_or_agrees(world: World) -> None:
    """A parent that named its own closed datanet later used to keep its children from ever changing their uses."""
    world.publish(1)
    parent = world.model(USES, sender=BOB)
    child = world.model(USES, parents=[(parent, 0)])
    closed = world.datanet(open_to_models=False)
    world.accept(world.give(closed, BOB, words(900, 20)))
    world.publish(closed)
    trap = [(1, 2, 0, 5_000), (closed, 1, 0, 5_000)]
    world.setUses(parent, trap, sender=BOB)
    both = [(1, 1, 0, 9_000), (1, 2, 0, 1_000)]
    world.setUses(child, both, sender=DEV)
    assert [tuple(use) for use in world.getUses(child, 0)[0]] == both
    refused(world, "MissingUse", lambda: world.setUses(child, [(1, 2, 0, 10_000)], sender=DEV), 1, 1)
    refused(world, "MissingUse", lambda: world.model(both, parents=[(parent, 0)]), closed, 1)
    world.setUses(child, trap, sender=DEV)
    refused(world, "MissingUse", lambda: world.setUses(child, both, sender=DEV), closed, 1)
    world.setUses(parent, USES, sender=BOB)
    world.setUses(child, USES, sender=DEV)
    grandchild = world.model(both, parents=[(child, 0)])
    world.setUses(child, both, sender=DEV)
    world.setUses(grandchild, USES, sender=DEV)
    refused(world, "MissingUse", lambda: world.setUses(child, [(1, 2, 0, 10_000)], sender=DEV), 1, 1)


@pytest.mark.parametrize("seed", range(20))
def test_lineage_equals_the_reference_on_random_families(seed: int) -> None:
    rng = random.Random(seed)
    lineages: dict[int, dict[int, int]] = {}
    for model in range(1, 40):
        parents = {p: rng.randrange(300) for p in rng.sample(range(1, model), min(model - 1, rng.randint(0, 4)))}
        expected = reference.lineage(parents, lineages)
        known = [(Parent(*item), [Royalty(*owed) for owed in lineages[item[0]].items()]) for item in parents.items()]
        lineages[model] = {royalty.model_id: royalty.bps for royalty in flatten(known)}
        assert lineages[model] == expected, f"seed {seed}"


def test_payments_equal_the_reference(world: World) -> None:
    rng = random.Random(5)
    models: list[int] = []
    for _ in range(12):
        parents = [(p, rng.randrange(900)) for p in rng.sample(models, min(len(models), rng.randint(0, 3)))]
        with suppress(Reverted):
            models.append(world.model(USES, parents=parents, output_price=rng.randint(1, 10**21)))
    for model in models:
        owed = dict(zip(*world.getRoyalties(model), strict=True))
        fee = world.quote(model, 0, 10)
        world.run(model, words(0, 10), fee)
        paid = {event["modelId"]: event["amount"] for event in world.events("RoyaltyPaid")}
        expected = reference.royalties(fee * 3_000 // 10_000, owed)
        assert paid == {ancestor: amount for ancestor, amount in expected.items() if amount}

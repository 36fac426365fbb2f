"""Who stands in whose way: rejecting what has gone, and counting owned windows again."""

import pytest

from attribution_precompile import gas
from attribution_precompile.index.span_index import IndexView
from attribution_precompile.methods.pool_books import version_weight
from evm_runtime.native import PlainSlots
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, REVIEW_SECONDS, USER, World, words

PRICE = 10**18


@pytest.fixture
def world() -> World:
    """Contribution 1 is Bob's copy, there a block before Alice's text, 2."""
    world = World()
    world.datanet()
    world.give(1, BOB, words(0, 40))
    world.chain.next_block()
    world.give(1, ALICE, words(0, 40))
    world.chain.next_block()
    return world


def weight(world: World) -> int:
    """Of the newest version."""
    slots = PlainSlots(world.chain.state, world.contract.address)
    return version_weight(slots, 1, int(world.getDatanet(1)[3]))


def owned(world: World, contribution: int) -> int:
    return int(world.getContribution(contribution)[5])


def leave(world: World, how: str) -> None:
    if how == "erase":
        world.erase(1, sender=BOB)
    else:
        world.withdrawConsent(1, 31, sender=BOB)


@pytest.mark.parametrize("how", ["erase", "withdraw"])
def test_a_copy_that_leaves_at_once_keeps_nothing_from_the_author(world: World, how: str) -> None:
    """It used to claim its windows for ever: it had gone, and couldn't be rejected."""
    leave(world, how)
    world.chain.next_block()
    world.review(1, False, 0)
    assert world.events("Reviewed")[0]["accepted"] is False and world.getContribution(1)[7] == 2
    world.accept(2)
    assert owned(world, 2) == 33
    refused(world, "WrongStatus", lambda: world.review(1, False, 0), 1, 2)
    refused(world, "WrongStatus", lambda: world.review(1, True, 1), 1, 2)


@pytest.mark.parametrize("how", ["erase", "withdraw"])
def test_who_was_reviewed_behind_such_a_copy_is_counted_again(world: World, how: str) -> None:
    world.accept(2)
    world.publish(1)
    assert owned(world, 2) == 0 and weight(world) == 0
    leave(world, how)
    world.review(1, False, 0)
    world.chain.next_block()
    assert world.recount(2, sender=CAROL) == 33 == owned(world, 2)
    assert weight(world) == 0, "acts with the next version"
    world.publish(1)
    assert weight(world) == 330_000
    model = world.model([(1, 2, 0, 10_000)], output_price=PRICE)
    world.run(model, words(700, 30), PRICE)
    pooled = world.events("Pooled")[0]["amount"]
    world.claimPool([2])
    assert world.balance(ALICE) == pooled


def test_a_count_goes_down_as_well_as_up_and_may_be_followed_by_another(world: World) -> None:
    world.review(1, True, 10_000)
    world.accept(2)
    world.publish(1)
    assert (owned(world, 1), owned(world, 2)) == (33, 0)
    world.review(2, True, 5_000)
    for _ in range(3):
        assert (world.recount(1), world.recount(2)) == (33, 0)
    world.publish(1)
    assert weight(world) == 330_000


def test_what_cannot_be_rejected_or_counted(world: World) -> None:
    refused(world, "WrongStatus", lambda: world.recount(1), 1, 0)
    refused(world, "UnknownContribution", lambda: world.recount(9), 9)
    world.review(1, True, 10_000)
    world.withdrawConsent(1, 31, sender=BOB)
    for act in (lambda: world.recount(1), lambda: world.review(1, False, 0)):
        refused(world, "WrongStatus", act, 1, 3)
    world.erase(2, sender=ALICE)
    world.chain.next_block(REVIEW_SECONDS)
    refused(world, "DeadlinePassed", lambda: world.review(2, False, 0))
    refused(world, "NotAllowed", lambda: world.review(2, False, 0, sender=USER))


def test_a_count_is_paid_by_who_asks_before_it_is_done(world: World) -> None:
    world.review(1, True, 10_000)
    world.chain.next_block()
    data, price = world.data("recount", 1), gas.review_gas(40, 1, 0)
    with pytest.MonkeyPatch.context() as patch:
        counted = []
        patch.setattr(IndexView, "owned_windows", lambda *_: counted.append(1) or 0)
        assert not world.chain.call(DEV, world.contract.address, data, gas=price).ok and not counted
        assert world.chain.call(DEV, world.contract.address, data).gas_used > price and counted

"""Edges at which a rule turns: ties, the last page, the last wei, a pool without weight."""

import numpy as np
import pytest

from attribution_precompile.declarations import Method
from attribution_precompile.methods.consent import FORGET_PAGE
from attribution_precompile.rules.span import Runs, score
from genesis.chain_spec import AttributionParams
from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.test_attested import EVIDENCE, PART, attest
from tests.unit.attribution.test_commit import SALT, promise
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, COUNCIL, DEV, TREASURY, USER, World, words

PARAMS = AttributionParams()


# ---------------------------------------------------------------- rule 11's tie


def runs(*rows: tuple[int, int, int, int]) -> Runs:
    """(contribution, priority, start, end) of each."""
    contributions, priorities, starts, ends = (np.array(column) for column in zip(*rows, strict=True))
    uses = np.zeros(len(rows), np.int64)
    return Runs(uses, contributions.astype(np.uint64), priorities.astype(np.uint64), starts, ends)


def test_equal_scores_are_paid_by_priority_and_not_by_id() -> None:
    found = score(runs((5, 30, 0, 10), (6, 20, 10, 20), (7, 40, 20, 31), (8, 10, 31, 35), (8, 10, 40, 46)))
    assert found == ((7, 11), (8, 10), (6, 10), (5, 10))


def test_an_earlier_commitment_breaks_a_tie_though_its_id_is_the_greater() -> None:
    world = World()
    world.datanet()
    mine = words(500, 20).encode()
    world.commit(promise(ALICE, 1, [mine]), sender=ALICE)
    world.chain.next_block()
    later = world.give(1, BOB, words(0, 20))
    earlier = int(world.contribute(1, mine, EVIDENCE, ALICE, SALT, sender=ALICE))
    for contribution in (later, earlier):
        world.accept(contribution)
    world.publish(1)
    world.model([(1, 1, 0, 10_000)], output_price=1)
    assert later < earlier
    output = words(0, 10) + " " + words(500, 10)
    assert list(world.trace(1, output.encode())[0]) == [(earlier, 10), (later, 10)]


# ---------------------------------------------------------------- forgetSet, page by page


def pages(world: World, model: int) -> list[list[int]]:
    """All pages of a model's forget set, until the cursor says that there are no more."""
    found, cursor = [], 0
    for _ in range(10):
        page, cursor = world.forgetSet(model, cursor)
        found.append(list(page))
        if cursor == 0:
            return found
    raise AssertionError(f"no end after {found}")


def leaving(world: World, datanet: int, count: int, stay: int = 0) -> list[int]:
    """Contributions of Carol in a version of the datanet, and then withdrawn."""
    given = [world.give(datanet, CAROL, words(100 * i, 8, f"d{datanet}x")) for i in range(count + stay)]
    world.chain.next_block()
    for contribution in given:
        world.review(contribution, True, 1)
    world.publish(datanet)
    for contribution in given[:count]:
        world.withdrawConsent(contribution, 31, sender=CAROL)
    return given[:count]


def test_the_forget_set_is_paged_within_a_datanet_and_followed_over_all_uses_to_its_end() -> None:
    world = World()
    for _ in range(4):
        world.datanet()
    first = leaving(world, 1, FORGET_PAGE + 6)
    assert leaving(world, 2, 0, stay=1) == []
    third = leaving(world, 3, 2)
    last = leaving(world, 4, FORGET_PAGE)
    uses = [(datanet, 1, 0, 2_500) for datanet in (1, 2, 3, 4)]
    model = world.model(uses)
    assert pages(world, model) == [first[:FORGET_PAGE], first[FORGET_PAGE:], [], third, last]
    assert pages(world, world.model([(3, 1, 0, 10_000)])) == [third]
    assert world.forgetSet(model, 4 << 64) == ((), 0), "a cursor beyond the uses"


# ---------------------------------------------------------------- wei


@pytest.mark.parametrize("missing", [0, 1])
def test_a_claim_may_take_the_contracts_last_wei_and_no_more(missing: int) -> None:
    world = World()
    world.datanet()
    world.accept(world.give(1, ALICE, words(0, 20)))
    world.publish(1)
    world.model([(1, 1, 0, 10_000)], output_price=1_000 * WEI_PER_OPEN)
    world.run(1, words(0, 20), 20 * WEI_PER_OPEN)
    owed = world.balance(ALICE)
    world.chain.state.set_balance(world.contract.address, owed - missing)
    if missing:
        refused(world, "NotCoveredYet", lambda: world.claim(ALICE, sender=ALICE), owed, owed - 1)
    else:
        assert world.claim(ALICE, sender=ALICE) == owed
        assert world.chain.state.get_balance(world.contract.address) == 0


def test_what_wrong_scores_held_goes_to_the_treasury_where_a_pool_has_no_weight() -> None:
    world = World()
    world.datanet()
    world.datanet()
    for datanet in (1, 2):
        world.accept(world.give(datanet, BOB, words(0, 30)), quality=10_000 if datanet == 1 else 0)
        world.publish(datanet)
    uses = [(1, 1, 0, 6_000), (2, 1, 0, 4_000)]
    world.model(uses, output_price=1_000 * WEI_PER_OPEN, kind=Method.ATTESTED)
    world.bond(sender=DEV, value=100 * WEI_PER_OPEN)
    receipt = attest(world, [(1, 1)])
    before = world.balance(TREASURY)
    dispute = world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond)
    world.resolve(dispute, True, sender=COUNCIL)
    assert [(event["datanetId"], event["amount"]) for event in world.events("Pooled")] == [(1, PART * 6 // 10)]
    assert world.balance(TREASURY) - before == PART * 4 // 10

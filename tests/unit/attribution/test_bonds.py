"""Bonds with contributions, the bounds of content, and the end of appending."""

from collections.abc import Callable
from pathlib import Path

import pytest

from genesis.chain_spec import AttributionParams
from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, COUNCIL, OWNER, REVIEW_SECONDS, ZERO32, World, params, words

PRICE = WEI_PER_OPEN
FREE_AFTER = AttributionParams().bond_seconds


@pytest.fixture
def world() -> World:
    world = World()
    world.datanet(bond_per_kib=PRICE)
    return world


def bonded(world: World, text: str, value: int) -> int:
    return int(world.contribute(1, text.encode(), ZERO32, BOB, ZERO32, sender=ALICE, value=value))


def test_a_bond_is_paid_for_each_kibibyte_begun_and_the_rest_credited_back(world: World) -> None:
    small, large = words(0, 20), words(0, 300)
    assert 1_024 < len(large) <= 2_048
    refused(world, "BondTooLow", lambda: bonded(world, small, PRICE - 1), PRICE, PRICE - 1)
    contribution = bonded(world, small, PRICE + 5)
    assert world.balance(ALICE) == 5
    refused(
        world, "BondTooLow",
        lambda: world.appendContent(contribution, large.encode(), sender=ALICE, value=PRICE), 2 * PRICE, PRICE,
    )  # fmt: skip
    world.appendContent(contribution, large.encode(), sender=ALICE, value=2 * PRICE + 1)
    assert world.balance(ALICE) == 6
    refused(world, "BondLocked", lambda: world.withdrawBond(contribution, sender=ALICE))
    world.accept(contribution)
    world.chain.next_block(FREE_AFTER)
    assert world.withdrawBond(contribution, sender=ALICE) == 3 * PRICE
    assert world.events("BondReturned")[0]["amount"] == 3 * PRICE
    assert world.balance(ALICE) == 3 * PRICE + 6, "the contributor's, not the payout's"
    assert world.withdrawBond(contribution, sender=ALICE) == 0, "once"
    assert world.events("BondReturned") == []


@pytest.mark.parametrize("end", ["rejected", "timed out"])
def test_a_bond_comes_back_however_the_review_ends(world: World, end: str) -> None:
    contribution = bonded(world, words(0, 20), PRICE)
    world.chain.next_block()
    if end == "rejected":
        world.review(contribution, False, 0)
    else:
        world.chain.next_block(REVIEW_SECONDS)
    world.chain.next_block(FREE_AFTER)
    assert world.withdrawBond(contribution, sender=ALICE) == PRICE == world.balance(ALICE)


Act = Callable[[World, int], object]
LEAVING: dict[str, Act] = {
    "erased": lambda world, c: world.erase(c, sender=ALICE),
    "erased by the council": lambda world, c: world.erase(c, sender=COUNCIL),
    "withdrawn": lambda world, c: world.withdrawConsent(c, 31, sender=ALICE),
    "withdrawn and rejected": lambda world, c: (
        world.withdrawConsent(c, 31, sender=ALICE),
        world.chain.next_block(),
        world.review(c, False, 0),
    ),
    "accepted by a friend": lambda world, c: world.accept(c),
    "accepted and erased": lambda world, c: (world.accept(c), world.erase(c, sender=ALICE)),
    "reviewed again and again": lambda world, c: [world.accept(c, quality) for quality in (1, 2, 3)],
}


@pytest.mark.parametrize("how", LEAVING)
def test_a_bond_stays_for_so_long_after_the_decision_whatever_happens(world: World, how: str) -> None:
    """It used to be free at once: whoever saw a challenge come left ahead of it, or had a friend review him."""
    contribution = bonded(world, words(0, 20), PRICE)
    start = world.chain.time
    LEAVING[how](world, contribution)
    reviewed = how.startswith(("accepted", "reviewed")) or how.endswith("rejected")
    decided = start + (1 if reviewed else REVIEW_SECONDS)
    refused(
        world, "BondLocked", lambda: world.withdrawBond(contribution, sender=ALICE), contribution, decided + FREE_AFTER
    )
    world.chain.next_block(decided + FREE_AFTER - world.chain.time - 1)
    refused(world, "BondLocked", lambda: world.withdrawBond(contribution, sender=ALICE))
    world.chain.next_block(1)
    assert world.withdrawBond(contribution, sender=ALICE) == PRICE


def test_a_late_review_delays_no_bond(world: World) -> None:
    contribution = bonded(world, words(0, 20), PRICE)
    world.chain.next_block(REVIEW_SECONDS + FREE_AFTER)
    world.review(contribution, True, 1)
    assert world.withdrawBond(contribution, sender=ALICE) == PRICE


def test_a_changed_price_holds_for_what_comes_later(world: World) -> None:
    contribution = bonded(world, words(0, 20), PRICE)
    world.setDatanet(1, params(bond_per_kib=0))
    world.appendContent(contribution, words(0, 20).encode(), sender=ALICE, value=3)
    assert world.balance(ALICE) == 3, "no bond: all of it comes back"
    world.accept(contribution)
    world.chain.next_block(FREE_AFTER)
    assert world.withdrawBond(contribution, sender=ALICE) == PRICE


def test_a_call_and_a_contribution_have_bounds_of_their_own(world: World) -> None:
    piece = b"word " * 4_900
    world.setDatanet(1, params())
    contribution = int(world.contribute(1, piece, ZERO32, ALICE, ZERO32, sender=ALICE))
    limit = world.contract.params.contribution_bytes_max
    for _ in range(limit // len(piece) - 1):
        world.appendContent(contribution, piece, sender=ALICE)
    room = limit % len(piece)
    refused(
        world, "TooLong", lambda: world.appendContent(contribution, b"x" * room + b" ", sender=ALICE),
        "content of a contribution", limit + 1, limit,
    )  # fmt: skip
    world.appendContent(contribution, (b"ab " * room)[:room], sender=ALICE)
    refused(world, "TooLong", lambda: world.appendContent(contribution, words(0, 8).encode(), sender=ALICE))
    refused(
        world, "TooLong", lambda: world.give(1, ALICE, b"x" * (24 * 1_024 + 1)),
        "content of a call", 24 * 1_024 + 1, 24 * 1_024,
    )  # fmt: skip


def test_what_is_complete_takes_no_more(world: World) -> None:
    contribution = bonded(world, words(0, 20), PRICE)
    world.finalizeContent(contribution, sender=ALICE)
    assert world.events("Completed")[0]["tokens"] == 20
    more = words(0, 20).encode()
    refused(world, "Complete", lambda: world.appendContent(contribution, more, sender=ALICE, value=PRICE), contribution)
    refused(world, "Complete", lambda: world.finalizeContent(contribution, sender=ALICE))
    world.accept(contribution)
    refused(world, "WrongStatus", lambda: world.finalizeContent(contribution, sender=ALICE))
    late = bonded(world, words(40, 20), PRICE)
    world.chain.next_block(REVIEW_SECONDS)
    refused(world, "DeadlinePassed", lambda: world.finalizeContent(late, sender=ALICE))


def gas_of(world: World, who: bytes, name: str, *arguments: object) -> int:
    result = world.chain.call(who, world.contract.address, world.data(name, *arguments))
    assert result.ok
    return result.gas_used


def test_rejecting_costs_a_third_of_the_smallest_upload_whatever_the_size() -> None:
    """docs/attribution.md says so, and that nobody has to be paid for it therefore."""
    world = World()
    world.datanet()
    upload = []
    for count in (8, 8, 1_000):
        given = (1, words(0, count).encode(), ZERO32, ALICE, ZERO32)
        upload.append(gas_of(world, ALICE, "contribute", *given))
    world.chain.next_block()
    world.review(1, False, 0)
    rejected = {gas_of(world, OWNER, "review", contribution, False, 0) for contribution in (2, 3)}
    document = (Path(__file__).parents[3] / "docs" / "attribution.md").read_text()
    [least] = rejected
    assert (
        f"Who does reject pays little: {least:,} gas" in document and f"(8 tokens) costs {upload[1]:,}, one" in document
    )
    assert upload[2] > upload[1] > 3 * least

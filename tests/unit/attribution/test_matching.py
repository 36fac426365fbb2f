"""Matched emission: bounded by what the receipt destroyed, exact, and never worth paying oneself for."""

import itertools
import random
from dataclasses import replace

import pytest

from attribution_precompile.layout import STAKERS_SLOT
from evm_runtime.native.reserve import DRAWN, RESERVE
from genesis.chain_spec import STAKING_ADDRESS, AttributionParams
from genesis.emission import BPS, match_of
from genesis.primitives import WEI_PER_GWEI, WEI_PER_OPEN
from tests.unit.attribution.world import (
    ALICE,
    BOB,
    CAROL,
    COUNCIL,
    DEV,
    NONE,
    OWNER,
    TREASURY,
    USER,
    ZERO32,
    World,
    words,
)
from tests.unit.native.harness import Reverted, address

FULL = 10**9 * WEI_PER_OPEN
OUTPUT = words(0, 20) + " " + words(0, 20, "x")
ME = address(0xE71)


def reserve(world: World) -> tuple[int, int]:
    """(what is left of the reserve, what was drawn in this block)."""
    load = world.chain.state.get_storage
    return load(STAKING_ADDRESS, RESERVE.slot), load(STAKING_ADDRESS, DRAWN.slot)


def make(price: int = 1_000 * WEI_PER_OPEN, **params: int) -> World:
    world = World(**params)
    world.fill_reserve(FULL)
    world.accept(world.give(world.datanet(), ALICE, words(0, 40)))
    world.publish(1)
    world.model([(1, 1, 0, BPS)], output_price=price)
    return world


def test_half_of_what_was_burned_and_sent_to_the_treasury_is_added_for_the_contributors() -> None:
    world = make()
    fee = 40 * WEI_PER_OPEN
    world.run(1, OUTPUT, fee)
    matched = fee * 250 // BPS
    assert world.events("Matched")[0]["amount"] == matched
    assert reserve(world) == (FULL - matched, matched)
    assert world.balance(ALICE) == (fee * 5_500 // BPS + matched) * 20 // 40
    short = world.chain.state.get_balance(world.contract.address)
    world.end_block()
    assert world.chain.state.get_balance(world.contract.address) == short + matched - fee // 10
    world.claimPool([1])
    left_in_the_pool = fee * 5_500 // BPS + matched - world.balance(ALICE)
    assert left_in_the_pool == 1, "less than a wei per unit of weight"


@pytest.mark.parametrize("left", [0, WEI_PER_GWEI - 1, WEI_PER_GWEI, 7 * WEI_PER_GWEI + 5])
def test_an_empty_reserve_matches_what_it_has_in_whole_gwei(left: int) -> None:
    world = make()
    world.fill_reserve(left)
    world.run(1, OUTPUT, 40 * WEI_PER_OPEN)
    whole = left // WEI_PER_GWEI * WEI_PER_GWEI
    assert reserve(world) == (left - whole, whole)
    assert [event["amount"] for event in world.events("Matched")] == ([whole] if whole else [])


def test_nothing_is_matched_where_the_payer_is_the_treasury_or_its_agent() -> None:
    world = make()
    world.chain.fund(TREASURY, 100 * WEI_PER_OPEN)
    world.run(1, OUTPUT, 40 * WEI_PER_OPEN, sender=TREASURY)
    assert reserve(world) == (FULL, 0)
    agents = [(TREASURY, USER), (USER, TREASURY)]
    for agent, (owner, wallet) in enumerate(agents, 1):
        world.registerAgent("", wallet, FULL, [1], sender=owner)
        world.depositAgent(agent, value=50 * WEI_PER_OPEN, sender=USER)
        world.infer((1, agent, ZERO32, 0, OUTPUT.encode(), NONE), sender=wallet)
        assert reserve(world) == (FULL, 0)
    world.registerAgent("", USER, FULL, [1], sender=USER)
    world.depositAgent(3, value=50 * WEI_PER_OPEN, sender=USER)
    world.infer((1, 3, ZERO32, 0, OUTPUT.encode(), NONE), sender=USER)
    assert reserve(world)[1] == 40 * WEI_PER_OPEN * 250 // BPS


def test_a_failed_inference_draws_nothing() -> None:
    world = make()
    with pytest.raises(Reverted, match="FeeTooLow"):
        world.run(1, OUTPUT, 1)
    calls = [(1, 0, ZERO32, 0, OUTPUT.encode(), NONE)] * 2
    with pytest.raises(Reverted, match="FeeTooLow"):
        world.inferBatch(calls, value=79 * WEI_PER_OPEN, sender=USER)
    assert reserve(world) == (FULL, 0)


def test_claims_wait_where_the_block_s_own_match_would_be_paid_out() -> None:
    """Everybody claims all in the block of a receipt: the last one waits for the withdrawal, and the stakers lose nothing."""
    world = make()
    world.fill_reserve(FULL)
    world.setPayout(1, BOB, sender=ALICE)
    world.run(1, words(0, 40), 40 * WEI_PER_OPEN)
    world.claimPool([1])
    world.claim(DEV, sender=DEV)
    world.claim(TREASURY, sender=TREASURY)
    assert world.claim(BOB, sender=BOB) > 0, "the stakers' part covers it for now"
    world.run(1, words(0, 40), 40 * WEI_PER_OPEN)
    for who in (DEV, TREASURY):
        world.claim(who, sender=who)
    world.run(1, words(0, 40), 40 * WEI_PER_OPEN)
    world.chain.state.set_balance(world.contract.address, world.balance(BOB) - 1)
    with pytest.raises(Reverted, match="NotCoveredYet"):
        world.claim(BOB, sender=BOB)


def test_the_end_of_a_block_is_solvent_after_every_claim() -> None:
    world = make()
    world.run(1, words(0, 40), 40 * WEI_PER_OPEN)
    for who in (ALICE, DEV, TREASURY, OWNER):
        world.claim(who, sender=who)
    assert world.end_block() == 4 * WEI_PER_OPEN
    assert world.chain.state.get_balance(world.contract.address) == 0


# ---------------------------------------------------------------- self-dealing


def gain(world: World, mine: frozenset[str], stake: tuple[int, int], fee: int, output: str) -> int:
    """Wei that somebody has more, paying himself through what he owns; `stake` is his part of all the stake."""
    roles = {"data": ALICE, "curator": OWNER, "model": DEV, "treasury": TREASURY}
    before = {role: world.balance(who) for role, who in roles.items()}
    world.run(1, output, fee, sender=USER)
    world.claimPool([1, 2])
    stakers = world.chain.state.get_storage(world.contract.address, STAKERS_SLOT)
    world.chain.state.set_storage(world.contract.address, STAKERS_SLOT, 0)  # counted to the wei, not in whole gwei
    world.end_block()
    world.chain.next_block()
    got = sum(world.balance(who) - before[role] for role, who in roles.items() if role in mine)
    return got + stakers * stake[0] // stake[1] - fee


ROLES = ("data", "curator", "model", "treasury")
GRID = [frozenset(c) for n in range(len(ROLES) + 1) for c in itertools.combinations(ROLES, n)]
STAKES = [(0, 1), (1, 3), (1, 1)]
OUTPUTS = (words(0, 40), OUTPUT, words(0, 40, "y"), words(0, 20) + " " + words(0, 20, "o"))
"""All his, half of it, nobody's, shared with another."""


@pytest.mark.parametrize("reserve_left", [FULL, 0])
def test_paying_oneself_loses_for_every_owner_of_anything(reserve_left: int) -> None:
    """The grid: every combination of data, curating, model and a treasury held under another name, with none, a third or all of
    the stake, over outputs and fees. `data` owns all the weight of the pool, so nothing of it leaks to others."""
    world = World()
    world.fill_reserve(reserve_left)
    world.datanet(curator_bps=2_000)
    world.accept(world.give(1, ALICE, words(0, 60)))
    world.accept(world.give(1, BOB, words(0, 60, "o")), 0)
    world.publish(1)
    world.model([(1, 1, 0, BPS)])
    best, cases = -(10**30), 0
    for fee in (WEI_PER_GWEI, WEI_PER_OPEN, 1_000 * WEI_PER_OPEN + 7):
        world.setModel(1, bytes(20), 0, fee * 25, True, sender=DEV)
        for mine, stake, output in itertools.product(GRID, STAKES, OUTPUTS):
            result = gain(world, mine, stake, fee, output)
            assert result < 0, f"{sorted(mine)} with {stake} of the stake gains {result} of {fee} on {output[:20]}"
            best, cases = max(best, result * BPS // fee), cases + 1
    assert cases == 3 * 16 * 3 * 4
    assert best == (-50 if reserve_left else -300), "the least loss, in basis points of the fee"


def test_no_parameters_make_it_worth_while() -> None:
    """Any split that a chain could vote for: with everything and the treasury owned, the best that is left is nothing."""
    rng = random.Random(5)
    for _ in range(2_000):
        cuts = sorted(rng.choices(range(BPS + 1), k=4))
        burn, treasury, stakers, owner = (b - a for a, b in zip([0, *cuts[:3]], cuts, strict=True))
        fee = rng.choice([1, 999, rng.randint(1, 10**24)])
        burned, to_treasury = fee * burn // BPS, fee * treasury // BPS
        matched = match_of(burned, to_treasury)
        assert matched * 2 <= burned + to_treasury and matched <= burned
        assert stakers + owner <= BPS
        # all of the fee comes back but what was burned, and the match on top
        assert (fee - burned + matched) - fee <= 0
        # without the treasury it is a loss of at least half of what both took
        assert (fee - burned - to_treasury + matched) - fee <= -((burned + to_treasury) // 2)


def test_a_chain_that_burns_nothing_matches_nothing() -> None:
    params = replace(AttributionParams(), burn_bps=0, treasury_bps=500)
    world = make(burn_bps=params.burn_bps, treasury_bps=params.treasury_bps)
    world.run(1, OUTPUT, 40 * WEI_PER_OPEN)
    assert reserve(world) == (FULL, 0) and CAROL != COUNCIL

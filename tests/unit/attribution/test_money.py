"""Wei are conserved: at every step, what came in is claimable, in pools, burned, the stakers' or paid out."""

import random
from collections import Counter
from fractions import Fraction

import pytest

from attribution_precompile import layout
from attribution_precompile.methods.money import credit
from attribution_precompile.methods.pool_books import open_version, pay_pool, share_of, take_share, weigh_next
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules.division import UseTerms, cap_shares, divide, largest_remainder, split_pool
from attribution_precompile.rules.fees import quote, split_fee
from attribution_precompile.rules.span import Attribution
from genesis.chain_spec import ATTRIBUTION_ADDRESS, AttributionParams
from genesis.primitives import WEI_PER_GWEI, Address, Wei
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.walk import Walk, mutating_methods
from tests.unit.native.harness import address

PARAMS = AttributionParams()


def test_random_walks_of_the_whole_contract_conserve_every_wei_and_none_is_stuck() -> None:
    done: Counter[str] = Counter()
    for seed in (11, 12, 13):
        walk = Walk(random.Random(seed))
        for step in range(1_000):
            try:
                walk.step()
                walk.check()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {step}: {error}") from error
        assert walk.paid_out > 0 and walk.drained > 0
        walk.drain()
        done += walk.direct.done
    missing = mutating_methods() - done.keys()
    assert not missing, done


@pytest.mark.parametrize("seed", [51, 52])
def test_settlement_conserves_every_wei_for_twenty_thousand_steps(seed: int) -> None:
    """Fees split, divided and credited straight on storage, pools folded and claimed; the books are added up each time."""
    rng = random.Random(seed)
    books = Books(rng)
    for step in range(10_000):
        books.step()
        assert books.paid_in == books.total(), f"seed {seed}, step {step}"


class Books:
    """Two datanets with four reviewed contributions each, and their storage."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.slots = DictSlots()
        self.paid_in = self.elsewhere = self.pooled = 0
        self.versions = Counter[int]()
        self.weights = {i: rng.choice([0, 1, rng.randint(1, 10**10)]) for i in range(1, 9)}
        self.waiting = list(self.weights)

    def home(self, contribution: int) -> int:
        return 1 + contribution % 2

    def payout(self, contribution: int) -> Address:
        return address(100 + contribution % 3)

    def step(self) -> None:
        action = self.rng.random()
        if action < 0.02 and self.waiting:
            self._publish(self.waiting.pop())
        elif action < 0.7:
            self._settle(Wei(self.rng.choice([0, 1, 17, self.rng.randint(0, 10**21)])))
        else:
            contribution = self.rng.randint(1, 8)
            datanet = self.home(contribution)
            due = take_share(self.slots, contribution, datanet, self.versions[datanet])
            self.pooled -= due
            credit(self.slots, {self.payout(contribution): due})

    def _publish(self, contribution: int) -> None:
        """Publish the version that first includes the contribution."""
        datanet = self.home(contribution)
        weigh_next(self.slots, contribution, datanet, self.versions[datanet], self.weights[contribution], 8)
        self.versions[datanet] += 1
        open_version(self.slots, datanet, self.versions[datanet])

    def _settle(self, fee: Wei) -> None:
        self.paid_in += fee
        parts = split_fee(fee, PARAMS)
        scored = self.rng.sample(range(1, 9), self.rng.randint(0, 8))
        scores = tuple((c, 50 - i) for i, c in enumerate(scored))
        found = Attribution(sum(s for _, s in scores) + self.rng.randint(1, 50), scores)
        uses = [UseTerms(6_667, 500, 10_000), UseTerms(3_333, 0, 900)]
        division = divide(parts.contributors, found, uses, {c: self.home(c) - 1 for c in scored}, 3)
        for payment in division.payments:
            credit(self.slots, {self.payout(payment.contribution): payment.amount})
        for datanet, amount in enumerate(division.pools, 1):
            version = self.rng.randint(0, self.versions[datanet])
            unplaced = pay_pool(self.slots, datanet, version, amount)
            self.elsewhere += unplaced
            self.pooled += amount - unplaced
        self.elsewhere += parts.burn + parts.treasury + parts.stakers + parts.owner + sum(division.curators)

    def total(self) -> int:
        claimable = sum(layout.CLAIMABLE.get(self.slots, address(100 + i)) for i in range(3))
        owed = sum(
            share_of(self.slots, contribution, self.home(contribution), self.versions[self.home(contribution)])
            for contribution in self.weights
        )
        assert 0 <= self.pooled - owed <= len(self.weights) + sum(self.versions.values()), (
            "less than a wei of each is left"
        )
        return claimable + self.pooled + self.elsewhere


class DictSlots:
    def __init__(self) -> None:
        self.words: dict[int, int] = {}

    def load(self, slot: int) -> int:
        return self.words.get(slot, 0)

    def store(self, slot: int, value: int) -> None:
        self.words[slot] = value


def test_divisions_sum_to_the_whole() -> None:
    rng = random.Random(31)
    for _ in range(5_000):
        uses = [UseTerms(0, rng.randint(0, 2_000), rng.randint(1, 10_000)) for _ in range(rng.randint(1, 16))]
        cuts = sorted(rng.sample(range(1, 10_000), len(uses) - 1))
        shares = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
        uses = [UseTerms(bps, u.curator_bps, u.soft_cap_bps) for u, bps in zip(uses, shares, strict=True)]
        scores = sorted((rng.randint(1, 50) for _ in range(rng.randint(0, 90))), reverse=True)
        total = sum(scores) + rng.randint(0 if scores else 1, 100)
        found = Attribution(total, tuple(enumerate(scores, 1)))
        use_of = {i: rng.randrange(len(uses)) for i in range(1, len(scores) + 1)}
        amount = Wei(rng.choice([0, 1, 63, 64, 65, rng.randint(0, 10**24)]))
        division = divide(amount, found, uses, use_of, 64)
        assert division.total == amount
        assert len(division.payments) == min(64, len(scores))
        assert all(share >= 0 for share in (*division.curators, *division.pools))


def test_largest_remainder_is_fair_and_exact() -> None:
    assert largest_remainder(10, [1, 1, 1]) == [4, 3, 3]
    assert largest_remainder(11, [1, 1, 1]) == [4, 4, 3]
    assert largest_remainder(10, [6, 3, 1]) == [6, 3, 1]
    assert largest_remainder(1, [1, 3]) == [0, 1]
    assert largest_remainder(7, []) == []
    rng = random.Random(41)
    for _ in range(2_000):
        weights = [rng.randint(1, 10**6) for _ in range(rng.randint(1, 64))]
        amount = rng.randint(0, 10**20)
        shares = largest_remainder(amount, weights)
        assert sum(shares) == amount
        for share, weight in zip(shares, weights, strict=True):
            assert abs(share - Fraction(amount * weight, sum(weights))) < 1


def test_what_a_cap_takes_goes_to_those_below_it_each_as_much_again_at_most_and_the_rest_is_left() -> None:
    assert cap_shares([70, 20, 10], [7, 2, 1], Wei(50)) == ([50, 33, 17], 0)
    assert cap_shares([70, 20, 10], [7, 2, 1], Wei(30)) == ([30, 30, 20], 20), "up to the cap, and as much again"
    assert cap_shares([90, 10], [9, 1], Wei(60)) == ([60, 20], 20), "as much again, though the cap left room"
    assert cap_shares([40, 40, 20], [2, 2, 1], Wei(40)) == ([40, 40, 20], 0), "at the cap, nothing is taken"
    assert cap_shares([60, 40], [3, 2], Wei(10)) == ([10, 10], 80), "nobody is below it"
    assert cap_shares([100, 1, 1], [100, 1, 1], Wei(99)) == ([99, 2, 1], 0), "a wei by largest remainder, ties in order"
    assert cap_shares([], [], Wei(0)) == ([], 0)


def test_a_cap_gives_within_its_own_use_and_leaves_the_rest_to_that_versions_pool() -> None:
    """Contributions 1 and 2 belong to the first use, which caps; 3 to the second, which doesn't, and has no part in it."""
    found = Attribution(100, ((1, 60), (2, 10), (3, 10)))
    uses = [UseTerms(4_000, 0, 1_000), UseTerms(6_000, 0, 10_000)]
    division = divide(Wei(1_000), found, uses, {1: 0, 2: 0, 3: 1}, 64)
    assert [payment.amount for payment in division.payments] == [100, 100, 100]
    assert division.pools == (80 + 500, 120)


def test_a_pool_part_goes_over_the_uses_by_their_shares_and_the_rest_to_the_first() -> None:
    assert split_pool(Wei(100), [3_333, 3_333, 3_334]) == (34, 33, 33)
    assert split_pool(Wei(0), [10_000]) == (0,)


def test_fees_split_exactly_and_rounding_is_the_contributors() -> None:
    parts = split_fee(Wei(101), PARAMS)
    assert (parts.burn, parts.treasury, parts.stakers, parts.owner, parts.contributors) == (3, 2, 10, 30, 56)
    for fee in (*range(200), 10**18 + 1, 10**27 - 1):
        parts = split_fee(Wei(fee), PARAMS)
        assert parts.burn + parts.treasury + parts.stakers + parts.owner + parts.contributors == fee


def test_quotes_round_up_and_cover_the_floors() -> None:
    assert quote(0, 0, [], 5, 5) == 0
    assert quote(1, 1, [], 1, 1) == 1
    assert quote(1_000, 2_000, [], 3, 4) == 11
    assert quote(0, 1, [500, 700], 0, 10) == 12
    assert quote(0, 1, [500, 701], 0, 10) == 13
    assert quote(2**128 - 1, 2**128 - 1, [], 2**32 - 1, 2**32 - 1) > 2**128


def test_the_stakers_part_leaves_in_whole_gwei() -> None:
    direct = Direct()
    slots = ReaderSlots(direct.state)
    direct.state.slots[layout.STAKERS_SLOT] = 3 * WEI_PER_GWEI + 5
    direct.state.balances[ATTRIBUTION_ADDRESS] = 10**18
    assert direct.contract.end_block(direct.state) == 3 * WEI_PER_GWEI
    assert layout.STAKERS.get(slots) == 5
    assert direct.state.balances[ATTRIBUTION_ADDRESS] == 10**18 - 3 * WEI_PER_GWEI
    assert direct.contract.end_block(direct.state) == 0

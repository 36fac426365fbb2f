"""Wei are conserved: at every step, what came in is claimable, in pools, burned, the stakers' or paid out."""

import random
from collections import Counter
from fractions import Fraction

import pytest

from attribution_precompile import layout
from attribution_precompile.declarations import Status
from attribution_precompile.fees import quote, split_fee
from attribution_precompile.layout import Pool, PoolEntry
from attribution_precompile.money import credit, pay_pool, take_pool_share
from attribution_precompile.pool import SCALE_BITS, add_pending, fold, pay, settle, weight_of
from attribution_precompile.queries import ReaderSlots
from attribution_precompile.settlement import UseTerms, divide, largest_remainder, split_pool
from attribution_precompile.span import Attribution
from genesis.chain_spec import ATTRIBUTION_ADDRESS, AttributionParams
from genesis.primitives import WEI_PER_GWEI, ZERO_HASH, Wei
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.walk import Walk, mutating_methods
from tests.unit.native.harness import address

PARAMS = AttributionParams()


def test_random_walks_of_the_whole_contract_conserve_every_wei() -> None:
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
        done += walk.direct.done
    missing = mutating_methods() - done.keys()
    assert not missing, done


@pytest.mark.parametrize("seed", [21, 22])
def test_pools_conserve_scaled_wei_at_every_step(seed: int) -> None:
    """paid in * 2**128 == remainder + what entries are owed + paid out * 2**128, whatever weights do; 20,000 steps."""
    rng = random.Random(seed)
    pool, entries, weights = Pool(0, 0, 0, 0), {}, {}
    paid_in = paid_out = 0
    owed = 0  # scaled, of all entries, kept up incrementally: weight * accumulator advance + residues
    for step in range(10_000):
        action = rng.random()
        if action < 0.1 or not entries:
            weight = rng.randint(1, 10**10)
            pool = fold(layout.Pool(pool.accumulator, pool.remainder, pool.weight, pool.pending_weight + weight))
            number = len(entries)
            entries[number], weights[number] = PoolEntry(pool.accumulator, 0, True), weight
        elif action < 0.7:
            amount = rng.choice([0, 1, rng.randint(1, 10**6), rng.randint(1, 10**24)])
            before = pool.accumulator
            pool = pay(pool, Wei(amount))
            owed += (pool.accumulator - before) * pool.weight
            paid_in += amount
        else:
            number = rng.randrange(len(entries))
            entries[number], due = settle(pool.accumulator, entries[number], weights[number])
            paid_out += due
            owed -= due << SCALE_BITS
        assert pool.remainder < pool.weight
        assert paid_in << SCALE_BITS == pool.remainder + owed + (paid_out << SCALE_BITS), f"seed {seed} step {step}"
    exact = sum(weights[i] * (pool.accumulator - e.settled_at) + e.residue for i, e in entries.items())
    assert exact == owed
    for number, entry in entries.items():
        entries[number], due = settle(pool.accumulator, entry, weights[number])
        paid_out += due
    assert 0 <= paid_in - paid_out <= len(entries)


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
        self.paid_in = self.elsewhere = 0
        self.weights = {i: rng.choice([0, 1, rng.randint(1, 10**10)]) for i in range(1, 9)}
        self.records = {i: self._record(i) for i in self.weights}
        self.waiting = list(self.weights)

    def _record(self, contribution: int) -> layout.Contribution:
        quality, owned = min(10_000, self.weights[contribution]), 1 + self.weights[contribution] // 10_000
        return layout.Contribution(
            address(1), self.home(contribution), quality, Status.ACCEPTED, address(100 + contribution % 3), contribution,
            contribution, 100, owned, 0, 1, ZERO_HASH, ZERO_HASH,
        )  # fmt: skip

    def home(self, contribution: int) -> int:
        return 1 + contribution % 2

    def step(self) -> None:
        action = self.rng.random()
        if action < 0.02 and self.waiting:
            self._fold(self.waiting.pop())
        elif action < 0.7:
            self._settle(Wei(self.rng.choice([0, 1, 17, self.rng.randint(0, 10**21)])))
        else:
            contribution = self.rng.randint(1, 8)
            due = take_pool_share(self.slots, contribution, self.records[contribution], 10**6)
            credit(self.slots, {self.records[contribution].payout: due})

    def _fold(self, contribution: int) -> None:
        """Publish the version that first includes the contribution."""
        record, datanet = self.records[contribution], self.home(contribution)
        weight = weight_of(record.quality, record.owned_windows, 10**6)
        state = fold(add_pending(layout.POOLS.load(self.slots, datanet), weight))
        layout.POOLS.store(self.slots, state, datanet)
        version = layout.Version(1, 1, 0, 0, ZERO_HASH, state.accumulator, ZERO_HASH)
        layout.VERSIONS.store(self.slots, version, datanet, record.accepted_version)

    def _settle(self, fee: Wei) -> None:
        self.paid_in += fee
        parts = split_fee(fee, PARAMS)
        scored = self.rng.sample(range(1, 9), self.rng.randint(0, 8))
        scores = tuple((c, 50 - i) for i, c in enumerate(scored))
        found = Attribution(sum(s for _, s in scores) + self.rng.randint(1, 50), scores)
        uses = [UseTerms(6_667, 500, 10_000), UseTerms(3_333, 0, 900)]
        division = divide(parts.contributors, found, uses, {c: self.home(c) - 1 for c in scored}, 3)
        for payment in division.payments:
            credit(self.slots, {self.records[payment.contribution].payout: payment.amount})
        for datanet, amount in enumerate(division.pools, 1):
            self.elsewhere += pay_pool(self.slots, datanet, amount)
        self.elsewhere += parts.burn + parts.treasury + parts.stakers + parts.owner + sum(division.curators)

    def total(self) -> int:
        claimable = sum(layout.CLAIMABLE.get(self.slots, address(100 + i)) for i in range(3))
        pools = {datanet: layout.POOLS.load(self.slots, datanet) for datanet in (1, 2)}
        scaled = sum(pool.remainder for pool in pools.values())
        for contribution, record in self.records.items():
            weight = weight_of(record.quality, record.owned_windows, 10**6)
            entry = layout.POOL_ENTRIES.load(self.slots, contribution)
            version = layout.VERSIONS.load(self.slots, record.datanet_id, record.accepted_version)
            if version.block_number:
                settled_at = entry.settled_at if entry.started else version.pool_accumulator
                scaled += weight * (pools[record.datanet_id].accumulator - settled_at) + entry.residue
        assert scaled % (1 << SCALE_BITS) == 0
        return claimable + (scaled >> SCALE_BITS) + self.elsewhere


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

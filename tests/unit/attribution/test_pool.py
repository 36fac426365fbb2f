"""Rule 12 by versions: the tree against plain ranges, and random histories against the reference."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from attribution_precompile import layout
from attribution_precompile.declarations import Status
from attribution_precompile.layout import POOL_NODES, POOL_REMAINDERS
from attribution_precompile.methods.money import cut_weight_now, drop_weight, set_weight_next
from attribution_precompile.methods.pool_books import (
    load_steps,
    next_weight,
    open_version,
    pay_pool,
    scale_now,
    share_of,
    take_share,
    version_weight,
    weigh_next,
)
from attribution_precompile.rules import pool, reference
from evm_runtime.native import ContractRevert
from genesis.chain_spec import AttributionParams
from genesis.emission import BPS
from genesis.errors import InvariantError
from genesis.primitives import ZERO_HASH, Wei
from tests.unit.attribution.test_money import DictSlots
from tests.unit.native.harness import address

PARAMS = AttributionParams()
NET = 1
UNITS = 1 << pool.SCALE_BITS


# ---------------------------------------------------------------- the tree


def versions_of(place: pool.Place) -> range:
    level, index = place
    return range(index * 16**level, (index + 1) * 16**level)


@pytest.mark.parametrize("last", [1, 15, 16, 17, 255, 256, 300, 4_096, 4_500])
def test_a_cover_adds_up_to_the_versions_from_one_on_and_is_small(last: int) -> None:
    rng = random.Random(last)
    for first in {1, last, last + 1, *(rng.randint(1, last) for _ in range(60))}:
        covered = Counter[int]()
        for place, sign in pool.cover(first, last):
            assert place[1] > 0, "no node of index 0 is ever needed"
            for version in versions_of(place):
                covered[version] += sign
        assert all(covered[version] == (version >= first) for version in range(1, last + 1))
        for level, count in Counter(place[0] for place, _ in pool.cover(first, last)).items():
            assert count <= (8 if first - 1 >> 4 * level >= 16 else 15)


@pytest.mark.parametrize("last", [1, 15, 16, 255, 256, 1 << 20])
def test_a_payment_touches_one_node_for_each_power_of_sixteen(last: int) -> None:
    places = list(pool.path(last))
    assert all(last in versions_of(place) for place in places)
    above = len(places) - 1
    assert 16**above <= last < 16 ** (above + 1), "beside the version's own node, floor(log16 V)"


def test_every_node_begins_with_the_first_of_its_versions() -> None:
    begun: set[pool.Place] = set()
    for version in range(1, 1_000):
        places = list(pool.path(version))
        new = pool.begun_by(version)
        assert begun.isdisjoint(places[:new]) and begun.issuperset(places[new:])
        begun.update(places[:new])


def test_a_pool_without_weight_is_never_paid() -> None:
    with pytest.raises(InvariantError, match="without weight"):
        pool.divide(Wei(1), 0, 0)


# ---------------------------------------------------------------- histories against the reference


@dataclass
class History:
    """One datanet's pool in storage and by the reference, side by side. Versions are numbered from `base` + 1 on."""

    rng: random.Random
    base: int = 0
    versions: int = 0
    slots: DictSlots = field(default_factory=DictSlots)
    told: reference.Pool = field(default_factory=reference.Pool)
    paid_in: Counter[int] = field(default_factory=Counter)
    paid_out: int = 0
    refused: int = 0
    dead: set[int] = field(default_factory=set)

    @property
    def last(self) -> int:
        return self.base + self.versions

    def publish(self) -> None:
        self.versions += 1
        open_version(self.slots, NET, self.last)
        self.told.publish()

    def weigh(self, member: int, weight: int) -> None:
        if member in self.dead:
            return
        try:
            weigh_next(self.slots, member, NET, self.last, weight, PARAMS.pool_steps_max)
        except ContractRevert:
            assert weight > 0, "leaving is never refused"
            self.refused += 1
            return
        self.told.next_weights[member] = weight

    def cut(self, member: int, kept: int, of: int) -> None:
        self.claim(member)
        scale_now(self.slots, member, NET, self.last, kept, of)
        self.told.cut(member, kept, of)
        if kept == 0:
            self.dead.add(member)
            assert load_steps(self.slots, member) == []

    def pay(self, number: int, amount: int) -> None:
        """Each payment is checked by itself: what its version's members get and what is carried is all of it."""
        version = self.base + number
        before, weight = self._state_of(version), version_weight(self.slots, NET, version)
        unplaced = pay_pool(self.slots, NET, version, Wei(amount))
        assert unplaced == self.told.pay(number, amount)
        after = self._state_of(version)
        assert (after[0] - before[0]) * weight + after[1] - before[1] == (amount - unplaced) * UNITS
        self.paid_in[number] += amount - unplaced

    def _state_of(self, version: int) -> tuple[int, int]:
        node = POOL_NODES.load(self.slots, NET, version)
        return node.sum, POOL_REMAINDERS.get(self.slots, NET, version)

    def claim(self, member: int) -> None:
        due = take_share(self.slots, member, NET, self.last)
        assert due == self.told.claim(member)
        self.paid_out += due

    def step(self, members: int) -> None:
        rng, member = self.rng, self.rng.randint(1, members)
        action = rng.random()
        if action < 0.2 or self.versions == 0:
            self.publish()
        elif action < 0.35:
            self.weigh(member, rng.choice([0, 1, 7, rng.randint(1, 10**4), rng.randint(1, 10**10)]))
        elif action < 0.8:
            number = rng.choice([rng.randint(1, self.versions), self.versions])
            self.pay(number, rng.choice([0, 1, 2, rng.randint(1, 10**6), rng.randint(1, 10**27)]))
        elif action < 0.95:
            for each in rng.sample(range(1, members + 1), rng.randint(1, members)):  # a page of claims
                self.claim(each)
        elif action < 0.98:
            self.cut(member, rng.randint(1, 9), 9)
        else:
            self.cut(member, 0, 1)

    def check(self, members: int) -> None:
        for member in range(1, members + 1):
            owed = share_of(self.slots, member, NET, self.last)
            assert owed == int(self.told.owed.get(member, 0)), f"member {member}"
        for number, weights in enumerate(self.told.weights, 1):
            assert version_weight(self.slots, NET, self.base + number) == sum(weights.values()), f"version {number}"
            carried = POOL_REMAINDERS.get(self.slots, NET, self.base + number)
            assert carried == self.told.waiting[number - 1] * UNITS < UNITS
        assert next_weight(self.slots, NET) == sum(self.told.next_weights.values())


@pytest.mark.parametrize(("seed", "base"), [(1, 0), (2, 0), (3, 0), (4, 200), (5, 4_000), (6, (1 << 20) - 500)])
def test_random_histories_pay_what_the_reference_pays(seed: int, base: int) -> None:
    """Versions, reviews, changes of weight, challenges' cuts, deaths, payments to any version, pages of claims."""
    members, history = 12, History(random.Random(seed), base)
    for step in range(1_500):
        try:
            history.step(members)
            if step % 50 == 0:
                history.check(members)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {step}: {error}") from error
    history.check(members)
    assert history.refused and history.dead and history.paid_out and history.versions > 200
    for member in range(1, members + 1):
        history.claim(member)
    stuck = sum(history.paid_in.values()) - history.paid_out
    waiting = sum(history.told.waiting) + sum(history.told.owed.values())
    assert stuck == waiting < history.versions + members, "less than a wei in each version and for each member"


def test_a_later_version_takes_nothing_of_what_an_earlier_one_is_paid() -> None:
    """A latecomer of a thousand times the weight, and a member that leaves: version 1 pays its one member, whole."""
    history = History(random.Random(0))
    history.weigh(1, 4)
    history.publish()
    history.weigh(2, 1 << 13)
    history.weigh(1, 0)
    history.publish()
    history.pay(1, 10**18)
    history.pay(2, 7)
    assert [share_of(history.slots, member, NET, 2) for member in (1, 2)] == [10**18, 7]


def test_the_dead_accrue_nothing_from_their_death_on_and_the_others_all() -> None:
    history = History(random.Random(0))
    for member in (1, 2):
        history.weigh(member, 4)
    for _ in range(40):
        history.publish()
    history.pay(7, 100)
    history.cut(1, 0, 1)
    history.pay(7, 100)
    history.pay(40, 12)
    history.cut(2, 0, 1)
    history.pay(7, 100)
    assert history.paid_out == 50 + 150 + 12 and share_of(history.slots, 1, NET, 40) == 0
    assert history.paid_in[7] == 200, "what nobody is left to take is the treasury's"


def test_one_change_too_many_is_refused_and_leaving_is_not() -> None:
    history = History(random.Random(0))
    for weight in range(1, PARAMS.pool_steps_max):
        history.weigh(1, weight)
        history.publish()
    assert history.refused == 0
    history.weigh(1, 77)
    assert history.refused == 1
    history.weigh(1, 0)
    assert len(load_steps(history.slots, 1)) == PARAMS.pool_steps_max
    history.weigh(1, PARAMS.pool_steps_max - 1)
    assert len(load_steps(history.slots, 1)) == PARAMS.pool_steps_max - 1, "taken back before the next version"
    history.weigh(1, 0)
    history.publish()
    history.check(1)


def test_weights_that_64_bits_do_not_hold_are_refused() -> None:
    slots = DictSlots()
    weigh_next(slots, 1, NET, 0, (1 << 64) - 2, 8)
    with pytest.raises(ContractRevert, match="weight of the pool"):
        weigh_next(slots, 2, NET, 0, 2, 8)
    weigh_next(slots, 2, NET, 0, 1, 8)
    open_version(slots, NET, 1)
    assert version_weight(slots, NET, 1) == (1 << 64) - 1
    pay_pool(slots, NET, 1, Wei(10**27))
    each, _ = divmod(10**27 * UNITS, (1 << 64) - 1)
    assert share_of(slots, 1, NET, 1) == each * ((1 << 64) - 2) // UNITS
    assert share_of(slots, 2, NET, 1) == each // UNITS


def test_fewer_owned_windows_cut_each_weight_in_proportion_in_all_versions_from_now_on() -> None:
    """What a challenge does: paid up to then, and only what is below the chain's bound counts."""
    params = AttributionParams(pool_windows_max=1_000)
    slots, claims = DictSlots(), list[tuple[object, ...]]()
    frame: Any = SimpleNamespace(storage=slots, emit=lambda *event: claims.append(event))
    record = layout.Contribution(
        address(1), NET, 8_000, Status.ACCEPTED, 0, address(2), 1, 1, 2_007, 2_000, 0, 1, 1, 0, ZERO_HASH, ZERO_HASH
    )
    net = layout.Datanet(
        address(3),
        8,
        True,
        False,
        0,
        BPS,
        0,
        0,
        0,
        versions=0,
        contributions=1,
        terms_hash=ZERO_HASH,
        tokenizer=ZERO_HASH,
    )
    for version, quality in ((1, 8_000), (2, 10_000)):
        record = replace(record, quality=quality)
        set_weight_next(frame, 1, record, params)
        open_version(slots, NET, version)
        layout.DATANETS.store(slots, replace(net, versions=version), NET)
    set_weight_next(frame, 1, replace(record, quality=1), params)
    pay_pool(slots, NET, 1, Wei(10**6))
    record = cut_weight_now(frame, 1, record, 2_000, kept=2_000, of=2_000)
    assert record.owned_windows == 2_000 and version_weight(slots, NET, 1) == 8_000 * 1_000 and claims == []
    record = cut_weight_now(frame, 1, record, 999, kept=999, of=1_000)
    record = cut_weight_now(frame, 1, record, 250, kept=250, of=999)
    assert [event[1:] for event in claims] == [(1, address(2), 10**6)], "paid up to the first cut"
    assert [version_weight(slots, NET, version) for version in (1, 2)] == [8_000 * 250, 10_000 * 250]
    assert next_weight(slots, NET) == 250
    drop_weight(frame, 1, record)
    assert [version_weight(slots, NET, version) for version in (1, 2)] == [0, 0] and next_weight(slots, NET) == 0

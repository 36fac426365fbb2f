"""Delegators' rewards beside a slow reference in fractions: everybody gets its share to the wei, and nothing is lost."""

import random
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest

from evm_runtime.staking import delegators
from evm_runtime.staking.layout import BONDED, POOLS, SLASHED, UNCLAIMED, VALIDATORS, worth
from genesis.emission import BPS
from genesis.primitives import Address
from tests.unit.evm_runtime.test_supply import DictSlots

VALIDATOR = Address(b"\x01" * 20)
PEOPLE = [Address(bytes([i]) * 20) for i in range(2, 12)]


def slots_with_validator() -> DictSlots:
    slots = DictSlots()
    record = replace(VALIDATORS.load(slots, VALIDATOR), owner=PEOPLE[0], kept_bps=BPS)
    VALIDATORS.store(slots, record, VALIDATOR)
    return slots


@pytest.mark.parametrize("seed", range(6))
def test_rewards_are_those_of_the_slow_reference_to_the_wei(seed: int) -> None:
    print(f"seed {seed}")
    rng, slots = random.Random(seed), slots_with_validator()
    principal: dict[Address, int] = defaultdict(int)
    exact: dict[Address, Fraction] = defaultdict(Fraction)
    paid: dict[Address, int] = defaultdict(int)
    credited = 0
    for _ in range(600):
        who, total = rng.choice(PEOPLE), sum(principal.values())
        kind = rng.randrange(4)
        if kind == 0 and total:
            amount = rng.choice([1, rng.randrange(10**4), rng.randrange(10**18)])
            delegators.credit(slots, VALIDATOR, total, amount)
            credited += amount
            for each, held in principal.items():
                exact[each] += Fraction(amount * held, total)
            continue
        paid[who] += delegators.take_rewards(slots, VALIDATOR, who)
        if kind == 1:
            amount = rng.choice([1, rng.randrange(1, 10**6), rng.randrange(1, 10**27)])
            delegators.add_principal(slots, VALIDATOR, who, amount)
            principal[who] += amount
        elif kind == 2 and principal[who]:
            amount = rng.choice([principal[who], rng.randint(1, principal[who])])
            assert delegators.take_principal(slots, VALIDATOR, who, amount) == delegators.Taken(amount, 0)
            principal[who] -= amount
    for who in PEOPLE:
        paid[who] += delegators.take_rewards(slots, VALIDATOR, who)
        # The accumulator rounds at 2**-128 wei, and what it can't give yet is carried to the next reward.
        slack = Fraction(2 * 10**27 * 600, 1 << 128)
        assert exact[who] - 1 - slack < paid[who] <= exact[who] + slack
    assert sum(paid.values()) + UNCLAIMED.get(slots) == credited
    assert UNCLAIMED.get(slots) <= len(PEOPLE) + 1
    assert BONDED.get(slots) == VALIDATORS.load(slots, VALIDATOR).delegated == sum(principal.values())


def test_the_largest_figures_fit_their_slots() -> None:
    """All OPEN as one reward to one wei of principal, again and again, up to the whole supply."""
    slots = slots_with_validator()
    delegators.add_principal(slots, VALIDATOR, PEOPLE[0], 1)
    for _ in range(10):
        delegators.credit(slots, VALIDATOR, 1, 10**26)
    assert POOLS.load(slots, VALIDATOR).accumulator == 10**27 << 128
    delegators.add_principal(slots, VALIDATOR, PEOPLE[1], 10**27)
    delegators.credit(slots, VALIDATOR, 10**27 + 1, 1)
    assert delegators.take_rewards(slots, VALIDATOR, PEOPLE[0]) == 10**27


@pytest.mark.parametrize("seed", range(4))
def test_after_a_slash_parts_and_whole_agree_and_dust_is_slashed(seed: int) -> None:
    print(f"seed {seed}")
    rng, slots = random.Random(seed), slots_with_validator()
    amounts = {who: rng.randrange(1, 10 ** rng.randint(1, 24)) for who in PEOPLE}
    for who, amount in amounts.items():
        delegators.add_principal(slots, VALIDATOR, who, amount)
    kept_bps = rng.randrange(5_000, BPS)
    record = replace(VALIDATORS.load(slots, VALIDATOR), kept_bps=kept_bps, tombstoned=True)
    VALIDATORS.store(slots, record, VALIDATOR)
    pool = worth(record.delegated, kept_bps)
    BONDED.set(slots, pool)
    out = burned = 0
    for who, amount in amounts.items():
        parts = [amount // 3, amount - amount // 3]
        for part in filter(None, parts):
            taken = delegators.take_principal(slots, VALIDATOR, who, part)
            assert taken.amount == part * kept_bps // BPS and 0 <= taken.burned <= 1
            out, burned = out + taken.amount, burned + taken.burned
            assert BONDED.get(slots) == worth(VALIDATORS.load(slots, VALIDATOR).delegated, kept_bps)
    assert BONDED.get(slots) == 0 and out + burned == pool and SLASHED.get(slots) == burned

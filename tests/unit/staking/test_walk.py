"""Random walks: whatever people do, every wei of stake is somewhere, rewards are exact, and a set is always there.

The books are checked by the chain itself and by the world at every block; here a second account of it all is kept beside them.
"""

import random

import pytest

from evm_runtime.native.storage import mapping_slot
from genesis.chain_spec import STAKING_ADDRESS
from genesis.emission import emitted, validators_part
from genesis.primitives import Address
from tests.unit.evm_runtime.chain import ADDRESSES
from tests.unit.staking.world import NEW, OLD, OPEN, UNBONDING_MS, World, duplicate_vote

EVERYBODY = [*OLD, *NEW]


class Walk:
    def __init__(self, seed: int) -> None:
        self.rng, self.world = random.Random(seed), World()
        self.put_in = 46 * OPEN
        self.punished: set[Address] = set()
        self.lazy = self.rng.choice(OLD)

    def amount(self, most: int) -> int:
        return self.rng.choice([most, self.rng.randint(0, most + 1), OPEN, 10**16, self.rng.randint(1, 30) * OPEN + 7])

    def act(self) -> None:
        rng, world = self.rng, self.world
        key = rng.randrange(5)
        validator, other = rng.choice(EVERYBODY), rng.choice(EVERYBODY)
        if rng.random() < 0.6 and _exists(world, validator):
            key = ADDRESSES.index(world.info(validator).owner)
        elif rng.random() < 0.6:
            key = self.rng.choice([k for k in range(5) if self.delegations(k)] or [key])
            validator = self.rng.choice(self.delegations(key) or [validator])
        value = 0
        match rng.randrange(9):
            case 0:
                which = rng.randrange(4)
                terms = (rng.randrange(6_000), 5_000, 1_000, world.proof(which, ADDRESSES[key]))
                name, args = "createValidator", (NEW[which], ADDRESSES[key], *terms)
                value = self.amount(10 * OPEN)
            case 1:
                name, args, value = "addSelfStake", (validator,), self.amount(10 * OPEN)
            case 2:
                name, args = "removeSelfStake", (validator, self.amount(10 * OPEN))
            case 3 | 4:
                name, args, value = "delegate", (validator,), self.amount(20 * OPEN)
            case 5:
                held = world.view("delegation", validator, ADDRESSES[key]).amount
                name, args = "undelegate", (validator, self.amount(held))
            case 6:
                held = world.view("delegation", validator, ADDRESSES[key]).amount
                name, args = "redelegate", (validator, other, self.amount(held))
            case 7:
                name, args = rng.choice(["claimRewards", "unjail", "enlist"]), (validator,)
            case _:
                name, args = "settle", (validator, rng.choice(ADDRESSES))
        world.queue(key, name, *args, value=value)

    def delegations(self, key: int) -> list[Address]:
        return [who for who in EVERYBODY if self.world.view("delegation", who, ADDRESSES[key]).amount]

    def block(self) -> None:
        rng, world = self.rng, self.world
        for _ in range(rng.randrange(4)):
            self.act()
        state = world.chain.runtime.state()
        guilty = tuple(
            duplicate_vote(who, rng.randint(1, world.chain.tip.number))
            for who in rng.sample(EVERYBODY, 1)
            if rng.random() < 0.03 and world.chain.tip.number > 1 and state.is_punishable(who)
        )
        self.punished |= {item.offender for item in guilty}
        voters = state.validators().current
        absent = frozenset(m.address for m in voters.members if rng.random() < (0.9 if m.address == self.lazy else 0.2))
        if not voters.is_quorum(sum(m.power for m in voters.members if m.address not in absent)):
            absent = frozenset()
        executed = world.block(step_ms=rng.choice([5_000, 5_000, 9_999, 60_000]), evidence=guilty, absent=absent)
        sent = zip(executed.transactions, executed.receipts, strict=True)
        self.put_in += sum(tx.value for tx, receipt in sent if receipt.status)
        self.check()

    def check(self) -> None:
        world, state = self.world, self.world.chain.runtime.state()
        books, supply = state.stake_books(), state.supply()
        assert books.staked == self.put_in
        records = [world.info(who) for who in EVERYBODY if state.is_punishable(who) or who in self.punished]
        assert books.bonded == sum(record.self_stake + record.delegated for record in records)
        held = sum(world.view("delegation", v, d).amount for v in EVERYBODY for d in ADDRESSES if _exists(world, v))
        assert held >= sum(record.delegated for record in records)
        earned = validators_part(emitted(supply.emission_clock_ms))
        assert 0 <= earned - supply.minted - supply.pending_rewards + 0 < 1_000  # each block rounds its part down
        candidates = world.view("candidates", 0, 200)
        assert len(set(candidates)) == len(candidates)
        assert set(candidates) == {
            who
            for who in EVERYBODY
            if _exists(world, who)
            and (info := world.info(who)).self_stake >= OPEN
            and not info.jailed
            and not info.tombstoned
        }
        following = world.sets()[1]
        assert following
        if candidates and world.chain.tip.number > 2:
            assert following == {who: world.info(who).power for who in candidates}


def _exists(world: World, who: Address) -> bool:
    return bool(world.chain.runtime.state().slots(STAKING_ADDRESS).load(_record_slot(who)))


def _record_slot(who: Address) -> int:
    return mapping_slot(29, who)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_walk_keeps_the_books_and_everybody_gets_out(seed: int) -> None:
    print(f"seed {seed}")
    walk = Walk(seed)
    for _ in range(60):
        walk.block()
    world = walk.world
    leave(world)
    world.skip_ms(2 * UNBONDING_MS + 100_000)
    leave(world)  # what was locked
    world.skip_ms(2 * UNBONDING_MS + 100_000)
    books = world.chain.runtime.state().stake_books()
    assert books.bonded == books.unbonding == 0 and books.owed < 10 * 10**9
    assert books.staked == books.slashed + books.withdrawn + books.owed == walk.put_in


def leave(world: World) -> None:
    """Everybody takes out what can be taken out."""
    for validator in EVERYBODY:
        if not _exists(world, validator):
            continue
        info = world.info(validator)
        if info.self_stake:
            world.queue(ADDRESSES.index(info.owner), "removeSelfStake", validator, info.self_stake)
        for key, delegator in enumerate(ADDRESSES):
            held = world.view("delegation", validator, delegator)
            if held.amount > held.locked:
                world.queue(key, "settle", validator, delegator)
                world.block()
                held = world.view("delegation", validator, delegator)
                world.queue(key, "undelegate", validator, held.amount - held.locked)
                assert world.block().receipts[-1].status == 1
    world.block()

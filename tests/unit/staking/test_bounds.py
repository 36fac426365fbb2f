"""Bounds of staking: the last value that is taken and the first that is not, queues longer than a block, and its invariants."""

import dataclasses

import pytest

from evm_runtime.staking import base, candidates, payouts, sets, unbonding
from evm_runtime.staking.genesis_state import write_genesis
from evm_runtime.staking.layout import NEXT_SET, QUEUE_HEAD, QUEUE_TAIL, UNBONDING_HEAD, UNBONDING_TOTAL
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI, Power
from genesis.types import Validator, ValidatorSet
from tests.unit.evm_runtime.chain import ADDRESSES, VALIDATORS, make_spec
from tests.unit.evm_runtime.test_supply import DictSlots
from tests.unit.staking.test_staking import reverts
from tests.unit.staking.world import NEW, OLD, OPEN, PARAMS, World, duplicate_vote

LEAST = PARAMS.min_delegation
DELEGATOR, KEY = ADDRESSES[4], 4


def test_gas_beyond_the_slots_is_what_the_documentation_says() -> None:
    prices = (base.SET_CHANGE_GAS, base.UNBONDING_GAS, base.SIGNATURE_GAS)
    assert prices == (40_000, 40_000, 9_000)


# ---------------------------------------------------------------- the unbonding queue


def test_a_queue_longer_than_a_block_pays_is_paid_to_its_end() -> None:
    slots, total = DictSlots(), 2 * unbonding.MATURED_PER_BLOCK_MAX + 22
    for place in range(total):
        assert unbonding.begin(slots, unbonding.Leaving(DELEGATOR, OLD[0], place + 1, 1, 1_000)) == place
    late = unbonding.begin(slots, unbonding.Leaving(DELEGATOR, OLD[0], 7, 1, 5_000))
    heads = []
    for _ in range(4):
        assert unbonding.mature(slots, 1_000) == 0
        heads.append(UNBONDING_HEAD.get(slots))
    assert heads == [64, 128, total, total] and late == total
    assert UNBONDING_TOTAL.get(slots) == 7
    unbonding.mature(slots, 5_000)
    assert (UNBONDING_HEAD.get(slots), UNBONDING_TOTAL.get(slots)) == (total + 1, 0)


def test_a_payee_stands_in_line_once_from_the_first_whole_gwei_on() -> None:
    for first, lines in ((WEI_PER_GWEI - 1, 0), (WEI_PER_GWEI, 1), (WEI_PER_GWEI + 1, 1)):
        for add in (payouts.add_reward, payouts.add_stake):
            slots = DictSlots()
            add(slots, DELEGATOR, first)
            assert QUEUE_TAIL.get(slots) == lines
            for more in (payouts.add_reward, payouts.add_stake):
                more(slots, DELEGATOR, 1)
                more(slots, DELEGATOR, WEI_PER_GWEI)
            assert (QUEUE_HEAD.get(slots), QUEUE_TAIL.get(slots)) == (0, 1)


# ---------------------------------------------------------------- delegators


def test_a_delegation_is_no_less_than_the_minimum_and_no_part_of_it_leaves_in_dust() -> None:
    world = World()
    reverts("AmountTooLow", lambda: world.act(KEY, "delegate", OLD[0], value=LEAST - 1))
    world.act(KEY, "delegate", OLD[0], value=2 * LEAST + 5)
    for amount in (0, 1, LEAST - 1):
        reverts("AmountTooLow", lambda amount=amount: world.act(KEY, "undelegate", OLD[0], amount))
        reverts("AmountTooLow", lambda amount=amount: world.act(KEY, "redelegate", OLD[0], OLD[1], amount))
    world.act(KEY, "redelegate", OLD[0], OLD[1], LEAST)
    world.act(KEY, "undelegate", OLD[0], LEAST)
    world.act(KEY, "undelegate", OLD[0], 5)  # all that is left may be less
    reverts("AmountTooLow", lambda: world.act(KEY, "undelegate", OLD[0], 0))
    assert [world.view("unbonding", place).amount for place in (0, 1)] == [LEAST, 5]


def test_a_slashed_redelegation_takes_its_power_with_it() -> None:
    world = World()
    world.act(KEY, "delegate", OLD[0], value=100 * OPEN)
    fault = world.block().header.number
    world.block()
    world.act(KEY, "redelegate", OLD[0], OLD[1], 100 * OPEN)
    world.block(evidence=(duplicate_vote(OLD[0], fault),))
    for _ in range(3):
        world.block()
    assert world.sets()[0][OLD[1]] == 111
    world.act(0, "settle", OLD[1], DELEGATOR)
    assert world.info(OLD[1]).delegated == 95 * OPEN
    assert world.sets()[1][OLD[1]] == 106
    world.block()
    assert world.sets()[0][OLD[1]] == 106


# ---------------------------------------------------------------- validators


def test_a_commission_is_within_its_own_maximum_from_the_start() -> None:
    world = World()
    proof = world.proof(0, DELEGATOR)
    for commission, step in ((1_001, 100), (1_000, 1_001)):
        terms = (NEW[0], DELEGATOR, commission, 1_000, step, proof)
        reverts("InvalidParameter", lambda terms=terms: world.act(KEY, "createValidator", *terms, value=OPEN))
    world.act(KEY, "createValidator", NEW[0], DELEGATOR, 1_000, 1_000, 1_000, proof, value=OPEN)
    assert world.info(NEW[0]).commission_bps == 1_000
    reverts("ValidatorExists", lambda: world.view("registrationDigest", NEW[0], DELEGATOR))


def test_own_stake_makes_a_candidate_again_once_it_is_the_minimum() -> None:
    world = World(dataclasses.replace(PARAMS, min_self_stake=5 * OPEN))
    for name in ("addSelfStake", "removeSelfStake"):
        arguments = (OLD[0],) if name == "addSelfStake" else (OLD[0], 0)
        reverts("AmountTooLow", lambda name=name, arguments=arguments: world.act(0, name, *arguments))
    world.act(0, "removeSelfStake", OLD[0], 8 * OPEN)
    assert not world.info(OLD[0]).candidate
    world.act(0, "addSelfStake", OLD[0], value=3 * OPEN - 1)
    assert not world.info(OLD[0]).candidate and OLD[0] not in world.sets()[1]
    world.act(0, "addSelfStake", OLD[0], value=1)
    assert world.info(OLD[0]).candidate and world.sets()[1][OLD[0]] == 5


def test_a_commission_may_change_when_its_time_is_over_to_the_second() -> None:
    world = World()
    created = world.create(KEY, 0, OPEN, commission_bps=500).header.timestamp
    waits_ms = PARAMS.commission_change_ms

    def at_second(second: int) -> int:
        step_ms = second * 1_000 - world.chain.time_ms
        world.queue(KEY, "setCommission", NEW[0], 600)
        return int(world.block(step_ms=step_ms).receipts[0].status)

    assert at_second(created + waits_ms // 1_000 - 1) == 0
    assert world.info(NEW[0]).commission_bps == 500
    assert at_second(created + waits_ms // 1_000) == 1
    assert world.info(NEW[0]).commission_bps == 600


def test_candidates_are_listed_by_pages_of_two_hundred() -> None:
    world = World()
    assert len(world.view("candidates", 0, 200)) == 4
    reverts("InvalidParameter", lambda: world.view("candidates", 0, 201))
    reverts("UnknownProposal", lambda: world.view("proposal", 1))


# ---------------------------------------------------------------- the sets


def test_who_joins_stands_nine_eighths_of_the_power_behind() -> None:
    """So that leaving and joining again wins no turn."""
    before = ValidatorSet(VALIDATORS)
    joined = Validator(ADDRESSES[0], Power(50), ADDRESSES[0])
    after = ValidatorSet((*VALIDATORS, joined))
    old = dict(zip((member.address for member in before.members), (3, -7, 11, -7), strict=True))
    priorities = tuple(old[member.address] for member in before.members)
    found = dict(zip((m.address for m in after.members), sets._carry_over(before, priorities, after), strict=True))
    assert after.total_power == 96
    for address, priority in old.items():
        assert found[address] - found[ADDRESSES[0]] == priority + 96 + 12
    assert abs(sum(found.values())) < len(after)


def test_a_state_without_a_validator_set_stops_the_node() -> None:
    slots = DictSlots()
    write_genesis(slots, make_spec())
    assert sets.read_validators(slots).next == ValidatorSet(VALIDATORS)
    slots.store(NEXT_SET, 0)
    with pytest.raises(InvariantError, match="names no validator set"):
        sets.read_validators(slots)
    with pytest.raises(InvariantError, match="names no validator set"):
        sets.read_validators(DictSlots())


def test_the_weakest_of_nobody_is_asked_by_mistake_only() -> None:
    with pytest.raises(ValueError, match="there is no candidate"):
        candidates.weakest(DictSlots())

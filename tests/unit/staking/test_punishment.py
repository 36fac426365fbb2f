"""Slashing for equivocation, wherever the stake has gone since; jail for absence; both exact and only once."""

import dataclasses

import pytest

from genesis.errors import InvalidBlock
from genesis.primitives import Address
from tests.unit.evm_runtime.chain import ADDRESSES
from tests.unit.staking.test_staking import reverts
from tests.unit.staking.world import NEW, OLD, OPEN, PARAMS, UNBONDING_MS, World, duplicate_vote

ABSENT = frozenset


def test_an_equivocator_loses_a_twentieth_and_never_validates_again() -> None:
    world = World()
    world.act(4, "delegate", OLD[0], value=20 * OPEN)
    world.block()
    burned = world.chain.runtime.state().supply().burned
    executed = world.block(evidence=(duplicate_vote(OLD[0], 2),))
    info = world.info(OLD[0])
    assert (info.self_stake, info.delegated, info.kept_bps) == (95 * OPEN // 10, 19 * OPEN, 9_500)
    assert info.tombstoned and not info.candidate
    assert world.chain.runtime.state().stake_books().slashed == 3 * OPEN // 2
    assert world.chain.runtime.state().supply().burned - burned == 3 * OPEN // 2
    assert executed.block.evidence and OLD[0] in world.sets()[0] and OLD[0] not in world.sets()[1]
    world.block()
    assert OLD[0] not in world.sets()[0]
    reverts("Tombstoned", lambda: world.act(0, "addSelfStake", OLD[0], value=OPEN))
    reverts("Tombstoned", lambda: world.act(4, "delegate", OLD[0], value=OPEN))
    reverts("Tombstoned", lambda: world.act(0, "unjail", OLD[0]))
    reverts("Tombstoned", lambda: world.act(0, "enlist", OLD[0]))
    world.act(4, "undelegate", OLD[0], 20 * OPEN)
    assert world.view("unbonding", 0).amount == 19 * OPEN


def test_evidence_is_taken_once_and_only_against_validators() -> None:
    world = World()
    for _ in range(3):
        world.block()
    twice = (duplicate_vote(OLD[0], 2), duplicate_vote(OLD[0], 1))
    for evidence, why in (
        (twice, "accused twice in one block"),
        ((duplicate_vote(NEW[0], 2),), "never was a validator"),
        ((duplicate_vote(OLD[0], 4),), "evidence of height 4 in block 4"),
    ):
        with pytest.raises(InvalidBlock, match=why):
            world.block(evidence=evidence)
    world.block(evidence=(duplicate_vote(OLD[0], 2),))
    with pytest.raises(InvalidBlock, match="punished before"):
        world.block(evidence=(duplicate_vote(OLD[0], 3),))
    # And no block that carries it passes for valid, whoever built it.
    good = world.chain.build((), evidence=(duplicate_vote(OLD[1], 2),))
    world.block(evidence=(duplicate_vote(OLD[1], 3),))
    with pytest.raises(InvalidBlock):
        world.chain.runtime.execute_block(world.chain.tip, world.chain.time_ms, good.block)


def test_stake_that_left_since_the_fault_answers_and_what_left_before_does_not() -> None:
    world = World()
    world.act(4, "delegate", OLD[0], value=30 * OPEN)
    early = world.act(4, "undelegate", OLD[0], 10 * OPEN).header.number
    world.block()
    world.block()
    late = world.act(4, "undelegate", OLD[0], 10 * OPEN).header.number
    assert late - early == 3
    world.block(evidence=(duplicate_vote(OLD[0], early + 2),))
    assert [world.view("unbonding", place).amount for place in (0, 1)] == [10 * OPEN, 95 * OPEN // 10]
    world.skip_ms(UNBONDING_MS + 10_000)
    books = world.chain.runtime.state().stake_books()
    assert (books.unbonding, books.withdrawn) == (0, 195 * OPEN // 10)
    assert books.slashed == 10 * OPEN * 5 // 100 + 10 * OPEN * 5 // 100 + 10 * OPEN * 5 // 100


def test_a_fault_two_heights_after_stake_left_is_not_its_fault() -> None:
    """The stake after block H votes at H + 2: what left in H was last at stake at H + 1."""
    for fault, kept in ((1, 95), (2, 100)):
        world = World()
        world.act(4, "delegate", OLD[0], value=10 * OPEN)
        left = world.act(4, "undelegate", OLD[0], 10 * OPEN).header.number
        for _ in range(3):
            world.block()
        world.block(evidence=(duplicate_vote(OLD[0], left + fault),))
        assert world.view("unbonding", 0).amount == OPEN * kept // 10


def test_redelegated_stake_answers_for_where_it_came_from() -> None:
    world = World()
    world.act(4, "delegate", OLD[0], value=10 * OPEN)
    moved = world.act(4, "redelegate", OLD[0], OLD[1], 10 * OPEN).header.number
    world.act(4, "delegate", OLD[1], value=10 * OPEN)
    world.block(evidence=(duplicate_vote(OLD[0], moved),))
    world.act(0, "settle", OLD[1], ADDRESSES[4])
    held = world.view("delegation", OLD[1], ADDRESSES[4])
    assert (held.amount, held.locked) == (195 * OPEN // 10, 0)
    world.act(0, "settle", OLD[1], ADDRESSES[4])
    assert world.view("delegation", OLD[1], ADDRESSES[4]).amount == 195 * OPEN // 10
    world.act(4, "undelegate", OLD[1], 195 * OPEN // 10)
    world.block(evidence=(duplicate_vote(OLD[1], moved + 2),))
    assert world.view("unbonding", 0).amount == 195 * OPEN // 10 * 95 // 100


def test_a_redelegation_that_is_over_answers_for_nothing() -> None:
    world = World()
    world.act(4, "delegate", OLD[0], value=10 * OPEN)
    moved = world.act(4, "redelegate", OLD[0], OLD[1], 10 * OPEN).header.number
    world.skip_ms(UNBONDING_MS)
    world.act(4, "undelegate", OLD[1], 10 * OPEN)
    world.block(evidence=(duplicate_vote(OLD[0], moved),))
    world.act(0, "settle", OLD[1], ADDRESSES[4])
    assert world.view("unbonding", 0).amount == 10 * OPEN


def test_rounding_leaves_nothing_behind_with_a_slashed_validator() -> None:
    world = World(dataclasses.replace(PARAMS, min_delegation=1))
    amounts = [OPEN + 7, OPEN + 11, 3, OPEN + 1]
    for key, amount in enumerate(amounts, start=1):
        world.act(key, "delegate", OLD[0], value=amount)
    world.block(evidence=(duplicate_vote(OLD[0], 2),))
    for key, amount in enumerate(amounts, start=1):
        world.act(key, "undelegate", OLD[0], amount)
        assert world.view("unbonding", key - 1).amount == amount * 95 // 100
    world.act(0, "removeSelfStake", OLD[0], world.info(OLD[0]).self_stake)
    info = world.info(OLD[0])
    assert (info.self_stake, info.delegated) == (0, 0)


def test_a_set_of_equivocators_alone_stays_as_it_is() -> None:
    world = World()
    for _ in range(2):
        world.block()
    world.block(evidence=tuple(duplicate_vote(address, 2) for address in OLD))
    for _ in range(3):
        world.block()
    assert sorted(world.sets()[0]) == sorted(OLD) and world.view("candidateCount") == 0


# ---------------------------------------------------------------- absence


def absent_for(world: World, blocks: int, who: Address, step_ms: int = 5_000) -> None:
    for _ in range(blocks):
        world.block(step_ms=step_ms, absent=ABSENT({who}))


def test_who_misses_more_than_half_of_the_window_and_long_enough_is_jailed() -> None:
    world = World()
    world.block()
    absent_for(world, 10, OLD[0])
    world.block()
    info = world.info(OLD[0])
    assert (info.missed_blocks, info.missed_ms, info.jailed) == (10, 50_000, False)
    absent_for(world, 1, OLD[0])
    world.block()
    info = world.info(OLD[0])
    assert info.jailed and not info.candidate and (info.missed_blocks, info.missed_ms) == (0, 0)
    assert info.self_stake == 10 * OPEN
    world.block()
    assert OLD[0] not in world.sets()[0]
    reverts("StillJailed", lambda: world.act(0, "unjail", OLD[0]))
    reverts("StillJailed", lambda: world.act(0, "enlist", OLD[0]))
    reverts("NotJailed", lambda: world.act(1, "unjail", OLD[1]))
    world.skip_ms(30_000)
    world.act(0, "unjail", OLD[0])
    world.block()
    world.block()
    assert world.sets()[0][OLD[0]] == 10


def test_fast_blocks_alone_jail_nobody() -> None:
    world = World()
    world.block()
    for _ in range(30):
        world.queue(4, "claimRewards", OLD[1])
        world.block(step_ms=500, absent=ABSENT({OLD[0]}))
    info = world.info(OLD[0])
    assert not info.jailed and (info.missed_blocks, info.missed_ms) == (20, 10_000)


def test_a_long_halt_alone_jails_nobody() -> None:
    world = World()
    world.block()
    world.block(absent=ABSENT({OLD[0]}))
    world.block(step_ms=10_000_000)
    info = world.info(OLD[0])
    assert not info.jailed and (info.missed_blocks, info.missed_ms) == (1, 10_000_000)


def test_what_left_the_window_counts_no_more() -> None:
    world = World()
    world.block()
    absent_for(world, 9, OLD[0], step_ms=7_000)
    for _ in range(20):
        world.block()
    info = world.info(OLD[0])
    assert (info.missed_blocks, info.missed_ms) == (1, 5_000)  # the block that carried the last absence took 5 s
    world.block()
    info = world.info(OLD[0])
    assert (info.missed_blocks, info.missed_ms) == (0, 0)


def test_the_count_starts_anew_for_who_comes_back_into_the_set() -> None:
    world = World()
    world.block()
    absent_for(world, 5, OLD[0])
    world.act(0, "removeSelfStake", OLD[0], 10 * OPEN)
    for _ in range(4):
        world.block()
    world.act(0, "addSelfStake", OLD[0], value=10 * OPEN)
    for _ in range(3):
        world.block()
    info = world.info(OLD[0])
    assert (info.missed_blocks, info.missed_ms, info.candidate) == (0, 0, True)

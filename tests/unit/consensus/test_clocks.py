"""Clocks that differ are told to the observer: by a proposal's time, and by a time that has to come first."""

from dataclasses import dataclass, field, replace

import trio

from consensus.engine import Engine
from consensus.observer import SilentObserver
from consensus.timing import message_delay_ms
from consensus.wal import Wal
from genesis.primitives import NO_ROUND, Address, Height, Round
from tests.unit.consensus.support import CHAIN, GENESIS_TIME_MS, PARAMS, make_signer, proposal
from tests.unit.consensus.test_driver import BLOCK, CONTEXT, NOW_MS, PROPOSER, VALIDATORS, A, Disk, Recorder
from tests.unit.consensus.test_engine import Machine, Port, SystemClock, machines, reach, until


@dataclass
class Clocks(SilentObserver):
    timed: list[tuple[int, bool]] = field(default_factory=list)
    waits: list[tuple[int, int]] = field(default_factory=list)

    def proposal_timed(self, height: Height, round_: Round, proposer: Address, *, ahead_ms: int, timely: bool) -> None:
        self.timed.append((ahead_ms, timely))

    def time_ahead(self, height: Height, ahead_ms: int) -> None:
        self.waits.append((height, ahead_ms))


def seen(received_ms: int, *, me: int | None = None) -> list[tuple[int, bool]]:
    disk, clocks = Disk(), Clocks()
    disk.observer = clocks  # type: ignore[assignment]  # another observer
    driver, _ = disk.start() if me is None else disk.start(me)
    driver.enter()
    driver.take_proposal(proposal(CONTEXT, 0, A), received_ms)
    driver.take_block("peer", BLOCK)
    driver.judged(BLOCK, valid=True)
    return clocks.timed


def test_a_fresh_proposal_tells_how_the_clocks_differ() -> None:
    late = PARAMS.precision_ms + message_delay_ms(PARAMS, Round(0))
    assert seen(NOW_MS) == [(0, True)]
    assert seen(NOW_MS + late) == [(-late, True)]
    assert seen(NOW_MS + late + 1) == [(-late - 1, False)]
    assert seen(NOW_MS - PARAMS.precision_ms - 1) == [(PARAMS.precision_ms + 1, False)]


def test_a_block_that_is_proposed_again_and_ones_own_tell_nothing() -> None:
    assert isinstance(Recorder(), SilentObserver)
    disk, clocks = Disk(), Clocks()
    disk.observer = clocks  # type: ignore[assignment]  # another observer
    driver, _ = disk.start(PROPOSER)
    driver.enter()
    driver.built(Round(0), BLOCK)
    driver.judged(BLOCK, valid=True)
    assert driver.state.proposals[Round(0)].proposal.proposer == VALIDATORS.members[PROPOSER].address
    assert clocks.timed == []
    other, _ = disk.start()
    received = driver.state.proposals[Round(0)]
    again = replace(received, proposal=replace(received.proposal, valid_round=Round(0), round=Round(1)))
    other.state.proposals[Round(0)] = again
    other.blocks[A] = BLOCK
    other.judged(BLOCK, valid=True)
    assert clocks.timed == [] and received.proposal.valid_round == NO_ROUND


@dataclass
class Skewed(SystemClock):
    ahead_ms: int = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@dataclass
class SkewedMachine(Machine):
    ahead_ms: int = 0
    clocks: Clocks = field(default_factory=Clocks)

    def engine(self) -> Engine:
        assert self.key is not None
        return Engine(
            CHAIN,
            PARAMS,
            self.app,
            make_signer(self.key, self.record),
            Wal(self.log),
            Port(self.wires, self.name),
            Skewed(self.ahead_ms),
            observer=self.clocks,
            gossip_interval_ms=50,
        )


async def test_a_validator_whose_clock_is_behind_hears_of_it_and_the_chain_goes_on() -> None:
    nodes = [
        SkewedMachine(each.name, each.wires, each.app, each.key, ahead_ms=-20_000 if i == 0 else 0)
        for i, each in enumerate(machines(4))
    ]
    behind, *level = nodes
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(3, *level)
        await until(lambda: behind.clocks.waits and behind.clocks.timed)
        nursery.cancel_scope.cancel()
    height, ahead_ms = behind.clocks.waits[0]
    assert height >= 2 and 10_000 < ahead_ms <= 20_000
    ahead_ms, timely = behind.clocks.timed[0]
    assert 10_000 < ahead_ms <= 20_000 and not timely
    assert all(not node.clocks.waits for node in level)


async def test_a_genesis_time_to_come_is_told() -> None:
    (one,) = machines(1)
    node = SkewedMachine(one.name, one.wires, one.app, one.key)
    node.ahead_ms = GENESIS_TIME_MS - SystemClock().now_ms() - 3_600_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        await until(lambda: node.clocks.waits)
        nursery.cancel_scope.cancel()
    height, ahead_ms = node.clocks.waits[0]
    assert height == 1 and 3_590_000 < ahead_ms <= 3_600_000
    assert not node.app.chain

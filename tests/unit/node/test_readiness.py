"""`/ready` by its reasons, and what becomes of the node's own validator: once each, loudly."""

import logging
from dataclasses import dataclass, field, replace

import pytest

from consensus.signer import SigningRefused
from evm_runtime.staking.layout import ValidatorRecord
from genesis.chain_spec import BlockParams, ConsensusParams
from genesis.primitives import Height, Round
from genesis.types import DuplicateVote
from node.interfaces import NodeStatus
from node.telemetry.duty import Duty
from node.telemetry.metrics import NodeMetrics
from node.telemetry.readiness import Readiness
from tests.unit.consensus.support import PREVOTE, MemoryRecord, keys_in_set_order, make_signer, validator_set, vote
from tests.unit.node.test_metrics_logs import Status

START_MS = 1_800_000_000_000
VALIDATORS = validator_set(4)
ADDRESS = VALIDATORS.members[0].address
PARAMS, BLOCKS = ConsensusParams(), BlockParams()


@dataclass
class Told:
    """A stored block, as far as readiness looks at it."""

    height: int
    time_ms: int


@dataclass
class World:
    peers: int = 3
    heights: list[Height] = field(default_factory=list)
    needs_peers: bool = True
    steady_s: float = 50.0
    clock_off_ms: int = 0
    """How far this machine's clock is ahead of the others'."""

    def __post_init__(self) -> None:
        world = self

        class Counted(Status):
            def peer_count(self) -> int:
                return world.peers

        self.began_s = self.steady_s
        status: NodeStatus = Counted()
        self.readiness = Readiness(
            status,
            PARAMS,
            lambda: BLOCKS,
            lambda: self.heights,
            lambda: self.needs_peers,
            now_ms=lambda: self.true_ms() + self.clock_off_ms,
            steady_s=lambda: self.steady_s,
        )

    def true_ms(self) -> int:
        return START_MS + round((self.steady_s - self.began_s) * 1000)

    def block(self, height: int, *, after_s: float = 1.0, fresh: bool = True, age_ms: int = 300) -> None:
        self.steady_s += after_s
        self.readiness.block(Told(height, self.true_ms() - age_ms), fresh=fresh)  # type: ignore[arg-type]  # see Told

    def running(self) -> "World":
        self.block(1, fresh=False)
        for height in (2, 3, 4, 5):
            self.block(height)
        return self


def test_a_node_that_gets_blocks_is_ready() -> None:
    world = World()
    assert world.readiness.reason() == "the node starts"
    assert world.running().readiness.reason() is None


def test_one_without_peers_is_not_unless_it_decides_alone() -> None:
    assert World(peers=0).running().readiness.reason() == "no peers"
    assert World(peers=0, needs_peers=False).running().readiness.reason() is None


def test_one_that_peers_are_ahead_of_is_behind_but_not_by_the_word_of_a_few() -> None:
    world = World().running()
    world.heights = [Height(6), Height(6), Height(7)]
    assert world.readiness.reason() is None
    world.heights = [Height(6), Height(6), Height(1 << 40)]
    assert world.readiness.reason() is None, "one of three"
    world.heights = [Height(6), Height(300), Height(301)]
    assert world.readiness.reason() == "behind: at block 5, peers are at 299"


def test_a_chain_that_stands_still_is_told_by_the_steady_clock() -> None:
    world = World().running()
    world.steady_s += (BLOCKS.empty_interval_ms + 5_000 + 6_500) / 1000
    assert world.readiness.reason() is None, "two failed rounds are no standstill"
    world.steady_s += 1
    assert (world.readiness.reason() or "").startswith("stalled: block 5 is the last, for 1")
    world.block(6)
    assert world.readiness.reason() is None


def test_after_a_start_an_old_tip_is_not_ready_until_a_block_comes() -> None:
    world = World()
    world.block(7, fresh=False, age_ms=3_600_000)
    assert world.readiness.reason() == "no new block yet: block 7 is 3600 s old"
    world.block(8, fresh=False, age_ms=3_500_000)  # by block sync
    assert "no new block yet" in (world.readiness.reason() or "")
    world.block(9)
    assert world.readiness.reason() is None


@pytest.mark.parametrize(
    ("off_ms", "words"),
    [(600_000, "new blocks come 600 s old"), (-120_000, "the last block is 120 s ahead of it")],
)
def test_a_wrong_clock_is_named(off_ms: int, words: str) -> None:
    world = World(clock_off_ms=off_ms).running()
    assert world.readiness.reason() == f"this machine's clock is wrong: {words}"
    right = World().running()
    right.clock_off_ms = off_ms
    for height in (6, 7, 8):
        right.block(height)
    assert words in (right.readiness.reason() or ""), "it goes wrong while the node runs"


def test_one_late_block_says_nothing_of_the_clock() -> None:
    world = World().running()
    world.block(6, age_ms=60_000)
    assert world.readiness.reason() is None


def test_the_reasons_of_readiness_and_of_the_validator_are_told_through_metrics() -> None:
    metrics, world = NodeMetrics(), World(peers=0).running()
    duty = Duty(make_signer(keys_in_set_order(4)[0], MemoryRecord()))
    metrics._status, metrics._readiness, metrics._duty = Status(), world.readiness, duty
    assert metrics.unready() == "no peers"
    world.peers = 3
    assert metrics.unready() is None
    metrics.signing_stopped("the key is elsewhere")
    assert metrics.unready() == "the key is elsewhere"


# ---------------------------------------------------------------- the node's own validator


def record_of(**changes: object) -> ValidatorRecord:
    values = dict.fromkeys(ValidatorRecord.__dataclass_fields__, 0)
    plain = ValidatorRecord(**(values | {"owner": ADDRESS, "payout": ADDRESS, "kept_bps": 10_000}))  # type: ignore[arg-type]
    return replace(plain, jailed=False, tombstoned=False, **changes)  # type: ignore[arg-type]  # by name


def test_each_blow_to_a_validator_is_told_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    duty = Duty(make_signer(keys_in_set_order(4)[0], MemoryRecord()))
    duty.look(record_of(), is_member=True)
    assert caplog.records == [] and duty.trouble == ""
    for _ in range(3):
        duty.look(replace(record_of(), jailed=True), is_member=False)
    said = [record.getMessage() for record in caplog.records]
    assert [("JAILED" in text, "OUT OF THE VALIDATOR SET" in text) for text in said] == [(True, False), (False, True)]
    assert all(f"0x{ADDRESS.hex()}" in text for text in said)
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    caplog.clear()
    duty.look(record_of(), is_member=True)
    assert len(caplog.records) == 2 and all("no longer" in record.getMessage() for record in caplog.records)
    caplog.clear()
    for _ in range(2):
        duty.look(replace(record_of(), tombstoned=True, kept_bps=9_500), is_member=False)
    said = [record.getMessage() for record in caplog.records]
    assert [word for word in ("SLASHED", "TOMBSTONED", "OUT OF") if sum(word in text for text in said) != 1] == []
    assert "tombstoned" in duty.trouble


def test_a_key_that_nobody_registered_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    duty = Duty(make_signer(keys_in_set_order(4)[0], MemoryRecord()))
    duty.look(replace(record_of(), owner=type(ADDRESS)(bytes(20)), kept_bps=0), is_member=False)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("and is not registered")


def test_proof_of_its_own_equivocation_ends_the_signing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    signer = make_signer(keys_in_set_order(4)[0], MemoryRecord())
    duty, metrics = Duty(signer), NodeMetrics()
    metrics._duty = duty
    other, own = (
        DuplicateVote(
            *sorted((vote(VALIDATORS, who, PREVOTE, 0, value) for value in HASHES), key=lambda v: v.block_hash)
        )
        for who in (1, 0)
    )
    metrics.equivocation(other)
    assert signer.sign_vote(PREVOTE, Height(5), Round(0), HASHES[0], VALIDATORS.hash())
    metrics.equivocation(own)
    with pytest.raises(SigningRefused, match=f"0x{ADDRESS.hex()} signed two different things"):
        signer.sign_vote(PREVOTE, Height(6), Round(0), HASHES[0], VALIDATORS.hash())
    critical = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(critical) == 1 and "SIGNING STOPPED" in critical[0].getMessage()
    assert duty.trouble


HASHES = [VALIDATORS.hash(), type(VALIDATORS.hash())(bytes(range(32)))]

"""The engine on real time: four nodes on in-memory wires decide, lose one, take it back; one alone; a follower; bad input."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
import trio

from consensus.application import HeightContext, PastHeight, ProposalRequest
from consensus.engine import Engine
from consensus.messages import BlockRequest, ConsensusMessage
from consensus.wal import Wal
from genesis.chain_spec import BlockParams, ConsensusParams
from genesis.errors import InvalidBlock, InvariantError, PeerFault, StorageUnavailable
from genesis.primitives import Address, Hash32, Height, Round
from genesis.types import Block, Commit, Vote, VoteType
from tests.unit.consensus.support import (
    CHAIN,
    MemoryLog,
    MemoryRecord,
    check_body,
    commit_for,
    first_context,
    keys_in_set_order,
    make_block,
    make_signer,
    next_context,
    proposal,
    validator_set,
    vote,
)

PARAMS = ConsensusParams(
    propose_timeout_ms=400,
    propose_timeout_step_ms=100,
    vote_timeout_ms=100,
    vote_timeout_step_ms=50,
    timeout_cap_ms=2000,
)
BLOCKS = BlockParams(interval_ms=10, empty_interval_ms=100)
LIMIT_S = 30


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


@dataclass
class FakeApp:
    """A chain in a list. `transactions` False: every block is empty and has to wait for the empty timer."""

    context: HeightContext
    transactions: bool = True
    chain: list[tuple[Block, Commit]] = field(default_factory=list)
    finds_invalid: bool = False
    fails: int = 0
    grew: Callable[[], None] = lambda: None

    async def height_context(self) -> HeightContext:
        return self.context

    async def prepare_proposal(self, request: ProposalRequest) -> Block:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the builder fell over")
        return make_block(
            self.context,
            round_=request.round,
            time_ms=request.time_ms,
            last_commit=request.last_commit,
            transactions=(b"tx",) if self.transactions else (),
            evidence=request.evidence,
        )

    async def check_body(self, block: Block) -> None:
        check_body(block)

    async def process_proposal(self, block: Block) -> None:
        await trio.sleep(0.001)
        if self.finds_invalid:
            raise InvalidBlock("so says the test")

    async def finalize_block(self, block: Block, commit: Commit) -> HeightContext:
        self.store(block, commit)
        return self.context

    def store(self, block: Block, commit: Commit) -> None:
        self.chain.append((block, commit))
        self.context = next_context(self.context, block, commit)
        self.grew()

    async def past_height(self, height: Height) -> PastHeight | None:
        if not 0 < height <= len(self.chain):
            return None
        return PastHeight(self.chain[height - 1][0].consensus.time_ms, self.context.validators)

    async def is_punishable(self, validator: Address) -> bool:
        return validator not in {item.offender for block, _ in self.chain for item in block.evidence}

    def has_transactions(self) -> bool:
        return self.transactions

    async def wait_for_transactions(self) -> None:
        if not self.transactions:
            await trio.sleep_forever()


class Wires:
    """Delivers at once to every running engine. `cut` names those who hear nothing and are not heard."""

    def __init__(self) -> None:
        self.engines: dict[str, Engine] = {}
        self.faults: list[tuple[str, PeerFault]] = []
        self.cut: set[str] = set()
        self.sent: list[ConsensusMessage] = []


class Port:
    """One node's end of the wires: a consensus.ports.Transport."""

    def __init__(self, wires: Wires, name: str) -> None:
        self._wires, self._name = wires, name

    def _others(self) -> list[Engine]:
        wires = self._wires
        if self._name in wires.cut:
            return []
        return [engine for name, engine in wires.engines.items() if name != self._name and name not in wires.cut]

    def broadcast(self, message: ConsensusMessage) -> None:
        self._wires.sent.append(message)
        for engine in self._others():
            engine.receive(self._name, message)

    def send(self, peer: str, message: ConsensusMessage) -> None:
        self._wires.sent.append(message)
        engine = self._wires.engines.get(peer)
        if engine is not None and engine in self._others():
            engine.receive(self._name, message)

    def broadcast_block(self, block: Block) -> None:
        for engine in self._others():
            engine.receive_block(self._name, block)

    def send_block(self, peer: str, block: Block) -> None:
        engine = self._wires.engines.get(peer)
        if engine is not None and engine in self._others():
            engine.receive_block(self._name, block)

    def report_fault(self, peer: str, fault: PeerFault) -> None:
        self._wires.faults.append((peer, fault))


@dataclass
class Machine:
    """A node's disk and application, which outlive its process."""

    name: str
    wires: Wires
    app: FakeApp
    key: bytes | None
    log: MemoryLog = field(default_factory=MemoryLog)
    record: MemoryRecord = field(default_factory=MemoryRecord)
    behind: list[int] = field(default_factory=list)
    scope: trio.CancelScope | None = None

    def engine(self) -> Engine:
        signer = None if self.key is None else make_signer(self.key, self.record)
        return Engine(
            CHAIN,
            PARAMS,
            self.app,
            signer,
            Wal(self.log),
            Port(self.wires, self.name),
            SystemClock(),
            on_behind=lambda height, peer: self.behind.append(height),
            gossip_interval_ms=50,
        )

    async def run(self) -> None:
        engine = self.wires.engines[self.name] = self.engine()
        with trio.CancelScope() as self.scope:
            await engine.run()

    def stop(self) -> None:
        """The process ends: what was not synced is lost."""
        assert self.scope is not None
        self.scope.cancel()
        del self.wires.engines[self.name]
        self.log.data = self.log.data[: self.log.durable]


def machines(count: int, *, followers: int = 0, transactions: bool = True) -> list[Machine]:
    wires, validators = Wires(), validator_set(count)
    names = [f"v{i}" for i in range(count)] + [f"f{i}" for i in range(followers)]
    keys: list[bytes | None] = [*keys_in_set_order(count), *[None] * followers]
    return [
        Machine(name, wires, FakeApp(first_context(validators, BLOCKS), transactions), key)
        for name, key in zip(names, keys, strict=True)
    ]


async def until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    with trio.fail_after(limit_s):
        while not condition():  # noqa: ASYNC110  # many things may make it true
            await trio.sleep(0.005)


async def reach(height: int, *nodes: Machine) -> None:
    await until(lambda: all(len(node.app.chain) >= height for node in nodes))


def assert_same_chain(nodes: list[Machine]) -> None:
    shortest = min(len(node.app.chain) for node in nodes)
    chains = {tuple(block.hash for block, _ in node.app.chain[:shortest]) for node in nodes}
    assert len(chains) == 1


async def test_four_validators_decide_twenty_heights() -> None:
    nodes = machines(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
            nursery.start_soon(keep_syncing, node, nodes)
        await reach(20, *nodes)
        nursery.cancel_scope.cancel()
    assert_same_chain(nodes)
    assert nodes[0].wires.faults == []


async def test_one_of_four_stops_and_comes_back() -> None:
    nodes = machines(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(5, *nodes)
        nodes[3].stop()
        height = len(nodes[0].app.chain)
        await reach(height + 5, *nodes[:3])
        nodes[3].behind.clear()
        nursery.start_soon(nodes[3].run)
        await sync_until_level(nodes[3], nodes[0])
        nursery.start_soon(keep_syncing, nodes[3], nodes)
        level = len(nodes[3].app.chain)
        await reach(level + 5, *nodes)
        # it votes again: a later block carries its signature
        await until(lambda: any(block.last_commit.signatures[3] for block, _ in nodes[0].app.chain[level + 1 :]))
        nursery.cancel_scope.cancel()
    assert_same_chain(nodes)


async def sync_until_level(node: Machine, source: Machine) -> None:
    """What a node's block sync does: when told that it is behind, pause the engine and store verified blocks."""
    await until(lambda: node.behind)
    async with node.wires.engines[node.name].paused():
        for block, commit in source.app.chain[len(node.app.chain) :]:
            node.app.store(block, commit)


async def keep_syncing(node: Machine, nodes: list[Machine]) -> None:
    """A node's block sync, for as long as the test runs: consensus alone helps over one height only."""
    while True:
        await until(lambda: node.behind and node.name in node.wires.engines, limit_s=math.inf)
        await sync_until_level(node, max(nodes, key=lambda other: len(other.app.chain)))
        node.behind.clear()


async def test_two_of_four_down_no_block_and_one_back_blocks_again() -> None:
    nodes = machines(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(3, *nodes)
        nodes[2].stop()
        nodes[3].stop()
        await trio.sleep(0.3)
        height = max(len(node.app.chain) for node in nodes[:2])
        await trio.sleep(0.5)
        assert max(len(node.app.chain) for node in nodes[:2]) == height
        nursery.start_soon(nodes[2].run)
        await reach(height + 3, *nodes[:2])
        nursery.cancel_scope.cancel()
    assert_same_chain(nodes[:3])


async def test_all_four_restart_in_the_middle_and_go_on() -> None:
    nodes = machines(4)
    for _ in range(4):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.run)
                nursery.start_soon(keep_syncing, node, nodes)
            await reach(len(nodes[0].app.chain) + 2, nodes[0])
            for node in nodes:
                node.stop()
            nursery.cancel_scope.cancel()
    assert_same_chain(nodes)
    signed = [record for node in nodes for record in node.record.history]
    assert len(set(signed)) == len(signed), "a restart signed something twice"


async def test_a_validator_alone_decides_empty_blocks_on_the_empty_timer() -> None:
    (node,) = machines(1, transactions=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        await reach(4, node)
        nursery.cancel_scope.cancel()
    times = [block.consensus.time_ms for block, _ in node.app.chain]
    assert all(later - earlier >= BLOCKS.empty_interval_ms for earlier, later in pairwise(times))


async def test_a_follower_keeps_up_and_never_votes() -> None:
    nodes = machines(1, followers=1)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
            nursery.start_soon(keep_syncing, node, nodes)
        await reach(10, *nodes)
        nursery.cancel_scope.cancel()
    assert_same_chain(nodes)
    assert nodes[1].record.value is None


async def test_a_builder_that_fails_costs_a_round_and_not_the_chain() -> None:
    (node,) = machines(1)
    node.app.fails = 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        await reach(2, node)
        nursery.cancel_scope.cancel()
    assert node.app.chain[0][0].consensus.round == 1


async def test_a_quorum_for_what_this_node_finds_invalid_stops_it() -> None:
    nodes = machines(4)
    nodes[0].app.finds_invalid = True
    errors: list[BaseException] = []

    async def run_zero() -> None:
        try:
            await nodes[0].run()
        except InvariantError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_zero)
        for node in nodes[1:]:
            nursery.start_soon(node.run)
        await until(lambda: errors)
        nursery.cancel_scope.cancel()
    assert "invalid" in str(errors[0])


async def test_a_log_that_cannot_be_written_stops_it_with_its_own_words() -> None:
    """It is the machine's refusal, not a contradiction of the node's."""

    class FullDisk(MemoryLog):
        def append(self, data: bytes) -> None:
            raise StorageUnavailable("cannot write the consensus log: the disk is full")

    (node,) = machines(1)
    node.log = FullDisk()
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        await node.run()


async def test_a_block_with_another_body_is_no_block_at_all() -> None:
    """Anybody can pair a good header with other transactions: the bytes are refused, the hash is not condemned."""
    nodes = machines(4)
    evil_seen = 0
    honest = Port.broadcast_block

    def tampered(port: Port, block: Block) -> None:
        nonlocal evil_seen
        evil_seen += 1
        honest(port, replace(block, transactions=(b"other",)))

    Port.broadcast_block = tampered  # type: ignore[method-assign]
    try:
        async with trio.open_nursery() as nursery:
            for node in nodes:
                nursery.start_soon(node.run)
            await reach(2, *nodes)
            nursery.cancel_scope.cancel()
    finally:
        Port.broadcast_block = honest  # type: ignore[method-assign]
    assert evil_seen
    assert any("body" in str(fault) for _, fault in nodes[0].wires.faults)
    assert_same_chain(nodes)


async def test_hostile_messages_are_faults_and_nothing_else() -> None:
    nodes = machines(4)
    validators = validator_set(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(2, *nodes)
        engine = nodes[0].wires.engines["v0"]
        height = nodes[0].app.context.height
        forged = replace(
            vote(validators, 1, VoteType.PREVOTE, 0, height=height), validator=validators.members[2].address
        )  # type: ignore[arg-type]
        stranger = replace(vote(validators, 1, VoteType.PREVOTE, 0, height=height), validator=forged.validator[::-1])  # type: ignore[arg-type]
        short = Commit(height, 0, Hash32(b"\1" * 32), ())  # type: ignore[arg-type]
        for step in range(20):
            for message in (forged, stranger, short, BlockRequest(height, Hash32(b"\2" * 32))):
                moved = replace(message, height=nodes[0].app.context.height)
                engine.receive(f"evil{step}", moved)
            await trio.sleep(0.005)
        await reach(len(nodes[0].app.chain) + 3, *nodes)
        nursery.cancel_scope.cancel()
    assert {peer for peer, _ in nodes[0].wires.faults} <= {f"evil{step}" for step in range(20)}
    reasons = " ".join(str(fault) for _, fault in nodes[0].wires.faults)
    assert "in the name of" in reasons and "no validator" in reasons and "signature slots" in reasons


async def test_a_flood_is_bounded_and_only_the_flooder_loses() -> None:
    nodes = machines(1)
    engine = nodes[0].engine()
    message = vote(validator_set(1), 0, VoteType.PREVOTE, 0)
    for _ in range(10_000):
        engine.receive("flooder", message)
    before = engine._inbox.dropped
    engine.receive("other", message)
    assert before == 10_000 - 256
    assert engine._inbox.dropped == before


async def test_late_precommits_reach_the_next_block() -> None:
    """A commit needs 3 of 4; the fourth signature, if it comes before the next block is built, is in its last_commit."""
    nodes = machines(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
            nursery.start_soon(keep_syncing, node, nodes)
        await reach(15, *nodes)
        nursery.cancel_scope.cancel()
    full = [block for block, _ in nodes[0].app.chain[1:] if all(block.last_commit.signatures)]
    assert full, "no late precommit was ever taken"


async def test_a_pause_without_progress_changes_nothing_and_signs_nothing_twice() -> None:
    """Block sync may find nothing: each time the engine takes its height up again from the log."""
    nodes = machines(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(2, *nodes)
        for _ in range(10):
            engine = nodes[0].wires.engines["v0"]
            async with engine.paused():
                height = len(nodes[0].app.chain)
                await trio.sleep(0.02)
                assert len(nodes[0].app.chain) == height, "a paused engine stores nothing"
        nursery.start_soon(keep_syncing, nodes[0], nodes)  # the others did not wait
        await reach(len(nodes[1].app.chain) + 5, *nodes)
        nursery.cancel_scope.cancel()
    assert_same_chain(nodes)
    history = nodes[0].record.history
    assert len(set(history)) == len(history)


async def test_a_last_commit_with_a_signature_that_this_node_did_not_give_ends_its_signing_before_it_votes() -> None:
    """Its stored commit of the parent lacks its signature, as its record does; the proposer's has it, from a twin."""
    for signed_here in (False, True):
        nodes = machines(4)
        first = first_context(validator_set(4), BLOCKS)
        parent = make_block(first)
        second = next_context(first, parent, commit_for(first, parent.hash, signers=[0, 1, 2]))
        second = replace(second, parent_time_ms=SystemClock().now_ms() - 1_000)
        proposer = second.validators.index(second.proposer(Round(0)))
        me = next(place for place in (3, 2) if place != proposer)
        second = replace(
            second, last_commit=commit_for(first, parent.hash, signers=[place for place in range(4) if place != me])
        )
        node = nodes[me]
        node.app.context = second
        assert node.key is not None
        if signed_here:
            make_signer(node.key, node.record).sign_vote(
                VoteType.PRECOMMIT, first.height, Round(0), parent.hash, first.validators.hash()
            )
        block = make_block(second, time_ms=SystemClock().now_ms(), last_commit=commit_for(first, parent.hash))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.run)
            await until(lambda node=node: node.name in node.wires.engines)  # type: ignore[misc]  # bound now
            engine = node.wires.engines[node.name]
            engine.receive("peer", proposal(second, 0, block.hash))
            engine.receive_block("peer", block)
            sent = node.wires.sent
            if signed_here:
                await until(lambda sent=sent: any(isinstance(m, Vote) and m.height == 2 for m in sent))  # type: ignore[misc]
            else:
                await until(lambda engine=engine: engine._node.stopped)  # type: ignore[misc]  # bound now
                await trio.sleep((PARAMS.propose_timeout_ms + 100) / 1000)
                assert not any(isinstance(message, Vote) for message in sent)
            nursery.cancel_scope.cancel()
        assert node.wires.faults == []

"""A whole network on one heap: the real driver, log, signer and rules; simulated time, wires, disks and crashes.

One seed decides everything. Safety is checked at each decision and each signature (agreement, one signature per position, kept
locks); liveness by a limit on simulated time after the network has healed.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.application import HeightContext
from consensus.block_rules import check_block, verify_commit
from consensus.driver import HeightDriver, Node
from consensus.evidence import EvidencePool
from consensus.messages import BlockRequest, ConsensusMessage, RoundState
from consensus.observer import SilentObserver
from consensus.orders import Broadcast, BroadcastBlock, Build, Finalize, Judge, Order, Send, StartTimer
from consensus.wal import Wal
from genesis.errors import InvalidBlock, PeerFault, StorageCorrupt
from genesis.primitives import Hash32
from genesis.types import Block, Commit, Proposal, Vote, VoteType
from tests.unit.consensus.support import (
    BLOCK_PARAMS,
    CHAIN,
    GENESIS_TIME_MS,
    PARAMS,
    MemoryLog,
    MemoryRecord,
    SimulatedCrash,
    check_body,
    first_context,
    keys_in_set_order,
    make_block,
    make_signer,
    next_context,
    validator_set,
)

GOSSIP_MS = 400


class Violation(AssertionError):
    """The network did what it must never do. The message names the seed."""


@dataclass(frozen=True)
class Plan:
    """What happens to a network. Probabilities are per message, rates per event; `heal_ms` ends all faults."""

    validators: int = 4
    heights: int = 3
    twins: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    slow: float = 0.0
    partitions: bool = False
    crashes: float = 0.0
    torn: float = 0.0
    followers: int = 0
    heal_ms: int = 0
    limit_ms: int = 400_000


@dataclass
class SimNode:
    """One process and its disk. Twins share a validator's key, and nothing else."""

    name: str
    validator: int | None
    honest: bool
    log: MemoryLog = field(default_factory=MemoryLog)
    record: MemoryRecord = field(default_factory=MemoryRecord)
    chain: list[tuple[Block, Commit]] = field(default_factory=list)
    context: HeightContext | None = None
    driver: HeightDriver | None = None
    life: int = 0
    """Counts heights and restarts: what was ordered in another life is dropped."""
    skew_ms: int = 0
    future: list[Callable[[], None]] = field(default_factory=list)
    evidence: EvidencePool = field(default_factory=EvidencePool)


class Cluster:
    """Runs a plan from a seed; `run` raises Violation, or returns the simulated time."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.seed, self.plan = seed, plan
        self.rng = random.Random(seed)
        self.now = GENESIS_TIME_MS
        self.start_ms = self.now
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.count = 0
        self.validators = validator_set(plan.validators)
        self.decided: dict[int, Hash32] = {}
        self.signed: dict[tuple[object, ...], tuple[object, ...]] = {}
        self.locks: dict[tuple[object, ...], Vote] = {}
        self.valid_rounds: dict[tuple[object, ...], int] = {}
        self.max_round = 0
        self.groups: dict[str, int] = {}
        self.nodes = [SimNode(f"v{i}", i, honest=i >= plan.twins) for i in range(plan.validators)]
        self.nodes += [SimNode(f"twin{i}", i, honest=False) for i in range(plan.twins)]
        self.nodes += [SimNode(f"follower{i}", None, honest=True) for i in range(plan.followers)]
        self.by_name = {node.name: node for node in self.nodes}

    # ------------------------------------------------------------ running

    def run(self) -> int:
        for node in self.nodes:
            node.skew_ms = self.rng.randint(-100, 100)
            node.log.hazard = node.record.hazard = self._hazard
            self.at(self.rng.randint(0, 50), lambda node=node: self.boot(node))
        if self.plan.heal_ms:
            self.at(self.rng.randint(0, 2000), self._nemesis)
        while self.heap:
            self.now, _, action = heapq.heappop(self.heap)
            if self.elapsed > self.plan.limit_ms:
                raise Violation(f"{self}: no decision in time, at {[self._place(node) for node in self.nodes]}")
            action()
            if all(len(node.chain) >= self.plan.heights for node in self.nodes if node.honest):
                return self.elapsed
        raise Violation(f"{self}: nothing left to do, at {[self._place(node) for node in self.nodes]}")

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.plan}"

    @property
    def elapsed(self) -> int:
        return self.now - self.start_ms

    @property
    def faulty(self) -> bool:
        return self.elapsed < self.plan.heal_ms

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + max(delay_ms, 0), self.count, action))

    def _place(self, node: SimNode) -> str:
        if node.driver is None:
            return f"{node.name}: down after {len(node.chain)}"
        state = node.driver.state
        place = f"{state.height}/{state.round}/{state.step.name}"
        return f"{node.name}: {place} lock {state.locked_round} valid {state.valid_round}"

    # ------------------------------------------------------------ faults

    def _hazard(self) -> None:
        if self.faulty and self.rng.random() < self.plan.torn:
            raise SimulatedCrash

    def _nemesis(self) -> None:
        self.groups = {}
        if not self.faulty:
            return
        if self.plan.partitions and self.rng.random() < 0.6:
            self.groups = {node.name: self.rng.randint(0, 1) for node in self.nodes}
        if self.rng.random() < self.plan.crashes:
            self.crash(self.rng.choice(self.nodes))
        self.at(self.rng.randint(200, 4000), self._nemesis)

    def crash(self, node: SimNode) -> None:
        """Kill a process: memory goes, and what the disk had not got yet, in part."""
        if node.driver is None:
            return
        node.driver, node.context = None, None
        node.life += 1
        node.future = []
        node.log.crash(self.rng)
        self.at(self.rng.randint(10, 4000), lambda: self.boot(node))

    def guarded(self, node: SimNode, action: Callable[[], object]) -> None:
        """Run something of a node; a crash inside ends the process there, with nothing sent after it."""
        if node.driver is None:
            return
        try:
            action()
        except SimulatedCrash:
            self.crash(node)
        except StorageCorrupt:
            if node.honest:
                raise
            node.log, node.record = MemoryLog(), MemoryRecord()  # a twin's disk holds its twin's votes: it forgets all
            self.crash(node)
        except PeerFault as fault:
            raise Violation(f"{self}: {node.name} blames a peer: {fault}") from fault

    # ------------------------------------------------------------ a node's life

    def boot(self, node: SimNode) -> None:
        context = first_context(self.validators)
        for block, commit in node.chain:
            context = next_context(context, block, commit)
        self.begin(node, context)
        self.at(self.rng.randint(1, GOSSIP_MS), lambda life=node.life: self._gossip(node))

    def begin(self, node: SimNode, context: HeightContext) -> None:
        node.life += 1
        node.context = context
        key = None if node.validator is None else keys_in_set_order(len(self.validators))[node.validator]
        signer = None if key is None else make_signer(key, node.record)
        if signer is not None and not node.honest:
            signer.covers = lambda message: True  # type: ignore[method-assign]  # a twin knows of its twin, and goes on
        shared = Node(CHAIN, PARAMS, signer, Wal(node.log), node.evidence, SilentObserver())
        driver = node.driver = HeightDriver(shared, context)
        self.guarded(node, lambda: self.obey(node, driver.start()))
        ready_ms = context.parent_time_ms + BLOCK_PARAMS.interval_ms - self.now - node.skew_ms
        self.later(node, ready_ms + self.rng.randint(0, 30), lambda: self.obey(node, driver.enter()))
        future, node.future = node.future, []
        for action in future:
            action()

    def later(self, node: SimNode, delay_ms: int, action: Callable[[], object]) -> None:
        """An action of this life of the node."""
        life = node.life

        def act() -> None:
            if node.life == life:
                self.guarded(node, action)

        self.at(delay_ms, act)

    def obey(self, node: SimNode, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Broadcast(message):
                    self._note_signature(node, message)
                    self.send_all(node, message)
                case Send(peer, message):
                    self.send(node, self.by_name[peer], message)
                case BroadcastBlock(block):
                    self.send_all(node, block)
                case StartTimer(event, delay_ms):
                    self.later(node, delay_ms, lambda e=event: self.obey(node, node.driver.expire(e)))
                case Build(round_):
                    self.later(node, self.rng.randint(5, 60), lambda r=round_: self._build(node, r))
                case Judge(block, _):
                    self.later(node, self.rng.randint(1, 60), lambda b=block: self._judge(node, b))
                case Finalize(block, commit):
                    self.finalize(node, block, commit)

    def _build(self, node: SimNode, round_: int) -> None:
        time_ms = max(self.now + node.skew_ms, node.context.parent_time_ms + BLOCK_PARAMS.interval_ms)
        payload = b"%s %d" % (node.name.encode(), self.rng.getrandbits(32))
        last_commit = node.driver.last_commit.commit()
        block = make_block(
            node.context, round_=round_, transactions=(payload,), time_ms=time_ms, last_commit=last_commit
        )
        self.obey(node, node.driver.built(round_, block))

    def _judge(self, node: SimNode, block: Block) -> None:
        try:
            check_body(block)
            check_block(CHAIN, BLOCK_PARAMS, node.context, block)
        except InvalidBlock as error:
            raise Violation(f"{self}: {node.name} finds a block invalid: {error}") from error
        self.obey(node, node.driver.judged(block, valid=True))

    def finalize(self, node: SimNode, block: Block, commit: Commit) -> None:
        verify_commit(CHAIN, self.validators, commit, node.context.height, block.hash)
        node.chain.append((block, commit))
        if node.honest:
            known = self.decided.setdefault(int(commit.height), block.hash)
            if known != block.hash:
                raise Violation(f"{self}: FORK at height {commit.height}")
            self.max_round = max(self.max_round, commit.round)
        node.log.truncate(0)
        self.begin(node, next_context(node.context, block, commit))

    def _note_signature(self, node: SimNode, message: ConsensusMessage) -> None:
        if isinstance(message, Proposal):
            place = (message.height, message.round, message.block_hash)
            self.valid_rounds[place] = max(message.valid_round, self.valid_rounds.get(place, -1))
        if not node.honest or not isinstance(message, Proposal | Vote):
            return
        if isinstance(message, Vote) and not message.is_nil:
            self._check_lock(node, message)
        kind = message.kind.name if isinstance(message, Vote) else "PROPOSAL"
        said: tuple[object, ...] = (message.block_hash, getattr(message, "valid_round", None), message.signature)
        position = (node.validator, message.height, message.round, kind)
        if self.signed.setdefault(position, said) != said:
            raise Violation(f"{self}: {node.name} signed twice at {position}")

    def _check_lock(self, node: SimNode, vote: Vote) -> None:
        """What makes forks impossible: who precommitted v in round r prevotes another value only after a newer polka for it.

        Forks need a rare chain of events; a broken lock shows here long before.
        """
        if vote.kind is VoteType.PRECOMMIT:
            self.locks[node.validator, vote.height] = vote
            return
        lock = self.locks.get((node.validator, vote.height))
        if lock is None or lock.block_hash == vote.block_hash or lock.round >= vote.round:
            return
        if self.valid_rounds.get((vote.height, vote.round, vote.block_hash), -1) < lock.round:
            raise Violation(f"{self}: {node.name} broke its lock of round {lock.round} in round {vote.round}")

    # ------------------------------------------------------------ the network

    def send_all(self, node: SimNode, message: ConsensusMessage | Block) -> None:
        for peer in self.nodes:
            if peer is not node:
                self.send(node, peer, message)

    def send(self, node: SimNode, peer: SimNode, message: ConsensusMessage | Block) -> None:
        copies, slow = 1, 1
        if self.faulty:
            if self.groups.get(node.name) != self.groups.get(peer.name) or self.rng.random() < self.plan.loss:
                return
            copies += self.rng.random() < self.plan.duplicate
            slow = 30 if self.rng.random() < self.plan.slow else 1
        for _ in range(copies):
            self.at(self.rng.randint(5, 60) * slow, lambda: self.deliver(node, peer, message))

    def deliver(self, sender: SimNode, node: SimNode, message: ConsensusMessage | Block) -> None:
        self.guarded(node, lambda: self._take(sender, node, message))

    def _take(self, sender: SimNode, node: SimNode, message: ConsensusMessage | Block) -> None:
        driver = node.driver
        height = driver.state.height
        if isinstance(message, RoundState):
            if message.height >= height + 2:
                self._sync(node, sender)
            elif message.height == height + 1:
                self.send(node, sender, driver.round_state())
            else:
                self.obey(node, driver.answer(sender.name, message))
        elif isinstance(message, BlockRequest):
            known = [*driver.blocks.values(), *(block for block, _ in node.chain)]
            for block in [block for block in known if block.hash == message.block_hash][:1]:
                self.send(node, sender, block)
        elif message.height == height + 1:
            node.future.append(lambda: self.deliver(sender, node, message))
        elif message.height == height - 1 and isinstance(message, Vote):
            driver.last_commit.add(message)
        elif message.height == height:
            self.obey(node, self._hand_over(sender, node, message))

    def _hand_over(self, sender: SimNode, node: SimNode, message: ConsensusMessage | Block) -> list[Order]:
        match message:
            case Proposal():
                return node.driver.take_proposal(message, self.now + node.skew_ms)
            case Vote():
                return node.driver.take_vote(message)
            case Commit():
                return node.driver.take_commit(sender.name, message)
            case Block():
                return node.driver.take_block(sender.name, message)
        raise Violation(f"{self}: unknown message {message}")

    def _sync(self, node: SimNode, source: SimNode) -> None:
        """Block sync in one step: verified blocks of the source, then a fresh start at the height after them."""
        context = node.context
        for block, commit in source.chain[len(node.chain) :]:
            verify_commit(CHAIN, self.validators, commit, context.height, block.hash)
            if node.honest and self.decided.setdefault(int(commit.height), block.hash) != block.hash:
                raise Violation(f"{self}: FORK in sync at height {commit.height}")
            node.chain.append((block, commit))
            context = next_context(context, block, commit)
        if context is not node.context:
            node.log.truncate(0)
            self.begin(node, context)

    def _gossip(self, node: SimNode) -> None:
        """Forever while the process lives; a restart begins its own."""
        driver = node.driver
        if driver is None:
            return
        self.send_all(node, driver.round_state())
        for request in driver.missing_blocks():
            self.send(node, self.rng.choice([peer for peer in self.nodes if peer is not node] or [node]), request)
        self.at(GOSSIP_MS, lambda: self._gossip(node))

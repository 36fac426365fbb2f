"""One simulated process: the real driver, log, signer and buffers; simulated disk, execution and block sync."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from consensus.application import HeightContext, PastHeight
from consensus.block_rules import check_block, check_committed_block, verify_commit
from consensus.driver import HeightDriver
from consensus.evidence import EvidencePool, check_evidence
from consensus.inbox import FutureBuffer
from consensus.member import Node
from consensus.messages import BlockRequest, ConsensusMessage, RoundState
from consensus.observer import Observer, SilentObserver
from consensus.orders import Broadcast, BroadcastBlock, Build, Finalize, Judge, Order, Send, StartTimer
from consensus.timing import proposal_time_ms
from consensus.wal import Wal
from genesis.errors import InvalidBlock, PeerFault
from genesis.primitives import Hash32, Height, Round
from genesis.types import Block, Commit, DuplicateProposal, DuplicateVote, Evidence, Proposal, Vote
from tests.sim.byzantine import Behaviour
from tests.sim.disk import Crash, SimLog, SimRecord
from tests.sim.monitor import RoundObserver, Violation
from tests.sim.trace import words
from tests.unit.consensus.support import BLOCK_PARAMS, CHAIN, PARAMS, check_body, make_block

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

Message = ConsensusMessage | Block


class SimNode:
    """Dead (no driver) or alive. Everything it does runs through `guarded`: a crash ends it there, and nothing follows."""

    def __init__(self, world: "Cluster", name: str, key: int | None, behaviour: Behaviour) -> None:
        self.world, self.name, self.key, self.behaviour = world, name, key, behaviour
        self.log, self.record = SimLog(self._hazard), SimRecord(self._hazard)
        self.chain: list[tuple[Block, Commit]] = []
        """The database: durable as soon as it is written."""
        self.contexts: list[HeightContext] = [world.ledger.first()]
        """What the application computes of the chain, height by height."""
        self.driver: HeightDriver | None = None
        self.life = 0
        """Counts heights and restarts: what was ordered in another life is dropped."""
        self.boots = 0
        self.skew_ms = 0
        self._future = FutureBuffer()
        self._evidence = EvidencePool()
        self._votes: dict[tuple[object, ...], Hash32] = {}

    @property
    def honest(self) -> bool:
        return self.behaviour.honest

    @property
    def context(self) -> HeightContext:
        return self.contexts[-1]

    def clock_ms(self) -> int:
        return self.world.now + self.skew_ms

    def note(self, what: str) -> None:
        self.world.trace.note(self.world.elapsed, self.name, what)

    # ------------------------------------------------------------ life and death

    def boot(self) -> None:
        self.boots += 1
        self._future, self._evidence, self._votes = FutureBuffer(), EvidencePool(), {}
        self.note("boots")
        self.begin(booting=True)
        if self.driver is not None:
            self.world.at(self.world.rng.randint(1, self.world.gossip_ms), partial(self._gossip, self.boots))

    def begin(self, *, booting: bool = False) -> None:
        """Take up the height after the chain's tip."""
        self.life += 1
        self.driver = None
        if self.honest:
            self.world.monitor.begins(self.context)
        self._alive(lambda: self._start(booting))

    def _start(self, booting: bool) -> None:
        wal = Wal(self.log)
        if not booting:
            wal.reset()
        signer = None if self.key is None else self.world.keys.signer(self.key, self.record)
        if signer is not None and not self.honest:
            signer.covers = lambda message: True  # type: ignore[method-assign]  # a twin knows of its twin, and goes on
        observer: Observer = RoundObserver(self.world.monitor, self) if self.honest else SilentObserver()
        driver = HeightDriver(Node(CHAIN, PARAMS, signer, wal, self._evidence, observer), self.context)
        self.driver = driver
        self.obey(driver.start(), again=True)
        ready_ms = self.context.parent_time_ms + BLOCK_PARAMS.interval_ms - self.clock_ms()
        self.later(ready_ms + self.world.rng.randint(0, 30), lambda: self.obey(driver.enter()))
        for action in self._future.take(self.context.height):
            action()

    def crash(self, why: str) -> None:
        """Memory goes, and what the disk had not got yet, in part."""
        self.note(f"crashes: {why}")
        self.driver = None
        self.life += 1
        self.log.crash(self.world.rng)
        self.world.at(self.world.rng.randint(10, 4_000), self.boot)

    def guarded(self, action: Callable[[], object]) -> None:
        """Run something of a living node."""
        if self.driver is not None:
            self._alive(action)

    def _alive(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Crash as crash:
            self.crash(str(crash))
        except (PeerFault, Violation):
            raise
        except Exception as error:  # FatalError, or what the engine makes one of
            if self.honest:
                raise Violation(f"{self.name} stops: {error}") from error
            self.log, self.record = SimLog(self._hazard), SimRecord(self._hazard)  # a cheat forgets all and goes on
            self.crash("a cheat lost its way")

    def later(self, delay_ms: int, action: Callable[[], object]) -> None:
        """An action of this life."""
        life = self.life

        def act() -> None:
            if self.life == life:
                self.guarded(action)

        self.world.at(delay_ms, act)

    def _hazard(self, where: str) -> None:
        if self.driver is not None or self.boots:
            self.world.hazard(where)

    def _gossip(self, boot: int) -> None:
        """As long as this process lives; a restart begins its own."""
        if self.boots != boot or self.driver is None:
            return
        if self.honest:
            self.world.monitor.follows(self)
        self.world.send_all(self, self.driver.round_state())
        peers = [peer for peer in self.world.nodes if peer is not self]
        item = self._evidence.next_to_tell()
        if item is not None:
            self.world.send_all(self, item)
        for request in self.driver.missing_blocks():
            if peers:
                self.world.send(self, self.world.rng.choice(peers), request)
        self.behaviour.tick(self)
        self.world.at(self.world.gossip_ms, partial(self._gossip, boot))

    # ------------------------------------------------------------ orders

    def obey(self, orders: list[Order], *, again: bool = False) -> None:
        for order in orders:
            self._hazard("between orders")
            match order:
                case Broadcast(message):
                    self._broadcast(message, again)
                case Send(peer, message):
                    self.world.send(self, self.world.by_name[peer], message)
                case BroadcastBlock(block):
                    self.world.send_all(self, block)
                case StartTimer(event, delay_ms):
                    if self.honest:
                        self.world.monitor.starts_timer(self, delay_ms)
                    self.later(delay_ms, lambda e=event: self.obey(self.driver.expire(e)))
                case Build(round_):
                    self.later(self.world.rng.randint(5, 60), lambda r=round_: self._build(r))
                case Judge(block, _):
                    self.later(self.world.execution_ms(), lambda b=block: self._judge(b))
                case Finalize(block, commit):
                    self._finalize(block, commit)

    def _broadcast(self, message: ConsensusMessage, again: bool) -> None:
        if self.honest and isinstance(message, Proposal | Vote):
            self.world.monitor.signs(self, message, again=again)
        if not isinstance(message, RoundState):
            self.note(words(message))
        self.world.send_all(self, message)

    def _build(self, round_: Round) -> None:
        interval_ms = BLOCK_PARAMS.interval_ms
        time_ms = proposal_time_ms(self.clock_ms(), self.context.parent_time_ms + interval_ms, interval_ms)
        waiting = self._evidence.items()
        punished = self.world.ledger.punished_before(self.context)
        punishable = [item.offender for item in waiting if item.offender not in punished]
        block = make_block(
            self.context,
            round_=round_,
            transactions=(b"%s %d" % (self.name.encode(), self.world.rng.getrandbits(32)),),
            time_ms=time_ms,
            last_commit=self.driver.last_commit.commit(),
            evidence=self._evidence.choose(self.context, time_ms, self._past(waiting), punishable),
        )
        self.obey(self.driver.built(round_, self.behaviour.block(self, block)))

    def _judge(self, block: Block) -> None:
        try:
            check_body(block)
        except InvalidBlock:
            self.obey(self.driver.body_refused(block))
            return
        try:
            check_block(CHAIN, self.context, block, self._past(block.evidence))
            valid = self.world.ledger.executes(self.context, block)
        except InvalidBlock:
            valid = False
        self.obey(self.driver.judged(block, valid=valid or self.behaviour.likes(block)))

    def _finalize(self, block: Block, commit: Commit) -> None:
        self._store(block, commit, "decides")
        self.begin()

    def _store(self, block: Block, commit: Commit, how: str) -> None:
        """The application's one synchronous batch."""
        self.note(f"{how} {words(commit)}")
        if self.honest:
            self.world.monitor.decides(self, block, commit, self.context, self.world.now)
            self.world.monitor.bounded(self)
            self.world.monitor.accepted(self, self._evidence.items(), self._votes)
            self._votes = {}
        self._hazard("before the batch")
        self.chain.append((block, commit))
        self.contexts.append(self.world.ledger.after(self.context, block, commit))
        self._hazard("after the batch")
        for item in block.evidence:
            self._evidence.close(item.offender)

    # ------------------------------------------------------------ what comes in

    def receive(self, sender: "SimNode", message: Message) -> None:
        try:
            self.guarded(lambda: self._take(sender, message))
        except PeerFault as fault:
            if sender.honest:
                raise Violation(f"{self.name} blames the honest {sender.name}: {fault}") from fault

    def _take(self, sender: "SimNode", message: Message) -> None:
        height = self.driver.state.height
        if isinstance(message, RoundState):
            self._take_round_state(sender, message)
        elif isinstance(message, BlockRequest):
            self._serve(sender, message.block_hash)
        elif isinstance(message, DuplicateVote | DuplicateProposal):
            self._take_evidence(message)
        elif message.height == height:
            orders = self._hand_over(sender, message)
            if self.honest:
                self.world.monitor.believes(self, message)
            self.obey(orders)
        elif message.height == height + 1:
            again = partial(self.receive, sender, message)
            self._future.put(height + 1, sender.name, again, heavy=isinstance(message, Block))
        elif message.height == height - 1 and isinstance(message, Vote):
            self.driver.last_commit.add(message)

    def _take_round_state(self, sender: "SimNode", message: RoundState) -> None:
        height = self.driver.state.height
        if message.height >= height + 2:
            self._sync(sender)
        elif message.height == height + 1:
            self.world.send(self, sender, self.driver.round_state())
        else:
            self.obey(self.driver.answer(sender.name, message))

    def _past(self, evidence: tuple[Evidence, ...]) -> dict[Height, PastHeight]:
        """What the application tells of final heights."""
        heights = {item.height for item in evidence if 0 < item.height <= len(self.chain)}
        return {h: PastHeight(self.chain[h - 1][0].consensus.time_ms, self.contexts[h - 1].validators) for h in heights}

    def _take_evidence(self, item: Evidence) -> None:
        """What the engine's desk does, at once."""
        if item.height > self.context.height or self._evidence.accuses(item.offender):
            return
        try:
            check_evidence(CHAIN, self.contexts[item.height - 1].validators, item)
        except InvalidBlock as error:
            raise PeerFault(str(error)) from None
        if self._evidence.add(item):
            self.world.send_all(self, item)

    def _serve(self, peer: "SimNode", wanted: Hash32) -> None:
        known = self.driver.blocks.get(wanted)
        stored = (block for block, _ in reversed(self.chain) if block.hash == wanted)
        block = known or next(stored, None)
        if block is not None:
            self.world.send(self, peer, block)

    def _hand_over(self, sender: "SimNode", message: Message) -> list[Order]:
        match message:
            case Proposal():
                return self.driver.take_proposal(message, self.clock_ms())
            case Vote():
                return self._take_vote(message)
            case Commit():
                return self.driver.take_commit(sender.name, message)
            case Block():
                return self.driver.take_block(sender.name, message)
        raise Violation(f"unknown message {message}")

    def _take_vote(self, vote: Vote) -> list[Order]:
        state = self.driver.state
        current = vote.round <= state.round and state.decided is None
        orders = self.driver.take_vote(vote)
        if current and vote.validator != (None if self.key is None else self.world.keys.addresses[self.key]):
            said = (vote.validator, vote.height, vote.round, vote.kind)
            self._votes[*said, len([key for key in self._votes if key[:4] == said]) % 2] = vote.block_hash
        return orders

    def _sync(self, source: "SimNode") -> None:
        """Block sync in one step: the source's blocks as far as they are good, then a fresh start after them."""
        served = source.behaviour.serves(source)[len(self.chain) :]
        stored = len(self.chain)
        for block, commit in served:
            try:
                verify_commit(CHAIN, self.context.validators, commit, self.context.height, commit.block_hash)
                check_committed_block(block, commit)
                check_body(block)
                check_block(CHAIN, self.context, block, self._past(block.evidence))
            except InvalidBlock as fault:
                if source.honest:
                    raise Violation(f"{self.name} refuses a block of the honest {source.name}: {fault}") from fault
                break
            self._store(block, commit, "syncs")
        if len(self.chain) > stored:
            self.begin()

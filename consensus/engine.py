"""The trio shell around the pure driver: tasks, inputs, orders and the network.

One task takes inputs from a bounded inbox and runs the driver on them; building, executing (`block_tasks.py`) and timers are
tasks of the current height that put their results back. So the rules never wait for the EVM, and a height's tasks end with it.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from consensus.application import Application, HeightContext
from consensus.block_tasks import BlockTasks
from consensus.driver import HeightDriver
from consensus.evidence import EvidencePool
from consensus.evidence_desk import EvidenceDesk
from consensus.inbox import FutureBuffer, Inbox
from consensus.member import Node
from consensus.messages import BlockRequest, ConsensusMessage, RoundState
from consensus.observer import Observer, SilentObserver, VoteIgnored
from consensus.orders import Broadcast, BroadcastBlock, Build, Finalize, Judge, Order, Send, StartTimer
from consensus.pauses import Pauses
from consensus.peers import PeerBook
from consensus.ports import Behind, Clock, MessageSigner, Transport
from consensus.wal import Wal
from genesis.chain_spec import ConsensusParams
from genesis.errors import FatalError, InvariantError, PeerFault
from genesis.primitives import Height, Round
from genesis.types import Block, ChainIdentity, Commit, DuplicateProposal, DuplicateVote, Proposal, ValidatorSet, Vote

GOSSIP_INTERVAL_MS: Final = 400
LAG_CHECK_MS: Final = 80
"""How long a node that hears of a higher height waits for its own decision before it asks for the commit."""

_log = logging.getLogger("openledger.consensus")


@dataclass(frozen=True, slots=True)
class _Paused:
    """Why a height ended without a decision: block sync takes over."""


class Engine:
    """Runs consensus for one node. `signer` None: a full node that follows.

    It alone calls the driver, and the transport for what the driver orders. Building, judging and waiting are
    `BlockTasks`, standing still is `Pauses`, what is known of peers `PeerBook`, evidence the `EvidenceDesk`.

    `on_behind` is told when a peer claims to be further than consensus alone can bring this node.
    """

    def __init__(
        self,
        chain: ChainIdentity,
        params: ConsensusParams,
        app: Application,
        signer: MessageSigner | None,
        wal: Wal,
        transport: Transport,
        clock: Clock,
        *,
        on_behind: Behind | None = None,
        observer: Observer | None = None,
        gossip_interval_ms: int = GOSSIP_INTERVAL_MS,
    ) -> None:
        self._chain = chain
        self._app = app
        self._signer = signer
        self._wal = wal
        self._transport = transport
        self._clock = clock
        self._on_behind = on_behind
        self._gossip_interval_ms = gossip_interval_ms
        self.evidence = EvidencePool()
        observer = observer or SilentObserver()
        self._node = Node(chain, params, signer, wal, self.evidence, observer)
        self._desk = EvidenceDesk(chain, app, self.evidence, transport, observer)
        self._wake = trio.Event()
        self._inbox = Inbox(lambda: self._wake.set())
        self._future = FutureBuffer()
        self._peers = PeerBook()
        self._driver: HeightDriver | None = None
        self._tasks: trio.Nursery | None = None
        self._last_block: Block | None = None
        self._lag_check_runs = False
        self._outcome: Finalize | _Paused | FatalError | None = None
        self._pauses = Pauses(lambda: self._inbox.put(self._note_pause))
        self._blocks = BlockTasks(
            chain, app, self._node, self._desk, transport, clock, self._inbox.put, lambda orders: self._obey(orders)
        )

    # ------------------------------------------------------------ the face to the node

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decide height after height until cancelled. Raises FatalError and nothing else."""
        context = await self._app.height_context()
        task_status.started()
        while True:
            outcome = await self._run_height(context)
            if isinstance(outcome, FatalError):
                raise outcome
            if isinstance(outcome, Finalize):
                context = await self._finalize(outcome)
            if self._pauses.wanted:
                await self._pauses.stand_still()
                context = await self._app.height_context()
                self._forget_finalized(context.height)

    def receive(self, peer: str, message: ConsensusMessage) -> None:
        """Take a decoded message from a peer. Never blocks; drops what a peer sends beyond its share."""
        self._inbox.put_from(peer, partial(self._take_message, peer, message, self._clock.now_ms()))

    def receive_block(self, peer: str, block: Block) -> None:
        """Take a block from the block channel. Never blocks; bounded more tightly than messages."""
        self._inbox.put_from(peer, partial(self._take_block, peer, block), heavy=True)

    def paused(self) -> AbstractAsyncContextManager[None]:
        """Stop between two inputs, as long as the `async with` lasts: the node may store synced blocks meanwhile.

        Afterwards the engine asks the application for its height anew, and goes on where the log left that height.
        """
        return self._pauses.held()

    def watch_commit(self, validators: ValidatorSet | None, commit: Commit) -> None:
        """Look at a checked commit, as of a synced block: a signature of its key that is not its own ends the signing."""
        self._node.watch_commit(validators, commit)

    @property
    def position(self) -> tuple[Height, Round] | None:
        """(height, round) where consensus stands, round -1 before the height is entered; None before the start."""
        return None if self._driver is None else (self._driver.state.height, self._driver.state.round)

    # ------------------------------------------------------------ one height

    async def _run_height(self, context: HeightContext) -> Finalize | _Paused | FatalError:
        self._outcome = None
        self._inbox.drop_own()
        async with trio.open_nursery() as nursery:
            self._tasks = nursery
            try:
                outcome = await self._process_inputs(HeightDriver(self._node, context))
            except FatalError as error:
                outcome = error
            except Exception as error:
                outcome = InvariantError(f"consensus failed at height {context.height}: {error!r}")
                outcome.__cause__ = error
            nursery.cancel_scope.cancel()
        self._tasks = None
        return outcome

    async def _process_inputs(self, driver: HeightDriver) -> Finalize | _Paused | FatalError:
        """The loop of one height: everything that changes the driver happens here, one thing after the other."""
        self._driver = driver
        self._obey(driver.start())
        self._start(self._blocks.enter_when_due, driver)
        self._start(self._gossip)
        self._note_pause()
        for take in self._future.take(driver.state.height):
            if self._outcome is None:
                take()
        while self._outcome is None:
            await trio.lowlevel.checkpoint()
            take_next = self._inbox.pop()
            if take_next is None:
                self._wake = trio.Event()
                await self._wake.wait()
            else:
                take_next()
        return self._outcome

    async def _finalize(self, decision: Finalize) -> HeightContext:
        """Hand the block over. Once that returned it is durable, and the log of its height may go."""
        try:
            context = await self._app.finalize_block(decision.block, decision.commit)
        except FatalError:
            raise
        except Exception as error:
            raise InvariantError(
                f"block {decision.commit.height} is decided but could not be finalized: {error}"
            ) from error
        if context.height != decision.commit.height + 1 or context.parent_hash != decision.block.hash:
            raise InvariantError("the application finalized another block than the one that was decided")
        self._last_block = decision.block
        self._wal.reset()
        self._desk.decided(decision.block.evidence)
        return context

    def _forget_finalized(self, height: Height) -> None:
        if self._driver is not None and self._driver.state.height < height:
            self._wal.reset()
            self._last_block = None

    def _note_pause(self) -> None:
        if self._pauses.wanted and self._outcome is None:
            self._outcome = _Paused()

    # ------------------------------------------------------------ inputs

    def _take_message(self, peer: str, message: ConsensusMessage, received_ms: int) -> None:
        try:
            self._dispatch(peer, message, received_ms)
        except PeerFault as fault:
            self._transport.report_fault(peer, fault)

    def _dispatch(self, peer: str, message: ConsensusMessage, received_ms: int) -> None:
        driver = self._current()
        height = driver.state.height
        if isinstance(message, RoundState):
            self._take_round_state(driver, peer, message)
        elif isinstance(message, BlockRequest):
            self._serve_block(driver, peer, message)
        elif isinstance(message, DuplicateVote | DuplicateProposal):
            if self._desk.wants(message, height):
                self._start(self._desk.take, driver.context, peer, message)
        elif message.height == height:
            match message:
                case Proposal():
                    self._obey(driver.take_proposal(message, received_ms))
                case Vote():
                    self._obey(driver.take_vote(message))
                case Commit():
                    self._obey(driver.take_commit(peer, message))
        elif message.height == height + 1:
            self._future.put(Height(height + 1), peer, partial(self._take_message, peer, message, received_ms))
        elif message.height < height and isinstance(message, Vote):
            self._node.observer.vote_ignored(VoteIgnored.LATE)
            if message.height == height - 1:
                driver.take_late(message)

    def _take_block(self, peer: str, block: Block) -> None:
        driver = self._current()
        try:
            if block.height == driver.state.height:
                self._obey(driver.take_block(peer, block))
            elif block.height == driver.state.height + 1:
                self._future.put(block.height, peer, partial(self._take_block, peer, block), heavy=True)
        except PeerFault as fault:
            self._transport.report_fault(peer, fault)

    def _take_round_state(self, driver: HeightDriver, peer: str, message: RoundState) -> None:
        self._peers.saw(peer, message.height)
        height = driver.state.height
        if message.height > height:
            if self._on_behind is not None and self._peers.is_out_of_reach(peer, height, self._clock.now_ms()):
                self._on_behind(message.height, peer)
            self._check_lag_soon(driver, peer)
        elif self._peers.may_answer(peer, self._clock.now_ms(), self._gossip_interval_ms // 4):
            self._obey(driver.answer(peer, message))

    def _serve_block(self, driver: HeightDriver, peer: str, request: BlockRequest) -> None:
        block = driver.blocks.get(request.block_hash)
        if block is None and self._last_block is not None and self._last_block.hash == request.block_hash:
            block = self._last_block
        if block is not None and self._peers.may_send_block(peer, block.hash, self._clock.now_ms()):
            self._transport.send_block(peer, block)

    # ------------------------------------------------------------ orders

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Broadcast(message):
                    self._transport.broadcast(message)
                case Send(peer, message):
                    self._transport.send(peer, message)
                case BroadcastBlock(block):
                    self._transport.broadcast_block(block)
                case StartTimer(event, delay_ms):
                    self._start(self._after, delay_ms, partial(self._current().expire, event))
                case Build(round_):
                    self._start(self._blocks.build, self._current(), round_)
                case Judge(block, peer_or_none):
                    self._start(self._blocks.judge, self._current(), block, peer_or_none)
                case Finalize():
                    self._outcome = order

    def _start(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        if self._tasks is None:
            raise InvariantError("a task was ordered outside of a height")
        self._tasks.start_soon(self._guard, task, args)

    async def _guard(self, task: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
        """Run a task of the height; what it raises ends the height in the main task, not in the middle of something."""
        try:
            await task(*args)
        except FatalError as error:
            self._inbox.put(partial(self._fail, error))
        except Exception as error:
            failure = InvariantError(f"a consensus task failed: {error!r}")
            failure.__cause__ = error
            self._inbox.put(partial(self._fail, failure))

    async def _after(self, delay_ms: int, act: Callable[[], list[Order]]) -> None:
        await trio.sleep(delay_ms / 1000)
        self._inbox.put(lambda: self._obey(act()))

    def _fail(self, error: FatalError) -> None:
        raise error

    # ------------------------------------------------------------ time

    async def _gossip(self) -> None:
        while True:
            await trio.sleep(self._gossip_interval_ms / 1000)
            self._inbox.put(self._gossip_once)

    def _gossip_once(self) -> None:
        driver = self._current()
        self._obey(driver.retry_signing())
        self._transport.broadcast(driver.round_state())
        self._desk.tell()
        for request in driver.missing_blocks():
            peer = self._peers.next_source(driver.state.height)
            if peer is None:
                self._transport.broadcast(request)
            else:
                self._transport.send(peer, request)

    def _check_lag_soon(self, driver: HeightDriver, peer: str) -> None:
        if not self._lag_check_runs:
            self._lag_check_runs = True
            self._start(self._check_lag, driver, peer)

    async def _check_lag(self, driver: HeightDriver, peer: str) -> None:
        """Tell a peer that has decided that this node has not: it answers with the commit."""
        try:
            await trio.sleep(LAG_CHECK_MS / 1000)
            self._transport.send(peer, driver.round_state())
        finally:
            self._lag_check_runs = False

    def _current(self) -> HeightDriver:
        if self._driver is None:
            raise InvariantError("consensus was asked before it started")
        return self._driver

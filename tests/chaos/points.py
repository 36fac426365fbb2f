"""Crash points: real engines, applications, logs, sign records and databases die at any boundary and start from their files.

One to four validators run in this process over in-memory wires that lose messages. One after the other dies at its n-th
boundary (a write, sync, cut or rename of a file, a batch, a message with its signature), its disk loses what was not durable
(`tests/chaos/disk.py`), and it starts anew. Then nothing that it signs may contradict what it had sent, every block that was
final must be there, nobody may have another, nobody is blamed, and the chain must go on. Where others go on without it, the
victim sometimes comes back with nothing but its sign record: it must sync, and keep out of what it may have forgotten.
"""

import multiprocessing
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import trio

from consensus.application import HeightContext
from consensus.engine import Engine
from consensus.messages import ConsensusMessage
from consensus.observer import SilentObserver
from consensus.signer import Signer, double_sign_check, position_of
from consensus.wal import Wal
from genesis.chain_spec import BlockParams, ChainSpec, ConsensusParams
from genesis.crypto import address_of_private_key, sign
from genesis.errors import LocalError, PeerFault
from genesis.primitives import Address, Hash32, Height, Power, keccak256
from genesis.types import Block, Commit, Proposal, Validator, Vote
from node.chain.application import NodeApplication
from node.chain.worker import WorkerThread
from node.feed import Feed
from node.home.sign_record import SignRecordFile
from node.home.wal_file import WalFile
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.net.sync import BlockSync, SyncServer
from node.node import Indexes, WallClock, recent_commits
from node.storage.chain_store import ChainStore, open_chain
from tests.chaos.disk import Death, Disk, DyingDatabase, Files
from tests.chaos.network import ChaosError
from tests.unit.node.local_chain import ADDRESSES, make_spec, transfer

SIZES: Final = (1, 2, 4, 4)
POINTS_PER_WORLD: Final = 25
DEPTH_MAX: Final = 60
"""Boundaries that a process lives at most; a height takes about 25."""
POWER_LOSS_SHARE: Final = 0.6
"""Of the deaths; with the others the process dies alone."""
WIPE_SHARE: Final = 0.1
"""Of the deaths in networks that can spare the victim."""
LOSS_MAX: Final = 0.4
"""Of the messages; it is what makes rounds."""
STALL_S: Final = 120
FINAL_CHECKED: Final = 4
FAILURES_MAX: Final = 5
GOSSIP_MS: Final = 25
BLOCKS: Final = BlockParams(interval_ms=2, empty_interval_ms=2)
TIMEOUTS: Final = ConsensusParams(
    propose_timeout_ms=150,
    propose_timeout_step_ms=50,
    vote_timeout_ms=40,
    vote_timeout_step_ms=20,
    timeout_cap_ms=1_000,
)


@dataclass
class Tally:
    """What happened so far."""

    points: Counter[str] = field(default_factory=Counter)
    """Deaths by where they came."""
    wipes: int = 0
    blocks: int = 0
    in_later_rounds: int = 0
    """Blocks of them that were decided in a round after the first."""
    failure: str = ""

    def add(self, other: "Tally") -> None:
        self.points += other.points
        self.wipes += other.wipes
        self.blocks += other.blocks
        self.in_later_rounds += other.in_later_rounds


class World:
    """The validators, the wires between them, and what all of them have shown so far."""

    def __init__(self, seed: str, folder: Path, files: Files) -> None:
        self.rng = random.Random(seed)
        self.loss = self.rng.choice([0.0, self.rng.uniform(0, LOSS_MAX)])
        keys = [bytes([0xA0 + place]) * 32 for place in range(self.rng.choice(SIZES))]
        self.spec = _spec(keys)
        self.tally = Tally()
        self.final: dict[int, Hash32] = {}
        self.faults: list[str] = []
        self.machines = [Machine(self, place, key, folder / f"v{place}") for place, key in enumerate(keys)]
        files.disks = [machine.disk for machine in self.machines]

    async def run(self, points: int) -> None:
        """Let one validator after the other die. Raises ChaosError, or what a node stopped with."""
        async with trio.open_nursery() as nursery:
            for machine in self.machines:
                nursery.start_soon(machine.run)
            for _ in range(points):
                await self._kill(self.rng.choice(self.machines))
                if self.rng.random() < 0.4:
                    await self._goes_on()
            await self._goes_on()
            nursery.cancel_scope.cancel()

    async def _kill(self, victim: "Machine") -> None:
        """At some boundary from now on, which may come while the victim still starts."""
        deaths = victim.deaths
        victim.disk.left = self.rng.randint(1, DEPTH_MAX)
        await self._wait(f"the death of {victim.name}", lambda: victim.deaths > deaths)

    async def _goes_on(self) -> None:
        goal = max(self.final, default=0) + 1
        await self._wait(f"block {goal} everywhere", lambda: all(goal in m.stored for m in self.machines))

    async def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STALL_S
        while not condition():
            if self.faults:
                raise ChaosError(self.faults[0])
            if time.monotonic() > deadline:
                places = ", ".join(
                    f"{m.name} at {m.engine and m.engine.position}, wiped at {m.wiped_at}" for m in self.machines
                )
                raise ChaosError(f"stall: {what}: not within {STALL_S} s; {places}")
            await trio.sleep(0.002)

    @property
    def can_spare_one(self) -> bool:
        """Can the others decide the next height if one more sits it out?"""
        height, count = max(self.final, default=0) + 1, len(self.machines)
        return 3 * (count - 1) > 2 * count and all(m.wiped_at is None or m.wiped_at < height for m in self.machines)

    def stored(self, machine: "Machine", block: Block, commit: Commit | None) -> None:
        """A validator has a block as final."""
        machine.stored[block.height] = block.hash
        if block.height not in self.final:
            self.tally.blocks += 1
            self.tally.in_later_rounds += commit is not None and commit.round > 0
        if self.final.setdefault(block.height, block.hash) != block.hash:
            self.faults.append(f"FORK: {machine.name} has another block {block.height}")


class Machine:
    """One validator: its files, which outlive its process, and what it said and stored in all its lives."""

    def __init__(self, world: World, place: int, key: bytes, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.world, self.name, self.place, self.key = world, f"v{place}", place, key
        self.address = address_of_private_key(key)
        self.disk = Disk(folder)
        self.engine: Engine | None = None
        self.server: SyncServer | None = None
        self.deaths = 0
        self.stored: dict[int, Hash32] = {}
        self.said: dict[tuple[int, int, int], tuple[object, ...]] = {}
        self._has_record = False
        self.wiped_at: Height | None = None
        """The height that the last wipe may have taken a lock of."""

    async def run(self) -> None:
        """Life after life."""
        while True:
            try:
                await self._live()
            except BaseException as error:
                if not _is_death(error):
                    raise
            self.world.tally.points[self.disk.died_at] += 1
            self.disk.crash(self.world.rng, power_loss=self.world.rng.random() < POWER_LOSS_SHARE)
            if self.world.can_spare_one and self.world.rng.random() < WIPE_SHARE:
                self._wipe()
            self.deaths += 1
            await trio.sleep(self.world.rng.choice([0, self.world.rng.uniform(0, 0.05)]))

    def _wipe(self) -> None:
        """What operators are told to do with a damaged folder: delete all but keys and sign record."""
        self.world.tally.wipes += 1
        self.wiped_at = Height(max(self.world.final, default=0) + 1)
        shutil.rmtree(self.disk.folder / "chain")
        self.disk.delete(self.disk.folder / "wal")
        self.stored.clear()

    def refuses(self, reason: str) -> None:
        """The signer or the recovery will not sign: right after a wipe alone."""
        height = self.engine.position[0] if self.engine and self.engine.position else Height(0)
        if self.wiped_at is None or height > self.wiped_at:
            self.world.faults.append(f"{self.name} refuses to sign: {reason}")

    async def _live(self) -> None:
        """What `node.node.Node` does with these parts."""
        with ExitStack() as stack:
            database = DyingDatabase(self.disk.folder / "chain", self.disk)
            stack.callback(database.close)
            store = open_chain(database, self.world.spec, Indexes())
            signer = self._open_signer(store)
            wal = WalFile(self.disk.folder / "wal")
            stack.callback(wal.close)
            worker, feed, runtime = WorkerThread("execution"), Feed(), store.runtime
            stack.callback(worker.join, STALL_S)
            stack.callback(worker.close)
            pool = TransactionPool(store.spec, runtime.state(), runtime.next_base_fee(store.tip().header))
            mempool = MempoolService(pool, feed, store.spec.chain_id, trio.current_time)
            await mempool.add(transfer(self.place, mempool.pending_nonce(ADDRESSES[self.place])).raw)
            app = WatchedApplication(self, store, mempool, feed, worker)
            engine = Engine(
                store.identity,
                store.spec.consensus,
                app,
                signer,
                Wal(wal),
                Port(self),
                WallClock(),
                observer=Refusals(self),
                on_behind=lambda height, peer: sync.behind(height, peer),
                gossip_interval_ms=GOSSIP_MS,
            )
            sync = BlockSync(store, app, Requester(self), engine.paused, engine.watch_commit)
            self.engine, self.server = engine, SyncServer(store)
            stack.callback(self._leave)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sync.run)
                nursery.start_soon(engine.run)

    def _leave(self) -> None:
        self.engine = self.server = None

    def _open_signer(self, store: ChainStore) -> Signer:
        """The signer, held against what was said and stored in earlier lives."""
        record = SignRecordFile(self.disk.folder / "signed", create=not self._has_record)
        self._has_record = True
        signer = Signer(store.identity, self.address, lambda digest: sign(self.key, digest), record)
        double_sign_check(signer.last, signer.address, recent_commits(store))
        if self.said and (signer.last is None or signer.last.position < max(self.said)):
            raise ChaosError(f"{self.name} has forgotten that it signed at {max(self.said)}")
        tip = store.tip().height
        for height in range(max(1, max(self.stored, default=0) - FINAL_CHECKED), max([tip, *self.stored]) + 1):
            block = store.block(Height(height))
            if block is None or self.stored.get(height, block.hash) != block.hash:
                raise ChaosError(f"{self.name} has lost final block {height}; its tip is {tip}")
            places = [store.transaction_place(keccak256(raw)) for raw in block.block.transactions]
            if places != [(height, index) for index in range(len(places))]:
                raise ChaosError(f"{self.name} finds transactions of block {height} at {places}")
            self.world.stored(self, block.block, block.commit)
        return signer

    def says(self, message: ConsensusMessage) -> None:
        """Something leaves the process."""
        if not isinstance(message, Proposal | Vote) or _author(message) != self.address:
            return
        self.disk.boundary("send")
        what = (message.block_hash, getattr(message, "valid_round", None), message.signature)
        if self.said.setdefault(position_of(message), what) != what:
            self.world.faults.append(f"{self.name} signed twice at {position_of(message)}")


class WatchedApplication(NodeApplication):
    """Tells what was acknowledged as final."""

    def __init__(self, machine: Machine, store: ChainStore, *parts: object) -> None:
        super().__init__(store, *parts)  # type: ignore[arg-type]
        self._machine = machine

    async def finalize_block(self, block: Block, commit: Commit) -> HeightContext:
        context = await super().finalize_block(block, commit)
        self._machine.world.stored(self._machine, block, commit)
        return context


class Refusals(SilentObserver):
    """Hears of signatures that were refused."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def signing_refused(self, reason: str) -> None:
        self._machine.refuses(reason)


class Port:
    """A validator's end of the wires: a Transport that loses some messages."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def broadcast(self, message: ConsensusMessage) -> None:
        self._machine.says(message)
        for engine in self._engines():
            engine.receive(self._machine.name, message)

    def send(self, peer: str, message: ConsensusMessage) -> None:
        self._machine.says(message)
        for engine in self._engines(peer):
            engine.receive(self._machine.name, message)

    def broadcast_block(self, block: Block) -> None:
        self._machine.disk.boundary("send")
        for engine in self._engines():
            engine.receive_block(self._machine.name, block)

    def send_block(self, peer: str, block: Block) -> None:
        for engine in self._engines(peer):
            engine.receive_block(self._machine.name, block)

    def report_fault(self, peer: str, fault: PeerFault) -> None:
        self._machine.world.faults.append(f"{self._machine.name} blames {peer}: {fault}")

    def _engines(self, peer: str | None = None) -> list[Engine]:
        world = self._machine.world
        others = [m for m in world.machines if m is not self._machine and peer in (None, m.name)]
        return [m.engine for m in others if m.engine is not None and world.rng.random() >= world.loss]


class Requester:
    """Block sync's way to the other validators."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def request(self, peer_id: str, _protocol: str, payload: bytes, **_limits: object) -> bytes:
        server = next(m.server for m in self._machine.world.machines if m.name == peer_id)
        if server is None:
            raise PeerFault(f"{peer_id} is not there")
        try:
            return await server.handle(self._machine.name, payload)
        except LocalError as error:
            raise PeerFault(f"{peer_id} goes away: {error}") from None

    def report_fault(self, peer_id: str, fault: Exception, weight: float) -> None:
        """A peer that dies while it is asked is no fault."""


def _spec(keys: list[bytes]) -> ChainSpec:
    spec = make_spec(genesis_time_ms=WallClock().now_ms() - 60_000, block=BLOCKS, consensus=TIMEOUTS)
    members = tuple(Validator(address_of_private_key(key), Power(1), Address(b"\xcc" * 20)) for key in keys)
    return replace(spec, validators=members)


def _author(message: Proposal | Vote) -> Address:
    return message.validator if isinstance(message, Vote) else message.proposer


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_death(inner) for inner in error.exceptions)
    return isinstance(error, Death)


# ---------------------------------------------------------------- the campaign


def run_world(seed: str, folder: Path, points: int = POINTS_PER_WORLD) -> Tally:
    """One network, from its genesis on, and so many deaths. `failure` says what went wrong, if anything did."""
    with Files() as files:
        world = World(seed, folder, files)
        try:
            trio.run(world.run, points)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            world.tally.failure = f"{'; '.join(_leaves(error))} (files kept in {folder})"
    if not world.tally.failure:
        shutil.rmtree(folder)
    return world.tally


def _leaves(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for inner in error.exceptions for text in _leaves(inner)]
    cause = f" <- {error.__cause__!r}" if error.__cause__ else ""
    return [f"{type(error).__name__}: {error}{cause}"]


def _work(task: tuple[str, Path, int]) -> tuple[str, Tally]:
    return task[0], run_world(*task)


def run(points: int, seed: int, jobs: int | None, folder: Path | None = None) -> int:
    """Returns the exit code. On failure the data directories are kept."""
    print(f"points: {points} points, seed {seed}", flush=True)
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(prefix="openledger-points-", dir=folder or (memory if memory.is_dir() else None)))
    sizes = [min(POINTS_PER_WORLD, points - first) for first in range(0, points, POINTS_PER_WORLD)]
    tasks = [(f"{seed}/{place}", home / str(place), size) for place, size in enumerate(sizes)]
    total, failed, began = Tally(), 0, time.monotonic()
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for name, tally in pool.imap_unordered(_work, tasks):
            total.add(tally)
            if tally.failure:
                failed += 1
                print(f"FAILED world {name}: {tally.failure}", flush=True)
                if failed >= FAILURES_MAX:
                    break
    for where, count in sorted(total.points.items()):
        print(f"  died at: {where:<24} {count}")
    died = total.points.total()
    print(
        f"{total.blocks} blocks, {total.in_later_rounds} of them decided in a later round; {total.wipes} folders wiped"
    )
    print(f"{died} points in {time.monotonic() - began:.0f} s")
    if not failed:
        shutil.rmtree(home)
    print(f"{died} passed, {failed} failed")
    return 1 if failed or died < points else 0

"""The composition root: every part of a node is made here, given what it needs, and run in one nursery.

What ends a node: SIGTERM or SIGINT, the halt height, a fatal error, or a LocalError at start (a port in use). However it ends,
the execution thread finishes the batch it is writing, and the database is closed after its last reader.
"""

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from attribution_precompile.contract import AttributionContract
from attribution_precompile.index.span_index import SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from consensus.engine import Engine
from consensus.ports import MessageSigner
from consensus.signer import Signer, double_sign_check
from consensus.wal import Wal
from evm_runtime.runtime import Runtime
from evm_runtime.state.kv import KeyValueReader
from genesis.chain_spec import ChainSpec
from genesis.errors import LocalError, StorageCorrupt
from genesis.primitives import Address, Hash32, Height, Signature
from genesis.types import ChainIdentity, Commit, ValidatorSet
from node import descriptors
from node.chain.application import NodeApplication
from node.chain.eraser import PAUSE_S, Eraser
from node.chain.fair_lock import FairLock
from node.chain.final_states import StoreStates
from node.chain.index_warmer import IndexWarmer
from node.chain.native_tier import load_native_tier
from node.chain.worker import WorkerThread
from node.feed import Feed
from node.home import datadir, keystore
from node.home.config import NodeConfig, host_port
from node.home.consensus_key import ConsensusKey
from node.home.hdwallet import DEVNET_MNEMONIC, ethereum_keys
from node.home.sign_record import SignRecordFile
from node.home.wal_file import WalFile
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.net import hello
from node.net.network import Inboxes, Network
from node.net.sync import BlockSync, SyncServer
from node.net.vigil import VigilantSigner
from node.os_errors import read_text, told
from node.rpc.backend import Backend
from node.rpc.config import RpcConfig, RpcLimits
from node.rpc.server import serve
from node.signer.client import RemoteSigner
from node.storage.chain_store import ChainStore, open_chain
from node.storage.database import LevelDatabase
from node.telemetry.block_watch import BlockWatch
from node.telemetry.duty import Duty
from node.telemetry.metrics import NodeMetrics, serve_metrics
from node.telemetry.readiness import Readiness
from node.telemetry.status import LiveStatus
from node.threads import UPKEEP
from p2p.address import kind_of
from p2p.config import SYNC_PROTOCOL, HostConfig
from p2p.host import Host
from p2p.identity import peer_id_of

logger = logging.getLogger(__name__)

SignHash = Callable[[Hash32], Signature]

DOUBLE_SIGN_CHECK_HEIGHTS: Final = 32
SHUTDOWN_SECONDS_MAX: Final = 5.0
TOKEN_CHARACTERS_MIN: Final = 16
DEVNET_NAME: Final = "devnet"
DEVNET_CHAIN_ID: Final = 31_337


class WallClock:
    """Consensus' Clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Indexes:
    """The attribution indexes of one chain, and the runtimes that share them (`RuntimeFactory`)."""

    def __init__(self) -> None:
        self._states: Final = StoreStates()
        self.spans: Final = SpanIndex(FairLock(), self._states)
        self.vectors: Final = VectorIndex(FairLock(), self._states)

    def attach(self, store: ChainStore) -> None:
        self._states.attach(store)

    def __call__(self, spec: ChainSpec, identity: ChainIdentity, store: KeyValueReader) -> Runtime:
        return Runtime(spec, identity, store, (AttributionContract(spec, identity.chain_id, self.spans, self.vectors),))


class Node:
    """One node over one data directory, whose lock the caller holds. `run` it once."""

    def __init__(self, settings: NodeConfig, spec: ChainSpec, key: ConsensusKey | None) -> None:
        """Opens and checks what is stored. Raises LocalError or StorageCorrupt."""
        self._settings = settings
        connections_max = descriptors.connections_for(descriptors.limit(), RpcLimits().connections_max)
        self._rpc_limits = RpcLimits(connections_max=connections_max)
        indexes = Indexes()
        self._index = indexes.spans
        self.store = open_store(settings.datadir, spec, indexes)
        self._warmer = IndexWarmer(self.store, indexes.spans, indexes.vectors)
        self._eraser = Eraser(self.store)
        self._wal_file = WalFile(_consensus_file(settings.datadir, "wal"))
        self._metrics = NodeMetrics()
        self._signer, self._sign_hello = self._open_signer(key)
        self._worker = WorkerThread("execution")
        self._feed = Feed()
        tip, runtime = self.store.tip(), self.store.runtime
        pool = TransactionPool(spec, runtime.state(), runtime.next_base_fee(tip.header))
        self._mempool = MempoolService(pool, self._feed, spec.chain_id, time.monotonic)
        self._app = NodeApplication(
            self.store, self._mempool, self._feed, self._worker, halt_height=settings["halt_height"]
        )
        self._network = Network(self._mempool, self.store.identity, spec.block.bytes_max, self._is_validator)
        self._host = self._make_host()
        self._engine = Engine(
            self.store.identity,
            spec.consensus,
            self._app,
            self._signer,
            Wal(self._wal_file),
            self._network,
            WallClock(),
            on_behind=self._on_behind,
            observer=self._metrics,
        )
        self._sync = BlockSync(self.store, self._app, self._host, self._engine.paused, self._watch_synced)
        self._status = LiveStatus(self._host, self._network, self._sync, self._validator)
        duty = None if self._signer is None else Duty(self._signer)
        readiness = self._make_readiness()
        self._watch = BlockWatch(self.store, self._feed, self._metrics, readiness, self._network, self._sync, duty)
        self._host.register_server(SYNC_PROTOCOL, SyncServer(self.store).handle)
        self._network.on_peer_gone(self._sync.forget_peer)
        self._network.on_peer_stands(self._sync.heard)
        self._network.attach(self._host)
        self._mempool.attach(self._network)
        self._metrics.watch(self._status, self._mempool, readiness, duty)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until a signal, the halt height or cancellation. Raises FatalError, and LocalError for a port in use."""
        inboxes = Inboxes(self._host)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._stop_on_signal, nursery.cancel_scope)
                await nursery.start(self._host.run)
                nursery.start_soon(self._network.run, self._engine, self._host, inboxes)
                nursery.start_soon(self._mempool.run)
                nursery.start_soon(self._sync.run)
                nursery.start_soon(self._stop_on_halt, nursery.cancel_scope)
                await nursery.start(self._watch.run)
                nursery.start_soon(self._keep_index_warm)
                nursery.start_soon(self._drop_what_was_erased)
                nursery.start_soon(load_native_tier)
                await nursery.start(serve, self._backend(), self._rpc_config())
                if self._settings["metrics.port"]:
                    await nursery.start(
                        serve_metrics, self._metrics, self._settings["metrics.addr"], self._settings["metrics.port"]
                    )
                await nursery.start(self._engine.run)
                self._log_start()
                task_status.started()
        finally:
            self._close()

    # ------------------------------------------------------------ parts

    def _on_behind(self, height: Height, peer: str) -> None:
        self._sync.behind(height, peer)

    @property
    def _validator(self) -> Address | None:
        return None if self._signer is None else self._signer.address

    def _watch_synced(self, validators: ValidatorSet | None, commit: Commit) -> None:
        if self._signer is not None:
            self._signer.synced()
        self._engine.watch_commit(validators, commit)

    def _open_signer(self, key: ConsensusKey | None) -> tuple[VigilantSigner | None, SignHash | None]:
        """The consensus signer, here or in its own process, silent at first; and what signs this node's hellos."""
        settings, chain = self._settings, self.store.identity
        socket_path = settings.path("validator.signer_socket")
        signer: MessageSigner
        sign_hello: SignHash
        if socket_path is not None:
            remote = RemoteSigner(socket_path, chain)
            signer, sign_hello = remote, remote.hello_signer(peer_id_of(keystore.node_key(settings.datadir)))
        elif key is not None:
            record = SignRecordFile(keystore.sign_record_path(settings.datadir, key.address))
            signer, sign_hello = Signer(chain, key.address, key.sign_hash, record), key.sign_hash
        else:
            return None, None
        double_sign_check(signer.last, signer.address, recent_commits(self.store))
        vigilant = VigilantSigner(
            signer,
            lambda: self._network.heard(),
            self._voters,
            time.monotonic,
            key_is_here=socket_path is None,
            on_stop=self._metrics.signing_stopped,
        )
        return vigilant, sign_hello

    def _voters(self) -> ValidatorSet:
        """Who votes for the next block."""
        return self.store.runtime.state().validators().current

    def _needs_peers(self) -> bool:
        """False for a validator that decides alone."""
        voters = self._voters()
        return self._validator is None or not voters.is_quorum(voters.power(self._validator))

    def _make_readiness(self) -> Readiness:
        return Readiness(
            self._status,
            self.store.spec.consensus,
            lambda: self.store.runtime.parameters().block,
            lambda: [peer.state.height for peer in self._network.heard()],
            self._needs_peers,
            now_ms=WallClock().now_ms,
            steady_s=time.monotonic,
        )

    def _make_host(self) -> Host:
        settings, identity = self._settings, self.store.identity
        seed = keystore.node_key(settings.datadir)
        config = HostConfig(
            seed=seed,
            listen=tuple(f"/{kind_of(host)}/{host}/tcp/{settings['p2p.port']}" for host in settings["p2p.addr"]),
            known_peers=tuple(settings["p2p.peers"]),
        )

        def own_hello() -> bytes:
            return hello.make_hello(identity, self._host.peer_id, self._validator, self._sign_hello)

        return Host(
            config,
            hello=own_hello,
            check_hello=lambda peer_id, data: hello.check_hello(identity, peer_id, data),
            on_peer_up=self._network.peer_up,
            on_peer_down=self._network.peer_down,
        )

    def _is_validator(self, address: Address) -> bool:
        return address in self._voters()

    def _backend(self) -> Backend:
        return Backend(self.store, self._mempool, self._feed, self._status, self._index)

    def _rpc_config(self) -> RpcConfig:
        settings = self._settings
        return RpcConfig(
            hosts=settings["http.addr"],
            port=settings["http.port"],
            ws_port=settings["ws.port"] or None,
            namespaces=tuple(settings["http.api"]),
            cors_origins=tuple(settings["http.corsdomain"]),
            vhosts=tuple(settings["http.vhosts"]),
            token=_token(settings.path("http.token_file")),
            account_keys=_devnet_keys(self.store.spec, settings["devnet.accounts"]),
            limits=self._rpc_limits,
        )

    # ------------------------------------------------------------ tasks

    async def _stop_on_signal(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                logger.info("stopping on %s", signal.Signals(number).name)
                scope.cancel()
                return

    async def _stop_on_halt(self, scope: trio.CancelScope) -> None:
        await self._app.halted.wait()
        scope.cancel()

    async def _keep_index_warm(self) -> None:
        while True:
            async with self._feed.subscribe() as blocks:
                await UPKEEP.run(self._warmer.warm_all, abandon_on_cancel=True)
                async for stored in blocks:
                    await UPKEEP.run(self._warmer.warm_after, stored, abandon_on_cancel=True)

    async def _drop_what_was_erased(self) -> None:
        while True:
            await UPKEEP.run(self._eraser.sweep, abandon_on_cancel=True)
            await trio.sleep(PAUSE_S)

    def _log_start(self) -> None:
        settings, tip = self._settings, self.store.tip()
        logger.info("chain %s, id %d, at block %d", self.store.spec.name, self.store.identity.chain_id, tip.height)
        places = (host_port(host, settings["http.port"]) for host in settings["http.addr"])
        logger.info("JSON-RPC on %s", ", ".join(f"http://{place}" for place in places))
        logger.info("p2p on %s", ", ".join(self._host.addresses))
        if self._validator is None:
            logger.info("full node without a consensus key")
        else:
            logger.info("validator 0x%s", self._validator.hex())

    def _close(self) -> None:
        self._worker.close()
        self._worker.join(SHUTDOWN_SECONDS_MAX)
        self._warmer.stop()
        self.store.close()
        self._wal_file.close()


def open_store(directory: Path, spec: ChainSpec, indexes: Indexes | None = None) -> ChainStore:
    """The chain in a data directory, begun if there is none. Raises LocalError or StorageCorrupt."""
    database = LevelDatabase(directory / datadir.CHAIN_FOLDER, create=True)
    try:
        return open_chain(database, spec, indexes or Indexes())
    except BaseException:
        database.close()
        raise


def recent_commits(store: ChainStore) -> list[tuple[ValidatorSet, Commit]]:
    """The last commits with the sets that signed them, newest first."""
    found = []
    tip = store.tip().height
    for height in range(tip, max(0, tip - DOUBLE_SIGN_CHECK_HEIGHTS), -1):
        header, commit = store.header(Height(height)), store.commit(Height(height))
        if header is None or commit is None:
            raise StorageCorrupt(f"block {height} or its commit is missing below the tip {tip}")
        validators = store.runtime.state(header).validators().last
        if validators is None:
            raise StorageCorrupt(f"the state after block {height} does not know who signed it")
        found.append((validators, commit))
    return found


def _consensus_file(directory: Path, name: str) -> Path:
    folder = directory / datadir.CONSENSUS_FOLDER
    with told(f"make {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / name


def _devnet_keys(spec: ChainSpec, count: int) -> tuple[bytes, ...]:
    """The keys that everybody knows. Raises LocalError on a chain that is no devnet: nobody should think them safe there."""
    if count and (spec.name, spec.chain_id) != (DEVNET_NAME, DEVNET_CHAIN_ID):
        raise LocalError(f"devnet.accounts is for devnets only, and this chain is {spec.name!r}; leave it out")
    return tuple(ethereum_keys(DEVNET_MNEMONIC, count)) if count else ()


def _token(path: Path | None) -> str | None:
    """The bearer token in a file. Raises LocalError if it can't be read or is too short to be one."""
    if path is None:
        return None
    token = read_text(path, "the bearer token in").strip()
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise LocalError(f"the bearer token in {path} is too short: write at least {TOKEN_CHARACTERS_MIN} characters")
    return token

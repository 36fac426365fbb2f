"""Block sync: bring a node that fell behind to the tip of its peers, without believing any of them.

A claim to be ahead starts nothing but a question. Consensus is paused only once the next block has come with a commit that the
validators this node knows have signed. Each block is checked before it is executed: hash link, commit, rules, body. A peer that
sends anything else is blamed, and another is asked. When nobody has more, consensus takes over.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from consensus.application import Application, HeightContext, past_heights
from consensus.block_rules import check_block, check_committed_block, verify_commit
from evm_runtime.header import Header
from genesis.codec import decode, encode
from genesis.errors import InvalidBlock, PeerFault, WireError
from genesis.limits import BLOCK_BYTES_MAX, MIB, SYNC_REQUEST_BYTES_MAX
from genesis.primitives import Hash32, Height
from genesis.types import HEIGHT_MAX, Block, Commit, ValidatorSet
from node.interfaces import SyncStatus
from node.storage.chain_store import ChainStore
from node.threads import SERVING
from p2p.config import SYNC_PROTOCOL
from p2p.faults import WEIGHT_BAN, WEIGHT_LIGHT

logger = logging.getLogger(__name__)

BLOCKS_PER_REQUEST_MAX: Final = 64
RESPONSE_BLOCKS_BYTES: Final = 4 * MIB
"""A response ends with the block that passes this."""
RESPONSE_BYTES_MAX: Final = RESPONSE_BLOCKS_BYTES + BLOCK_BYTES_MAX + 1 * MIB
COMMIT_BYTES_MAX: Final = 32 * 1024
REQUEST_TIMEOUT_S: Final = 10.0
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """Asks for up to `count` blocks from `first` on, each with its commit."""

    first: Height
    count: int

    def __post_init__(self) -> None:
        if not 0 < self.first <= HEIGHT_MAX or not 0 < self.count <= BLOCKS_PER_REQUEST_MAX:
            raise ValueError("no such range of blocks")


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block and the commit that made it final, each in the wire codec."""

    block: bytes
    commit: bytes


@dataclass(frozen=True, slots=True)
class BlocksResponse:
    """Blocks from the first that was asked for on, as many as the server likes; none if it has none."""

    blocks: tuple[CommittedBlock, ...]

    def __post_init__(self) -> None:
        if len(self.blocks) > BLOCKS_PER_REQUEST_MAX:
            raise ValueError("more blocks than can be asked for")


class Requester(Protocol):
    """The part of the p2p host that sync uses."""

    async def request(
        self, peer_id: str, protocol: str, payload: bytes, *, response_bytes_max: int, timeout_s: float
    ) -> bytes: ...

    def report_fault(self, peer_id: str, fault: Exception, weight: float) -> None: ...


class SyncServer:
    """Answers other nodes' requests for blocks."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store

    async def handle(self, peer_id: str, payload: bytes) -> bytes:
        """Raises WireError for a request that is none."""
        request = decode(BlocksRequest, payload, size_max=SYNC_REQUEST_BYTES_MAX)
        return await SERVING.run(self._read, request)

    def _read(self, request: BlocksRequest) -> bytes:
        found: list[CommittedBlock] = []
        size = 0
        for height in range(request.first, min(request.first + request.count, self._store.tip().height + 1)):
            block, commit = self._store.block_bytes(Height(height)), self._store.commit_bytes(Height(height))
            if block is None or commit is None:
                break
            found.append(CommittedBlock(block, commit))
            size += len(block) + len(commit)
            if size > RESPONSE_BLOCKS_BYTES:
                break
        return encode(BlocksResponse(tuple(found)))


Pause = Callable[[], AbstractAsyncContextManager[None]]
WatchCommit = Callable[[ValidatorSet | None, Commit], None]


class BlockSync:
    """Fetches, checks and applies. `behind` is consensus' Behind; `run` does the work.

    `watch_commit` is shown every commit that was checked, with the set that signed it, before its block is stored.
    """

    def __init__(
        self,
        store: ChainStore,
        app: Application,
        requester: Requester,
        pause: Pause,
        watch_commit: WatchCommit = lambda _validators, _commit: None,
    ) -> None:
        self._store = store
        self._app = app
        self._requester = requester
        self._pause = pause
        self._watch_commit = watch_commit
        self._claims: dict[str, Height] = {}
        self._wake = trio.Event()
        self._start: Height | None = None

    def behind(self, height: Height, peer: str) -> None:
        """A peer claims to work on `height`, so to have the blocks below it."""
        self._claims[peer] = Height(height - 1)
        self._wake.set()

    def heard(self, peer: str, height: Height) -> None:
        """What a peer says while it is synced from, and consensus does not listen: its claim grows with the chain."""
        if peer in self._claims:
            self._claims[peer] = max(self._claims[peer], Height(height - 1))

    def forget_peer(self, peer: str) -> None:
        self._claims.pop(peer, None)

    def status(self) -> SyncStatus | None:
        """Heights while blocks are being applied; None otherwise.

        `highest` is the median of what peers claim, the lower one of two: a single liar can't name it.
        """
        if self._start is None:
            return None
        current = self._store.tip().height
        claims = sorted(claim for claim in self._claims.values() if claim > current) or [current]
        return SyncStatus(self._start, current, claims[(len(claims) - 1) // 2])

    async def run(self) -> None:
        """Sync whenever a peer claims to be ahead, until cancelled. Raises FatalError only."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            for peer in self._ahead():
                await self._sync_from(peer)
            if self._ahead():
                await trio.sleep(RETRY_S)
                self._wake.set()

    def _ahead(self) -> list[str]:
        """Peers that claim more than this node has, the highest claim first."""
        tip = self._store.tip().height
        self._claims = {peer: claim for peer, claim in self._claims.items() if claim > tip}
        return sorted(self._claims, key=lambda peer: -self._claims[peer])

    async def _sync_from(self, peer: str) -> None:
        """Take from one peer what it has. Its claim is forgotten with the first thing that is wrong, or when it has no more."""
        try:
            batch = await self._fetch(peer)
            if not batch or not await self._is_next(batch[0]):
                return
            async with self._pause():
                self._start = self._store.tip().height
                try:
                    await self._apply(batch)
                    while self._store.tip().height < self._claims.get(peer, 0) and (batch := await self._fetch(peer)):
                        await self._apply(batch)
                finally:
                    self._start = None
            logger.info("synced to block %d from %s", self._store.tip().height, peer)
        except (InvalidBlock, WireError) as error:
            logger.warning("peer %s sent a block that cannot be: %s", peer, error)
            self._requester.report_fault(peer, PeerFault(f"block sync: {error}"), WEIGHT_BAN)
        except PeerFault as fault:
            logger.info("block sync with %s: %s", peer, fault)
            self._requester.report_fault(peer, fault, WEIGHT_LIGHT)
        finally:
            self._claims.pop(peer, None)

    async def _fetch(self, peer: str) -> list[tuple[Block, Commit]]:
        """The next blocks from a peer, hash links checked. Raises InvalidBlock, WireError, PeerFault."""
        tip = self._store.tip()
        request = encode(BlocksRequest(Height(tip.height + 1), BLOCKS_PER_REQUEST_MAX))
        data = await self._requester.request(
            peer, SYNC_PROTOCOL, request, response_bytes_max=RESPONSE_BYTES_MAX, timeout_s=REQUEST_TIMEOUT_S
        )
        response = decode(BlocksResponse, data, size_max=RESPONSE_BYTES_MAX)
        batch = []
        height, parent_hash = tip.height, tip.hash
        for item in response.blocks:
            await trio.lowlevel.checkpoint()
            block = decode(Block, item.block, size_max=self._store.spec.block.bytes_max)
            commit = decode(Commit, item.commit, size_max=COMMIT_BYTES_MAX)
            height = Height(height + 1)
            parent_hash = _check_link(block, height, parent_hash)
            check_committed_block(block, commit)
            batch.append((block, commit))
        return batch

    async def _is_next(self, item: tuple[Block, Commit]) -> bool:
        """Is this a block that the next validators made final? False if consensus was quicker. Raises InvalidBlock."""
        context = await self._app.height_context()
        block, commit = item
        if block.height != context.height:
            return False
        self._check_commit(context, commit, block)
        return True

    async def _apply(self, batch: list[tuple[Block, Commit]]) -> None:
        """Check and store blocks one after the other; those that consensus stored meanwhile are passed over."""
        context = await self._app.height_context()
        for block, commit in batch:
            if block.height < context.height:
                continue
            self._check_commit(context, commit, block)
            await self._app.check_body(block)
            past = await past_heights(self._app, block.evidence)
            check_block(self._store.identity, context, block, past)
            self._watch_commit(context.last_validators, block.last_commit)
            self._watch_commit(context.validators, commit)
            context = await self._app.finalize_block(block, commit)

    def _check_commit(self, context: HeightContext, commit: Commit, block: Block) -> None:
        verify_commit(self._store.identity, context.validators, commit, context.height, block.hash)


def _check_link(block: Block, height: Height, parent_hash: Hash32) -> Hash32:
    """Raises InvalidBlock or WireError unless the block's header continues the chain; returns its hash."""
    header = Header.from_rlp(block.header)
    if header.number != height or block.height != height or header.parent_hash != parent_hash:
        raise InvalidBlock(f"block {header.number} does not continue the chain at height {height}")
    return block.hash

"""Block sync against honest and lying peers, over real chains; the network is a function call."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from genesis.codec import decode, encode
from genesis.errors import FatalError, PeerFault, WireError
from genesis.primitives import Height, Round
from genesis.types import Block, Commit, ValidatorSet
from node.chain.application import NodeApplication
from node.chain.worker import WorkerThread
from node.feed import Feed
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.net.sync import (
    BLOCKS_PER_REQUEST_MAX,
    RESPONSE_BYTES_MAX,
    BlocksRequest,
    BlocksResponse,
    BlockSync,
    CommittedBlock,
    SyncServer,
)
from tests.unit.node.local_chain import VALIDATOR, LocalChain, make_spec, transfer, with_other_time

LENGTH = 9
GUILTY_AFTER = 5
"""The block after this height carries evidence."""

Lie = Callable[[list[tuple[Block, Commit]]], list[tuple[Block, Commit]]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> LocalChain:
    chain = LocalChain(tmp_path_factory.mktemp("source") / "chain", make_spec())
    for nonce in range(LENGTH):
        evidence = (chain.double_vote(2),) if nonce == GUILTY_AFTER else ()
        chain.extend(transfer(0, nonce), transfer(1, nonce), evidence=evidence)
    return chain


@dataclass
class Peers:
    """Peers by name, each a server with its own way with the truth; counts what the node says about them."""

    servers: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    faults: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def request(
        self, peer_id: str, protocol: str, payload: bytes, *, response_bytes_max: int, timeout_s: float
    ) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked.append(peer_id)
        response = self.servers[peer_id](payload)
        assert len(response) <= response_bytes_max
        return response

    def report_fault(self, peer_id: str, fault: Exception, weight: float) -> None:
        self.faults[peer_id] = self.faults.get(peer_id, 0) + weight


@dataclass
class Follower:
    chain: LocalChain
    app: NodeApplication
    peers: Peers
    sync: BlockSync
    pauses: list[int]
    watched: list[tuple[ValidatorSet | None, Commit]]
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """What consensus does before it stands still."""

    async def decide(self, source: LocalChain, height: int) -> None:
        """Consensus of this node is quicker than block sync."""
        stored = source.store.block(Height(height))
        assert stored is not None and stored.commit is not None
        await self.app.finalize_block(stored.block, stored.commit)

    @property
    def height(self) -> int:
        return self.chain.store.tip().height

    async def follow(self, *claims: tuple[str, int], until: int = LENGTH) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            for peer, height in claims:
                self.sync.behind(Height(height), peer)
            with trio.fail_after(60):
                while self.height < until:  # noqa: ASYNC110 - the chain has no event for it
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    async def try_once(self, peer: str, height: int = LENGTH + 1) -> None:
        """Let one peer have its say."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            self.sync.behind(Height(height), peer)
            with trio.fail_after(60):
                while self.sync._claims:  # noqa: ASYNC110 - nor has this
                    await trio.sleep(0.01)
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def follower(path: Path) -> AsyncIterator[Follower]:
    chain, feed, worker = LocalChain(path / "chain", make_spec()), Feed(), WorkerThread("execution")
    runtime = chain.store.runtime
    pool = TransactionPool(chain.spec, runtime.state(), runtime.next_base_fee(chain.store.tip().header))
    app = NodeApplication(chain.store, MempoolService(pool, feed, chain.spec.chain_id, trio.current_time), feed, worker)
    pauses: list[int] = []
    peers = Peers()

    watched: list[tuple[ValidatorSet | None, Commit]] = []

    @asynccontextmanager
    async def paused() -> AsyncIterator[None]:
        if node.meanwhile is not None:
            await node.meanwhile()
        pauses.append(chain.store.tip().height)
        yield

    sync = BlockSync(chain.store, app, peers, paused, lambda validators, commit: watched.append((validators, commit)))
    node = Follower(chain, app, peers, sync, pauses, watched)
    try:
        yield node
    finally:
        worker.close()
        worker.join(30)
        chain.close()


def honest(
    source: LocalChain, *, at_once: int = BLOCKS_PER_REQUEST_MAX, up_to: int = LENGTH
) -> Callable[[bytes], bytes]:
    return liar(source, lambda items: [item for item in items if item[0].height <= up_to][:at_once])


def liar(source: LocalChain, lie: Lie) -> Callable[[bytes], bytes]:
    def serve(payload: bytes) -> bytes:
        request = decode(BlocksRequest, payload, size_max=1024)
        items = []
        for height in range(request.first, min(request.first + request.count, LENGTH + 1)):
            stored = source.store.block(Height(height))
            assert stored is not None
            assert stored.commit is not None
            items.append((stored.block, stored.commit))
        told = tuple(CommittedBlock(encode(block), encode(commit)) for block, commit in lie(items))
        return encode(BlocksResponse(told))

    return serve


async def test_a_node_catches_up_and_has_the_same_chain(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers["a"] = honest(source, at_once=4)
        await node.follow(("a", LENGTH + 1))
        assert node.chain.store.tip() == source.store.tip()
        assert node.chain.store.runtime.state().validator_record(VALIDATOR).tombstoned
        assert node.pauses == [0]
        assert node.peers.faults == {}
        assert node.sync.status() is None


async def test_it_goes_on_with_another_peer_where_one_ends(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers = {"short": honest(source, up_to=3), "long": honest(source)}
        await node.follow(("short", LENGTH + 5), ("long", LENGTH + 1))
        assert node.peers.faults == {}


@pytest.mark.parametrize("height", [1 << 40, LENGTH + 1])
async def test_a_claim_alone_never_pauses_consensus(source: LocalChain, tmp_path: Path, height: int) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers["empty"] = liar(source, lambda items: [])
        await node.try_once("empty", height)
        assert node.pauses == []
        assert node.height == 0
        assert node.peers.asked == ["empty"]


def _swap_commit(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(items[0][0], items[1][1]), *items[1:]]


def _unsigned(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(block, replace(commit, signatures=(b"",))) for block, commit in items]


def _forged_signature(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(block, replace(commit, signatures=(bytes([1]) * 64 + b"\x00",))) for block, commit in items]


def _other_round(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(block, replace(commit, round=Round(3))) for block, commit in items]


def _other_body(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(with_other_time(block), commit) for block, commit in items]


def _without_evidence(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(replace(block, evidence=()), commit) for block, commit in items]


def _without_transactions(items: list[tuple[Block, Commit]]) -> list[tuple[Block, Commit]]:
    return [(replace(block, transactions=()), commit) for block, commit in items]


LIES: list[Lie] = [
    lambda items: items[1:],
    lambda items: [items[0], *items[2:]],
    lambda items: items[::-1],
    lambda items: [items[0], items[0]],
    _swap_commit,
    _unsigned,
    _forged_signature,
    _other_round,
    _other_body,
    _without_transactions,
]


@pytest.mark.parametrize("lie", [_forged_signature, _unsigned, _other_round])
@pytest.mark.parametrize("good", [1, 4])
async def test_the_commit_of_every_block_of_a_batch_is_checked(
    source: LocalChain, tmp_path: Path, lie: Lie, good: int
) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers["liar"] = liar(source, lambda items: [*items[:good], *lie(items[good:])])
        await node.try_once("liar")
        assert node.peers.faults["liar"] >= 100
        assert node.height == good


async def test_every_commit_is_shown_before_its_block_is_stored(source: LocalChain, tmp_path: Path) -> None:
    """For the validator's key: it may stand in any of them."""
    async with follower(tmp_path) as node:
        node.peers.servers["a"] = honest(source)
        await node.follow(("a", LENGTH + 1))
        blocks = [source.store.block(Height(height)) for height in range(1, LENGTH + 1)]
        last_commits = [commit for _, commit in node.watched[0::2]]
        commits = [commit for _, commit in node.watched[1::2]]
        assert commits == [stored.commit for stored in blocks if stored is not None]
        assert last_commits == [stored.block.last_commit for stored in blocks if stored is not None]
        assert [validators is None for validators, _ in node.watched[:4]] == [True, False, False, False]


async def test_blocks_that_consensus_decides_meanwhile_are_passed_over(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers["a"] = honest(source)

        async def meanwhile() -> None:
            await node.decide(source, 1)
            await node.decide(source, 2)

        node.meanwhile = meanwhile
        await node.follow(("a", LENGTH + 1))
        assert node.pauses == [2] and node.peers.faults == {}
        assert node.chain.store.tip() == source.store.tip()


async def test_consensus_that_was_quicker_is_not_paused(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        served = honest(source, up_to=1)
        node.peers.servers["a"] = served
        request = node.peers.request

        async def slow(*arguments: Any, **options: Any) -> bytes:
            response = await request(*arguments, **options)
            await node.decide(source, 1)
            return response

        node.peers.request = slow  # type: ignore[method-assign]  # an answer that comes late
        await node.try_once("a", 3)
        assert node.height == 1 and node.pauses == [] and node.peers.faults == {}


async def test_claims_that_are_no_news_are_not_asked_about(source: LocalChain, tmp_path: Path) -> None:
    """A peer that works on the block after our tip has nothing for us, nor has one that we have overtaken."""
    async with follower(tmp_path) as node:
        for height in (1, 2, 3):
            await node.decide(source, height)
        for claim in (4, 3, 1):
            await node.try_once("even", claim)
        assert node.peers.asked == [] and node.sync._claims == {}
        node.peers.servers["ahead"] = honest(source, up_to=4)
        await node.try_once("ahead", 5)
        assert node.peers.asked == ["ahead"] and node.height == 4


async def test_progress_names_what_most_peers_claim_and_grows_with_them(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        seen = []
        serve = honest(source, at_once=2)

        def watching(payload: bytes) -> bytes:
            if node.height == 4:
                node.sync.heard("a", Height(LENGTH + 1))
            seen.append(node.sync.status())
            return serve(payload)

        node.peers.servers = {"a": watching, "liar": liar(source, lambda items: [])}
        async with trio.open_nursery() as nursery:
            node.sync.behind(Height(LENGTH), "a")
            node.sync.behind(Height(1 << 40), "liar")
            node.sync.heard("nobody", Height(1 << 41))
            nursery.start_soon(node.sync.run)
            with trio.fail_after(60):
                while node.height < LENGTH:  # noqa: ASYNC110 - the chain has no event for it
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        progress = [(status.start, status.current, status.highest) for status in seen if status is not None]
        assert progress[:3] == [(0, 2, LENGTH - 1), (0, 4, LENGTH), (0, 6, LENGTH)]
        node.sync._start, node.sync._claims = Height(0), {"a": Height(20), "b": Height(21), "liar": Height(1 << 40)}
        status = node.sync.status()
        assert status is not None and status.highest == 21
        node.sync._claims = {"a": Height(20), "liar": Height(1 << 40)}
        status = node.sync.status()
        assert status is not None and status.highest == 20


@pytest.mark.parametrize("which", range(len(LIES)))
async def test_a_liar_is_found_out_before_execution_and_the_honest_peer_serves(
    source: LocalChain, tmp_path: Path, which: int
) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers = {"liar": liar(source, LIES[which]), "honest": honest(source)}
        await node.try_once("liar")
        assert node.peers.faults["liar"] >= 100
        assert node.height == 0
        await node.follow(("honest", LENGTH + 1))
        assert node.chain.store.tip() == source.store.tip()
        assert "honest" not in node.peers.faults


async def test_who_leaves_evidence_out_is_blamed_at_that_block(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers = {"liar": liar(source, _without_evidence), "honest": honest(source)}
        await node.follow(("liar", LENGTH + 2), ("honest", LENGTH + 1))
        assert node.peers.faults["liar"] >= 100 and "honest" not in node.peers.faults
        assert node.pauses == [0, GUILTY_AFTER]
        assert node.chain.store.tip() == source.store.tip()


@pytest.mark.parametrize("response", [b"", b"\x00", bytes(10_000), encode(BlocksResponse(()))[:-1]])
async def test_garbage_is_blamed(source: LocalChain, tmp_path: Path, response: bytes) -> None:
    async with follower(tmp_path) as node:
        node.peers.servers["garbage"] = lambda _payload: response
        await node.try_once("garbage")
        assert node.peers.faults["garbage"] >= 100


async def test_a_silent_peer_is_passed_over(source: LocalChain, tmp_path: Path) -> None:
    def fail(_payload: bytes) -> bytes:
        raise PeerFault("no response within 10 s")

    async with follower(tmp_path) as node:
        node.peers.servers = {"silent": fail, "honest": honest(source)}
        await node.follow(("silent", LENGTH + 100), ("honest", LENGTH + 1))
        assert 0 < node.peers.faults["silent"] < 100


async def test_a_block_that_executes_differently_here_stops_the_node(source: LocalChain, tmp_path: Path) -> None:
    async with follower(tmp_path) as node:
        # The disk says that somebody has another balance: every later state root differs.
        node.peers.servers["a"] = honest(source)
        store = node.chain.store
        original = store.live_runtime.execute_block

        def different(*arguments: object) -> object:
            executed = original(*arguments)  # type: ignore[arg-type]  # passed through as they came
            from genesis.errors import InvalidBlock

            raise InvalidBlock(f"header: state_root is not {executed.header.state_root.hex()}")

        store.live_runtime.execute_block = different  # type: ignore[method-assign,assignment]  # a node with a bug
        with pytest.raises(FatalError, match="it stops"):
            try:
                await node.follow(("a", LENGTH + 1))
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
        assert node.height == 0


async def test_the_server_bounds_what_it_gives(source: LocalChain) -> None:
    server = SyncServer(source.store)
    response = decode(
        BlocksResponse,
        await server.handle("peer", encode(BlocksRequest(Height(2), 3))),
        size_max=RESPONSE_BYTES_MAX,
    )
    assert [decode(Block, item.block, size_max=1 << 21).height for item in response.blocks] == [2, 3, 4]
    beyond = await server.handle("peer", encode(BlocksRequest(Height(LENGTH + 1), 64)))
    assert beyond == encode(BlocksResponse(()))
    for bad in (b"", b"\x92\x00\x01", b"\x92\x01\x41", bytes(2_000)):
        with pytest.raises(WireError):
            await server.handle("peer", bad)


async def test_the_server_gives_all_it_has_and_stops_at_a_hole(source: LocalChain) -> None:
    async def heights(server: SyncServer, first: int, count: int = BLOCKS_PER_REQUEST_MAX) -> list[int]:
        data = await server.handle("peer", encode(BlocksRequest(Height(first), count)))
        response = decode(BlocksResponse, data, size_max=RESPONSE_BYTES_MAX)
        return [decode(Block, item.block, size_max=1 << 21).height for item in response.blocks]

    assert await heights(SyncServer(source.store), 7) == [7, 8, 9], "up to the tip"
    assert await heights(SyncServer(source.store), LENGTH, 1) == [LENGTH]

    class Holed:
        """A store that lacks a block below its tip."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source.store, name)

        def block_bytes(self, height: Height) -> bytes | None:
            return None if height == 5 else source.store.block_bytes(height)

    assert await heights(SyncServer(cast(Any, Holed())), 3) == [3, 4]


def test_a_response_holds_as_many_blocks_as_can_be_asked_for_and_no_more() -> None:
    item = CommittedBlock(b"block", b"commit")
    full = BlocksResponse((item,) * BLOCKS_PER_REQUEST_MAX)
    assert decode(BlocksResponse, encode(full), size_max=RESPONSE_BYTES_MAX) == full
    with pytest.raises(ValueError, match="more blocks"):
        BlocksResponse((item,) * (BLOCKS_PER_REQUEST_MAX + 1))

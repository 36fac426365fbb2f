"""Between consensus and the host: what goes first, what replaces what, and what is held against a peer."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from consensus.messages import BlockRequest, ConsensusMessage, RoundState, Step, encode_message
from genesis.primitives import Address, Hash32, Height, Round, Signature
from genesis.types import Block, ChainIdentity, Commit, Proposal, Vote, VoteType
from node.feed import Feed
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.net.block_chunks import split
from node.net.network import PEERS_REMEMBERED_MAX, Inboxes, Network
from node.net.vigil import Heard
from p2p.config import BLOCK_CHANNEL, CONSENSUS_CHANNEL, TX_CHANNEL
from p2p.host import Host
from p2p.info import Inbound, PeerInfo
from p2p.queue import OutgoingQueue
from tests.unit.node.local_chain import ADDRESSES, CHAIN_ID, GWEI, LocalChain, make_spec, transfer
from tests.unit.node.test_mempool import Accounts

SIGNATURE = Signature(bytes(65))
HASH = Hash32(b"\x01" * 32)


def vote(round_: int, *, key: int = 0, kind: VoteType = VoteType.PREVOTE) -> Vote:
    return Vote(kind, Height(5), Round(round_), HASH, ADDRESSES[key], SIGNATURE)


def round_state(round_: int) -> RoundState:
    return RoundState(Height(5), Round(round_), Step.PREVOTE, False, ())


@dataclass
class OnePeer:
    """A host with one peer, whose queue is the real one."""

    queues: dict[str, OutgoingQueue] = field(default_factory=dict)
    faults: list[tuple[str, float]] = field(default_factory=list)
    protected: list[str] = field(default_factory=list)
    connected: list[PeerInfo] = field(default_factory=list)

    def peers(self) -> list[PeerInfo]:
        return self.connected

    def broadcast(
        self,
        channel: str,
        payload: bytes,
        *,
        priority: int = 0,
        drop_key: Hashable | None = None,
        exclude: str | None = None,
    ) -> None:
        self.queues.setdefault(channel, OutgoingQueue()).put(payload, priority, drop_key)

    def send(
        self, peer_id: str, channel: str, payload: bytes, *, priority: int = 0, drop_key: Hashable | None = None
    ) -> bool:
        return self.queues.setdefault(channel, OutgoingQueue()).put(payload, priority, drop_key)

    def report_fault(self, peer_id: str, fault: Exception, weight: float) -> None:
        self.faults.append((peer_id, weight))

    def protect(self, peer_id: str) -> None:
        self.protected.append(peer_id)

    def waiting(self, channel: str) -> list[bytes]:
        return self.queues[channel].take_batch(1 << 30)


@dataclass
class Receiver:
    messages: list[tuple[str, ConsensusMessage]] = field(default_factory=list)
    blocks: list[tuple[str, Block]] = field(default_factory=list)

    def receive(self, peer: str, message: ConsensusMessage) -> None:
        self.messages.append((peer, message))

    def receive_block(self, peer: str, block: Block) -> None:
        self.blocks.append((peer, block))


def make_network() -> tuple[Network, OnePeer, MempoolService]:
    pool = TransactionPool(make_spec(), Accounts(), GWEI)
    mempool = MempoolService(pool, Feed(), CHAIN_ID, trio.current_time)
    network = Network(mempool, ChainIdentity(CHAIN_ID, HASH), 1 << 21, lambda address: address == ADDRESSES[0])
    host = OnePeer()
    network.attach(cast(Host, host))
    return network, host, mempool


def test_votes_and_proposals_leave_before_the_rest() -> None:
    network, host, _ = make_network()
    proposal = Proposal(Height(5), Round(1), Round(-1), HASH, ADDRESSES[0], SIGNATURE)
    commit = Commit(Height(4), Round(0), HASH, (bytes(65),))
    request = BlockRequest(Height(5), HASH)
    for message in (round_state(1), request, commit, vote(1), proposal):
        network.broadcast(message)
    expected = [vote(1), proposal, request, commit, round_state(1)]
    assert host.waiting(CONSENSUS_CHANNEL) == [encode_message(message) for message in expected]


def test_what_is_current_replaces_what_is_stale() -> None:
    network, host, _ = make_network()
    for round_ in range(3):
        network.broadcast(round_state(round_))
        network.send("peer", vote(1))
    network.send("peer", vote(1, kind=VoteType.PRECOMMIT))
    network.send("peer", vote(1, key=1))
    left = host.waiting(CONSENSUS_CHANNEL)
    assert sorted(left) == sorted(
        encode_message(message)
        for message in (vote(1), vote(1, kind=VoteType.PRECOMMIT), vote(1, key=1), round_state(2))
    )


def test_a_full_queue_gives_up_the_oldest_votes() -> None:
    network, host, _ = make_network()
    for round_ in range(300):
        network.broadcast(vote(round_))
    assert host.waiting(CONSENSUS_CHANNEL) == [encode_message(vote(round_)) for round_ in range(44, 300)]


@dataclass
class Channels:
    """Inboxes that the test writes to."""

    def __post_init__(self) -> None:
        self.senders: dict[str, trio.MemorySendChannel[Inbound]] = {}

    def open_inbox(self, channel: str) -> trio.MemoryReceiveChannel[Inbound]:
        send, receive = trio.open_memory_channel[Inbound](0)
        self.senders[channel] = send
        return receive


async def test_what_comes_in_reaches_its_place_and_nonsense_is_blamed(tmp_path: Path) -> None:
    chain = LocalChain(tmp_path / "chain", make_spec())
    block = chain.extend(transfer(1, 0, data=bytes(100_000), gas=6_000_000))
    chain.close()
    network, host, _ = make_network()
    receiver, channels = Receiver(), Channels()
    inboxes = Inboxes(cast(Any, channels))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run, receiver, cast(Host, host), inboxes)

        async def send(peer: str, channel: str, payload: bytes) -> None:
            await channels.senders[channel].send(Inbound(peer, channel, payload))

        await send("a", CONSENSUS_CHANNEL, encode_message(vote(0)))
        await send("bad 1", CONSENSUS_CHANNEL, b"\xc1")
        frames = list(split(block))
        for frame in frames:
            await send("b", BLOCK_CHANNEL, frame)
        await send("bad 2", BLOCK_CHANNEL, b"\x00")
        await send("bad 3", TX_CHANNEL, b"\x91\x91\x41")
        await send("a", CONSENSUS_CHANNEL, encode_message(vote(1)))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert receiver.messages == [("a", vote(0)), ("a", vote(1))]
    assert receiver.blocks == [("b", block)]
    assert [peer for peer, weight in host.faults if weight >= 50] == ["bad 1", "bad 2", "bad 3"]
    assert len(frames) > 1


@pytest.mark.parametrize(("key", "expected"), [(0, ["peer"]), (1, [])])
def test_only_validators_of_today_are_protected(key: int, expected: list[str]) -> None:
    network, host, _ = make_network()

    @dataclass
    class Info:
        peer_id: str = "peer"
        direction: str = "inbound"
        identity: bytes = ADDRESSES[key]

    network.peer_up(cast(Any, Info()))
    assert host.protected == expected


async def test_where_peers_stand_is_remembered_as_long_as_they_are_connected() -> None:
    network, host, _ = make_network()
    told: list[tuple[str, Height]] = []
    network.on_peer_stands(lambda peer, height: told.append((peer, height)))
    host.connected = [info("a", ADDRESSES[1]), info("b", None)]
    receiver = Receiver()
    for peer, round_ in (("a", 0), ("a", 1), ("b", 2), ("gone", 3)):
        network._take_message(receiver, peer, encode_message(round_state(round_)))
    network._take_message(receiver, "a", encode_message(vote(0)))
    assert network.heard() == [Heard(ADDRESSES[1], round_state(1)), Heard(None, round_state(2))]
    assert told == [("a", 5), ("a", 5), ("b", 5), ("gone", 5)] and len(receiver.messages) == 5
    for number in range(2 * PEERS_REMEMBERED_MAX):
        network._take_message(receiver, f"gone {number}", encode_message(round_state(0)))
    assert len(network._stands) <= PEERS_REMEMBERED_MAX + 2
    network.peer_down("a")
    assert network.heard() == [Heard(None, round_state(2))]


def info(peer_id: str, validator: Address | None) -> PeerInfo:
    """What a host tells of a peer."""
    values = dict.fromkeys(PeerInfo.__dataclass_fields__, None) | {"peer_id": peer_id, "identity": validator or b""}
    return PeerInfo(**cast(Any, values))

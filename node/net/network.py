"""Between consensus, mempool and the p2p host: values on one side, frames on three channels on the other.

Votes and proposals leave first. A queue that is full gives up the oldest of the least important, and a newer message with the
same drop key takes the place of an older one, so a slow peer gets what is current instead of what is stale.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Protocol

import trio

from consensus.messages import BlockRequest, ConsensusMessage, RoundState, decode_message, encode_message
from genesis.errors import LocalError, PeerFault, WireError
from genesis.primitives import Address, Hash32, Height
from genesis.types import Block, ChainIdentity, Commit, DuplicateProposal, DuplicateVote, Proposal, Vote
from node.interfaces import PeerStatus
from node.mempool.service import MempoolService
from node.net import block_chunks
from node.net.vigil import Heard
from p2p.config import BLOCK_CHANNEL, CONSENSUS_CHANNEL, TX_CHANNEL
from p2p.faults import WEIGHT_GRAVE, WEIGHT_LIGHT
from p2p.host import Host
from p2p.info import Inbound, PeerInfo

logger = logging.getLogger(__name__)

BLOCKS_ENCODED_KEPT: Final = 4
PEERS_REMEMBERED_MAX: Final = 256


class ConsensusReceiver(Protocol):
    """The engine, as the network sees it."""

    def receive(self, peer: str, message: ConsensusMessage) -> None: ...

    def receive_block(self, peer: str, block: Block) -> None: ...


class Network:
    """Implements consensus' Transport and the mempool's Gossip over a Host. Runs on the event loop."""

    def __init__(
        self,
        mempool: MempoolService,
        identity: ChainIdentity,
        block_bytes_max: int,
        is_validator: Callable[[Address], bool],
    ) -> None:
        self.identity = identity
        self._mempool = mempool
        self._is_validator = is_validator
        self._assembler = block_chunks.BlockAssembler(block_bytes_max)
        self._encoded: OrderedDict[Hash32, list[bytes]] = OrderedDict()
        self._host: Host | None = None
        self._peer_gone: list[Callable[[str], None]] = []
        self._peer_stands: list[Callable[[str, Height], None]] = []
        self._stands: dict[str, RoundState] = {}

    def attach(self, host: Host) -> None:
        """The host is made with this network's callbacks, so it comes second."""
        self._host = host

    def on_peer_gone(self, callback: Callable[[str], None]) -> None:
        self._peer_gone.append(callback)

    def on_peer_stands(self, callback: Callable[[str, Height], None]) -> None:
        """Told of every height that a peer says it works on."""
        self._peer_stands.append(callback)

    def heard(self) -> list[Heard]:
        """What connected peers said last of where they stand. Believe it as far as the peers."""
        peers = () if self._host is None else self._host.peers()
        return [
            Heard(_address(peer.identity), self._stands[peer.peer_id]) for peer in peers if peer.peer_id in self._stands
        ]

    # ------------------------------------------------------------ consensus' Transport

    def broadcast(self, message: ConsensusMessage) -> None:
        if self._host is not None:
            priority, key = _precedence(message)
            self._host.broadcast(CONSENSUS_CHANNEL, encode_message(message), priority=priority, drop_key=key)

    def send(self, peer: str, message: ConsensusMessage) -> None:
        if self._host is not None:
            priority, key = _precedence(message)
            self._host.send(peer, CONSENSUS_CHANNEL, encode_message(message), priority=priority, drop_key=key)

    def broadcast_block(self, block: Block) -> None:
        for frame in self._frames(block):
            if self._host is not None:
                self._host.broadcast(BLOCK_CHANNEL, frame)

    def send_block(self, peer: str, block: Block) -> None:
        for frame in self._frames(block):
            if self._host is not None:
                self._host.send(peer, BLOCK_CHANNEL, frame)

    def report_fault(self, peer: str, fault: PeerFault) -> None:
        if self._host is not None:
            self._host.report_fault(peer, fault, WEIGHT_LIGHT)

    # ------------------------------------------------------------ the mempool's Gossip

    def broadcast_transactions(self, payload: bytes, *, exclude: str | None) -> None:
        if self._host is not None:
            self._host.broadcast(TX_CHANNEL, payload, exclude=exclude)

    def send_transactions(self, peer_id: str, payload: bytes) -> None:
        if self._host is not None:
            self._host.send(peer_id, TX_CHANNEL, payload)

    # ------------------------------------------------------------ the host's callbacks

    def peer_up(self, peer: PeerInfo) -> None:
        validator = _address(peer.identity)
        if validator is not None and self._is_validator(validator) and self._host is not None:
            self._host.protect(peer.peer_id)
        name = f" (validator 0x{validator.hex()})" if validator else ""
        logger.info("peer %s is connected, %s%s", peer.peer_id, peer.direction, name)
        self._mempool.greet(peer.peer_id)

    def validators_changed(self) -> None:
        """The set is another: its members are protected from being pushed out, and who was a member no longer."""
        for peer in self._host.peers() if self._host is not None else ():
            validator = _address(peer.identity)
            if self._host is not None and validator is not None:
                change = self._host.protect if self._is_validator(validator) else self._host.unprotect
                change(peer.peer_id)

    def peer_down(self, peer_id: str) -> None:
        logger.info("peer %s is gone", peer_id)
        self._assembler.forget(peer_id)
        self._stands.pop(peer_id, None)
        self._mempool.forget_peer(peer_id)
        for callback in self._peer_gone:
            callback(peer_id)

    def peers(self) -> list[PeerStatus]:
        if self._host is None:
            return []
        return [
            PeerStatus(peer.peer_id, str(peer.address), peer.direction, _address(peer.identity))
            for peer in self._host.peers()
        ]

    # ------------------------------------------------------------ what comes in

    async def run(self, engine: ConsensusReceiver, host: Host, inboxes: "Inboxes") -> None:
        """Hand what peers send to consensus and mempool until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, inboxes.consensus, lambda peer, data: self._take_message(engine, peer, data))
            nursery.start_soon(self._read, inboxes.blocks, lambda peer, data: self._take_chunk(engine, peer, data))
            nursery.start_soon(self._read_transactions, inboxes.transactions)

    async def _read(self, inbox: trio.MemoryReceiveChannel[Inbound], take: Callable[[str, bytes], None]) -> None:
        async for inbound in inbox:
            try:
                take(inbound.peer_id, inbound.payload)
            except (WireError, PeerFault) as fault:
                self._blame(inbound.peer_id, fault)

    async def _read_transactions(self, inbox: trio.MemoryReceiveChannel[Inbound]) -> None:
        async for inbound in inbox:
            try:
                await self._mempool.receive(inbound.peer_id, inbound.payload)
            except (WireError, PeerFault) as fault:
                self._blame(inbound.peer_id, fault)

    def _take_message(self, engine: ConsensusReceiver, peer: str, data: bytes) -> None:
        message = decode_message(data)
        if isinstance(message, RoundState):
            self._stands[peer] = message
            if len(self._stands) > PEERS_REMEMBERED_MAX:  # messages of peers that were gone when they were read
                connected = {each.peer_id for each in self._host.peers()} if self._host is not None else set()
                self._stands = {name: said for name, said in self._stands.items() if name in connected}
            for callback in self._peer_stands:
                callback(peer, message.height)
        engine.receive(peer, message)

    def _take_chunk(self, engine: ConsensusReceiver, peer: str, data: bytes) -> None:
        block = self._assembler.take(peer, data)
        if block is not None:
            engine.receive_block(peer, block)

    def _blame(self, peer: str, fault: Exception) -> None:
        if self._host is not None:
            self._host.report_fault(peer, fault, WEIGHT_GRAVE)

    def _frames(self, block: Block) -> list[bytes]:
        frames = self._encoded.get(block.hash)
        if frames is None:
            frames = self._encoded[block.hash] = list(block_chunks.split(block))
            while len(self._encoded) > BLOCKS_ENCODED_KEPT:
                self._encoded.popitem(last=False)
        return frames


class Inboxes:
    """The host's inboxes, one per channel, so that blocks and transactions never hold up votes. Open them before it runs."""

    def __init__(self, host: Host) -> None:
        self.consensus = host.open_inbox(CONSENSUS_CHANNEL)
        self.blocks = host.open_inbox(BLOCK_CHANNEL)
        self.transactions = host.open_inbox(TX_CHANNEL)


def _precedence(message: ConsensusMessage) -> tuple[int, Hashable | None]:
    """(priority, drop key) on the consensus channel."""
    match message:
        case Vote():
            return 3, ("vote", message.kind, message.height, message.round, message.validator, message.block_hash)
        case Proposal():
            return 3, ("proposal", message.height, message.round, message.block_hash, message.valid_round)
        case Commit():
            return 2, ("commit", message.height)
        case BlockRequest():
            return 2, ("request", message.block_hash)
        case DuplicateVote() | DuplicateProposal():
            return 2, ("evidence", message.offender)
        case RoundState():
            return 1, "round state"


def _address(identity: bytes) -> Address | None:
    if len(identity) not in (0, 20):
        raise LocalError("a peer's identity is an address or nothing")
    return Address(identity) if identity else None

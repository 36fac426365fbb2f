"""The life of every connection: dialed or accepted, upgraded, greeted, settled, served, closed.

    TCP -> Noise -> yamux -> hello -> a place in the table -> channels and requests -> closed

Until a connection is settled it holds a pending place, of which there are few: one more pushes the oldest out, so that silent
connections can't keep honest ones away. Each step has a time-out. Streams other than the hello wait until it has passed.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import trio

from genesis.errors import LocalError
from genesis.limits import HANDSHAKE_BYTES_MAX
from p2p import requests
from p2p.address import Address, address_of_socket
from p2p.config import HELLO_PROTOCOL, HostConfig
from p2p.connection import Connection, upgrade_inbound, upgrade_outbound
from p2p.faults import ConnectionLost, NotKept, PeerTooSlow, ProtocolFault, reason_of, weight_of
from p2p.hello import Greeting, exchange_hello
from p2p.identity import Identity
from p2p.info import Inbound, PeerInfo
from p2p.peer import Peer
from p2p.scores import ScoreBook
from p2p.settling import PeerTable
from p2p.stream import Stream
from p2p.supervision import guarded
from p2p.tcp import BufferedSocket

logger = logging.getLogger(__name__)


class Switch:
    """Every connection of one host. It is the `StreamServer` of each of them."""

    def __init__(
        self,
        config: HostConfig,
        identity: Identity,
        instance: bytes,
        hello: Callable[[], bytes],
        check_hello: Callable[[str, bytes], bytes],
        inboxes: Mapping[str, trio.MemorySendChannel[Inbound]],
        on_peer_up: Callable[[PeerInfo], None] | None,
        on_peer_down: Callable[[str], None] | None,
    ) -> None:
        self.limits = config.limits
        self.own_peer_id = identity.peer_id
        self.known: dict[str, Address] = {}
        self.scores = ScoreBook(config.limits.ban_s_first)
        self.table = PeerTable(identity.peer_id, config.limits, self._score)
        self.servers: dict[str, requests.Server] = {}
        self._channels = {channel.name: channel for channel in config.channels}
        self._identity = identity
        self._instance = instance
        self._hello = hello
        self._check_hello = check_hello
        self._inboxes = inboxes
        self._on_peer_up = on_peer_up
        self._on_peer_down = on_peer_down
        self._pending: dict[trio.CancelScope, None] = {}  # oldest first

    # ------------------------------------------------------------ what the host asks

    async def run_inbound(self, stream: trio.SocketStream) -> None:
        """Carry an accepted connection to its end. Raises FatalError only."""
        socket = BufferedSocket(stream)

        async def work() -> None:
            remote = socket.remote()
            if remote is None:
                return
            with self._pending_place() as place:
                channel = await upgrade_inbound(socket, self._identity, self.limits.upgrade_timeout_s)
                address = address_of_socket(*remote, channel.peer_id)
                await self._run_connection(Connection(channel, address, "inbound", self, self.limits), place)

        try:
            await guarded(work, "an inbound connection")
        finally:
            socket.close()

    async def run_outbound(self, address: Address) -> Exception | None:
        """Dial, and carry the connection to its end; returns what ended it. Raises FatalError only."""
        peer_id = address.peer_id or ""

        async def work() -> None:
            stream = await self._dial(address)
            socket = BufferedSocket(stream)
            try:
                channel = await upgrade_outbound(socket, self._identity, peer_id, self.limits.upgrade_timeout_s)
                await self._run_connection(Connection(channel, address, "outbound", self, self.limits), None)
            finally:
                socket.close()

        return await guarded(work, f"the connection to {address}")

    def report_fault(self, peer_id: str, fault: Exception, weight: float) -> None:
        """Count a fault; a peer that it gets banned is disconnected."""
        if weight <= 0:
            return
        logger.info("peer %s: %s (fault, %g points)", peer_id, fault, weight)
        now_s = trio.current_time()
        if self.scores.add(peer_id, weight, now_s):
            logger.warning("peer %s is banned for %d s: %s", peer_id, self.scores.ban_left_s(peer_id, now_s), fault)
            if (peer := self.table.peers.get(peer_id)) is not None:
                peer.connection.close()

    def info(self, peer: Peer) -> PeerInfo:
        """A peer as shown to others."""
        muxer = peer.connection.muxer
        return PeerInfo(
            peer_id=peer.peer_id,
            address=str(peer.connection.address),
            direction=peer.connection.direction,
            identity=peer.greeting.identity,
            channels=tuple(peer.queues),
            protected=peer.peer_id in self.table.protected,
            score=self._score(peer.peer_id),
            rtt_ms=None if muxer.rtt_s == math.inf else muxer.rtt_s * 1000,
            bytes_in=muxer.bytes_in,
            bytes_out=muxer.bytes_out,
            dropped=peer.dropped,
        )

    # ------------------------------------------------------------ StreamServer

    def protocols(self) -> Collection[str]:
        return (HELLO_PROTOCOL, *self._channels, *self.servers)

    async def serve(self, connection: Connection, protocol: str, stream: Stream) -> bool:
        if protocol == HELLO_PROTOCOL:
            connection.take_hello(stream)
            return True
        with trio.move_on_after(self.limits.hello_timeout_s):
            await connection.settled.wait()
        if not connection.settled.is_set():
            raise ProtocolFault(f"{protocol} before the hello")
        peer = self.table.peers.get(connection.peer_id)
        if peer is None or peer.connection is not connection:
            raise ConnectionLost("another connection took the place of this one")
        if protocol in self._channels:
            peer.attach(protocol, stream)
            return True
        await requests.serve(peer, self.servers[protocol], stream, self.limits)
        return False

    def blame(self, peer_id: str, error: Exception) -> None:
        self.report_fault(peer_id, error, weight_of(error))

    # ------------------------------------------------------------ one connection

    async def _dial(self, address: Address) -> trio.SocketStream:
        with trio.move_on_after(self.limits.dial_timeout_s):
            try:
                return await trio.open_tcp_stream(address.host, address.port)
            except OSError as error:
                raise ConnectionLost(f"cannot reach {address}: {reason_of(error)}") from None
        raise ConnectionLost(f"{address} did not answer in {self.limits.dial_timeout_s:g} s")

    @contextmanager
    def _pending_place(self) -> Iterator[trio.CancelScope]:
        while len(self._pending) >= self.limits.pending_max:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            oldest.cancel()
        with trio.CancelScope() as place:
            self._pending[place] = None
            try:
                yield place
            finally:
                self._pending.pop(place, None)

    async def _run_connection(self, connection: Connection, place: trio.CancelScope | None) -> None:
        """From the hello to the end. Raises what ended it, having counted it against the peer."""
        error: Exception | None = None
        with connection.scope:
            error = await guarded(lambda: self._greet_and_carry(connection, place), f"peer {connection.peer_id}")
        if connection.settled.is_set():
            logger.info("peer %s disconnected: %s", connection.peer_id, error or "closed here")
        if error is not None:
            self.blame(connection.peer_id, error)
            raise error

    async def _greet_and_carry(self, connection: Connection, place: trio.CancelScope | None) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            try:
                greeting = await self._greet(connection)
                if place is not None:
                    self._pending.pop(place, None)
                await self._carry(connection, greeting)
            finally:
                nursery.cancel_scope.cancel()

    async def _greet(self, connection: Connection) -> Greeting:
        def check(instance: bytes, payload: bytes) -> bytes:
            ban_left_s = self.scores.ban_left_s(connection.peer_id, trio.current_time())
            if ban_left_s > 0:
                raise NotKept(f"banned for {ban_left_s:.0f} s more")
            identity = self._check_hello(connection.peer_id, payload)
            self.table.check(connection.peer_id, connection.direction, instance)
            return identity

        own = self._hello()
        if len(own) > HANDSHAKE_BYTES_MAX:
            raise LocalError(f"this node's hello has {len(own)} bytes; at most {HANDSHAKE_BYTES_MAX} are allowed")
        with trio.move_on_after(self.limits.hello_timeout_s):
            if connection.direction == "outbound":
                stream = await connection.open_stream(HELLO_PROTOCOL)
            else:
                stream = await connection.hello_stream()
            return await exchange_hello(stream, self._instance, own, check)
        raise PeerTooSlow(f"no hello within {self.limits.hello_timeout_s:g} s")

    async def _carry(self, connection: Connection, greeting: Greeting) -> None:
        peer = Peer(connection, greeting, tuple(self._channels.values()), self._inboxes, self.limits)
        try:
            replaced = self.table.settle(peer)
            if replaced is not None:
                self._close(replaced)
            connection.settle()
            if self._on_peer_up is not None:
                self._on_peer_up(self.info(peer))
            logger.info("peer %s connected, %s, %s", peer.peer_id, connection.direction, connection.address)
            await peer.run()
        finally:
            peer.closed.set()
            if self.table.remove(peer):
                self._tell_down(peer)

    def _close(self, peer: Peer) -> None:
        """End a peer whose place was given to another."""
        peer.connection.close()
        self._tell_down(peer)

    def _tell_down(self, peer: Peer) -> None:
        if self._on_peer_down is not None:
            self._on_peer_down(peer.peer_id)

    def _score(self, peer_id: str) -> float:
        return self.scores.score(peer_id, trio.current_time())

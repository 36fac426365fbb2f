"""One connection: TCP → Noise → yamux, nothing else is offered, and the streams that the peer opens on it."""

import logging
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import trio

from p2p import multistream, noise, yamux
from p2p.address import Address
from p2p.config import Limits
from p2p.faults import ConnectionLost, PeerTooSlow, ProtocolFault
from p2p.identity import Identity
from p2p.info import Direction
from p2p.muxer import Muxer
from p2p.stream import Stream
from p2p.supervision import guarded
from p2p.tcp import BufferedSocket

logger = logging.getLogger(__name__)

_STREAMS_BEFORE_HELLO: Final = 8
"""The hello, and what a dialer opens at once after its end of it."""


class StreamServer(Protocol):
    """Who gets the streams that a peer opens."""

    def protocols(self) -> Collection[str]:
        """What a peer may ask for."""
        ...

    async def serve(self, connection: "Connection", protocol: str, stream: Stream) -> bool:
        """Serve a stream; True if it is kept in use after the return (else it is reset)."""
        ...

    def blame(self, peer_id: str, error: Exception) -> None:
        """A stream of the peer ended with this error."""
        ...


class Connection:
    """An encrypted, multiplexed connection to one authenticated peer."""

    def __init__(
        self, channel: noise.SecureChannel, address: Address, direction: Direction, server: StreamServer, limits: Limits
    ) -> None:
        self.peer_id = channel.peer_id
        self.address = address
        self.direction: Direction = direction
        self.scope = trio.CancelScope()
        """Cancel it to close the connection."""
        self.settled = trio.Event()
        """Set once the hello was good."""
        self.muxer = Muxer(
            channel,
            is_dialer=direction == "outbound",
            on_stream=self._on_stream,
            inbound_streams_max=_STREAMS_BEFORE_HELLO,
            ping_interval_s=limits.ping_interval_s,
            silence_s_max=limits.silence_s_max,
        )
        self._server = server
        self._limits = limits
        self._nursery: trio.Nursery | None = None
        self._hello: Stream | None = None
        self._hello_came = trio.Event()

    async def run(self) -> None:
        """Carry streams until the connection ends, which is always an exception: ConnectionLost or ProtocolFault."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self.muxer.run()
        finally:
            self._nursery = None

    async def open_stream(self, protocol: str, *, urgent: bool = False, window_bytes: int = 0) -> Stream:
        """A stream that speaks `protocol`. Raises ConnectionLost, ProtocolFault, PeerTooSlow."""
        stream = self.muxer.open()
        stream.urgent = urgent
        try:
            with trio.move_on_after(self._limits.negotiate_timeout_s):
                await multistream.propose(stream, protocol)
                stream.widen(window_bytes)
                return stream
            raise PeerTooSlow(f"no agreement on {protocol} in {self._limits.negotiate_timeout_s:g} s")
        except BaseException:
            stream.reset()
            raise

    def take_hello(self, stream: Stream) -> None:
        """The peer opened the hello stream. Raises ProtocolFault if that was not its to do, or done already."""
        if self.direction == "outbound" or self._hello is not None:
            raise ProtocolFault("a second hello")
        self._hello = stream
        self._hello_came.set()

    async def hello_stream(self) -> Stream:
        """The hello stream that the dialer opens."""
        while self._hello is None:
            await self._hello_came.wait()
        return self._hello

    def settle(self) -> None:
        """The hello was good: other streams are served from now on."""
        self.muxer.session.inbound_streams_max = self._limits.inbound_streams_max
        self.settled.set()

    def close(self) -> None:
        """Ask for the end of the connection; returns at once."""
        self.scope.cancel()

    def _on_stream(self, stream: Stream) -> None:
        if self._nursery is None:
            stream.reset()
        else:
            self._nursery.start_soon(self._serve_guarded, stream)

    async def _serve_guarded(self, stream: Stream) -> None:
        kept = False

        async def work() -> None:
            nonlocal kept
            protocol = None
            with trio.move_on_after(self._limits.negotiate_timeout_s):
                protocol = await multistream.answer(stream, self._server.protocols())
            if protocol is None:
                raise PeerTooSlow("a stream that asks for no protocol")
            kept = await self._server.serve(self, protocol, stream)

        try:
            error = await guarded(work, f"a stream of {self.peer_id}")
            if error is not None:
                self._server.blame(self.peer_id, error)
        finally:
            if not kept:
                stream.reset()


async def upgrade_outbound(
    socket: BufferedSocket, identity: Identity, peer_id: str, timeout_s: float
) -> noise.SecureChannel:
    """As the dialer: prove who we are, see `peer_id` proven. Raises ConnectionLost, ProtocolFault, PeerTooSlow."""

    async def upgrade() -> noise.SecureChannel:
        await multistream.propose(socket, noise.PROTOCOL)
        channel = await noise.secure(socket, identity, peer_id)
        await multistream.propose(channel, yamux.PROTOCOL)
        return channel

    return await _in_time(upgrade, timeout_s)


async def upgrade_inbound(socket: BufferedSocket, identity: Identity, timeout_s: float) -> noise.SecureChannel:
    """As the listener. Raises ConnectionLost, ProtocolFault, PeerTooSlow."""

    async def upgrade() -> noise.SecureChannel:
        await multistream.answer(socket, (noise.PROTOCOL,))
        channel = await noise.secure(socket, identity, None)
        await multistream.answer(channel, (yamux.PROTOCOL,))
        return channel

    return await _in_time(upgrade, timeout_s)


async def _in_time(upgrade: Callable[[], Awaitable[noise.SecureChannel]], timeout_s: float) -> noise.SecureChannel:
    with trio.move_on_after(timeout_s):
        return await upgrade()
    raise ConnectionLost(f"no encrypted connection after {timeout_s:g} s")

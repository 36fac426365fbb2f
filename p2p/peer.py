"""One settled peer: a long-lived stream per channel, each with its queue, one writer and one reader.

The dialer opens the streams right after the hello; the listener waits for them. All must come within a time-out and live as
long as the connection: the end of one is the end of the connection (both sides redial).

Back-pressure: a reader hands each message to the inbox and reads on once it was taken. Inboxes have no buffer of their own
and serve waiting readers in turn, so a peer that sends a flood waits, as its window and then its own queue fill up, and no
other peer waits for it.
"""

from collections.abc import Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from p2p.config import Channel, Limits
from p2p.faults import ConnectionLost, PeerTooSlow, ProtocolFault
from p2p.frames import FrameReader, encode_frame
from p2p.hello import Greeting
from p2p.info import Inbound
from p2p.queue import OutgoingQueue
from p2p.stream import Stream

if TYPE_CHECKING:  # it brings libp2p in
    from p2p.connection import Connection

COALESCE_BYTES: Final = 48 * 1024


class Peer:
    """A peer after a good hello."""

    def __init__(
        self,
        connection: "Connection",
        greeting: Greeting,
        channels: tuple[Channel, ...],
        inboxes: Mapping[str, trio.MemorySendChannel[Inbound]],
        limits: Limits,
    ) -> None:
        self.peer_id = connection.peer_id
        self.connection = connection
        self.greeting = greeting
        self.queues = {channel.name: OutgoingQueue() for channel in channels}
        self.closed = trio.Event()
        self.serving = trio.CapacityLimiter(limits.requests_per_peer)
        self.asking = trio.CapacityLimiter(limits.requests_to_peer)
        self._channels = {channel.name: channel for channel in channels}
        self._inboxes = inboxes
        self._limits = limits
        self._streams: dict[str, Stream] = {}
        self._all_attached = trio.Event()

    def put(self, channel: str, payload: bytes, priority: int, drop_key: Hashable | None) -> bool:
        """Queue a message; never blocks. True if it was taken."""
        return self.queues[channel].put(payload, priority, drop_key)

    def attach(self, channel: str, stream: Stream) -> None:
        """The peer opened a channel's stream. Raises ProtocolFault if that was not its to do, or done already."""
        if self.connection.direction == "outbound":
            raise ProtocolFault("a channel opened by the listener; the dialer opens them")
        self._attach(channel, stream)

    async def run(self) -> None:
        """Carry messages until something ends, which is always an exception: a PeerFault or WireError."""
        await self._connect_channels()
        async with trio.open_nursery() as nursery:
            for name, stream in self._streams.items():
                nursery.start_soon(self._write_forever, name, stream)
                nursery.start_soon(self._read_forever, name, stream)

    @property
    def dropped(self) -> int:
        """Messages that the queues gave up since the peer connected."""
        return sum(queue.dropped for queue in self.queues.values())

    async def _connect_channels(self) -> None:
        if self.connection.direction == "outbound":
            async with trio.open_nursery() as nursery:
                for channel in self._channels.values():
                    nursery.start_soon(self._open, channel)
        with trio.move_on_after(self._limits.hello_timeout_s):
            await self._all_attached.wait()
            return
        raise PeerTooSlow(f"channels still missing after {self._limits.hello_timeout_s:g} s")

    async def _open(self, channel: Channel) -> None:
        self._attach(channel.name, await self.connection.open_stream(channel.name, urgent=channel.urgent))

    def _attach(self, name: str, stream: Stream) -> None:
        if name in self._streams:
            raise ProtocolFault(f"channel {name} opened twice")
        stream.urgent = self._channels[name].urgent
        stream.widen(self._channels[name].window_bytes)
        self._streams[name] = stream
        if len(self._streams) == len(self._channels):
            self._all_attached.set()

    async def _write_forever(self, name: str, stream: Stream) -> None:
        queue = self.queues[name]
        encode = partial(encode_frame, size_max=self._channels[name].frame_bytes_max)
        while True:
            await queue.wait()
            frames = b"".join(map(encode, queue.take_batch(COALESCE_BYTES)))
            with trio.move_on_after(self._limits.write_stall_s_max) as stall:
                await stream.write(frames)
            if stall.cancelled_caught:
                raise PeerTooSlow(f"the peer did not read {name} for {self._limits.write_stall_s_max:g} s")

    async def _read_forever(self, name: str, stream: Stream) -> None:
        reader = FrameReader(stream, self._channels[name].frame_bytes_max, self._limits.frame_timeout_s)
        inbox = self._inboxes[name]
        while True:
            payload = await reader.read()
            if payload is None:
                raise ConnectionLost(f"the peer ended {name}")
            try:
                await inbox.send(Inbound(self.peer_id, name, payload))
            except trio.BrokenResourceError:
                await trio.lowlevel.checkpoint()  # nobody reads this inbox any more: what comes is dropped

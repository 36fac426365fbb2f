"""A connection's streams on trio: drives `yamux.Session` with an encrypted channel, a clock and three tasks.

- One task writes to the channel. A stream's writer hands it whole frames, and may be cancelled at any time without harm to
  the connection.
- A ping goes out every few seconds. No bytes for `silence_s_max`, or no answers for longer: the connection is closed.
"""

import math
from collections.abc import Callable
from typing import Final, Protocol, assert_never

import trio

from p2p.faults import ConnectionLost
from p2p.stream import Stream
from p2p.supervision import simplest
from p2p.yamux import (
    BATCH_BYTES,
    FRAME_DATA_BYTES,
    CreditReceived,
    DataReceived,
    Event,
    PingAnswered,
    Session,
    StreamFinished,
    StreamOpened,
    StreamReset,
)

_UNANSWERED_FACTOR: Final = 3


class Transport(Protocol):
    """What the muxer needs below itself."""

    async def receive(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class Muxer:
    """The streams of one connection. It is the `StreamPort` of each of them."""

    def __init__(
        self,
        transport: Transport,
        *,
        is_dialer: bool,
        on_stream: Callable[[Stream], None],
        inbound_streams_max: int = 32,
        ping_interval_s: float = 3.0,
        silence_s_max: float = 10.0,
    ) -> None:
        """`on_stream` is called with each stream that the peer opens; it must not block or raise."""
        self.rtt_s = math.inf
        self.bytes_in = 0
        self.bytes_out = 0
        self.streams: dict[int, Stream] = {}
        """Those on which either end may still send."""
        self.session: Final = Session(is_dialer=is_dialer, inbound_streams_max=inbound_streams_max)
        self._transport = transport
        self._on_stream = on_stream
        self._ping_interval_s = ping_interval_s
        self._silence_s_max = silence_s_max
        self._error: str | None = None
        self._work = trio.Event()
        """Set when there is something to send."""
        self._room = trio.lowlevel.ParkingLot()
        """Where writers wait until less is queued."""
        self._heard_at = -math.inf
        self._ping_id = 0
        self._ping_sent_at = -math.inf
        self._answered_at = -math.inf

    async def run(self) -> None:
        """Carry bytes until the connection ends, which is always an exception: ConnectionLost or ProtocolFault."""
        self._heard_at = self._answered_at = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive_forever)
                nursery.start_soon(self._send_forever)
                nursery.start_soon(self._ping_forever)
        except Exception as error:
            cause = simplest(error)
            self.close(str(cause))
            raise cause from None
        finally:
            self.close()

    def open(self) -> Stream:
        """A new stream to the peer. Raises ConnectionLost if the connection has ended."""
        if self._error is not None:
            raise ConnectionLost(self._error)
        stream = self._add(self.session.open())
        self._work.set()
        return stream

    def close(self, reason: str = "the connection was closed here") -> None:
        """End every stream and close the connection, at once."""
        if self._error is None:
            self._error = reason
        for stream in self.streams.values():
            stream.fail(self._error)
        self.streams.clear()
        self._room.unpark_all()
        self._transport.close()

    def feed(self, data: bytes) -> None:
        """Take in bytes of the peer. Raises ProtocolFault or ConnectionLost; the connection is then to be closed."""
        self.bytes_in += len(data)
        for event in self.session.receive(data):
            self._handle(event)
        self._work.set()

    # ------------------------------------------------------------ StreamPort

    async def wait_sendable(self, stream: Stream) -> int:
        while stream.error is None and not stream.finished_here:
            count = self.session.sendable(stream.stream_id)
            if count <= 0:
                await stream.writable.park()
            elif self.session.queued(urgent=stream.urgent) >= BATCH_BYTES:
                await self._room.park()
            else:
                return min(count, FRAME_DATA_BYTES)
        return 0

    def send(self, stream: Stream, data: bytes) -> None:
        self.session.send(stream.stream_id, data, urgent=stream.urgent)
        self._work.set()

    def finish(self, stream: Stream) -> None:
        self.session.finish(stream.stream_id, urgent=stream.urgent)
        if stream.finished_by_peer:
            self.streams.pop(stream.stream_id, None)
        self._work.set()

    def reset(self, stream: Stream) -> None:
        self.streams.pop(stream.stream_id, None)
        if self._error is None:
            self.session.reset(stream.stream_id)
            self._room.unpark_all()
            self._work.set()

    def consumed(self, stream: Stream, count: int) -> None:
        if self._error is None and stream.error is None:
            self.session.consumed(stream.stream_id, count)
            self._work.set()

    def widen(self, stream: Stream, window_bytes: int) -> None:
        self.session.widen(stream.stream_id, window_bytes)
        self._work.set()

    # ------------------------------------------------------------ events

    def _add(self, stream_id: int) -> Stream:
        stream = self.streams[stream_id] = Stream(self, stream_id)
        return stream

    def _handle(self, event: Event) -> None:
        match event:
            case StreamOpened():
                self._on_stream(self._add(event.stream_id))
            case PingAnswered():
                if event.ping_id == self._ping_id and self._ping_sent_at > self._answered_at:
                    self._answered_at = trio.current_time()
                    self.rtt_s = self._answered_at - self._ping_sent_at
            case DataReceived() | CreditReceived() | StreamFinished() | StreamReset():
                stream = self.streams.get(event.stream_id)
                if stream is not None:  # else it was reset here, by what an earlier event led to
                    self._handle_on(stream, event)
            case _:
                assert_never(event)

    def _handle_on(self, stream: Stream, event: DataReceived | CreditReceived | StreamFinished | StreamReset) -> None:
        match event:
            case DataReceived():
                stream.take_in(event.data)
            case CreditReceived():
                stream.writable.unpark_all()
            case StreamFinished():
                stream.end_by_peer()
                if stream.finished_here:
                    del self.streams[stream.stream_id]
            case StreamReset():
                del self.streams[stream.stream_id]
                stream.fail("the peer reset the stream")
                self._room.unpark_all()
            case _:
                assert_never(event)

    # ------------------------------------------------------------ the tasks of `run`

    async def _receive_forever(self) -> None:
        while True:
            data = await self._transport.receive()
            self._heard_at = trio.current_time()
            self.feed(data)

    async def _send_forever(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while batch := self.session.next_batch():
                await self._transport.write(batch)
                self.bytes_out += len(batch)
                self._room.unpark_all()

    async def _ping_forever(self) -> None:
        while True:
            now = trio.current_time()
            if now - self._heard_at > self._silence_s_max:
                raise ConnectionLost(f"the peer was silent for {self._silence_s_max:g} s")
            if now - self._answered_at > self._silence_s_max * _UNANSWERED_FACTOR:
                raise ConnectionLost("the peer leaves pings unanswered")
            if self._ping_sent_at <= self._answered_at:
                self._ping_id = self.session.ping()
                self._ping_sent_at = now
                self._work.set()
            await trio.sleep(self._ping_interval_s)

"""yamux 1.0: many streams on one connection, each with its own window.

The rules (https://github.com/hashicorp/yamux/blob/master/spec.md), and what is made of them here:

- A frame is version 0, type, flags, stream id, length; 12 bytes. The dialer opens odd streams, the listener even ones.
- A peer may send as many DATA bytes on a stream as it has window. One byte more and the connection is closed before the
  bytes are kept, so a stream never holds more than its window, and a connection never more than streams x window.
- Credit goes back when half the window was read, not with every read.
- Handling a frame never waits: what must be sent goes to a bounded queue. So two ends can't block each other.
- One task writes to the socket. `Stream.write` hands it whole frames, and may be cancelled at any time without harm to the
  connection (the stream itself should then be reset).
- Urgent streams (votes) are written before others (blocks); a vote waits for at most one batch of 64 KiB.
- A ping goes out every few seconds. No bytes for `silence_s_max`, or no answers for longer: the connection is closed.

`Muxer.feed` is the whole receiving side, without IO: bytes in, state changed, or `ProtocolFault`.
"""

import math
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.stream import INITIAL_WINDOW_BYTES, Stream
from p2p.supervision import simplest

PROTOCOL: Final = "/yamux/1.0.0"
HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

BATCH_BYTES: Final = 64 * 1024
_CONTROL_FRAMES_MAX: Final = 1024
_REFUSED_STREAMS_MAX: Final = 1024
_UNANSWERED_FACTOR: Final = 3


class Transport(Protocol):
    """What the muxer needs below itself."""

    async def receive(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class Muxer:
    """The streams of one connection."""

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
        self._transport = transport
        self._on_stream = on_stream
        self.inbound_streams_max = inbound_streams_max
        self._ping_interval_s = ping_interval_s
        self._silence_s_max = silence_s_max
        self._next_id = 1 if is_dialer else 2
        self._inbound_streams = 0
        self._refused_streams = 0
        self._stray_bytes_allowed = 0
        self._error: str | None = None
        # the receiving side
        self._header = bytearray()
        self._body_left = 0
        self._body_stream: Stream | None = None
        # the sending side
        self._control: deque[bytes] = deque()
        self._queues: dict[bool, deque[tuple[int, bytes]]] = {True: deque(), False: deque()}
        self._queued_bytes = {True: 0, False: 0}
        self._room = {True: trio.lowlevel.ParkingLot(), False: trio.lowlevel.ParkingLot()}
        self._work = trio.Event()
        # keep-alive
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
        stream = Stream(self, self._next_id)
        self._next_id += 2
        self.streams[stream.stream_id] = stream
        self._send_control(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    def close(self, reason: str = "the connection was closed here") -> None:
        """End every stream and close the connection, at once."""
        if self._error is None:
            self._error = reason
        for stream in self.streams.values():
            stream.fail(self._error)
        self.streams.clear()
        for lot in self._room.values():
            lot.unpark_all()
        self._transport.close()

    # ------------------------------------------------------------ receiving

    def feed(self, data: bytes) -> None:
        """Take in bytes of the peer. Raises ProtocolFault or ConnectionLost; the connection is then to be closed."""
        view, position = memoryview(data), 0
        while position < len(view):
            if self._body_left:
                count = min(self._body_left, len(view) - position)
                self._body_left -= count
                if self._body_stream is not None and self._body_stream.error is None:
                    self._body_stream.take_in(bytes(view[position : position + count]))
                position += count
                if not self._body_left:
                    self._finish_body()
                continue
            count = min(HEADER.size - len(self._header), len(view) - position)
            self._header += view[position : position + count]
            position += count
            if len(self._header) == HEADER.size:
                version, kind, flags, stream_id, length = HEADER.unpack(self._header)
                self._header.clear()
                if version != 0:
                    raise ProtocolFault(f"yamux version {version}")
                self._handle(kind, flags, stream_id, length)

    def _handle(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        if kind == PING:
            self._handle_ping(flags, length)
        elif kind == GO_AWAY:
            raise ConnectionLost("the peer said good-bye")
        elif kind in (DATA, WINDOW_UPDATE):
            if flags & SYN:
                self._handle_open(stream_id)
            stream = self.streams.get(stream_id)
            if kind == DATA:
                self._handle_data(stream, flags, length)
            else:
                if stream is not None:
                    stream.add_credit(length)
                self._handle_end(stream, flags)
        else:
            raise ProtocolFault(f"yamux frame type {kind}")

    def _handle_open(self, stream_id: int) -> None:
        if stream_id % 2 == self._next_id % 2 or stream_id == 0:
            raise ProtocolFault(f"the peer opens stream {stream_id}, which is not its to open")
        if stream_id in self.streams:
            raise ProtocolFault(f"the peer opens stream {stream_id} twice")
        if self._inbound_streams >= self.inbound_streams_max:
            self._refused_streams += 1
            if self._refused_streams > _REFUSED_STREAMS_MAX:
                raise ProtocolFault(f"the peer keeps opening streams beyond its {self.inbound_streams_max}")
            self._stray_bytes_allowed += INITIAL_WINDOW_BYTES
            self._send_control(WINDOW_UPDATE, RST, stream_id, 0)
            return
        stream = Stream(self, stream_id)
        self.streams[stream_id] = stream
        self._inbound_streams += 1
        self._send_control(WINDOW_UPDATE, ACK, stream_id, 0)
        self._on_stream(stream)

    def _handle_data(self, stream: Stream | None, flags: int, length: int) -> None:
        if stream is None:
            if length > self._stray_bytes_allowed:
                raise ProtocolFault("data on a stream that is not open")
            self._stray_bytes_allowed -= length
        elif stream.ended_by_peer and length:
            raise ProtocolFault("data after the end of a stream")
        elif length > stream.receive_window:
            raise ProtocolFault(f"the peer sends {length} bytes into a window of {stream.receive_window}")
        else:
            stream.receive_window -= length
        if length:
            self._body_left, self._body_stream, self._body_flags = length, stream, flags
        else:
            self._handle_end(stream, flags)

    def _finish_body(self) -> None:
        stream, self._body_stream = self._body_stream, None
        self._handle_end(stream, self._body_flags)

    def _handle_end(self, stream: Stream | None, flags: int) -> None:
        if stream is None or stream.error is not None:
            return
        if flags & RST:
            stream.fail("the peer reset the stream")
            self._forget(stream)
            self._unqueue(stream)
        elif flags & FIN:
            stream.end_by_peer()
            if stream.ended_here:
                self._forget(stream)

    def _handle_ping(self, flags: int, ping_id: int) -> None:
        if flags & SYN:
            self._send_control(PING, ACK, 0, ping_id)
        elif flags & ACK and ping_id == self._ping_id and self._ping_sent_at > self._answered_at:
            self._answered_at = trio.current_time()
            self.rtt_s = self._answered_at - self._ping_sent_at

    def _forget(self, stream: Stream) -> None:
        if self.streams.pop(stream.stream_id, None) is not None and stream.stream_id % 2 != self._next_id % 2:
            self._inbound_streams -= 1

    # ------------------------------------------------------------ sending

    def send_data(self, stream: Stream, data: bytes) -> None:
        """Queue one DATA frame; the caller has waited for room and taken it from the window."""
        frame = HEADER.pack(0, DATA, 0, stream.stream_id, len(data)) + data
        self._queues[stream.urgent].append((stream.stream_id, frame))
        self._queued_bytes[stream.urgent] += len(frame)
        self._work.set()

    def send_end(self, stream: Stream) -> None:
        # behind the stream's data, so through the same queue
        frame = HEADER.pack(0, WINDOW_UPDATE, FIN, stream.stream_id, 0)
        self._queues[stream.urgent].append((stream.stream_id, frame))
        self._queued_bytes[stream.urgent] += len(frame)
        self._work.set()
        if stream.ended_by_peer:
            self._forget(stream)

    def send_reset(self, stream: Stream) -> None:
        self._stray_bytes_allowed += stream.receive_window
        self._forget(stream)
        self._unqueue(stream)
        if self._error is None:
            self._send_control(WINDOW_UPDATE, RST, stream.stream_id, 0)

    def _unqueue(self, stream: Stream) -> None:
        """Drop what waits to be sent on a dead stream: behind the reset it would be data on a stream that is not open."""
        queue = self._queues[stream.urgent]
        kept = [(stream_id, frame) for stream_id, frame in queue if stream_id != stream.stream_id]
        if len(kept) < len(queue):
            self._queues[stream.urgent] = deque(kept)
            self._queued_bytes[stream.urgent] = sum(len(frame) for _, frame in kept)
            self._wake_writers()

    def send_credit(self, stream: Stream, count: int) -> None:
        if self._error is None:
            self._send_control(WINDOW_UPDATE, 0, stream.stream_id, count)

    async def wait_for_room(self, stream: Stream) -> None:
        """Return when fewer than a batch of bytes of this urgency waits to be sent, or the stream has ended."""
        if self._queued_bytes[stream.urgent] < BATCH_BYTES:
            return
        while self._queued_bytes[stream.urgent] >= BATCH_BYTES and stream.error is None:
            await self._room[stream.urgent].park()

    def _wake_writers(self) -> None:
        for urgent, lot in self._room.items():
            if self._queued_bytes[urgent] < BATCH_BYTES:
                lot.unpark_all()

    def _send_control(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        if len(self._control) >= _CONTROL_FRAMES_MAX:
            raise ProtocolFault("the peer asks for answers and does not read them")
        self._control.append(HEADER.pack(0, kind, flags, stream_id, value))
        self._work.set()

    def _next_batch(self) -> bytes:
        batch = list(self._control)
        self._control.clear()
        size = HEADER.size * len(batch)
        for urgent in (True, False):
            queue = self._queues[urgent]
            while queue and size < BATCH_BYTES:
                _, frame = queue.popleft()
                self._queued_bytes[urgent] -= len(frame)
                batch.append(frame)
                size += len(frame)
        return b"".join(batch)

    # ------------------------------------------------------------ the tasks of `run`

    async def _receive_forever(self) -> None:
        while True:
            data = await self._transport.receive()
            self._heard_at = trio.current_time()
            self.bytes_in += len(data)
            self.feed(data)

    async def _send_forever(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while batch := self._next_batch():
                await self._transport.write(batch)
                self.bytes_out += len(batch)
                self._wake_writers()

    async def _ping_forever(self) -> None:
        while True:
            now = trio.current_time()
            if now - self._heard_at > self._silence_s_max:
                raise ConnectionLost(f"the peer was silent for {self._silence_s_max:g} s")
            if now - self._answered_at > self._silence_s_max * _UNANSWERED_FACTOR:
                raise ConnectionLost("the peer leaves pings unanswered")
            if self._ping_sent_at <= self._answered_at:
                self._ping_id = (self._ping_id + 1) % (1 << 32)
                self._ping_sent_at = now
                self._send_control(PING, SYN, 0, self._ping_id)
            await trio.sleep(self._ping_interval_s)

"""yamux 1.0 without IO: the peer's bytes in, events out; calls in, bytes to send out. No clock, no task, no socket.

The rules (https://github.com/hashicorp/yamux/blob/master/spec.md), and what is made of them here:

- A frame is version 0, type, flags, stream id, length; 12 bytes. The dialer opens odd streams, the listener even ones.
- A peer may send as many DATA bytes on a stream as it has window. One byte more and the connection is to be closed before
  the bytes are kept, so a stream never holds more than its window, and a connection never more than streams x window.
- Credit goes back when half the window was read, not with every read.
- Handling a frame never waits: the answer goes to a bounded queue. So two ends can't block each other.
- Urgent data (votes) is sent before other data (blocks). A vote waits for at most one batch of 64 KiB.

`Session` is one connection's state. `muxer.py` drives it with a socket, a clock and tasks; `stream.py` is what others use.
"""

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from p2p.faults import ConnectionLost, ProtocolFault

PROTOCOL: Final = "/yamux/1.0.0"
HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

INITIAL_WINDOW_BYTES: Final = 256 * 1024
WINDOW_BYTES_MAX: Final = 16 * 1024 * 1024
FRAME_DATA_BYTES: Final = 32 * 1024
"""Data of one frame that this end sends."""
BATCH_BYTES: Final = 64 * 1024
_SEND_WINDOW_MAX: Final = 1 << 31
_CONTROL_FRAMES_MAX: Final = 1024
_REFUSED_STREAMS_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class DataReceived:
    """The next bytes of a stream. Call `Session.consumed` once they were read."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CreditReceived:
    """The peer takes more bytes on a stream: `Session.sendable` has grown."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """The peer sends nothing more on a stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up, both ways."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PingAnswered:
    """The peer answered the ping of that number."""

    ping_id: int


Event: TypeAlias = StreamOpened | DataReceived | CreditReceived | StreamFinished | StreamReset | PingAnswered


@dataclass(slots=True, eq=False)
class _Stream:
    """Windows and ends of one stream."""

    stream_id: int
    window_bytes: int = INITIAL_WINDOW_BYTES
    """What the peer may send ahead of what was read."""
    receive_window: int = INITIAL_WINDOW_BYTES
    """What the peer may send now."""
    unreturned: int = 0
    """Bytes read for which no credit has gone back yet."""
    send_window: int = INITIAL_WINDOW_BYTES
    finished_here: bool = False
    finished_by_peer: bool = False


@dataclass(slots=True)
class _Body:
    """A DATA frame of which bytes are still to come; `stream` is None where they are to be thrown away."""

    stream: _Stream | None
    flags: int
    left: int


class _Lane:
    """Frames of one urgency that wait to be sent, each with its stream."""

    def __init__(self) -> None:
        self.frames: deque[tuple[int, bytes]] = deque()
        self.size = 0

    def put(self, stream_id: int, frame: bytes) -> None:
        self.frames.append((stream_id, frame))
        self.size += len(frame)

    def take(self) -> bytes:
        _, frame = self.frames.popleft()
        self.size -= len(frame)
        return frame

    def drop(self, stream_id: int) -> None:
        self.frames = deque(item for item in self.frames if item[0] != stream_id)
        self.size = sum(len(frame) for _, frame in self.frames)


class Session:
    """The yamux state of one connection."""

    def __init__(self, *, is_dialer: bool, inbound_streams_max: int = 32) -> None:
        self.inbound_streams_max = inbound_streams_max
        self._streams: dict[int, _Stream] = {}
        self._next_id = 1 if is_dialer else 2
        self._inbound_streams = 0
        self.refused_streams = 0
        """Streams that the peer opened beyond its limit."""
        self._stray_bytes_allowed = 0
        """DATA bytes that may still come on streams which were refused or reset here."""
        self._header = bytearray()
        self._body: _Body | None = None
        self._control: deque[bytes] = deque()
        self._urgent, self._bulk = _Lane(), _Lane()
        self._ping_id = 0

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    # ------------------------------------------------------------ receiving

    def receive(self, data: bytes) -> list[Event]:
        """Take in bytes of the peer. Raises ProtocolFault or ConnectionLost; the connection is then to be closed."""
        events: list[Event] = []
        view, position = memoryview(data), 0
        while position < len(view):
            if self._body is not None:
                position += self._take_body(self._body, view[position:], events)
            else:
                position += self._take_header(view[position:], events)
        return events

    def _take_header(self, view: memoryview, events: list[Event]) -> int:
        count = min(HEADER.size - len(self._header), len(view))
        self._header += view[:count]
        if len(self._header) == HEADER.size:
            version, kind, flags, stream_id, length = HEADER.unpack(self._header)
            self._header.clear()
            if version != 0:
                raise ProtocolFault(f"yamux version {version}")
            self._handle(kind, flags, stream_id, length, events)
        return count

    def _take_body(self, body: _Body, view: memoryview, events: list[Event]) -> int:
        count = min(body.left, len(view))
        body.left -= count
        stream = body.stream
        if stream is not None and self._streams.get(stream.stream_id) is stream:
            events.append(DataReceived(stream.stream_id, bytes(view[:count])))
        if not body.left:
            self._body = None
            self._handle_end(stream, body.flags, events)
        return count

    def _handle(self, kind: int, flags: int, stream_id: int, length: int, events: list[Event]) -> None:
        if kind == PING:
            self._handle_ping(flags, length, events)
        elif kind == GO_AWAY:
            raise ConnectionLost("the peer said good-bye")
        elif kind in (DATA, WINDOW_UPDATE):
            if flags & SYN:
                self._handle_open(stream_id, events)
            stream = self._streams.get(stream_id)
            if kind == DATA:
                self._handle_data(stream, flags, length, events)
            else:
                self._handle_credit(stream, length, events)
                self._handle_end(stream, flags, events)
        else:
            raise ProtocolFault(f"yamux frame type {kind}")

    def _handle_open(self, stream_id: int, events: list[Event]) -> None:
        if stream_id % 2 == self._next_id % 2 or stream_id == 0:
            raise ProtocolFault(f"the peer opens stream {stream_id}, which is not its to open")
        if stream_id in self._streams:
            raise ProtocolFault(f"the peer opens stream {stream_id} twice")
        if self._inbound_streams >= self.inbound_streams_max:
            self.refused_streams += 1
            if self.refused_streams > _REFUSED_STREAMS_MAX:
                raise ProtocolFault(f"the peer keeps opening streams beyond its {self.inbound_streams_max}")
            self._stray_bytes_allowed += INITIAL_WINDOW_BYTES
            self._send_control(WINDOW_UPDATE, RST, stream_id, 0)
            return
        self._streams[stream_id] = _Stream(stream_id)
        self._inbound_streams += 1
        self._send_control(WINDOW_UPDATE, ACK, stream_id, 0)
        events.append(StreamOpened(stream_id))

    def _handle_data(self, stream: _Stream | None, flags: int, length: int, events: list[Event]) -> None:
        if stream is None:
            if length > self._stray_bytes_allowed:
                raise ProtocolFault("data on a stream that is not open")
            self._stray_bytes_allowed -= length
        elif stream.finished_by_peer and length:
            raise ProtocolFault("data after the end of a stream")
        elif length > stream.receive_window:
            raise ProtocolFault(f"the peer sends {length} bytes into a window of {stream.receive_window}")
        else:
            stream.receive_window -= length
        if length:
            self._body = _Body(stream, flags, length)
        else:
            self._handle_end(stream, flags, events)

    def _handle_credit(self, stream: _Stream | None, count: int, events: list[Event]) -> None:
        if stream is None or not count:
            return
        stream.send_window += count
        if stream.send_window > _SEND_WINDOW_MAX:
            raise ProtocolFault("the peer grants a window beyond any use")
        events.append(CreditReceived(stream.stream_id))

    def _handle_end(self, stream: _Stream | None, flags: int, events: list[Event]) -> None:
        if stream is None or self._streams.get(stream.stream_id) is not stream:
            return
        if flags & RST:
            self._forget(stream)
            self._unqueue(stream)
            events.append(StreamReset(stream.stream_id))
        elif flags & FIN:
            stream.finished_by_peer = True
            if stream.finished_here:
                self._forget(stream)
            events.append(StreamFinished(stream.stream_id))

    def _handle_ping(self, flags: int, ping_id: int, events: list[Event]) -> None:
        if flags & SYN:
            self._send_control(PING, ACK, 0, ping_id)
        elif flags & ACK:
            events.append(PingAnswered(ping_id))

    def _forget(self, stream: _Stream) -> None:
        if self._streams.pop(stream.stream_id, None) is not None and stream.stream_id % 2 != self._next_id % 2:
            self._inbound_streams -= 1

    # ------------------------------------------------------------ sending

    def open(self) -> int:
        """Open a stream to the peer; returns its id."""
        stream = _Stream(self._next_id)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        self._send_control(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream.stream_id

    def sendable(self, stream_id: int) -> int:
        """How many bytes the peer takes on a stream now; 0 where the stream is gone or finished here."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None or stream.finished_here else stream.send_window

    def queued(self, *, urgent: bool) -> int:
        """Bytes of that urgency that wait to be sent."""
        return self._lane(urgent).size

    def send(self, stream_id: int, data: bytes, *, urgent: bool) -> None:
        """Queue bytes, at most `sendable` and FRAME_DATA_BYTES of them. The caller sees to it that the queue stays short."""
        self._streams[stream_id].send_window -= len(data)
        self._lane(urgent).put(stream_id, HEADER.pack(0, DATA, 0, stream_id, len(data)) + data)

    def finish(self, stream_id: int, *, urgent: bool) -> None:
        """Send nothing more on a stream; the peer's bytes can still come."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.finished_here:
            return
        stream.finished_here = True
        # behind the stream's data, so through the same queue
        self._lane(urgent).put(stream_id, HEADER.pack(0, WINDOW_UPDATE, FIN, stream_id, 0))
        if stream.finished_by_peer:
            self._forget(stream)

    def reset(self, stream_id: int) -> None:
        """Give a stream up, both ways; of one that is gone nothing happens."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        self._stray_bytes_allowed += stream.receive_window
        self._forget(stream)
        self._unqueue(stream)
        self._send_control(WINDOW_UPDATE, RST, stream_id, 0)

    def consumed(self, stream_id: int, count: int) -> None:
        """Bytes of a stream were read: credit goes back once it is half the window."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.finished_by_peer:
            return
        stream.unreturned += count
        if stream.unreturned * 2 >= stream.window_bytes:
            self._give_credit(stream, stream.unreturned)
            stream.unreturned = 0

    def widen(self, stream_id: int, window_bytes: int) -> None:
        """Let the peer send up to `window_bytes` (at most 16 MiB) ahead of what was read."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        extra = min(window_bytes, WINDOW_BYTES_MAX) - stream.window_bytes
        if extra > 0:
            stream.window_bytes += extra
            self._give_credit(stream, extra)

    def ping(self) -> int:
        """Ask for a sign of life; returns the number that `PingAnswered` will bear."""
        self._ping_id = (self._ping_id + 1) % (1 << 32)
        self._send_control(PING, SYN, 0, self._ping_id)
        return self._ping_id

    def next_batch(self) -> bytes:
        """The next bytes for the peer: answers, then urgent data, then other data, some 64 KiB. Empty if there is nothing."""
        batch = list(self._control)
        self._control.clear()
        size = HEADER.size * len(batch)
        for lane in (self._urgent, self._bulk):
            while lane.frames and size < BATCH_BYTES:
                frame = lane.take()
                batch.append(frame)
                size += len(frame)
        return b"".join(batch)

    def _lane(self, urgent: bool) -> _Lane:
        return self._urgent if urgent else self._bulk

    def _give_credit(self, stream: _Stream, count: int) -> None:
        stream.receive_window += count
        self._send_control(WINDOW_UPDATE, 0, stream.stream_id, count)

    def _unqueue(self, stream: _Stream) -> None:
        """Drop what waits to be sent on a dead stream: behind the reset it would be data on a stream that is not open."""
        for lane in (self._urgent, self._bulk):
            lane.drop(stream.stream_id)

    def _send_control(self, kind: int, flags: int, stream_id: int, value: int) -> None:
        if len(self._control) >= _CONTROL_FRAMES_MAX:
            raise ProtocolFault("the peer asks for answers and does not read them")
        self._control.append(HEADER.pack(0, kind, flags, stream_id, value))

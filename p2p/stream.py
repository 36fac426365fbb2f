"""One stream of a connection: ordered bytes both ways, for one task that reads and one that writes."""

from collections import deque
from typing import Protocol

import trio

from p2p.faults import ConnectionLost


class StreamPort(Protocol):
    """What a stream needs of its connection (`muxer.py`)."""

    async def wait_sendable(self, stream: "Stream") -> int:
        """How many bytes may be sent next, once that is any; 0 where nothing will ever be sent again."""
        ...

    def send(self, stream: "Stream", data: bytes) -> None: ...
    def finish(self, stream: "Stream") -> None: ...
    def reset(self, stream: "Stream") -> None: ...
    def consumed(self, stream: "Stream", count: int) -> None: ...
    def widen(self, stream: "Stream", window_bytes: int) -> None: ...


class Stream:
    """One stream. Its connection calls `take_in`, `end_by_peer` and `fail`; everybody else the rest."""

    def __init__(self, port: StreamPort, stream_id: int) -> None:
        self.stream_id = stream_id
        self.urgent = False
        self.finished_here = False
        self.finished_by_peer = False
        self.error: str | None = None
        """Why the stream is dead, if it is."""
        self.writable = trio.lowlevel.ParkingLot()
        """Where the writing task waits until the peer takes more."""
        self._port = port
        self._chunks: deque[bytes] = deque()
        self._readable = trio.lowlevel.ParkingLot()

    @property
    def unread_bytes(self) -> int:
        return sum(map(len, self._chunks))

    async def read(self, count_max: int) -> bytes:
        """The next bytes, at most `count_max`; empty once the peer has finished. Raises ConnectionLost."""
        while not self._chunks:
            if self.error is not None:
                raise ConnectionLost(self.error)
            if self.finished_by_peer:
                return b""
            await self._readable.park()
        chunk = self._chunks.popleft()
        if len(chunk) > count_max:
            self._chunks.appendleft(chunk[count_max:])
            chunk = chunk[:count_max]
        self._port.consumed(self, len(chunk))
        return chunk

    async def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises ConnectionLost, also if the peer finishes before."""
        parts = []
        while count > 0:
            part = await self.read(count)
            if not part:
                raise ConnectionLost("the stream ended in the middle")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Hand all of `data` to the connection's writer, waiting for window and room. Raises ConnectionLost.

        May be cancelled without harm to the connection; the stream itself should then be reset.
        """
        position = 0
        while position < len(data):
            count = await self._port.wait_sendable(self)
            if self.error is not None or self.finished_here:
                raise ConnectionLost(self.error or "the stream was finished here")
            self._port.send(self, data[position : position + count])
            position += count

    def finish(self) -> None:
        """No more will be written. What was written arrives; the peer's bytes can still be read."""
        if not self.finished_here and self.error is None:
            self.finished_here = True
            self._port.finish(self)

    def reset(self) -> None:
        """Give the stream up, both ways, at once."""
        if self.error is None and not (self.finished_here and self.finished_by_peer):
            self._port.reset(self)
        self.fail("the stream was reset here")

    def widen(self, window_bytes: int) -> None:
        """Let the peer send up to `window_bytes` (at most 16 MiB) ahead of what was read."""
        if self.error is None:
            self._port.widen(self, window_bytes)

    # ------------------------------------------------------------ called by the connection

    def take_in(self, data: bytes) -> None:
        """The next bytes of the peer."""
        self._chunks.append(data)
        self._readable.unpark_all()

    def end_by_peer(self) -> None:
        """The peer sends nothing more."""
        self.finished_by_peer = True
        self._readable.unpark_all()

    def fail(self, error: str) -> None:
        """The stream is dead: what was not read is gone, and whoever waits is told. The first reason stays."""
        if self.error is None:
            self.error = error
            self._chunks.clear()
        self._readable.unpark_all()
        self.writable.unpark_all()

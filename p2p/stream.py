"""One yamux stream: ordered bytes both ways, a window each way. The rules stand in `yamux.py`."""

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from p2p.faults import ConnectionLost, ProtocolFault

if TYPE_CHECKING:
    from p2p.yamux import Muxer

INITIAL_WINDOW_BYTES: Final = 256 * 1024
WINDOW_BYTES_MAX: Final = 16 * 1024 * 1024
FRAME_DATA_BYTES: Final = 32 * 1024
_SEND_WINDOW_MAX: Final = 1 << 31


class Stream:
    """One stream: ordered bytes in both directions. One task reads and one writes."""

    def __init__(self, muxer: "Muxer", stream_id: int) -> None:
        self.stream_id = stream_id
        self.urgent = False
        self._muxer = muxer
        self._chunks: deque[bytes] = deque()
        self._window_bytes = INITIAL_WINDOW_BYTES
        self.receive_window = INITIAL_WINDOW_BYTES
        self._unreturned = 0
        self.send_window = INITIAL_WINDOW_BYTES
        self.ended_by_peer = False
        self.ended_here = False
        self.error: str | None = None
        """Why the stream is dead, if it is."""
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()

    async def read(self, count_max: int) -> bytes:
        """The next bytes, at most `count_max`; empty once the peer has finished. Raises ConnectionLost."""
        while not self._chunks:
            if self.error is not None:
                raise ConnectionLost(self.error)
            if self.ended_by_peer:
                return b""
            await self._readable.park()
        chunk = self._chunks.popleft()
        if len(chunk) > count_max:
            self._chunks.appendleft(chunk[count_max:])
            chunk = chunk[:count_max]
        self._give_back(len(chunk))
        return chunk

    async def read_exactly(self, count: int) -> bytes:
        parts = []
        while count > 0:
            part = await self.read(count)
            if not part:
                raise ConnectionLost("the stream ended in the middle")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """Hand all of `data` to the connection's writer, waiting for window and room. Raises ConnectionLost."""
        position = 0
        while position < len(data):
            while self.send_window <= 0 and self.error is None and not self.ended_here:
                await self._writable.park()
            await self._muxer.wait_for_room(self)
            if self.error is not None or self.ended_here:
                raise ConnectionLost(self.error or "the stream was finished here")
            count = min(len(data) - position, self.send_window, FRAME_DATA_BYTES)
            if count > 0:
                self.send_window -= count
                self._muxer.send_data(self, data[position : position + count])
                position += count

    def finish(self) -> None:
        """No more will be written. What was written arrives; the peer's bytes can still be read."""
        if not self.ended_here and self.error is None:
            self.ended_here = True
            self._muxer.send_end(self)

    def reset(self) -> None:
        """Give the stream up, both ways, at once."""
        if self.error is None and not (self.ended_here and self.ended_by_peer):
            self._muxer.send_reset(self)
        self.fail("the stream was reset here")

    def widen(self, window_bytes: int) -> None:
        """Let the peer send up to `window_bytes` (at most 16 MiB) ahead of what was read."""
        extra = min(window_bytes, WINDOW_BYTES_MAX) - self._window_bytes
        if extra > 0 and self.error is None:
            self._window_bytes += extra
            self.receive_window += extra
            self._muxer.send_credit(self, extra)

    # -- called by the muxer

    def take_in(self, data: bytes) -> None:
        self._chunks.append(data)
        self._readable.unpark_all()

    def add_credit(self, count: int) -> None:
        self.send_window += count
        if self.send_window > _SEND_WINDOW_MAX:
            raise ProtocolFault("the peer grants a window beyond any use")
        self._writable.unpark_all()

    def end_by_peer(self) -> None:
        self.ended_by_peer = True
        self._readable.unpark_all()

    def fail(self, error: str) -> None:
        if self.error is None:
            self.error = error
            self._chunks.clear()
        self._readable.unpark_all()
        self._writable.unpark_all()

    def _give_back(self, count: int) -> None:
        self._unreturned += count
        if self._unreturned * 2 >= self._window_bytes and not self.ended_by_peer and self.error is None:
            self.receive_window += self._unreturned
            self._muxer.send_credit(self, self._unreturned)
            self._unreturned = 0

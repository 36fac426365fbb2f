"""A TCP connection read through a buffer: 64 KiB a system call, whatever the layers above ask for."""

from typing import Final, Protocol

import trio

from p2p.faults import ConnectionLost

READ_BYTES: Final = 64 * 1024


class ByteStream(Protocol):
    """What protocol negotiation needs of a transport."""

    async def read_exactly(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises ConnectionLost if the other side ends before."""
        ...

    async def write(self, data: bytes) -> None:
        """All of `data`. Raises ConnectionLost."""
        ...


class BufferedSocket:
    """A `trio.SocketStream` with a read buffer. One task reads and one writes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._fill()
        return self.take(count)

    async def wait_for(self, count: int) -> None:
        """Return once `count` bytes are buffered, at once if they are. Raises ConnectionLost."""
        while len(self._buffer) < count:
            await self._fill()

    @property
    def buffered(self) -> bytearray:
        """What was read and not taken yet. Look, don't change."""
        return self._buffer

    def take(self, count: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return data

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionLost("the connection broke while sending") from None

    def close(self) -> None:
        """Close at once, without a checkpoint; whoever reads or writes gets ConnectionLost."""
        self._stream.socket.close()

    def remote(self) -> tuple[str, int] | None:
        """Host and port of the other end, or None once it is gone."""
        try:
            name = self._stream.socket.getpeername()
        except OSError:
            return None
        return str(name[0]), int(name[1])

    async def _fill(self) -> None:
        try:
            data = await self._stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionLost("the connection broke while reading") from None
        if not data:
            raise ConnectionLost("the peer closed the connection")
        self._buffer += data

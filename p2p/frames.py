"""Frames: a 4-byte big-endian length, then so many bytes of payload. An empty payload is not a frame.

The cap is checked as soon as the length is known, before a byte of the payload is kept. Reads are 64 KiB at a time. A frame
that has begun must be complete within a time-out; between frames a stream may be quiet for ever.
"""

from typing import Final, Protocol

import trio

from genesis.errors import WireError
from p2p.faults import PeerTooSlow

LENGTH_BYTES: Final = 4
READ_BYTES: Final = 64 * 1024
FRAME_TIMEOUT_S: Final = 10.0


class Source(Protocol):
    """Where frames come from."""

    async def read(self, count_max: int) -> bytes:
        """The next bytes; empty at the end."""
        ...


def encode_frame(payload: bytes, *, size_max: int) -> bytes:
    """The bytes of one frame. Raises WireError if the payload is empty or larger than `size_max`."""
    _check_length(len(payload), size_max)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameDecoder:
    """Bytes in, payloads out; no IO. Holds at most one frame and what was fed behind it."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._buffer = bytearray()
        self._position = 0

    def feed(self, data: bytes) -> None:
        """Take in bytes. Raises WireError if they begin a frame that is empty or too large."""
        del self._buffer[: self._position]
        self._position = 0
        self._buffer += data
        self._next_length()

    def pop(self) -> bytes | None:
        """The next complete payload, or None. Raises WireError if the one behind it is empty or too large."""
        length = self._next_length()
        if length is None or len(self._buffer) - self._position < LENGTH_BYTES + length:
            return None
        start = self._position + LENGTH_BYTES
        self._position = start + length
        return bytes(memoryview(self._buffer)[start : self._position])

    @property
    def in_frame(self) -> bool:
        """True if a frame has begun that is not complete."""
        return len(self._buffer) > self._position

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) - self._position

    def _next_length(self) -> int | None:
        if len(self._buffer) - self._position < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[self._position : self._position + LENGTH_BYTES], "big")
        _check_length(length, self._size_max)
        return length


class FrameReader:
    """Frames of one stream."""

    def __init__(self, source: Source, size_max: int, frame_timeout_s: float = FRAME_TIMEOUT_S) -> None:
        self._source = source
        self._decoder = FrameDecoder(size_max)
        self._frame_timeout_s = frame_timeout_s

    async def read(self) -> bytes | None:
        """The next payload, or None at the end of the stream.

        Raises WireError (too large, empty, ended within a frame), PeerTooSlow, and what the source raises.
        """
        if (payload := self._decoder.pop()) is not None:
            return payload
        if not self._decoder.in_frame:
            data = await self._source.read(READ_BYTES)
            if not data:
                return None
            self._decoder.feed(data)
        with trio.move_on_after(self._frame_timeout_s):
            while (payload := self._decoder.pop()) is None:
                data = await self._source.read(READ_BYTES)
                if not data:
                    raise WireError("the stream ended within a frame")
                self._decoder.feed(data)
            return payload
        raise PeerTooSlow(f"a frame was not complete after {self._frame_timeout_s:g} s")


def _check_length(length: int, size_max: int) -> None:
    if length == 0:
        raise WireError("an empty frame")
    if length > size_max:
        raise WireError(f"a frame of {length} bytes; at most {size_max} are allowed here")

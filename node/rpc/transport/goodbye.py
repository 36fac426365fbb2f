"""Ending a connection so that the other side hears the last words.

Closing a socket with unread bytes in it resets the connection, and the peer may lose what was sent just before. So the server
stops sending, and reads on for a moment, bounded in time and bytes, before it closes.
"""

from typing import Final

import trio

_SECONDS_MAX: Final = 2.0
_BYTES_MAX: Final = 1024 * 1024
_READ_BYTES: Final = 64 * 1024


async def say_goodbye(stream: trio.abc.HalfCloseableStream, last_words: bytes = b"") -> None:
    """Send `last_words`, end our half, and wait for the peer to end its own. The stream is the caller's to close."""
    with trio.move_on_after(_SECONDS_MAX):
        try:
            await stream.send_all(last_words)
            await stream.send_eof()
            left = _BYTES_MAX
            while left > 0 and (data := await stream.receive_some(_READ_BYTES)):
                left -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

"""Request and response: one stream per session, one frame each way.

A request is `00` and its payload. A response is `00` and its payload, or `01` and a reason in ASCII.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from genesis.errors import FatalError, OpenLedgerError, PeerFault, WireError
from p2p.config import Limits
from p2p.faults import ConnectionLost, PeerTooSlow, ProtocolFault, RequestRefused
from p2p.frames import FrameReader, encode_frame
from p2p.peer import Peer
from p2p.stream import Stream

logger = logging.getLogger(__name__)

Handler = Callable[[str, bytes], Awaitable[bytes]]
"""`handler(peer_id, payload)` returns the response. An OpenLedgerError is told to the peer; a PeerFault also counts."""

_OK: Final = b"\x00"
_REFUSED: Final = b"\x01"
_REASON_CHARS_MAX: Final = 200
_REASON_BYTES_MAX: Final = 256
_RESPONSE_WINDOW_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers a protocol, and within which bounds."""

    handler: Handler
    request_bytes_max: int
    response_bytes_max: int


async def ask(
    peer: Peer, protocol: str, payload: bytes, *, response_bytes_max: int, timeout_s: float, request_bytes_max: int
) -> bytes:
    """One request to one peer. Raises PeerFault: refused, too slow, gone, or a response that breaks a rule."""
    with trio.move_on_after(timeout_s):
        async with peer.asking:
            response = await _exchange(peer, protocol, payload, request_bytes_max, response_bytes_max, timeout_s)
        if response is None:
            raise ConnectionLost(f"{protocol}: no response")
        if response[:1] == _REFUSED:
            raise RequestRefused(f"{protocol}: refused by the peer: {_printable(response[1:])}")
        if response[:1] != _OK or len(response) > response_bytes_max + 1:
            raise ProtocolFault(f"{protocol}: a malformed response")
        return response[1:]
    raise PeerTooSlow(f"{protocol}: no response within {timeout_s:g} s")


async def _exchange(
    peer: Peer, protocol: str, payload: bytes, request_bytes_max: int, response_bytes_max: int, timeout_s: float
) -> bytes | None:
    stream = await peer.connection.open_stream(protocol, window_bytes=_RESPONSE_WINDOW_BYTES)
    try:
        await stream.write(encode_frame(_OK + payload, size_max=request_bytes_max + 1))
        stream.finish()
        return await FrameReader(stream, max(response_bytes_max + 1, _REASON_BYTES_MAX), timeout_s).read()
    except WireError as error:
        raise ProtocolFault(f"{protocol}: {error}") from None
    finally:
        stream.reset()


async def serve(peer: Peer, server: Server, stream: Stream, limits: Limits) -> None:
    """Answer one request. Raises PeerFault or WireError where the peer is to blame, and FatalError."""
    with trio.move_on_after(limits.serve_timeout_s) as scope:
        async with peer.serving:
            reader = FrameReader(stream, server.request_bytes_max + 1, limits.frame_timeout_s)
            request = await reader.read()
            if request is None or request[:1] != _OK:
                raise ProtocolFault("a malformed request")
            blame: OpenLedgerError | None = None
            try:
                response = _OK + await server.handler(peer.peer_id, request[1:])
                if len(response) > server.response_bytes_max + 1:
                    logger.error(
                        "a response of %d bytes is over its cap of %d", len(response) - 1, server.response_bytes_max
                    )
                    response = _REFUSED + b"the response is too large"
            except FatalError:
                raise
            except OpenLedgerError as error:
                blame = error if isinstance(error, PeerFault | WireError) else None
                response = _REFUSED + _printable(str(error).encode()).encode()
            await stream.write(encode_frame(response, size_max=len(response)))
            stream.finish()
            await _drained(stream)
            if blame is not None:
                raise blame
    if scope.cancelled_caught:
        logger.debug("a request of %s was not answered in %g s", peer.peer_id, limits.serve_timeout_s)


async def _drained(stream: Stream) -> None:
    """Wait until the peer closed its end, so that the response is not cut off by a reset."""
    while await stream.read(1024):
        pass


def _printable(text: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else "?" for byte in text[:_REASON_CHARS_MAX])

"""Listening: real ports, and an error that names the address when one is taken."""

import errno
from collections.abc import Sequence

import trio

from genesis.errors import LocalError
from p2p.address import address_of_socket, parse_address
from p2p.faults import reason_of


async def open_listeners(texts: Sequence[str], peer_id: str) -> tuple[list[trio.SocketListener], tuple[str, ...]]:
    """Listen on each multiaddr (port 0 takes a free port); returns listeners and full addresses. Raises LocalError."""
    listeners: list[trio.SocketListener] = []
    try:
        for text in texts:
            address = parse_address(text)
            try:
                listeners += await trio.open_tcp_listeners(address.port, host=address.host)
            except OSError as error:
                raise LocalError(_explain(error, text)) from None
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    names = [listener.socket.getsockname() for listener in listeners]
    return listeners, tuple(str(address_of_socket(str(name[0]), int(name[1]), peer_id)) for name in names)


def _explain(error: OSError, text: str) -> str:
    codes = {part.errno for part in getattr(error.__cause__, "exceptions", ())} | {error.errno}
    if errno.EADDRINUSE in codes:
        return f"cannot listen on {text}: the port is in use; choose another, or stop the process that holds it"
    return f"cannot listen on {text}: {reason_of(error)}"

"""Names, resolved on threads of their own: a name server that never answers holds them, and nothing else waits.

The C library blocks for half a minute and can't be interrupted. A dial gives up long before; its thread stays taken
until the library comes back. trio asks a resolver for whatever is no address in numbers, so nothing can pass by this
one.
"""

import socket
from typing import Any, Final

import trio

THREADS_MAX: Final = 8


class Resolver(trio.abc.HostnameResolver):
    """Asks the C library. A name holds one thread at most, so that those that are never answered leave room for
    others.
    """

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self._asked: set[object] = set()

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  the name is trio's
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Raises OSError if there is no such name, or it is being asked for still."""
        if host in self._asked:
            raise OSError("the name was asked for before, and there is no answer yet")

        def ask() -> list[Any]:
            self._asked.add(host)
            try:
                return socket.getaddrinfo(host, port, family, type, proto, flags)
            finally:
                self._asked.discard(host)

        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._limiter)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Raises OSError."""
        return await trio.to_thread.run_sync(
            socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True, limiter=self._limiter
        )


def resolve_apart() -> None:
    """From now on this trio run resolves names on threads of their own."""
    trio.socket.set_custom_hostname_resolver(Resolver())

"""Accepting connections, no more at once than there are places, so that they can't take the descriptors that files
need.

Beyond its places a listener does not accept: who connects waits in the kernel's queue, which costs no descriptor. When
accepting fails (the whole machine may be out of descriptors) it pauses and says so now and then, not at each try.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

logger = logging.getLogger(__name__)

PAUSE_S: Final = 0.1
SAID_EVERY_S: Final = 60.0

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def accept_forever(listeners: Sequence[trio.SocketListener], handler: Handler, *, places: int, what: str) -> None:
    """Run `await handler(stream)` for each connection until cancelled, at most `places` at once; `handler` closes the
    stream.

    The listeners are closed at the end. What `handler` raises leaves this, as with `trio.serve_listeners`.
    """
    free = trio.Semaphore(places, max_value=places)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            await handler(stream)
        finally:
            free.release()

    async def accept(listener: trio.SocketListener) -> None:
        said_at_s = -math.inf
        while True:
            await free.acquire()
            try:
                stream = await listener.accept()
            except OSError as error:
                free.release()
                if trio.current_time() - said_at_s >= SAID_EVERY_S:
                    said_at_s = trio.current_time()
                    logger.warning("%s: connections can't be accepted: %s", what, error.strerror or error)
                await trio.sleep(PAUSE_S)
            except BaseException:
                free.release()
                raise
            else:
                nursery.start_soon(serve, stream)

    try:
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(accept, listener)
    finally:
        for listener in listeners:
            listener.socket.close()

"""Writing to a connection, and keeping its time limits, at little cost per request.

trio's own streams yield to the scheduler after every send and take a cancel scope for every time limit; at thousands of
requests a second that is a third of the work. Here a write is tried first, and waits only for what the kernel can't take; one
watchman keeps the time limits of all connections (`Watch`), not a scope for each wait. Reading is the pump's (`pump.py`).
"""

import os
from typing import Final

import trio


class Wire:
    """Writes to a socket that trio accepted. Errors are trio's: BrokenResourceError, TooSlowError for a slow reader."""

    def __init__(self, stream: trio.SocketStream, write_timeout_s: float) -> None:
        self.stream: Final = stream
        self.descriptor: Final = stream.socket.fileno()
        self._write_timeout_s = write_timeout_s

    async def write(self, data: bytes) -> None:
        try:
            sent = os.write(self.descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from None
        if sent < len(data):
            with trio.fail_after(self._write_timeout_s):
                await self.stream.send_all(memoryview(data)[sent:])


class Deadline:
    """When somebody must have done something. `renew_s` (set from any thread) puts it off by so much, from the next look on."""

    def __init__(self) -> None:
        self.at = float("inf")
        self.renew_s: float | None = None
        self.scope = trio.CancelScope()


class Watch:
    """Cancels what is late. `run` looks every now and then, so a limit is kept to within `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._deadlines: set[Deadline] = set()

    def add(self) -> Deadline:
        """Enter its `scope`; call `remove` at the end."""
        deadline = Deadline()
        self._deadlines.add(deadline)
        return deadline

    def remove(self, deadline: Deadline) -> None:
        self._deadlines.discard(deadline)

    async def run(self) -> None:
        while True:
            await trio.sleep(self._interval_s)
            now = trio.current_time()
            for each in list(self._deadlines):
                if each.renew_s is not None:
                    each.at, each.renew_s = now + each.renew_s, None
                elif each.at <= now:
                    each.scope.cancel()

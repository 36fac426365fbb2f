"""The bytes of one connection, moved at once where that is possible.

trio's own streams yield to the scheduler after every send and take a cancel scope for every time limit; at thousands of
requests a second that is a third of the work. Here a read waits for the socket and a write is tried first: only one that the
kernel can't take whole waits. One watchman keeps the time limits of all connections (`Watch`), not a scope for each wait.
"""

import os
from collections.abc import Callable
from typing import Final

import trio

READ_BYTES: Final = 64 * 1024


class Wire:
    """Reads and writes a socket that trio accepted. Errors are trio's: BrokenResourceError, TooSlowError for a slow reader."""

    def __init__(self, stream: trio.SocketStream, write_timeout_s: float) -> None:
        self.stream: Final = stream
        self._descriptor: Final = stream.socket.fileno()
        self._write_timeout_s = write_timeout_s

    async def read(self) -> bytes:
        """The next bytes; empty at the end. Always yields, so a client that never pauses does not hold the loop."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from None

    async def write(self, data: bytes) -> None:
        try:
            sent = os.write(self._descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from None
        if sent < len(data):
            with trio.fail_after(self._write_timeout_s):
                await self.stream.send_all(memoryview(data)[sent:])


class Deadline:
    """When somebody must have done something; `passed` says that he had not."""

    def __init__(self) -> None:
        self.at = float("inf")
        self.passed = False
        self.scope = trio.CancelScope()


class Watch:
    """Cancels what is late. `run` looks every now and then, so a limit is kept to within `interval_s`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._deadlines: set[Deadline] = set()
        self.now: Callable[[], float] = trio.current_time

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
            now = self.now()
            for each in [each for each in self._deadlines if each.at <= now]:
                each.passed = True
                each.scope.cancel()

"""One task that reads for all HTTP connections, and answers at once what needs no task.

A task switch for each request costs more than most answers. So connections that wait for a request are watched together, in an
epoll of their own that trio waits for as a whole. Of what arrives, each connection's `quick` answers what it can without
waiting (see `Dispatcher.recall`); only the rest wakes the connection's task. After a quick answer the pump looks for the next
request a moment longer, which spares a busy client the way through the scheduler; it gives way to the rest of the node every
`SLICE_S`.
"""

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import outcome
import trio

READ_BYTES: Final = 64 * 1024
SLICE_S: Final = 0.002
"""The longest that others wait while requests come in without a pause."""
LINGER_S: Final = 0.000_05
"""How long the pump stays awake for a client that is likely to ask again."""
_SELECTABLE: Final = 1_024
"""select(2), the only way to wait for less than a millisecond, takes descriptors below this."""

Quick = Callable[[bytes], bytes | None]
"""The answer to what was read, or None if it takes a task. Must neither wait nor raise."""


class Taken(NamedTuple):
    """What a connection's task is woken for: bytes that were read (empty at the end), or the rest of a quick answer."""

    data: bytes | None
    unsent: bytes = b""


class Faucet:
    """One connection at the pump."""

    def __init__(self, pump: "Pump", descriptor: int, quick: Quick) -> None:
        self._pump = pump
        self._quick = quick
        self.descriptor: Final = descriptor
        self._task: trio.lowlevel.Task | None = None

    async def take(self) -> Taken:
        """Wait for what was not answered at once. Raises BrokenResourceError."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._task = trio.lowlevel.current_task()
        self._pump.watch(self)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._task = None
            self.close()
            return trio.lowlevel.Abort.SUCCEEDED

        taken: Taken = await trio.lowlevel.wait_task_rescheduled(abort)
        return taken

    def close(self) -> None:
        """Watch it no longer."""
        self._pump.ignore(self)

    def serve(self) -> bool:
        """Something has arrived: True if it was answered here and now, else the task is woken."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            return self._wake(outcome.Error(trio.BrokenResourceError(str(error))))
        answer = self._quick(data) if data else None
        if answer is None:
            return self._wake(outcome.Value(Taken(data)))
        try:
            sent = os.write(self.descriptor, answer)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return self._wake(outcome.Error(trio.BrokenResourceError(str(error))))
        return sent == len(answer) or self._wake(outcome.Value(Taken(None, answer[sent:])))

    def _wake(self, what: "outcome.Outcome[Taken]") -> bool:
        self.close()
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, what)
        return False


class Pump:
    """Watches connections; `run` is its task."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Faucet] = {}

    def add(self, descriptor: int, quick: Quick) -> Faucet:
        """A connection. It is watched while its task takes."""
        return Faucet(self, descriptor, quick)

    def watch(self, faucet: Faucet) -> None:
        self._watched[faucet.descriptor] = faucet
        self._epoll.register(faucet.descriptor, select.EPOLLIN)

    def ignore(self, faucet: Faucet) -> None:
        # Registered without events it would still tell of a hang-up, again and again.
        if self._watched.pop(faucet.descriptor, None) is not None:
            with contextlib.suppress(OSError, ValueError):  # closed by either side
                self._epoll.unregister(faucet.descriptor)

    async def run(self) -> None:
        """Serve until cancelled."""
        descriptor = self._epoll.fileno()
        try:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                self._slice(descriptor)
        finally:
            self._epoll.close()

    def _slice(self, descriptor: int) -> None:
        end = time.perf_counter() + SLICE_S
        while events := self._epoll.poll(0):
            answered = False
            for each, _ in events:
                faucet = self._watched.get(each)
                if faucet is not None and faucet.serve():
                    answered = True
                    if time.perf_counter() > end:
                        return
            if not answered:
                return
            if descriptor < _SELECTABLE:
                select.select((descriptor,), (), (), LINGER_S)

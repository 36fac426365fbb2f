"""One thread that reads for all HTTP connections, and answers at once what needs no more than that.

A task switch for each request costs more than most answers, and while the event loop waits for the disk to take a vote nobody
is answered at all. So connections that wait for a request are watched here. Of what arrives, each connection's `quick` answers
what it can (see `Dispatcher.recall`); only the rest wakes the connection's task. This thread gives the interpreter's lock away
with every system call and takes it back when it can, so consensus and execution come first.
"""

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import outcome
import trio

log = logging.getLogger(__name__)

READ_BYTES: Final = 64 * 1024
PATIENCE_S: Final = 50e-6
"""How long after an answer the pump looks for the next request before it sleeps: to be woken takes about as long, and a client
that asks one thing after another asks again within that."""

Quick = Callable[[bytes], bytes | None]
"""The answer to what was read, or None if it takes a task. Runs in the pump's thread; must neither wait nor raise."""


class Taken(NamedTuple):
    """What a connection's task is woken for: bytes that were read (empty at the end), or the rest of a quick answer."""

    data: bytes | None
    unsent: bytes = b""


class Faucet:
    """One connection at the pump. While its task takes it is the pump's, else the task's alone."""

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
            self._task = None  # what the pump may have read by now belongs to a connection that ends
            self.close()
            return trio.lowlevel.Abort.SUCCEEDED

        taken: Taken = await trio.lowlevel.wait_task_rescheduled(abort)
        return taken

    def close(self) -> None:
        """Watch it no longer."""
        self._pump.ignore(self)

    def serve(self) -> None:
        """Something has arrived: answer, or hand over. In the pump's thread."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._hand_over(outcome.Error(trio.BrokenResourceError(str(error))))
            return
        answer = self._quick(data) if data else None
        if answer is None:
            self._hand_over(outcome.Value(Taken(data)))
            return
        try:
            sent = os.write(self.descriptor, answer)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._hand_over(outcome.Error(trio.BrokenResourceError(str(error))))
            return
        if sent < len(answer):
            self._hand_over(outcome.Value(Taken(None, answer[sent:])))

    def fail(self) -> None:
        """Give it up."""
        self._hand_over(outcome.Error(trio.BrokenResourceError("given up")))

    def _hand_over(self, what: "outcome.Outcome[Taken]") -> None:
        self.close()
        self._pump.tell(self._wake, what)

    def _wake(self, what: "outcome.Outcome[Taken]") -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task, what)


class Pump:
    """Watches connections from a thread of its own, while `run` runs."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Faucet] = {}
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop_here, self._stop_there = socket.socketpair()

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

    def tell(self, function: Callable[["outcome.Outcome[Taken]"], None], what: "outcome.Outcome[Taken]") -> None:
        """Run it on the event loop soon."""
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(function, what)

    async def run(self) -> None:
        """Serve until cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        self._epoll.register(self._stop_there, select.EPOLLIN)
        thread = threading.Thread(target=self._work, name="rpc-pump", daemon=True)
        thread.start()
        try:
            await trio.sleep_forever()
        finally:
            self._stop_here.send(b"x")
            thread.join()
            for each in (self._epoll, self._stop_here, self._stop_there):
                each.close()

    def _work(self) -> None:
        stop = self._stop_there.fileno()
        while True:
            for descriptor, _ in self._arrivals():
                if descriptor == stop:
                    return
                faucet = self._watched.get(descriptor)
                if faucet is not None:
                    try:
                        faucet.serve()
                    except Exception:
                        log.exception("a connection failed in the pump: a bug in this node")
                        faucet.fail()

    def _arrivals(self) -> list[tuple[int, int]]:
        """Wait until something has arrived somewhere."""
        impatient_at = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < impatient_at:
            if arrived := self._epoll.poll(0):
                return arrived
        return self._epoll.poll()

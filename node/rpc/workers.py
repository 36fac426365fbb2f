"""Threads for reads and for calls: whatever reads the disk or executes code leaves the event loop, which belongs to consensus.

Two pools, so that neither many cheap reads nor a few expensive calls take all threads. trio's own way to a thread costs more
than most of what is run here (a limiter, a hand-over and two wake-ups for each job); with 64 callers, a queue that the threads
empty by themselves costs a tenth of it (docs/adr/0027 has the figures).
"""

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import outcome
import trio

from node.chain.worker import prepare_threads
from node.rpc.config import RpcLimits
from node.rpc.schema.errors import TIMEOUT, RpcError

T = TypeVar("T")


class _Job:
    """A function to run, and who waits for it. Whoever takes its ticket decides what becomes of it."""

    __slots__ = ("_ticket", "deadline", "function", "task", "token")

    def __init__(self, function: Callable[[], object], token: trio.lowlevel.TrioToken, deadline: float) -> None:
        self.function = function
        self.token = token
        self.task = trio.lowlevel.current_task()
        self.deadline = deadline
        self._ticket = [None]

    def take(self) -> bool:
        """True for the first to ask, in whatever thread."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        return True

    @property
    def is_taken(self) -> bool:
        return not self._ticket

    def finish(self, result: "outcome.Outcome[object]") -> None:
        trio.lowlevel.reschedule(self.task, result)


class Pool:
    """A fixed number of threads that take jobs in order. Threads start with the first job."""

    def __init__(self, name: str, threads: int, wait_s: float) -> None:
        self._name = name
        self._threads = threads
        self._wait_s = wait_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: deque[_Job] = deque()
        self._started = False

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` in a thread. Raises what it raises, and RpcError if no thread got free in time.

        A cancelled caller goes on at once if its job has not begun, else when the job is done: it must end by itself.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._started:
            self._start()
        job = _Job(function, trio.lowlevel.current_trio_token(), trio.current_time() + self._wait_s)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.SUCCEEDED if job.take() else trio.lowlevel.Abort.FAILED

        self._waiting.append(job)
        self._jobs.put(job)
        try:
            result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            while self._waiting and self._waiting[0].is_taken:
                self._waiting.popleft()
        return result

    def expire(self) -> None:
        """Answer those who have waited too long for a thread."""
        now = trio.current_time()
        while self._waiting and self._waiting[0].deadline <= now:
            job = self._waiting.popleft()
            if job.take():
                job.finish(outcome.Error(RpcError(TIMEOUT, "request timed out: too many calls are waiting")))

    def close(self) -> None:
        """Let the threads end."""
        if self._started:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _start(self) -> None:
        self._started = True
        prepare_threads()
        for place in range(self._threads):
            threading.Thread(target=self._work, name=f"{self._name}-{place}", daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.take():
                continue
            result = outcome.capture(job.function)
            try:
                job.token.run_sync_soon(job.finish, result)
            except trio.RunFinishedError:
                return
            del job, result


class Workers:
    """The two pools."""

    def __init__(self, limits: RpcLimits) -> None:
        self._reads = Pool("rpc-read", limits.reads_max, limits.request_timeout_s)
        self._calls = Pool("rpc-call", limits.calls_max, limits.request_timeout_s)
        self._interval_s: Final = max(0.01, min(1.0, limits.request_timeout_s / 4))

    async def read(self, function: Callable[[], T]) -> T:
        """Run something that reads the disk and takes milliseconds at most. Raises RpcError if no thread gets free."""
        return await self._reads.run(function)

    async def call(self, function: Callable[[], T]) -> T:
        """Run something that may take seconds; it must end by itself (see `Stopwatch`). Raises RpcError as `read` does."""
        return await self._calls.run(function)

    async def run(self) -> None:
        """Watch over those who wait, until cancelled; then let the threads end."""
        try:
            while True:
                await trio.sleep(self._interval_s)
                for pool in (self._reads, self._calls):
                    pool.expire()
        finally:
            for pool in (self._reads, self._calls):
                pool.close()

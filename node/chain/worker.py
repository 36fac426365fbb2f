"""The execution thread: blocks are executed on it, one at a time, never on the event loop.

Consensus timers must not wait for the EVM, and LevelDB's batch must not block the loop either. One thread, so that execution
and storage of blocks need no locks among themselves. Its stack is large: 1,024 nested EVM calls need more than 1 MiB.
"""

import queue
import threading
from collections.abc import Callable
from typing import Final, TypeVar

import outcome
import trio

T = TypeVar("T")

STACK_BYTES: Final = 64 * 1024 * 1024


def prepare_threads() -> None:
    """Give threads started from now on (the readers' too: they run `eth_call`) a stack that EVM recursion fits into."""
    threading.stack_size(STACK_BYTES)


class _Job:
    __slots__ = ("abandoned", "function", "task", "token")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.token = trio.lowlevel.current_trio_token()
        self.task = trio.lowlevel.current_task()
        self.abandoned = False

    def finish(self, result: "outcome.Outcome[object]") -> None:
        if not self.abandoned:
            trio.lowlevel.reschedule(self.task, result)


class WorkerThread:
    """Runs functions in order on one thread of its own."""

    def __init__(self, name: str) -> None:
        prepare_threads()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A daemon: a job that was abandoned at shutdown must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
        """Run `function` there and return what it returns or raise what it raises.

        With `abandon_on_cancel` a cancelled caller goes on at once and the result is thrown away; without, it waits.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(function)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            job.abandoned = abandon_on_cancel
            return trio.lowlevel.Abort.SUCCEEDED if abandon_on_cancel else trio.lowlevel.Abort.FAILED

        self._jobs.put(job)
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def close(self) -> None:
        """Let the thread end after the jobs that wait."""
        self._jobs.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end, but no longer than this: an abandoned execution may still run."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            if job.abandoned:
                continue
            result = outcome.capture(job.function)
            try:
                job.token.run_sync_soon(job.finish, result)
            except trio.RunFinishedError:
                return
            del job, result  # a block's execution is large; don't hold it until the next one

"""The end of long work: how a call in a worker thread learns that its time is over."""

import time
from collections.abc import Callable

from node.rpc.schema.errors import RpcError, server_error


class Stopwatch:
    """Ends long work in a worker thread: hand `expired` to the runtime as its interrupt, or call `check` now and then."""

    def __init__(self, seconds: float, stopping: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._stopping = stopping
        self._end = time.monotonic() + seconds

    def expired(self) -> bool:
        return time.monotonic() > self._end or self._stopping()

    def check(self) -> None:
        """Raises RpcError once the time is over."""
        if self.expired():
            raise self.error()

    def error(self) -> RpcError:
        return server_error(f"execution aborted (timeout = {self._seconds:g}s)")

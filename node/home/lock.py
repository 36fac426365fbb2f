"""One process per data directory.

LevelDB's own lock is an fcntl lock: a failed second open in the same process drops it, and then another process gets in.
So the node holds an flock of its own on a file that nothing else touches. The kernel frees it when the process dies.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from genesis.errors import LocalError
from node.os_errors import told

LOCK_FILE = "LOCK"


class DirectoryLock:
    """Holds `<directory>/LOCK` from creation until `release`. Raises LocalError if another process holds it, or if it can't
    be used."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / LOCK_FILE
        with told(f"use the data directory {directory}"):
            directory.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._take(directory)
            except BaseException:
                self.release()
                raise

    def _take(self, directory: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            who = f" (process {holder})" if holder.isdecimal() else ""
            raise LocalError(f"the data directory {directory} is in use by another node{who}; stop it first") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the directory back. Harmless when called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "DirectoryLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

"""One process per data directory.

LevelDB's own lock is an fcntl lock: a failed second open in the same process drops it, and then another process gets in.
So the node holds an flock of its own on a file that nothing else touches. The kernel frees it when the process dies.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from genesis.errors import LocalError

LOCK_FILE = "LOCK"


class DirectoryLock:
    """Holds `<directory>/LOCK` from creation until `release`. Raises LocalError if another process holds it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / LOCK_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalError(f"cannot use the data directory {directory}: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
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

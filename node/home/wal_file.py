"""The consensus log as a file: append, sync, cut. Implements consensus.wal.LogFile."""

import os
from pathlib import Path

from node.os_errors import needed


class WalFile:
    """One append-only file, mode 0600. Raises StorageUnavailable: a node that can't remember must stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with needed(f"open the consensus log {path}"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                sync_directory(path.parent)
            except BaseException:
                os.close(self._fd)
                raise

    def read_all(self) -> bytes:
        """From the descriptor that is held: none is needed to read."""
        with needed(f"read the consensus log {self._path}"):
            found, size = bytearray(), os.fstat(self._fd).st_size
            while len(found) < size and (data := os.pread(self._fd, size - len(found), len(found))):
                found += data
            return bytes(found)

    def append(self, data: bytes) -> None:
        left = memoryview(data)
        with needed(f"write the consensus log {self._path}"):
            while left:
                left = left[os.write(self._fd, left) :]

    def sync(self) -> None:
        with needed(f"make the consensus log {self._path} durable"):
            os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        with needed(f"cut the consensus log {self._path}"):
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def sync_directory(directory: Path | int) -> None:
    """Make names in a directory (or its descriptor) durable: a new name is not until then. Raises OSError."""
    if isinstance(directory, int):
        os.fsync(directory)
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

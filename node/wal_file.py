"""The consensus log as a file: append, sync, cut. Implements consensus.wal.LogFile."""

import os
from pathlib import Path

from genesis.errors import StorageFailed


class WalFile:
    """One append-only file, mode 0600. A disk that fails raises StorageFailed: a node that can't remember must stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_directory(path.parent)
        except OSError as error:
            raise _failed(path, error) from error

    def read_all(self) -> bytes:
        """From the descriptor that is held: none is needed to read."""
        try:
            found, size = bytearray(), os.fstat(self._fd).st_size
            while len(found) < size and (data := os.pread(self._fd, size - len(found), len(found))):
                found += data
            return bytes(found)
        except OSError as error:
            raise _failed(self._path, error) from error

    def append(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            raise _failed(self._path, error) from error

    def sync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise _failed(self._path, error) from error

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
        except OSError as error:
            raise _failed(self._path, error) from error

    def close(self) -> None:
        os.close(self._fd)


def sync_directory(directory: Path | int) -> None:
    """Make names in a directory (or its descriptor) durable: a new file's name is not until its directory is."""
    if isinstance(directory, int):
        os.fsync(directory)
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _failed(path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"the consensus log {path} can't be used: {error.strerror or error}")

"""The consensus log as a file: append, sync, cut. Implements consensus.wal.LogFile."""

import os
from pathlib import Path

from genesis.errors import StorageCorrupt


class WalFile:
    """One append-only file, mode 0600. A disk that fails raises StorageCorrupt: a node that can't remember must stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_directory(path.parent)
        except OSError as error:
            raise _failed(path, error) from error

    def read_all(self) -> bytes:
        try:
            return self._path.read_bytes()
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


def sync_directory(path: Path) -> None:
    """Make names in a directory durable: a new file's name is not until its directory is."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _failed(path: Path, error: OSError) -> StorageCorrupt:
    return StorageCorrupt(f"the consensus log {path} can't be used: {error.strerror or error}")

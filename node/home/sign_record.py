"""The last-sign record as a file, replaced as a whole. Implements consensus.signer.SignRecordStore.

The file is `b"OLS1"`, a CRC-32 (4 bytes, big-endian) and the record. `init` makes it, empty, beside the key; whoever starts
with a key but without this file has lost what it signed, and must not sign on.
"""

import contextlib
import errno
import os
import zlib
from pathlib import Path
from typing import Final

from consensus.signer import SigningDelayed
from genesis.errors import LocalError, StorageCorrupt
from node.home.wal_file import sync_directory
from node.os_errors import exists, explain, needed

_MARK: Final = b"OLS1"
_HEAD_BYTES: Final = 8
_FILE_BYTES_MAX: Final = 1 << 20
_NO_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE)


class SignRecordFile:
    """Raises LocalError if the file is missing (and `create` is not set), StorageCorrupt if it is garbled,
    StorageUnavailable if the machine refuses to read or write it.

    It holds the folder open, and a descriptor that it lays down for each writing and takes up again, so that whoever
    uses up the process's descriptors does not keep the validator from signing.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        self._folder = self._spare = -1
        found = exists(path)
        if found or create:
            with needed(f"open the folder of the sign record {path}"):
                self._folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._reserve()
        if not found:
            if not create:
                raise LocalError(
                    f"the sign record {path} is missing, but the validator key is there. A validator that forgets what it "
                    "signed may sign twice and lose its stake. Put the record back, or create a new validator with a new key"
                )
            self._replace(b"")

    def __del__(self) -> None:
        self.close()

    def load(self) -> bytes | None:
        """The record, made durable if it is not yet; None if nothing was signed yet.

        A process that was killed between the renaming and its sync left a record that a power loss could still take back, after
        this process has sent what stands in it.
        """
        with needed(f"read the sign record {self._path}"):
            sync_directory(self._folder)
            data = self._path.read_bytes()
        record = data[_HEAD_BYTES:]
        if len(data) > _FILE_BYTES_MAX or data[:_HEAD_BYTES] != _head(record):
            raise StorageCorrupt(f"the sign record {self._path} is garbled; restore it or use a new validator key")
        return record or None

    def save(self, record: bytes) -> None:
        """Replace the record, durably. Raises SigningDelayed, with nothing changed, if no file can be opened."""
        self._replace(record)

    def close(self) -> None:
        """Give the descriptors back. Harmless when called twice."""
        self._release()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _replace(self, record: bytes) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        with needed(f"write the sign record {self._path}"):
            fd = self._open(fresh)
            try:
                view = memoryview(_head(record) + record)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            finally:
                os.close(fd)
                self._reserve()
            fresh.replace(self._path)
            sync_directory(self._folder)

    def _open(self, path: Path) -> int:
        self._release()
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._reserve()
            if error.errno in _NO_DESCRIPTORS:
                raise SigningDelayed(f"no file can be opened for the sign record: {explain(error)}") from None
            raise

    def _reserve(self) -> None:
        """Hold a descriptor that `_open` can lay down. If there is none now, the next writing tries again."""
        if self._spare < 0:
            with contextlib.suppress(OSError):
                self._spare = os.dup(self._folder)

    def _release(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


def _head(record: bytes) -> bytes:
    return _MARK + zlib.crc32(record).to_bytes(4, "big")

"""The last-sign record as a file, replaced as a whole. Implements consensus.signer.SignRecordStore.

The file is `b"OLS1"`, a CRC-32 (4 bytes, big-endian) and the record. `init` makes it, empty, beside the key; whoever starts
with a key but without this file has lost what it signed, and must not sign on.
"""

import os
import zlib
from pathlib import Path
from typing import Final

from genesis.errors import LocalError, StorageCorrupt
from node.os_errors import exists, needed
from node.wal_file import sync_directory

_MARK: Final = b"OLS1"
_HEAD_BYTES: Final = 8
_FILE_BYTES_MAX: Final = 1 << 20


class SignRecordFile:
    """Raises LocalError if the file is missing (and `create` is not set), StorageCorrupt if it is garbled, StorageUnavailable
    if the machine refuses to read or write it.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._path = path
        if not exists(path):
            if not create:
                raise LocalError(
                    f"the sign record {path} is missing, but the validator key is there. A validator that forgets what it "
                    "signed may sign twice and lose its stake. Put the record back, or create a new validator with a new key"
                )
            self._replace(b"")

    def load(self) -> bytes | None:
        """The record, made durable if it is not yet; None if nothing was signed yet.

        A process that was killed between the renaming and its sync left a record that a power loss could still take back, after
        this process has sent what stands in it.
        """
        with needed(f"read the sign record {self._path}"):
            sync_directory(self._path.parent)
            data = self._path.read_bytes()
        record = data[_HEAD_BYTES:]
        if len(data) > _FILE_BYTES_MAX or data[:_HEAD_BYTES] != _head(record):
            raise StorageCorrupt(f"the sign record {self._path} is garbled; restore it or use a new validator key")
        return record or None

    def save(self, record: bytes) -> None:
        """Replace the record; durable on return."""
        self._replace(record)

    def _replace(self, record: bytes) -> None:
        fresh = self._path.with_name(self._path.name + ".new")
        data = _head(record) + record
        with needed(f"write the sign record {self._path}"):
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            fresh.replace(self._path)
            sync_directory(self._path.parent)


def _head(record: bytes) -> bytes:
    return _MARK + zlib.crc32(record).to_bytes(4, "big")

"""A disk that loses what was not synced, under the code of the node: log, sign record and database die at a chosen boundary.

`Files` stands in for the functions of `os` that `node.home.wal_file` and `node.home.sign_record` use, and keeps for each
file what is durable of it. Everything else in the process goes to the real `os`.
"""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.storage.database import LevelDatabase


class Death(BaseException):
    """The process died here. Not an Exception: no handler of the node may take it for an error and go on."""


@dataclass
class Content:
    """The bytes of one file, as a reader sees them and as they are durable."""

    live: bytearray = field(default_factory=bytearray)
    durable: bytes = b""

    def lose(self, rng: random.Random) -> bytes:
        """What a power loss leaves: of unsynced bytes a part, their end zeros or rubbish; a cut may not have happened."""
        live = bytes(self.live)
        if not live.startswith(self.durable):
            return rng.choice([self.durable, live])
        unsynced = len(live) - len(self.durable)
        kept = rng.randint(0, unsynced)
        torn = rng.randint(0, unsynced - kept)
        return live[: len(self.durable) + kept] + rng.choice([b"", bytes(torn), rng.randbytes(torn)])


class Disk:
    """The files below one folder, and how many boundaries its process has left to live."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left: int | None = None
        """Boundaries until the process dies; None: it lives on."""
        self.died_at = ""
        self.names: dict[str, Content] = {}
        self._durable_names: dict[str, Content] = {}
        self._torn: dict[Path, int] = {}
        """Size of the database's log before the batch that is being written."""

    def boundary(self, where: str) -> None:
        """The process is about to do something that the disk or others will see. Raises Death at the last one."""
        if self.left is not None and not self.died_at:
            self.left -= 1
            if self.left <= 0:
                self.died_at = where
        if self.died_at:  # what still runs of a dead process can do nothing either
            raise Death(where)

    def delete(self, path: Path) -> None:
        """Somebody deletes a file of the dead process, for good."""
        path.unlink(missing_ok=True)
        self.names.pop(str(path), None)
        self._durable_names.pop(str(path), None)

    def make_names_durable(self) -> None:
        self._durable_names = dict(self.names)

    def writing_batch(self) -> None:
        self._torn = self._log_sizes()

    def batch_written(self) -> None:
        self._torn = {}

    def crash(self, rng: random.Random, *, power_loss: bool) -> None:
        """Put on the real disk what the death left of the files; all of them must be closed.

        Without a power loss the process alone has died: what it wrote is there, and what was not durable still is not.
        """
        cut = {
            path: rng.randint(self._torn.get(path, 0), size) for path, size in self._log_sizes().items() if self._torn
        }
        for path, size in cut.items():
            os.truncate(path, size)
        if power_loss:
            names = rng.choice([self.names, self._durable_names])
            for name in self.names.keys() | self._durable_names.keys():
                Path(name).unlink(missing_ok=True)
            for name, content in names.items():
                left = content.lose(rng)
                Path(name).write_bytes(left)
                content.live, content.durable = bytearray(left), left
            self.names, self._durable_names = dict(names), dict(names)
        self.left, self.died_at, self._torn = None, "", {}

    def _log_sizes(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self.folder.glob("*/*.log")}


class DyingDatabase(LevelDatabase):
    """LevelDB whose process may die before a batch, or while it is written: then its log ends somewhere in the batch."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._disk = disk
        super().__init__(path, create=True)

    def write_batch(self, writes: Mapping[bytes, bytes | None], *, sync: bool = True) -> None:
        self._disk.boundary("before the batch")
        self._disk.writing_batch()
        super().write_batch(writes, sync=sync)
        self._disk.boundary("inside the batch")
        if sync:
            self._disk.batch_written()


class Files:
    """The file functions of `os` in this process, for the time of a `with`: what is below a disk's folder goes through it."""

    def __init__(self) -> None:
        self.disks: list[Disk] = []
        self._patch = pytest.MonkeyPatch()
        self._files: dict[int, tuple[Disk, Content]] = {}
        self._folders: dict[int, Disk] = {}

    def __enter__(self) -> "Files":
        stand_ins = {
            "open": self._open,
            "close": self._close,
            "write": self._write,
            "fsync": self._sync,
            "fdatasync": self._sync,
            "ftruncate": self._cut,
            "replace": self._rename,
        }
        for name, stand_in in stand_ins.items():
            self._patch.setattr(os, name, partial(stand_in, getattr(os, name)))
        return self

    def __exit__(self, *_exc: object) -> None:
        self._patch.undo()

    def _disk_of(self, path: object) -> Disk | None:
        return next((disk for disk in self.disks if Path(str(path)).is_relative_to(disk.folder)), None)

    def _open(self, real: Any, path: Any, flags: int, *more: Any, **options: Any) -> int:
        disk = self._disk_of(path) if flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY) else None
        if disk is not None:
            disk.boundary("open")
        fd: int = real(path, flags, *more, **options)
        if disk is not None and flags & os.O_DIRECTORY:
            self._folders[fd] = disk
        elif disk is not None:
            fresh = str(path) not in disk.names or flags & os.O_TRUNC
            content = Content() if fresh else disk.names[str(path)]
            disk.names[str(path)] = content
            self._files[fd] = disk, content
        return fd

    def _close(self, real: Any, fd: int) -> None:
        self._files.pop(fd, None)
        self._folders.pop(fd, None)
        real(fd)

    def _write(self, real: Any, fd: int, data: Any) -> int:
        if fd not in self._files:
            return int(real(fd, data))
        disk, content = self._files[fd]
        disk.boundary("write")
        written = int(real(fd, data))
        content.live += bytes(data[:written])
        return written

    def _sync(self, real: Any, fd: int) -> None:
        if fd in self._folders:
            self._folders[fd].boundary("sync of the folder")
            self._folders[fd].make_names_durable()
        elif fd in self._files:
            disk, content = self._files[fd]
            disk.boundary("sync")
            content.durable = bytes(content.live)
        else:
            real(fd)

    def _cut(self, real: Any, fd: int, size: int) -> None:
        if fd in self._files:
            disk, content = self._files[fd]
            disk.boundary("truncate")
            del content.live[size:]
        real(fd, size)

    def _rename(self, real: Any, source: Any, target: Any, **options: Any) -> None:
        disk = self._disk_of(source)
        if disk is not None:
            disk.boundary("rename")
            disk.names[str(target)] = disk.names.pop(str(source))
        real(source, target, **options)

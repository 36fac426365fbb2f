"""The port between the node and its key-value database, and LevelDB behind it.

What LevelDB needs to be trusted (each point was seen to go wrong without it):

- `paranoid_checks` and `verify_checksums`: the default open hides flipped bytes and loses records without an error;
- `write_batch(transaction=True)`: the plain context manager writes the half-filled batch when an exception leaves it;
- `sync=True` for what is acknowledged: an asynchronous write survives the process, not a power failure;
- no repair, ever: `repair_db` rolls the chain back without saying so;
- no creation over the remains of a database whose CURRENT file is gone;
- no close while a thread reads: that crashes the process, so `close` waits for readers and refuses new ones;
- no close while a thread lets go of a snapshot or an iterator, which crashes it as well: the last reference may go with a frame
  or a traceback, in any thread. So all that is open is known (`_Gate.keep`), and `close` closes it first.
"""

import contextlib
import errno
import itertools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import plyvel

from genesis.errors import LocalError, StorageCorrupt, StorageUnavailable
from node.os_errors import exists, explain, number_of, told

_ITERATE_CHUNK: Final = 256
CACHE_BYTES: Final = 64 * 1024 * 1024
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
OPEN_FILES_MAX: Final = 256
"""LevelDB maps each open table (2 MiB) into memory, so 512 MiB of resident files is the most; with a
million accounts and random reads a quarter of that was touched (`make bench-memory`)."""


class Reader(Protocol):
    """Read access; safe from several threads. Raises StorageCorrupt when a checksum fails, and
    StorageUnavailable when the disk can't be read."""

    def get(self, key: bytes) -> bytes | None: ...

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) for every key with `prefix`, in key order, from one consistent snapshot."""
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) for every key from `start` up to but not including `stop`, in key order, from one snapshot."""
        ...


class Snapshot(Reader, Protocol):
    """The database as it was at one moment."""

    def close(self) -> None: ...


class Database(Reader, Protocol):
    """A key-value database with atomic batches."""

    def write_batch(self, writes: Mapping[bytes, bytes | None], *, sync: bool = True) -> None:
        """Put (or, for None, delete) all keys or none of them. With `sync` it is on the disk when the call returns.

        Raises StorageUnavailable if the disk refuses.
        """
        ...

    def snapshot(self) -> Snapshot: ...

    def compact(self, key: bytes) -> None:
        """Write the files around `key` anew, so that values it no longer has leave the disk; those that a snapshot still sees
        don't."""
        ...

    def close(self) -> None:
        """Wait for readers that are inside a call, then close. Reads after it raise LocalError."""
        ...


class _Closable(Protocol):
    def close(self) -> None: ...


class _Gate:
    """Counts threads that are inside LevelDB, so that closing can wait for them, and keeps what they have open.

    Entering and leaving take no lock: a reader first counts itself and then looks whether the gate is closed; `close` first
    closes and then looks who is counted. Whichever comes second sees the other. Appending and popping are one step each in
    CPython, and each thread takes away no more than it put in.
    """

    __slots__ = ("_closed", "_condition", "_inside", "_open")

    def __init__(self) -> None:
        # Garbage may be collected while the lock is held, and a snapshot among it wants to come in: so the lock is reentrant.
        self._condition = threading.Condition(threading.RLock())
        self._inside: list[None] = []
        self._open: dict[int, _Closable] = {}
        self._closed = False

    def __enter__(self) -> None:
        self._inside.append(None)
        if self._closed:
            self.__exit__()
            raise LocalError("the database is closed")

    def __exit__(self, *_exc: object) -> None:
        self._inside.pop()
        if self._closed:
            with self._condition:
                self._condition.notify_all()

    def keep(self, raw: _Closable) -> None:
        """Know of something open, from inside."""
        self._open[id(raw)] = raw

    def release(self, raw: _Closable) -> None:
        """Close what is kept, or leave it to `close`, if that has begun."""
        with contextlib.suppress(LocalError), self:
            if self._open.pop(id(raw), None) is not None:
                raw.close()

    def close(self) -> bool:
        """Let nobody in any more, wait until all are out, and close what they left open. False if it was closed before."""
        with self._condition:
            first = not self._closed
            self._closed = True
            self._condition.wait_for(lambda: not self._inside)
            for raw in self._open.values() if first else ():
                raw.close()
            return first


class LevelSnapshot:
    """A consistent view of a LevelDatabase."""

    def __init__(self, raw: "plyvel.Snapshot", gate: _Gate) -> None:
        self._raw = raw
        self._gate = gate

    def __del__(self) -> None:
        self.close()

    def get(self, key: bytes) -> bytes | None:
        with self._gate:
            try:
                return self._raw.get(key, verify_checksums=True)
            except plyvel.Error as error:
                raise _failed("read", error) from None

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._read(prefix=prefix)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._read(start=start, stop=stop)

    def _read(self, **bounds: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._gate:
            iterator = self._raw.iterator(
                prefix=bounds.get("prefix"), start=bounds.get("start"), stop=bounds.get("stop"), verify_checksums=True
            )
            self._gate.keep(iterator)
        try:
            while chunk := self._chunk(iterator):
                yield from chunk
        finally:
            self._gate.release(iterator)

    def _chunk(self, iterator: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        with self._gate:
            try:
                return list(itertools.islice(iterator, _ITERATE_CHUNK))
            except plyvel.Error as error:
                raise _failed("read", error) from None

    def close(self) -> None:
        self._gate.release(self._raw)


class LevelDatabase:
    """LevelDB in a directory of its own."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the database in `path`; with `create`, make one if the directory is absent or empty.

        Raises LocalError if it isn't there or can't be used, StorageCorrupt if it is damaged.
        """
        entries = _names_in(path)
        if "CURRENT" not in entries:
            if entries - {"LOCK", "LOG", "LOG.old"}:
                raise StorageCorrupt(
                    f"{path} holds parts of a database but not its CURRENT file; restore the directory from a backup, "
                    "or delete it to sync again from peers"
                )
            if not create:
                raise LocalError(f"there is no chain database in {path}; run `openledger init` first")
        with told(f"make {path}"):
            path.mkdir(parents=True, exist_ok=True)
        try:
            self._db = plyvel.DB(
                str(path),
                create_if_missing=create,
                paranoid_checks=True,
                lru_cache_size=CACHE_BYTES,
                write_buffer_size=WRITE_BUFFER_BYTES,
                max_open_files=OPEN_FILES_MAX,
                bloom_filter_bits=10,
            )
        except plyvel.Error as error:
            raise _open_error(path, error) from None
        self._gate = _Gate()

    def get(self, key: bytes) -> bytes | None:
        with self._gate:
            try:
                return self._db.get(key, verify_checksums=True)
            except plyvel.Error as error:
                raise _failed("read", error) from None

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        snapshot = self.snapshot()
        try:
            yield from snapshot.iterate(prefix)
        finally:
            snapshot.close()

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        snapshot = self.snapshot()
        try:
            yield from snapshot.scan(start, stop)
        finally:
            snapshot.close()

    def write_batch(self, writes: Mapping[bytes, bytes | None], *, sync: bool = True) -> None:
        with self._gate:
            try:
                with self._db.write_batch(transaction=True, sync=sync) as batch:
                    for key, value in writes.items():
                        if value is None:
                            batch.delete(key)
                        else:
                            batch.put(key, value)
            except plyvel.Error as error:
                raise _failed("write", error) from None

    def snapshot(self) -> LevelSnapshot:
        with self._gate:
            raw = self._db.snapshot()
            self._gate.keep(raw)
            return LevelSnapshot(raw, self._gate)

    def compact(self, key: bytes) -> None:
        with self._gate:
            self._db.compact_range(start=key, stop=key + b"\0")

    def close(self) -> None:
        if self._gate.close():
            self._db.close()


def _names_in(path: Path) -> set[str]:
    """What a directory holds, nothing if there is none. Raises LocalError if it can't be read."""
    if not exists(path):
        return set()
    with told(f"read the chain database in {path}"):
        return {entry.name for entry in path.iterdir()}


def _is_refused(error: plyvel.Error) -> bool:
    """True if the system refused; False if content was read and is wrong, leads nowhere, or a file of the database is gone."""
    return isinstance(error, plyvel.IOError) and number_of(error) not in (errno.ENOENT, errno.EINVAL)


def _failed(doing: str, error: plyvel.Error) -> StorageUnavailable | StorageCorrupt:
    if _is_refused(error):
        return StorageUnavailable(f"cannot {doing} the chain database: {explain(error)}")
    return _corrupt(error)


def _open_error(path: Path, error: plyvel.Error) -> LocalError | StorageCorrupt:
    if not _is_refused(error):
        return _corrupt(error)
    if number_of(error) == errno.EAGAIN or "already held by process" in str(error):
        return LocalError(f"the chain database {path} is in use by another process; stop it first")
    return LocalError(f"cannot open the chain database {path}: {explain(error)}")


def _corrupt(error: plyvel.Error) -> StorageCorrupt:
    return StorageCorrupt(
        f"the chain database is damaged ({explain(error)}); nothing was repaired: restore the data directory from a backup, "
        "or delete its chain folder (keep keys and sign record) to sync again from peers"
    )

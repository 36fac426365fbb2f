"""Types for the part of plyvel that the node uses."""

from collections.abc import Iterator
from types import TracebackType

class Error(Exception): ...
class IOError(Error): ...  # noqa: A001 - plyvel's own name
class CorruptionError(Error): ...

class WriteBatch:
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def clear(self) -> None: ...
    def write(self) -> None: ...
    def __enter__(self) -> WriteBatch: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class RawIterator:
    def close(self) -> None: ...

class _Iterator(Iterator[tuple[bytes, bytes]]):
    def __next__(self) -> tuple[bytes, bytes]: ...
    def close(self) -> None: ...

class Snapshot:
    """For annotations only: plyvel does not export the class."""

    def get(
        self,
        key: bytes,
        default: bytes | None = None,
        *,
        verify_checksums: bool | None = None,
        fill_cache: bool | None = None,
    ) -> bytes | None: ...
    def iterator(
        self,
        *,
        reverse: bool = False,
        start: bytes | None = None,
        stop: bytes | None = None,
        include_start: bool = True,
        include_stop: bool = False,
        prefix: bytes | None = None,
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> _Iterator: ...
    def close(self) -> None: ...

class DB:
    def __init__(
        self,
        name: str,
        create_if_missing: bool = False,
        *,
        error_if_exists: bool = False,
        paranoid_checks: bool | None = None,
        write_buffer_size: int | None = None,
        max_open_files: int | None = None,
        lru_cache_size: int | None = None,
        block_size: int | None = None,
        block_restart_interval: int | None = None,
        max_file_size: int | None = None,
        compression: str | None = "snappy",
        bloom_filter_bits: int = 0,
    ) -> None: ...
    @property
    def closed(self) -> bool: ...
    def get(
        self,
        key: bytes,
        default: bytes | None = None,
        *,
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, *, sync: bool = False) -> None: ...
    def delete(self, key: bytes, *, sync: bool = False) -> None: ...
    def write_batch(self, *, transaction: bool = False, sync: bool = False) -> WriteBatch: ...
    def iterator(
        self,
        *,
        reverse: bool = False,
        start: bytes | None = None,
        stop: bytes | None = None,
        include_start: bool = True,
        include_stop: bool = False,
        prefix: bytes | None = None,
        verify_checksums: bool = False,
        fill_cache: bool = True,
    ) -> _Iterator: ...
    def snapshot(self) -> Snapshot: ...
    def approximate_sizes(self, *ranges: tuple[bytes, bytes]) -> list[int]: ...
    def compact_range(self, *, start: bytes | None = None, stop: bytes | None = None) -> None: ...
    def get_property(self, name: bytes) -> bytes | None: ...
    def close(self) -> None: ...

def repair_db(name: str, **options: object) -> None: ...
def destroy_db(name: str) -> None: ...

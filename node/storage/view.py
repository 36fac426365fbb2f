"""The runtime's window on the database: state and nothing else."""

from collections.abc import Iterator
from typing import Final

from evm_runtime.state.kv import WriteSet
from genesis.limits import MIB
from node.storage.database import Reader, Snapshot
from node.storage.keys import STATE_PREFIX

REMEMBERED_BYTES: Final = 8 * MIB
"""Bytes of what one snapshot's readers have read."""
_ENTRY_BYTES: Final = 200
"""What an entry takes beside key and value."""


class StateView:
    """A KeyValueReader over the keys with the state prefix, of the live database or of a snapshot."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def get(self, key: bytes) -> bytes | None:
        return self._reader.get(STATE_PREFIX + key)

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        cut = len(STATE_PREFIX)
        for key, value in self._reader.iterate(STATE_PREFIX + prefix):
            yield key[cut:], value


def state_key(key: bytes) -> bytes:
    """The database's key for a key of the state."""
    return STATE_PREFIX + key


class SnapshotView(StateView):
    """The same of a snapshot, which reads a key once: calls at one tip want the same accounts, codes and slots over and over.

    Threads may share it: a race reads twice and counts once, no more. Once full, it remembers nothing new.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self._known: dict[bytes, bytes | None] = {}
        self._room = REMEMBERED_BYTES

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._known[key]
        except KeyError:
            value = super().get(key)
        size = len(key) + len(value or b"") + _ENTRY_BYTES
        if size <= self._room:
            self._known[key] = value
            self._room -= size
        return value


def state_writes(writes: WriteSet) -> dict[bytes, bytes | None]:
    """A block's state writes as keys of the database."""
    return {state_key(key): value for key, value in writes.items()}

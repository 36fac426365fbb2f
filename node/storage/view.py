"""The runtime's window on the database: state and nothing else."""

from collections.abc import Iterator

from evm_runtime.kv import WriteSet
from node.storage.database import Reader
from node.storage.keys import STATE_PREFIX


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


def state_writes(writes: WriteSet) -> dict[bytes, bytes | None]:
    """A block's state writes as keys of the database."""
    return {state_key(key): value for key, value in writes.items()}

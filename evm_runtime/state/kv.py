"""The key-value port under the runtime. The node hands in a view of its database that holds state and nothing else.

Reads see the finalized state. Nothing is ever written through the port: execution returns a `WriteSet`, and the node puts it
into the one batch that commits a block.
"""

from collections.abc import Iterator
from typing import Protocol

WriteSet = dict[bytes, bytes | None]
"""Keys to new values; None deletes."""


class KeyValueReader(Protocol):
    """Read access to finalized state. Safe to use from several threads."""

    def get(self, key: bytes) -> bytes | None:
        """The value, or None if the key is absent."""
        ...

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) for every key that starts with `prefix`, in key order, from one consistent snapshot."""
        ...


class MemoryStore:
    """A dictionary as a store: for tests, genesis building and benches."""

    def __init__(self, entries: dict[bytes, bytes] | None = None) -> None:
        self.entries = dict(entries or {})

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def iterate(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self.entries):
            if key.startswith(prefix):
                yield key, self.entries[key]

    def apply(self, writes: WriteSet) -> None:
        """Apply a block's writes."""
        for key, value in writes.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value

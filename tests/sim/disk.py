"""Disks that die: what was not synced is lost or torn, and a crash may come before and after every write."""

import random
from collections.abc import Callable

Hazard = Callable[[str], None]
"""Called at every boundary with its name; may raise Crash."""


class Crash(Exception):
    """The process died here."""


class SimLog:
    """A LogFile that knows what is durable."""

    def __init__(self, hazard: Hazard) -> None:
        self.data = bytearray()
        self.durable = 0
        self._hazard = hazard

    def read_all(self) -> bytes:
        return bytes(self.data)

    def append(self, data: bytes) -> None:
        self._hazard("before append")
        self.data += data
        self._hazard("after append")

    def sync(self) -> None:
        self._hazard("before sync")
        self.durable = len(self.data)
        self._hazard("after sync")

    def truncate(self, size: int) -> None:
        self._hazard("before truncate")
        del self.data[size:]
        self.durable = size
        self._hazard("after truncate")

    def crash(self, rng: random.Random) -> None:
        """Of what was not synced a part is lost; the end of the rest may be zeros or rubbish (sectors never written)."""
        unsynced = len(self.data) - self.durable
        kept = rng.randint(0, unsynced)
        torn = rng.randint(0, unsynced - kept)
        tail = rng.choice([b"", bytes(torn), rng.randbytes(torn)])
        del self.data[self.durable + kept :]
        self.data += tail
        self.durable = len(self.data)


class SimRecord:
    """A SignRecordStore: atomic, but the process may die before it or after it."""

    def __init__(self, hazard: Hazard) -> None:
        self.value: bytes | None = None
        self._hazard = hazard

    def load(self) -> bytes | None:
        return self.value

    def save(self, record: bytes) -> None:
        self._hazard("before sign record")
        self.value = record
        self._hazard("after sign record")

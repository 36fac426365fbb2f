"""The outgoing queue of one (peer, channel): bounded, never blocking, best message first.

Rules:
1. A message has a priority (higher leaves first; equals leave in the order they came) and may have a drop key.
2. A message replaces a waiting one with the same drop key: the older is gone, the newer queues up as new.
3. When the queue is full (in messages or bytes), the lowest priority goes first, the oldest of it first. A message that is
   lower than everything waiting in a full queue is not taken.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

import trio

QUEUE_MESSAGES_MAX: Final = 256
QUEUE_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Message:
    payload: bytes
    drop_key: Hashable | None


class OutgoingQueue:
    """See the rules above. `put` is called from any task of the loop, `take` by the one writer."""

    def __init__(self, messages_max: int = QUEUE_MESSAGES_MAX, bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self.dropped = 0
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._by_priority: dict[int, dict[int, _Message]] = {}  # priority -> serial -> message, oldest first
        self._by_key: dict[Hashable, tuple[int, int]] = {}
        self._count = 0
        self._bytes = 0
        self._serial = 0
        self._arrived = trio.Event()

    def __len__(self) -> int:
        return self._count

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def put(self, payload: bytes, priority: int = 0, drop_key: Hashable | None = None) -> bool:
        """Queue a message; True if it was taken (it may be dropped later). Never blocks."""
        if drop_key is not None and drop_key in self._by_key:
            self._remove(*self._by_key[drop_key])
        while self._count >= self._messages_max or (self._count and self._bytes + len(payload) > self._bytes_max):
            lowest = min(self._by_priority)
            if lowest > priority:
                self.dropped += 1
                return False
            self._remove(lowest, next(iter(self._by_priority[lowest])))
            self.dropped += 1
        self._serial += 1
        self._by_priority.setdefault(priority, {})[self._serial] = _Message(payload, drop_key)
        if drop_key is not None:
            self._by_key[drop_key] = (priority, self._serial)
        self._count += 1
        self._bytes += len(payload)
        self._arrived.set()
        return True

    def take_batch(self, bytes_max: int) -> list[bytes]:
        """The next messages, best first: at least one if any waits, then more while they fit in `bytes_max`."""
        batch: list[bytes] = []
        size = 0
        while self._count:
            highest = max(self._by_priority)
            serial, message = next(iter(self._by_priority[highest].items()))
            if batch and size + len(message.payload) > bytes_max:
                break
            self._remove(highest, serial)
            batch.append(message.payload)
            size += len(message.payload)
        return batch

    async def wait(self) -> None:
        """Return once a message waits."""
        while not self._count:
            self._arrived = trio.Event()
            await self._arrived.wait()

    def _remove(self, priority: int, serial: int) -> None:
        bucket = self._by_priority[priority]
        message = bucket.pop(serial)
        if not bucket:
            del self._by_priority[priority]
        if message.drop_key is not None:
            del self._by_key[message.drop_key]
        self._count -= 1
        self._bytes -= len(message.payload)

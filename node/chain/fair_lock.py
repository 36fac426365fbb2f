"""A lock that is given to whoever has waited longest.

`threading.Lock` lets a thread that releases it and asks again at once win over those that wait. The span index is built in many
short steps with the lock released in between; block execution must get its turn after one step, not after all of them.
"""

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """First in, first out. A context manager; not re-entrant."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # until the one before hands the lock over

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

"""How often the same thing is said in the log."""

import time
from collections.abc import Callable
from typing import Final

SAY_AGAIN_S: Final = 60.0


class Pace:
    """Lets something be said at once and then once a minute, however often it happens."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every_s: float = SAY_AGAIN_S) -> None:
        self._clock = clock
        self._every_s = every_s
        self._said_at: float | None = None

    def may_say(self) -> bool:
        """True if it is time to say it (again); then it counts as said."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < self._every_s:
            return False
        self._said_at = now
        return True

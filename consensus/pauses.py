"""Pausing consensus: block sync stores blocks while the engine stands still between two inputs."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio


class Pauses:
    """Who wants the engine to stand still, and whether it does. `note` is called, once for each, before the wait for it."""

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note
        self._wanted = 0
        self._standing = trio.Event()
        self._resumed = trio.Event()

    @property
    def wanted(self) -> bool:
        return self._wanted > 0

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None, None]:
        """Wait until the engine stands still, and keep it so for as long as the `async with` lasts."""
        self._wanted += 1
        self._note()
        try:
            await self._standing.wait()
            yield
        finally:
            self._wanted -= 1
            if not self._wanted:
                self._resumed.set()

    async def stand_still(self) -> None:
        """The engine's side: let those who wait go ahead, and return when the last is done."""
        while self._wanted:
            self._resumed = trio.Event()
            self._standing.set()
            await self._resumed.wait()
        self._standing = trio.Event()

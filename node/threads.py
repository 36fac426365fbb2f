"""Threads by what they are for, so that no kind of work can take another's.

trio has forty threads for all; a peer that asks for much, or a disk that hangs, could hold them while consensus waits
for one to check a block. So nothing here uses trio's common forty: each kind has its own number, and what it can't get
at once it waits for. Calls of JSON-RPC (`node.rpc.workers`), execution (`node.chain.worker`) and names (`p2p.resolver`) have
threads of their own too.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import trio

T = TypeVar("T")


class Threads:
    """At most `count` threads for one kind of work."""

    def __init__(self, kind: str, count: int) -> None:
        self._count = count
        self._limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar(f"threads for {kind}")

    async def run(self, function: Callable[..., T], *args: object, abandon_on_cancel: bool = False) -> T:
        """Run `function(*args)` in one of them. With `abandon_on_cancel` a cancelled caller goes on at once; the thread
        stays taken until `function` is done.
        """
        try:
            limiter = self._limiter.get()
        except LookupError:
            limiter = trio.CapacityLimiter(self._count)
            self._limiter.set(limiter)
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon_on_cancel, limiter=limiter)


CONSENSUS: Final = Threads("consensus", 8)
"""What consensus and block sync wait for: bodies, past heights, a proposal's transactions."""
GOSSIP: Final = Threads("transactions of peers", 2)
SERVING: Final = Threads("blocks for peers", 4)
FEED: Final = Threads("blocks for subscribers", 1)
UPKEEP: Final = Threads("upkeep", 4)
"""What is done beside, each by one task: warming the index, dropping erased content, compiling, watching the
validator.
"""

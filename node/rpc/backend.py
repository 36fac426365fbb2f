"""What JSON-RPC needs of the node, and who asks it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from attribution_precompile.index.span_index import SpanIndex
from node.interfaces import BlockFeed, ChainReader, Mempool, NodeStatus


def wall_clock_ms() -> int:
    """Milliseconds since the epoch, by this machine."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Backend:
    """The parts of the node that JSON-RPC answers from."""

    chain: ChainReader
    mempool: Mempool
    feed: BlockFeed
    status: NodeStatus
    span_index: SpanIndex
    """The chain's own, which block execution uses as well: looking up takes no lock."""
    now_ms: Callable[[], int] = wall_clock_ms
    """The clock that proposals take their time from."""


class Session:
    """Who asks. Over HTTP a session lasts for one request and can't be notified."""

    def __init__(self, *, authorized: bool = False) -> None:
        self.authorized = authorized
        """May use the namespaces that are the operator's."""

    def notify(self, message: bytes) -> bool:
        """Queue a notification without waiting; False if this session takes none (any more)."""
        return False

    @property
    def can_notify(self) -> bool:
        return False

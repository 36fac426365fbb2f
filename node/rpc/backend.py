"""What JSON-RPC needs of the node, and what one call sees of it."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from node.interfaces import BlockFeed, ChainReader, Mempool, NodeStatus
from node.rpc.config import RpcLimits
from node.rpc.errors import RpcError, server_error

if TYPE_CHECKING:
    from attribution_precompile.span_index import SpanIndex
    from node.rpc.answers import Answers
    from node.rpc.filters import Filters
    from node.rpc.registry import Registry
    from node.rpc.subscriptions import SubscriptionHub
    from node.rpc.wallet import Wallet
    from node.rpc.workers import Workers

T = TypeVar("T")


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
    span_index: "SpanIndex"
    """The chain's own, which block execution uses as well: looking up takes no lock."""
    now_ms: Callable[[], int] = wall_clock_ms
    """The clock that proposals take their time from."""


class Stopwatch:
    """Ends long work in a worker thread: hand `expired` to the runtime as its interrupt, or call `check` now and then."""

    def __init__(self, seconds: float, stopping: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._stopping = stopping
        self._end = time.monotonic() + seconds

    def expired(self) -> bool:
        return time.monotonic() > self._end or self._stopping()

    def check(self) -> None:
        """Raises RpcError once the time is over."""
        if self.expired():
            raise self.error()

    def error(self) -> RpcError:
        return server_error(f"execution aborted (timeout = {self._seconds:g}s)")


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


@dataclass
class Services:
    """What outlives a request: made once per server."""

    backend: Backend
    limits: RpcLimits
    workers: "Workers"
    registry: "Registry"
    filters: "Filters"
    hub: "SubscriptionHub"
    wallet: "Wallet"
    answers: "Answers"
    stopping: bool = False


@dataclass(slots=True)
class Context:
    """One call, as its method sees it."""

    services: Services
    session: Session
    after: list[Callable[[], None]] = field(default_factory=list)
    """Run once the answer is on its way: a subscription may not speak before its id is known to the client."""

    @property
    def chain(self) -> ChainReader:
        return self.services.backend.chain

    @property
    def mempool(self) -> Mempool:
        return self.services.backend.mempool

    @property
    def status(self) -> NodeStatus:
        return self.services.backend.status

    @property
    def limits(self) -> RpcLimits:
        return self.services.limits

    def now_ms(self) -> int:
        return self.services.backend.now_ms()

    def stopwatch(self, seconds: float) -> Stopwatch:
        return Stopwatch(seconds, lambda: self.services.stopping)

    async def read(self, function: Callable[..., T], *arguments: object) -> T:
        """Run `function(*arguments)` in a thread for reads."""
        return await self.services.workers.read(functools.partial(function, *arguments))

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run `function(*arguments)` in a thread for calls."""
        return await self.services.workers.call(functools.partial(function, *arguments))

"""What one call sees: the services of its server, who asks, and what is to be done once the answer is sent."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from node.interfaces import ChainReader, Mempool, NodeStatus
from node.rpc.backend import Backend, Session
from node.rpc.config import RpcLimits
from node.rpc.filters import Filters
from node.rpc.result_cache import Answers
from node.rpc.schema.declare import Registry
from node.rpc.stopwatch import Stopwatch
from node.rpc.subscriptions import SubscriptionHub
from node.rpc.wallet import Wallet
from node.rpc.workers import Workers

T = TypeVar("T")


@dataclass
class Services:
    """What outlives a request: made once per server."""

    backend: Backend
    limits: RpcLimits
    workers: Workers
    registry: Registry
    filters: Filters
    hub: SubscriptionHub
    wallet: Wallet
    answers: Answers
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

"""eth_subscribe: one reader of the node's news for the whole server, fanned out to every subscription.

Whatever is sent is formatted once, however many want it, and subscriptions with equal filters are matched as one, against the
addresses and topics that the block really has: thousands of subscriptions cost a block what their matches cost. A session that
can't keep up is closed by its own outbox; the hub never waits for anybody.
"""

import secrets
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import orjson
import trio

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Hash32, Height
from node.interfaces import StoredBlock
from node.rpc.backend import Backend, Session
from node.rpc.config import RpcLimits
from node.rpc.reads.attributions import AttributionFilter, inference_json, inferences
from node.rpc.reads.logs import BlockLogs, bloom_may_hold
from node.rpc.reads.lookup import stored_at
from node.rpc.schema.errors import METHOD_NOT_FOUND, RpcError, limit_exceeded
from node.rpc.schema.format import header_json, transaction_json
from node.rpc.schema.params import LogFilter
from node.threads import FEED

if TYPE_CHECKING:
    from collections.abc import Callable

Asked = TypeVar("Asked")

_RETRY_SECONDS: Final = 0.1
_BACKLOG_MAX: Final = 20_000


@dataclass(slots=True, eq=False)
class Subscription:
    """What all kinds have. Until `activate`, messages wait in `backlog`, so that none comes before the id's answer."""

    session: Session
    id: str = field(init=False)
    backlog: list[bytes] | None = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.id = f"0x{secrets.randbits(128):x}"

    def send(self, result: bytes) -> None:
        message = b'{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"%b","result":%b}}' % (
            self.id.encode(),
            result,
        )
        if self.backlog is None:
            self.session.notify(message)
        elif len(self.backlog) < _BACKLOG_MAX:
            self.backlog.append(message)

    def activate(self) -> None:
        backlog, self.backlog = self.backlog or [], None
        for message in backlog:
            self.session.notify(message)


class HeadSubscription(Subscription):
    """Headers of new blocks."""


@dataclass(slots=True, eq=False)
class LogSubscription(Subscription):
    """Matching logs of new blocks."""

    wanted: LogFilter


@dataclass(slots=True, eq=False)
class PendingSubscription(Subscription):
    """Transactions as they are admitted: hashes, or whole."""

    full: bool


@dataclass(slots=True, eq=False)
class AttributionSubscription(Subscription):
    """Paid inferences of new blocks, with their payments."""

    wanted: AttributionFilter


class _Groups:
    """Subscriptions by what they ask for: equal ones are served as one."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, dict[str, Subscription]] = {}

    def add(self, each: Subscription) -> None:
        self._groups.setdefault(_asks_for(each), {})[each.id] = each

    def remove(self, each: Subscription) -> None:
        key = _asks_for(each)
        group = self._groups.get(key, {})
        group.pop(each.id, None)
        if not group:
            self._groups.pop(key, None)

    def of(self, kind: type[Asked]) -> list[tuple[Asked, list[Subscription]]]:
        """(what is asked for, by whom) for the filters that are instances of `kind`."""
        return [(key, list(group.values())) for key, group in self._groups.items() if isinstance(key, kind)]

    def get(self, key: Hashable) -> list[Subscription]:
        return list(self._groups.get(key, {}).values())


def _asks_for(each: Subscription) -> Hashable:
    if isinstance(each, LogSubscription | AttributionSubscription):
        return each.wanted
    return (type(each), isinstance(each, PendingSubscription) and each.full)


_HEADS: Final = (HeadSubscription, False)
_HASHES: Final = (PendingSubscription, False)
_WHOLE: Final = (PendingSubscription, True)


class SubscriptionHub:
    """Follows the chain and the mempool, and tells the subscriptions."""

    def __init__(self, backend: Backend, limits: RpcLimits) -> None:
        self._backend = backend
        self._limits = limits
        self._by_session: dict[Session, dict[str, Subscription]] = {}
        self._groups = _Groups()
        self._pending_listeners: list[Callable[[Hash32], None]] = []
        self._last: Height = backend.chain.tip().height
        self._new_block = trio.Event()

    # -- for methods

    def add(self, subscription: Subscription) -> None:
        """Raises RpcError if the session takes no notifications or has too many subscriptions."""
        session = subscription.session
        if not session.can_notify:
            raise RpcError(METHOD_NOT_FOUND, "notifications not supported; subscribe over WebSocket")
        mine = self._by_session.setdefault(session, {})
        if len(mine) >= self._limits.subscriptions_max:
            raise limit_exceeded(f"at most {self._limits.subscriptions_max} subscriptions per connection")
        mine[subscription.id] = subscription
        self._groups.add(subscription)

    def remove(self, session: Session, subscription_id: str) -> bool:
        """False if this session has no such subscription."""
        found = self._by_session.get(session, {}).pop(subscription_id, None)
        if found is not None:
            self._groups.remove(found)
        return found is not None

    def drop_session(self, session: Session) -> None:
        for each in self._by_session.pop(session, {}).values():
            self._groups.remove(each)

    def __len__(self) -> int:
        return sum(map(len, self._by_session.values()))

    def on_pending(self, listener: "Callable[[Hash32], None]") -> None:
        """Call `listener` with the hash of every transaction that is admitted."""
        self._pending_listeners.append(listener)

    @property
    def next_block(self) -> trio.Event:
        """Set when the next block has become final. Take it before looking, so that no block falls in between."""
        return self._new_block

    # -- following the node

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow blocks and pending transactions until cancelled; started once both are subscribed to."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._follow_blocks)
            await nursery.start(self._follow_pending)
            task_status.started()

    async def _follow_blocks(self, *, task_status: trio.TaskStatus[None]) -> None:
        chain = self._backend.chain
        started = False
        while True:
            async with self._backend.feed.subscribe() as blocks:
                if not started:
                    started = True
                    task_status.started()
                # The node closes a channel that is read too slowly; what was missed is on disk.
                for height in range(self._last + 1, chain.tip().height + 1):
                    self._tell_block(await FEED.run(stored_at, chain, Height(height)))
                async for stored in blocks:
                    if stored.height > self._last:
                        self._tell_block(stored)
            await trio.sleep(_RETRY_SECONDS)

    async def _follow_pending(self, *, task_status: trio.TaskStatus[None]) -> None:
        started = False
        while True:
            async with self._backend.feed.subscribe_pending() as hashes:
                if not started:
                    started = True
                    task_status.started()
                async for transaction_hash in hashes:
                    self._tell_pending(transaction_hash)
            await trio.sleep(_RETRY_SECONDS)

    def _tell_block(self, stored: StoredBlock) -> None:
        self._last = stored.height
        heads = self._groups.get(_HEADS)
        if heads:
            _send(heads, orjson.dumps(header_json(stored.header)))
        self._tell_logs(stored)
        self._tell_attributions(stored)
        self._new_block.set()
        self._new_block = trio.Event()

    def _tell_logs(self, stored: StoredBlock) -> None:
        groups = self._groups.of(LogFilter)
        if not groups or not any(receipt.logs for receipt in stored.receipts):
            return
        logs = BlockLogs(stored)
        for wanted, subscriptions in groups:
            for log in logs.matching(wanted):
                _send(subscriptions, log)

    def _tell_attributions(self, stored: StoredBlock) -> None:
        groups = self._groups.of(AttributionFilter)
        if not groups or not bloom_may_hold(stored.header.bloom, ATTRIBUTION_ADDRESS):
            return
        for found in inferences(stored):
            shown: bytes | None = None
            for wanted, subscriptions in groups:
                if wanted.matches(found):
                    shown = shown or orjson.dumps(inference_json(found, stored))
                    _send(subscriptions, shown)

    def _tell_pending(self, transaction_hash: Hash32) -> None:
        for listener in self._pending_listeners:
            listener(transaction_hash)
        _send(self._groups.get(_HASHES), b'"0x%b"' % transaction_hash.hex().encode())
        whole = self._groups.get(_WHOLE)
        transaction = self._backend.mempool.get(transaction_hash) if whole else None
        if transaction is not None:
            _send(whole, orjson.dumps(transaction_json(transaction, None)))


def _send(subscriptions: list[Subscription], result: bytes) -> None:
    for each in subscriptions:
        each.send(result)

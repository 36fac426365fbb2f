"""Filters that are polled (eth_newFilter and its kin): each remembers where its reader stands, and expires when unused."""

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import trio

from genesis.primitives import Hash32
from node.rpc.config import RpcLimits
from node.rpc.reads.logs import LogQuery
from node.rpc.schema.errors import limit_exceeded, server_error
from node.rpc.schema.params import LogFilter

_EXPIRY_CHECK_SECONDS: Final = 10.0


@dataclass(slots=True)
class PolledFilter:
    """What all filters have. `lock` keeps two polls at once from delivering the same things twice."""

    used_at: float = field(default=0.0, kw_only=True)
    lock: trio.Lock = field(default_factory=trio.Lock, kw_only=True)


@dataclass(slots=True)
class BlockPoll(PolledFilter):
    """Hashes of the blocks from `next_height` on."""

    next_height: int


@dataclass(slots=True)
class LogPoll(PolledFilter):
    """Matching logs from `next_height` on."""

    wanted: LogFilter
    query: LogQuery
    next_height: int


@dataclass(slots=True)
class PendingPoll(PolledFilter):
    """Transactions admitted since the last poll, by hash; the oldest are lost if there are too many."""

    hashes: deque[Hash32]
    full: bool = False
    """Tell whole transactions."""


class Filters:
    """All filters of a server, by id. They belong to nobody: who knows an id may poll it, as with geth."""

    def __init__(self, limits: RpcLimits) -> None:
        self._limits = limits
        self._filters: dict[str, PolledFilter] = {}
        self._pending: dict[str, PendingPoll] = {}

    def __len__(self) -> int:
        return len(self._filters)

    def add(self, each: PolledFilter) -> str:
        """Keep a filter; returns its id. Raises RpcError if there are too many."""
        self._drop_expired()
        if len(self._filters) >= self._limits.filters_max:
            raise limit_exceeded("too many filters; uninstall some, or wait until unused ones expire")
        each.used_at = trio.current_time()
        filter_id = f"0x{secrets.randbits(128):x}"
        self._filters[filter_id] = each
        if isinstance(each, PendingPoll):
            self._pending[filter_id] = each
        return filter_id

    def get(self, filter_id: str) -> PolledFilter:
        """Raises RpcError for an id that is unknown or expired."""
        each = self._filters.get(filter_id)
        if each is None or self._is_expired(each):
            raise server_error("filter not found")
        each.used_at = trio.current_time()
        return each

    def remove(self, filter_id: str) -> bool:
        self._pending.pop(filter_id, None)
        return self._filters.pop(filter_id, None) is not None

    def new_pending(self, transaction_hash: Hash32) -> None:
        """A transaction was admitted to the mempool."""
        for each in self._pending.values():
            each.hashes.append(transaction_hash)

    async def expire_forever(self) -> None:
        """Forget unused filters every now and then."""
        while True:
            await trio.sleep(_EXPIRY_CHECK_SECONDS)
            self._drop_expired()

    def _is_expired(self, each: PolledFilter) -> bool:
        return trio.current_time() - each.used_at > self._limits.filter_idle_s and not each.lock.locked()

    def _drop_expired(self) -> None:
        for filter_id in [key for key, each in self._filters.items() if self._is_expired(each)]:
            self.remove(filter_id)

"""The news of the chain, for subscribers inside the node: final blocks and admitted transactions.

A subscriber gets a bounded channel. One that doesn't keep up has its channel closed: it must subscribe again, and read what it
missed from the store. So a slow reader can never hold up the chain or grow the node's memory.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Generic, TypeVar

import trio

from genesis.primitives import Hash32
from node.interfaces import StoredBlock

T = TypeVar("T")

BLOCKS_BUFFERED: Final = 64
TRANSACTIONS_BUFFERED: Final = 4_096


class _Topic(Generic[T]):
    def __init__(self, buffered: int) -> None:
        self._buffered = buffered
        self._readers: set[trio.MemorySendChannel[T]] = set()

    def publish(self, item: T) -> None:
        for reader in list(self._readers):
            try:
                reader.send_nowait(item)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._readers.discard(reader)
                reader.close()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[trio.MemoryReceiveChannel[T]]:
        send, receive = trio.open_memory_channel[T](self._buffered)
        self._readers.add(send)
        try:
            yield receive
        finally:
            self._readers.discard(send)
            send.close()
            receive.close()


class Feed:
    """A BlockFeed that the application and the mempool publish to, on the event loop."""

    def __init__(self) -> None:
        self._blocks: _Topic[StoredBlock] = _Topic(BLOCKS_BUFFERED)
        self._pending: _Topic[Hash32] = _Topic(TRANSACTIONS_BUFFERED)

    def subscribe(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[StoredBlock]]:
        return self._blocks.subscribe()

    def subscribe_pending(self) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Hash32]]:
        return self._pending.subscribe()

    def publish_block(self, stored: StoredBlock) -> None:
        self._blocks.publish(stored)

    def publish_pending(self, transaction_hash: Hash32) -> None:
        self._pending.publish(transaction_hash)

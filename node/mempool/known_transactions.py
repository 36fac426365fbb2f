"""What was decoded or settled lately, so that no signature is recovered twice. Bounded, the oldest goes first."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from evm_runtime.transaction import Transaction
from genesis.limits import MIB
from genesis.primitives import Hash32

KNOWN_MAX: Final = 16_384
KNOWN_BYTES_MAX: Final = 32 * MIB
"""Bytes of raw transactions; what is decoded takes a few times as much."""


class KnownTransactions:
    """Decoded transactions by hash. Recovering a sender is most of what admission costs, and a sender never changes."""

    def __init__(self, count_max: int = KNOWN_MAX, bytes_max: int = KNOWN_BYTES_MAX) -> None:
        self._by_hash: OrderedDict[Hash32, Transaction] = OrderedDict()
        self._bytes = 0
        self._count_max = count_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, transaction_hash: Hash32) -> Transaction | None:
        return self._by_hash.get(transaction_hash)

    def put(self, transaction: Transaction) -> None:
        if transaction.hash in self._by_hash:
            return
        self._by_hash[transaction.hash] = transaction
        self._bytes += len(transaction.raw)
        while len(self._by_hash) > self._count_max or self._bytes > self._bytes_max:
            _, oldest = self._by_hash.popitem(last=False)
            self._bytes -= len(oldest.raw)


class RecentHashes:
    """A set that forgets its oldest members."""

    def __init__(self, count_max: int) -> None:
        self._hashes: OrderedDict[Hash32, None] = OrderedDict()
        self._count_max = count_max

    def __contains__(self, value: object) -> bool:
        return value in self._hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, hashes: Iterable[Hash32]) -> None:
        for value in hashes:
            self._hashes[value] = None
        while len(self._hashes) > self._count_max:
            self._hashes.popitem(last=False)

    def clear(self) -> None:
        self._hashes.clear()

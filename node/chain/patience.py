"""Patience with transactions that keep blocks from being decided, and its end.

Gas and work bound what a transaction may take (docs/gas.md), so none should take longer than a whole block may. Should one do
so all the same, by a fault that nobody knows yet, then the proposals that have it come too late, whoever makes them, and it
would be tried again at every height: what is never included never pays. So each building and each execution of a block notes
the transactions that alone took longer than a whole block may. If the height is decided without such a one, that was a failed
try. Within the height it isn't proposed again, and after `TRIES_MAX` tries it is given up.

This is a node's own policy, by its own clock: no rule of the chain depends on it.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from evm_runtime.transaction import Transaction
from genesis.primitives import Hash32

TRIES_MAX: Final = 3
_REMEMBERED_MAX: Final = 4_096

Clock = Callable[[], float]
"""Seconds that only grow."""


class Abandoned(Exception):  # named for what happened, as all errors here
    """Ends the execution of a block that nobody waits for any more."""


class Attempt:
    """One building or execution of a block. It is told of transactions on the execution thread, and asked on the event loop."""

    def __init__(self, slow_s: float, clock: Clock) -> None:
        self._slow_s = slow_s
        self._clock = clock
        self._current: tuple[Transaction, float] | None = None
        self._slow: list[Transaction] = []
        self._is_abandoned = False

    def abandon(self) -> None:
        """Nobody waits for the result any more: the next transaction isn't begun."""
        self._is_abandoned = True

    def begin(self, transaction: Transaction) -> None:
        """The one before has ended, this one begins. Raises Abandoned."""
        self.end()
        if self._is_abandoned:
            raise Abandoned
        self._current = transaction, self._clock()

    def end(self) -> None:
        """The last transaction has ended."""
        if self._current is not None:
            transaction, began = self._current
            if self._clock() - began >= self._slow_s:
                self._slow.append(transaction)
            self._current = None

    def paced(self, candidates: Iterable[Transaction], seconds_max: float) -> Iterator[Transaction]:
        """The candidates, each begun as it is taken, until they have taken so long together, or the attempt is abandoned."""
        began = self._clock()
        for transaction in candidates:
            if self._is_abandoned or self._clock() - began >= seconds_max:
                break
            self.begin(transaction)
            yield transaction

    def slow(self) -> list[Transaction]:
        """Those that took longer than a block may, the one that runs now included."""
        current, found = self._current, list(self._slow)
        if current is not None and self._clock() - current[1] >= self._slow_s:
            found.append(current[0])
        return found


class Patience:
    """The attempts of one height, and the failed tries of those before. On the event loop."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._attempts: list[Attempt] = []
        self._tries: Counter[Hash32] = Counter()

    def attempt(self, slow_s: float) -> Attempt:
        """For a block that is about to be built or executed; slow is a transaction that alone takes so many seconds."""
        self._attempts.append(Attempt(slow_s, self._clock))
        return self._attempts[-1]

    def suspects(self) -> set[Hash32]:
        """The slow ones of this height so far. Whoever builds again for it has seen that these were not decided."""
        return {transaction.hash for attempt in self._attempts for transaction in attempt.slow()}

    def decided(self, included: Collection[Hash32]) -> list[Transaction]:
        """The height is decided, with these transactions. Returns those to be given up."""
        hopeless: dict[Hash32, Transaction] = {}
        for attempt in self._attempts:
            for transaction in attempt.slow():
                if transaction.hash not in included:
                    self._tries[transaction.hash] += 1
                    if self._tries[transaction.hash] >= TRIES_MAX:
                        hopeless[transaction.hash] = transaction
        self._attempts.clear()
        for transaction_hash in (*hopeless, *included):
            self._tries.pop(transaction_hash, None)
        while len(self._tries) > _REMEMBERED_MAX:
            del self._tries[next(iter(self._tries))]
        return list(hopeless.values())

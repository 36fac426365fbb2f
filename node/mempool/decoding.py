"""Decoding many transactions at once: gossip batches and proposals, off the event loop.

Two thirds of decoding is recovering the sender: C, which runs without the interpreter's lock. Still threads gain nothing if
each decodes its transactions one by one: they hand the lock to and fro around every signature, and wait for it longer than they
compute. So all are parsed first, on one thread, and what is left to several is little but C (`make bench-admission`).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final

from evm_runtime.transaction import ParsedTransaction, Transaction, decode_transaction, parse_transaction
from genesis.errors import InvalidTransaction, WireError
from genesis.primitives import Address
from node.threads import GOSSIP, Threads

THREADS_MAX: Final = 8
"""Parsing is done by one thread and takes a quarter of the time, so more would wait."""
INLINE_MAX: Final = 8
"""So few are decoded at once where they are: a thread takes as long to answer."""


class BatchDecoder:
    """Decodes transactions of one chain. May be used from any thread. `kind`: whose threads wait for it."""

    def __init__(self, chain_id: int, kind: Threads = GOSSIP, threads: int | None = None) -> None:
        self._chain_id = chain_id
        self._kind = kind
        self._threads = threads or min(THREADS_MAX, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="recover")  # starts none before it is used

    async def decode_soon(self, raws: Sequence[bytes]) -> list[Transaction]:
        """`decode`, on other threads if there are many."""
        if len(raws) <= INLINE_MAX:
            return self.decode(raws)
        return await self._kind.run(self.decode, raws, abandon_on_cancel=True)

    def decode(self, raws: Sequence[bytes]) -> list[Transaction]:
        """Those of `raws` that are transactions, in their order. `decode_transaction` says what is wrong with the others."""
        if len(raws) <= INLINE_MAX or self._threads == 1:
            return [tx for raw in raws if (tx := self._decode_one(raw)) is not None]
        parsed = [found for raw in raws if (found := self._parse(raw)) is not None]
        share = -(-len(parsed) // self._threads) or 1
        shares = [parsed[start : start + share] for start in range(0, len(parsed), share)]
        senders = chain.from_iterable(self._pool.map(_recover, shares))
        return [found.signed_by(sender) for found, sender in zip(parsed, senders, strict=True) if sender is not None]

    def _decode_one(self, raw: bytes) -> Transaction | None:
        try:
            return decode_transaction(raw, chain_id=self._chain_id)
        except (WireError, InvalidTransaction):
            return None

    def _parse(self, raw: bytes) -> ParsedTransaction | None:
        try:
            return parse_transaction(raw, chain_id=self._chain_id)
        except (WireError, InvalidTransaction):
            return None


def _recover(parsed: Sequence[ParsedTransaction]) -> list[Address | None]:
    return [one.recover() for one in parsed]

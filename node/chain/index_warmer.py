"""Keeps the span and vector indexes warm: final blocks are read into them when they come, and merged, not when an inference
waits for it.

Only speed depends on this: an index takes in whatever it lacks when it is asked, and the same.
"""

import threading
from collections.abc import Callable
from typing import Final

from attribution_precompile import declarations
from attribution_precompile.index.span_index import SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from attribution_precompile.reading.queries import Queries
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import Hash32
from node.chain.contract_reader import ContractReader
from node.interfaces import StoredBlock
from node.storage.chain_store import ChainStore

_BY_DATANET: Final = (declarations.CONTRIBUTED.topic_word, declarations.VERSION_PUBLISHED.topic_word)
_BY_CONTRIBUTION: Final = tuple(
    event.topic_word
    for event in (
        declarations.APPENDED,
        declarations.COMPLETED,
        declarations.REVIEWED,
        declarations.CONSENT_WITHDRAWN,
        declarations.ERASED,
    )
)


class IndexWarmer:
    """Tells the indexes of final blocks. Blocking; for a thread of its own.

    Works in steps of bounded size, so that a block that needs the index waits for one step at most, and so does `stop`.
    """

    def __init__(self, store: ChainStore, index: SpanIndex, vectors: VectorIndex) -> None:
        self._store = store
        self._index = index
        self._stopped = threading.Event()
        self._reading = threading.Lock()
        self._vectors = vectors

    def warm_all(self) -> None:
        """Every datanet, as of the tip: after a start."""
        tip = self._store.tip()
        for datanet in range(1, self._queries(tip).counts().datanets + 1):
            self._warm(tip.hash, datanet)

    def warm_after(self, stored: StoredBlock) -> None:
        """The datanets that a block put content into, published versions of or took something from."""
        touched: set[int] = set()
        queries = self._queries(stored)
        for receipt in stored.receipts:
            for log in receipt.logs:
                if log.address != ATTRIBUTION_ADDRESS or len(log.topics) < 2:
                    continue
                subject = int.from_bytes(log.topics[1], "big")
                if log.topics[0] in _BY_DATANET:
                    touched.add(subject)
                elif log.topics[0] in _BY_CONTRIBUTION and (record := queries.contribution(subject)) is not None:
                    touched.add(record.datanet_id)
        for datanet in sorted(touched):
            self._warm(stored.hash, datanet)

    def stop(self) -> None:
        """Let the thread that is warming end after its step; nothing is read from the store when this returns."""
        self._stopped.set()
        with self._reading:
            pass

    def _queries(self, stored: StoredBlock) -> Queries:
        return Queries(ContractReader(self._store.runtime.state(stored.header)), self._store.spec.chain_id)

    def _warm(self, block_hash: Hash32, datanet: int) -> None:
        for warm in (self._index.warm, self._vectors.warm):
            while self._step(warm, block_hash, datanet):
                while not self._stopped.is_set() and self._index.maintain():
                    pass

    def _step(self, warm: Callable[[Hash32, int], bool], block_hash: Hash32, datanet: int) -> bool:
        with self._reading:
            return not self._stopped.is_set() and warm(block_hash, datanet)

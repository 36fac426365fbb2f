"""Keeps the span and vector indexes warm: new content is read into them after each block, and merged, not when an inference
waits for it.

Only speed depends on this: an index ingests whatever it lacks when it is asked.
"""

import threading
from typing import Final

from attribution_precompile import declarations
from attribution_precompile.queries import Queries, ReaderSlots
from attribution_precompile.span_index import SpanIndex
from attribution_precompile.vector_index import VectorIndex
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from node.contract_reader import ContractReader
from node.interfaces import StoredBlock
from node.storage.chain_store import ChainStore

_BY_DATANET: Final = (declarations.CONTRIBUTED.topic, declarations.VERSION_PUBLISHED.topic)
_BY_CONTRIBUTION: Final = (declarations.APPENDED.topic, declarations.COMPLETED.topic)


class IndexWarmer:
    """Reads finalized content into the indexes. Blocking; for a thread of its own. Uses each block's own state, by its root.

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
        reader, height = self._tip()
        for datanet in range(1, Queries(reader, self._store.spec.chain_id).counts().datanets + 1):
            self._warm(reader, datanet, height)

    def warm_after(self, stored: StoredBlock) -> None:
        """The datanets that a block put content into or published versions of."""
        touched: set[int] = set()
        reader = ContractReader(self._store.runtime.state(stored.header))
        for receipt in stored.receipts:
            for log in receipt.logs:
                if log.address != ATTRIBUTION_ADDRESS or len(log.topics) < 2:
                    continue
                topic, subject = int.from_bytes(log.topics[0], "big"), int.from_bytes(log.topics[1], "big")
                if topic in _BY_DATANET:
                    touched.add(subject)
                elif topic in _BY_CONTRIBUTION:
                    record = Queries(reader, self._store.spec.chain_id).contribution(subject)
                    if record is not None:
                        touched.add(record.datanet_id)
        for datanet in sorted(touched):
            self._warm(reader, datanet, stored.height)

    def stop(self) -> None:
        """Let the thread that is warming end after its step; nothing is read from the store when this returns."""
        self._stopped.set()
        with self._reading:
            pass

    def _tip(self) -> tuple[ContractReader, int]:
        tip = self._store.tip()
        return ContractReader(self._store.runtime.state(tip.header)), tip.height

    def _warm(self, reader: ContractReader, datanet: int, height: int) -> None:
        while self._step(reader, datanet, height):
            while not self._stopped.is_set() and self._index.maintain():
                pass
        with self._reading:
            if not self._stopped.is_set():
                self._vectors.warm(ReaderSlots(reader), reader, datanet, height + 1)

    def _step(self, reader: ContractReader, datanet: int, height: int) -> bool:
        with self._reading:
            return not self._stopped.is_set() and self._index.warm(ReaderSlots(reader), reader, datanet, height + 1)

"""Drops from the disk the content of contributions that were erased, or lost a dispute
(`attribution_precompile/reading/redaction.py`).

It never takes part in a block: what it leaves in the content's place gives every answer that blocks ask for, so nodes that have
dropped something, those that have not yet, and those that never do compute the same. It runs on a thread of its own, slowly.

A death counts once it is `death_blocks` deep: from then on the chain's rules refuse questions about states before it, and until
then there is room for `openledger rollback`, which refuses to bring to life somebody whose content was dropped.

What is dropped leaves in one batch with what stands in its place and the height of the death, so a crash leaves all of
it or nothing. After a start the search begins at the last such height again; content that is gone is not found a second time.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from attribution_precompile import declarations
from attribution_precompile.declarations import DisputeKind
from attribution_precompile.layout import DISPUTES
from attribution_precompile.reading.queries import ReaderSlots, StorageReader
from attribution_precompile.reading.redaction import Redaction, contents_of, died_in, redactions
from evm_runtime.native import Slots
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.limits import MIB
from genesis.primitives import Address, Hash32, Height
from node.chain.contract_reader import ContractReader
from node.storage.chain_store import ChainStore

logger = logging.getLogger(__name__)

PAUSE_S: Final = 5.0
"""Between two searches."""
CONTRIBUTIONS_MAX: Final = 256
"""About so many of one search; the rest waits for the next."""
BATCH_BYTES: Final = MIB
READS_IN_A_ROW: Final = 200
REST: Final = 4
"""After so many reads, a pause of so many times what they took: Python runs one thread at a time, and blocks come first."""
TOPIC_PLACE: Final = 1


class Eraser:
    """Finds deaths that are deep enough, and drops what they allow. Blocking; one `sweep` at a time."""

    def __init__(
        self, store: ChainStore, *, delay: int | None = None, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """`delay` in blocks, where it isn't the chain's own."""
        self._store = store
        self._delay = store.spec.attribution.death_blocks if delay is None else delay
        self._sleep = sleep
        self._next = store.redacted
        self._dropped: list[Hash32] = []

    def sweep(self) -> int:
        """Drop what can be dropped now; returns how many contents."""
        for content in self._dropped:  # of the sweep before: readers have let go of what they saw then
            self._store.compact(content)
        self._dropped = []
        through = self._store.tip().height - self._delay
        if through < self._next:
            return 0
        contributions, end = self._deaths(range(self._next, through + 1))
        if contributions:
            self._drop(contributions, end - 1)
        self._next = Height(end)
        return len(self._dropped)

    def _drop(self, contributions: set[int], through: int) -> None:
        reader = _Gentle(ContractReader(self._store.runtime.state()), self._sleep)
        contents = contents_of(ReaderSlots(reader), reader, contributions)
        now = self._store.begin_redaction(contents)
        reader = _Gentle(ContractReader(now.state()), self._sleep)
        for batch in _batches(redactions(ReaderSlots(reader), reader, contents, through=through)):
            dropped = self._store.redact(batch)
            self._dropped += [redaction.content_hash for redaction in batch]
            logger.info("dropped %d contents of contributions that died by block %d", dropped, batch[-1].died_block)

    def _deaths(self, heights: range) -> tuple[set[int], int]:
        """Contributions that died in these blocks, and the block to go on from: not all at once, if there are many."""
        topics = (declarations.ERASED.topic_word, declarations.RESOLVED.topic_word)
        found = {height for topic in topics for height in self._store.log_heights(TOPIC_PLACE, topic, heights)}
        slots = ReaderSlots(ContractReader(self._store.runtime.state()))
        contributions: set[int] = set()
        for height in sorted(found):
            contributions.update(c for c in self._ended_in(slots, height) if died_in(slots, c))
            if len(contributions) >= CONTRIBUTIONS_MAX:
                return contributions, height + 1
        return contributions, heights.stop

    def _ended_in(self, slots: Slots, height: Height) -> Iterator[int]:
        """Contributions that a block's events tell the end of."""
        stored = self._store.block(height)
        for log in itertools.chain.from_iterable(receipt.logs for receipt in (stored.receipts if stored else ())):
            if log.address != ATTRIBUTION_ADDRESS or len(log.topics) < 2:
                continue
            event, subject = log.topics[0], int.from_bytes(log.topics[1], "big")
            if event == declarations.ERASED.topic_word:
                yield subject
            elif event == declarations.RESOLVED.topic_word:
                dispute = DISPUTES.load(slots, subject)
                if dispute.kind != DisputeKind.SCORES:
                    yield int.from_bytes(dispute.subject, "big")


class _Gentle:
    """A reader that rests between its reads."""

    def __init__(self, reader: StorageReader, sleep: Callable[[float], object]) -> None:
        self._reader = reader
        self._sleep = sleep
        self._reads = 0
        self._since = time.monotonic()

    def storage(self, address: Address, slot: int) -> int:
        self._rest()
        return self._reader.storage(address, slot)

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        self._rest()
        return self._reader.get_blob(blob_hash)

    def _rest(self) -> None:
        self._reads += 1
        if self._reads % READS_IN_A_ROW == 0:
            self._sleep(REST * (time.monotonic() - self._since))
            self._since = time.monotonic()


def _batches(found: Iterator[Redaction]) -> Iterator[list[Redaction]]:
    """In order, cut so that no batch keeps a block waiting for the disk."""
    batch: list[Redaction] = []
    size = 0
    for redaction in found:
        batch.append(redaction)
        size += sum(map(len, redaction.instead))
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

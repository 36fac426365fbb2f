"""The local index over contributions' windows: who holds a window, and who owns it in a version (rules 3 to 5).

It is never hashed and can be thrown away at any time: all of it follows from the contract's storage and blobs. It ingests what
a call needs and it lacks, and only what can't change any more: segments of earlier blocks, and versions published in earlier
blocks. `warm` does that ahead of the calls.

Answers depend on the storage they are asked over and on nothing past its watermarks, so an index that has seen more gives the
same answers on older states. It must not be shown states that never were: a call on made-up storage needs an index of its own
(`AttributionContract.isolated`).

Block execution, calls and traces share one index. Looking up in what is ingested takes no lock. Ingesting takes it for one
step of bounded work at a time. Large merges are computed without it (`maintain`). See `datanet_index.py` for one datanet,
docs/attribution.md for layout and cost.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from attribution_precompile.content import BlobReader
from attribution_precompile.datanet_index import DatanetIndex
from attribution_precompile.declarations import Status
from attribution_precompile.layout import CONTRIBUTIONS, DATANETS, VERSIONS
from attribution_precompile.window_runs import U64s, Windows
from evm_runtime.native import Slots

__all__ = ["BlobReader", "SpanIndex"]


class SpanIndex:
    """The index of one chain. Several threads may use it; the lock should let those who wait have their turn."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._datanets: dict[int, DatanetIndex] = {}

    def clear(self) -> None:
        """Forget everything; the next calls build it again."""
        self._datanets = {}

    def owners(
        self, slots: Slots, blobs: BlobReader, datanet: int, version: int, window_ids: bytes
    ) -> tuple[U64s, U64s]:
        """The owner of each window in a version published in an earlier block, or NOBODY (rule 7), and its priority: the order
        of its first segment (rule 4)."""
        index = self._datanet(slots, datanet)
        self._advance(lambda: index.step_versions(slots, blobs, version), ready=index.versions >= version)
        return index.owners_of(version, Windows.of(window_ids))

    def owned_windows(self, slots: Slots, blobs: BlobReader, contribution: int, block_number: int) -> int:
        """Distinct windows of a contribution that no earlier segment of another contribution of its datanet holds.

        Contributions that are rejected, or revealed in this block, don't count. All segments of `contribution` must stand in
        blocks before `block_number`, the block of the call.
        """
        record = CONTRIBUTIONS.load(slots, contribution)
        index = self._datanet(slots, record.datanet_id)
        self._advance(lambda: index.step_segments(slots, blobs, block_number))

        def is_rejected(other: int) -> bool:
            return bool(CONTRIBUTIONS.load_field(slots, "status", other) == Status.REJECTED)

        return index.count_owned(slots, blobs, contribution, block_number, is_rejected)

    def warm(self, slots: Slots, blobs: BlobReader, datanet: int, block_number: int) -> bool:
        """Do one step towards all that is final for a block `block_number`, off the critical path; False if nothing is left."""
        newest = DATANETS.load(slots, datanet).versions
        while newest and VERSIONS.load(slots, datanet, newest).block_number >= block_number:
            newest -= 1
        index = self._datanet(slots, datanet)
        with self._lock:
            # versions first: what they settle need not wait
            return index.step_versions(slots, blobs, newest) or index.step_segments(slots, blobs, block_number)

    def maintain(self) -> bool:
        """Merge what should be merged next, which may take seconds, while others look up and ingest; False if nothing is left.

        For one thread at a time.
        """
        for index in list(self._datanets.values()):
            job = index.next_merge()
            if job is not None:
                merged = job.run()
                with self._lock:
                    index.finish(job, merged)
                return True
        return False

    def _datanet(self, slots: Slots, datanet: int) -> DatanetIndex:
        found = self._datanets.get(datanet)
        if found is None:
            record = DATANETS.load(slots, datanet)
            found = self._datanets.setdefault(datanet, DatanetIndex(datanet, record.min_span, record.tokenizer))
        return found

    def _advance(self, step: Callable[[], bool], *, ready: bool = False) -> None:
        """Take steps until there is none left, and give others a turn in between."""
        while not ready:
            with self._lock:
                ready = not step()

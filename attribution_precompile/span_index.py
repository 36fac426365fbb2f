"""The local index over contributions' windows: who holds a window, and who owns it in a version (rules 3 to 5).

It is never hashed and can be thrown away at any time: all of it follows from the contract's storage and blobs. It ingests
lazily, when a call needs it, and only what can't change any more: segments of earlier blocks, and versions published in
earlier blocks. (A version's members are fixed when it is published: the contributions among the segments below its watermark
that were accepted by review before it, or were never reviewed and past their deadline by then.)

Two tables per datanet, from window id to packed integers:

- `holders`: every segment's contribution, as `order ‖ contribution`, in order. A review counts from it the windows that no
  earlier contribution holds, whatever has been accepted so far.
- `owners`: `version ‖ order ‖ contribution`, an entry for each version from which the window has a new owner. The owner in
  version v is the last entry not newer than v; contributions that no version includes cost a look-up nothing.

Answers depend on the storage they are asked over and on nothing past its watermarks, so an index that has seen more gives the
same answers on older states. It must not be shown states that never were: a call on made-up storage needs an index of its own
(`AttributionContract.isolated`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from heapq import heappop, heappush
from typing import Final, Protocol

from attribution_precompile.declarations import Status
from attribution_precompile.layout import (
    CONTRIBUTIONS,
    DATANETS,
    DEPARTED,
    DEPARTURES,
    REVIEWED,
    SEGMENTS,
    VERSIONS,
    Segment,
    Version,
)
from attribution_precompile.membership import gone_before
from attribution_precompile.span import NOBODY
from attribution_precompile.tokens import WINDOW_ID_BYTES, TextError, tokenize
from evm_runtime.native import Slots
from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32

_ID_BITS: Final = 64
_ID_MASK: Final = (1 << _ID_BITS) - 1
_ORDER_MAX: Final = _ID_MASK
"""Stands behind every segment: of a window that nobody owns any more."""

Table = dict[bytes, "int | list[int]"]


class BlobReader(Protocol):
    """Content by its keccak, or None where this node doesn't hold it."""

    def get_blob(self, blob_hash: Hash32) -> bytes | None: ...


class SpanIndex:
    """The index of one chain. `lock` is held during each operation, so several threads may share it."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._datanets: dict[int, _DatanetIndex] = {}

    def clear(self) -> None:
        """Forget everything; the next calls build it again."""
        with self._lock:
            self._datanets.clear()

    def owners(
        self, slots: Slots, blobs: BlobReader, datanet: int, version: int, window_ids: Sequence[bytes]
    ) -> list[int]:
        """The owner of each window in a version published in an earlier block, or NOBODY (rule 7)."""
        with self._locked(slots, datanet) as index:
            index.ingest_versions(slots, blobs, version)
            return index.owners_of(version, window_ids)

    def first_orders(self, slots: Slots, datanet: int, contributions: Iterable[int]) -> dict[int, int]:
        """The order of the first segment (rule 4's priority) of contributions that `owners` has named."""
        with self._locked(slots, datanet) as index:
            return {contribution: index.first_order(contribution) for contribution in contributions}

    def owned_windows(self, slots: Slots, blobs: BlobReader, contribution: int, block_number: int) -> int:
        """Distinct windows of a contribution that no earlier segment of another contribution of its datanet holds.

        Contributions that are rejected, or revealed in this block, don't count. All segments of `contribution` must stand in
        blocks before `block_number`, the block of the call.
        """
        record = CONTRIBUTIONS.load(slots, contribution)
        with self._locked(slots, record.datanet_id) as index:
            index.ingest_holders(slots, blobs, block_number)
            return index.count_owned(slots, blobs, contribution, block_number)

    def warm(self, slots: Slots, blobs: BlobReader, datanet: int, block_number: int) -> None:
        """Ingest all that is final for a block `block_number`, off the critical path: at start, or after each commit."""
        with self._locked(slots, datanet) as index:
            index.ingest_holders(slots, blobs, block_number)
            newest = DATANETS.load(slots, datanet).versions
            while newest and VERSIONS.load(slots, datanet, newest).block_number >= block_number:
                newest -= 1
            index.ingest_versions(slots, blobs, newest)

    @contextmanager
    def _locked(self, slots: Slots, datanet: int) -> "Iterator[_DatanetIndex]":
        """A datanet's index under the lock. Work that fails halfway leaves no half-built index behind."""
        with self._lock:
            index = self._datanets.pop(datanet, None)
            if index is None:
                record = DATANETS.load(slots, datanet)
                index = _DatanetIndex(datanet, record.min_span, record.tokenizer)
            yield index
            self._datanets[datanet] = index


class _DatanetIndex:
    """One datanet's tables. Not thread-safe; `SpanIndex` holds the lock."""

    def __init__(self, datanet: int, k: int, tokenizer: Hash32) -> None:
        self._datanet: Final = datanet
        self._k: Final = k
        self._tokenizer: Final = tokenizer
        self._segments: list[Segment] = []
        self._segments_of: dict[int, list[Segment]] = {}
        self._first_position: dict[int, int] = {}
        self._holders: Table = {}
        self._held_segments = 0
        self._owners: Table = {}
        self._versions = 0
        self._reviewed_read = 0
        self._departed_read = 0
        self._included: set[int] = set()
        self._deadlines: list[tuple[int, int]] = []
        """A heap of (deadline when last looked at, contribution) of those no version includes yet."""
        self._queued_segments = 0

    # ---------------------------------------------------------------- holders

    def ingest_holders(self, slots: Slots, blobs: BlobReader, block_number: int) -> None:
        """Read every segment that stands in a block before `block_number`."""
        while self._held_segments < SEGMENTS.length(slots, self._datanet):
            position = self._held_segments
            if position == len(self._segments):
                fresh = SEGMENTS.get(slots, position, self._datanet)
                if fresh.block_number >= block_number:
                    return
            segment = self._segment(slots, position)
            entry = segment.order << _ID_BITS | segment.contribution_id
            for window in self._windows(blobs, segment):
                self._hold(window, entry)
            self._held_segments += 1

    def _hold(self, window: bytes, entry: int) -> None:
        """Keep the entry in order, but for a contribution's repetition of its own window.

        Most entries are the latest yet; content that was committed to comes in late and stands further in front.
        """
        found = self._holders.get(window)
        if found is None:
            self._holders[window] = entry
            return
        last = found if isinstance(found, int) else found[-1]
        if entry <= last:
            entries = [found] if isinstance(found, int) else found
            at = bisect_left(entries, entry)
            if entries[at] != entry:
                entries.insert(at, entry)
                self._holders[window] = entries
        elif (last ^ entry) & _ID_MASK:
            if isinstance(found, int):
                self._holders[window] = [found, entry]
            else:
                found.append(entry)

    def count_owned(self, slots: Slots, blobs: BlobReader, contribution: int, block_number: int) -> int:
        first_order: dict[bytes, int] = {}
        for segment in self._segments_of.get(contribution, ()):
            if segment.block_number >= block_number:
                break
            for window in self._windows(blobs, segment):
                first_order.setdefault(window, segment.order)
        counts: dict[int, bool] = {contribution: False}
        owned = 0
        for window, order in first_order.items():
            for entry in _entries(self._holders[window]):
                if entry >> _ID_BITS >= order:
                    owned += 1
                    break
                other = entry & _ID_MASK
                if other not in counts:
                    # committed content revealed since has an early number too, but this block doesn't know it yet
                    known = self._segments_of[other][0].block_number < block_number
                    counts[other] = known and CONTRIBUTIONS.load_field(slots, "status", other) != Status.REJECTED
                if counts[other]:
                    break
        return owned

    # ---------------------------------------------------------------- owners

    def ingest_versions(self, slots: Slots, blobs: BlobReader, up_to: int) -> None:
        while self._versions < up_to:
            number = self._versions + 1
            version = VERSIONS.load(slots, self._datanet, number)
            if version.block_number == 0:
                raise StorageCorrupt(f"version {number} of datanet {self._datanet} is missing")
            for contribution in self._newly_included(slots, number, version):
                for segment in self._segments_of[contribution]:
                    entry = (number << _ID_BITS | segment.order) << _ID_BITS | contribution
                    for window in self._windows(blobs, segment):
                        self._own(window, entry)
            for contribution in self._newly_gone(slots, number):
                self.ingest_holders(slots, blobs, version.block_number + 1)
                for segment in self._segments_of[contribution]:
                    for window in self._windows(blobs, segment):
                        self._pass_on(window, number, contribution)
            self._versions = number

    def _newly_gone(self, slots: Slots, number: int) -> list[int]:
        """Contributions that version `number` has no more, and its predecessor had."""
        found = []
        while self._departed_read < DEPARTED.length(slots, self._datanet):
            contribution = DEPARTED.get(slots, self._departed_read, self._datanet)
            departure = DEPARTURES.load(slots, contribution)
            if departure.gone and departure.left >= number:
                break
            self._departed_read += 1
            if departure.gone and contribution in self._included:
                self._included.discard(contribution)
                found.append(contribution)
        return found

    def _pass_on(self, window: bytes, number: int, gone: int) -> None:
        """From version `number` on, a window of a contribution that has gone is the next one's that is in the version."""
        found = self._owners[window]
        last = found if isinstance(found, int) else found[-1]
        if last & _ID_MASK != gone:
            return
        holders = (entry for entry in _entries(self._holders[window]) if entry & _ID_MASK in self._included)
        entry = number << 2 * _ID_BITS | next(holders, _ORDER_MAX << _ID_BITS | NOBODY)
        older = [other for other in _entries(found) if other >> 2 * _ID_BITS != number]
        self._owners[window] = [*older, entry] if older else entry

    def _newly_included(self, slots: Slots, number: int, version: Version) -> list[int]:
        """The contributions that version `number` includes and its predecessor doesn't."""
        while self._queued_segments < version.segments:
            segment = self._segment(slots, self._queued_segments)
            if self._segments_of[segment.contribution_id][0] is segment:
                heappush(self._deadlines, (0, segment.contribution_id))
            self._queued_segments += 1
        found = []
        for contribution in (*self._newly_reviewed(slots, number), *self._timed_out(slots, version)):
            if contribution not in self._included and not gone_before(slots, contribution, number):
                self._included.add(contribution)
                found.append(contribution)
        return found

    def _newly_reviewed(self, slots: Slots, number: int) -> Iterator[int]:
        while self._reviewed_read < REVIEWED.length(slots, self._datanet):
            contribution = REVIEWED.get(slots, self._reviewed_read, self._datanet)
            if CONTRIBUTIONS.load_field(slots, "accepted_version", contribution) > number:
                return
            self._reviewed_read += 1
            yield contribution

    def _timed_out(self, slots: Slots, version: Version) -> Iterator[int]:
        """Those never reviewed whose deadline had come. Appending moves a deadline, so it is read again before it counts.

        A rejection is only possible before the deadline, so one seen here is final and the contribution is dropped.
        """
        while self._deadlines and self._deadlines[0][0] <= version.time:
            _, contribution = heappop(self._deadlines)
            deadline = CONTRIBUTIONS.load_field(slots, "deadline", contribution)
            if deadline > version.time:
                heappush(self._deadlines, (deadline, contribution))
            elif CONTRIBUTIONS.load_field(slots, "status", contribution) != Status.REJECTED:
                yield contribution

    def _own(self, window: bytes, entry: int) -> None:
        """Keep `entry` if its segment is earlier than that of the owner so far."""
        found = self._owners.get(window)
        if found is None:
            self._owners[window] = entry
            return
        last = found if isinstance(found, int) else found[-1]
        if _order(entry) >= _order(last):
            return
        same_version = entry >> 2 * _ID_BITS == last >> 2 * _ID_BITS
        if isinstance(found, list):
            if same_version:
                found[-1] = entry
            else:
                found.append(entry)
        else:
            self._owners[window] = entry if same_version else [found, entry]

    def owners_of(self, version: int, window_ids: Sequence[bytes]) -> list[int]:
        table = self._owners
        limit = (version + 1) << 2 * _ID_BITS
        result = []
        for window in window_ids:
            found = table.get(window, limit)
            if isinstance(found, int):
                result.append(found & _ID_MASK if found < limit else NOBODY)
            else:
                result.append(next((entry & _ID_MASK for entry in reversed(found) if entry < limit), NOBODY))
        return result

    def first_order(self, contribution: int) -> int:
        return self._segments_of[contribution][0].order

    # ---------------------------------------------------------------- content

    def _segment(self, slots: Slots, position: int) -> Segment:
        """A segment's record, remembered: only for positions that can't change any more."""
        while len(self._segments) <= position:
            segment = SEGMENTS.get(slots, len(self._segments), self._datanet)
            self._segments.append(segment)
            self._segments_of.setdefault(segment.contribution_id, []).append(segment)
        return self._segments[position]

    def _windows(self, blobs: BlobReader, segment: Segment) -> list[bytes]:
        """A stored segment's window ids, from its content, or where that was erased, from what is kept instead.

        Raises StorageCorrupt: content was checked when it came in.
        """
        content = blobs.get_blob(segment.content_hash)
        if content is None:
            kept = blobs.get_blob(segment.windows_hash)
            if kept is None:
                raise StorageCorrupt(
                    f"content {segment.content_hash.hex()} is missing: this node can't recompute attribution"
                )
            return [kept[at : at + WINDOW_ID_BYTES] for at in range(0, len(kept), WINDOW_ID_BYTES)]
        try:
            return tokenize(content, self._tokenizer).window_ids(self._k)
        except TextError as error:
            raise StorageCorrupt(f"content {segment.content_hash.hex()}: {error}") from None


def _entries(found: int | list[int]) -> Sequence[int]:
    return (found,) if isinstance(found, int) else found


def _order(entry: int) -> int:
    return (entry >> _ID_BITS) & _ID_MASK

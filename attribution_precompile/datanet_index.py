"""One datanet's part of the span index: who holds a window, and who owns it in a version (rules 3 to 5).

Segments are known by their position in the datanet. Three tables of windows (`window_runs.py`) have its windows, each once:

- `waiting`: of segments that no version has yet. Its keys are positions, ranked by the segments' order.
- `owners`: changes of ownership. Its keys are *tickets*, handed out in the order of versions; a ticket names the position of
  the segment that owns the window from then on, or NO_SEGMENT. The owner in version v is the last entry whose ticket is below
  v's limit, whatever versions came later.
- `followers`: of segments that a version has, where another owned the window already. Keys as in `waiting`.

When a version is ingested, its new segments are *settled*: their windows go to `owners` or `followers`, and what `waiting` has
of them is left out of its next merge. They are sifted out of `waiting`, where they lie ready, or if they aren't there or few,
hashed from content. Then the windows of those that have left pass to the next member.

Ingesting is cut into steps of bounded work. Each step reads first and changes the index afterwards, so a step that fails
(content is missing) leaves the index as it was. Steps, and `finish`, need the caller's lock; what reads ready tables does not:
tables are replaced as a whole, and columns grow at their end only.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from attribution_precompile.content import BlobReader, stored_window_ids
from attribution_precompile.layout import Segment
from attribution_precompile.roster import STEP_RECORDS, Changes, Roster
from attribution_precompile.segment_log import Column, SegmentLog
from attribution_precompile.span import NOBODY
from attribution_precompile.tokens import WINDOW_ID_BYTES
from attribution_precompile.window_runs import Bools, Places, Rank, Run, Table, U32s, U64s, Windows, merge
from evm_runtime.native import Slots
from genesis.primitives import Hash32

STEP_TOKENS: Final = 1 << 14
"""Content that one step takes in: about 20 ms of work. A segment is never cut."""
STEP_ENTRIES: Final = 1 << 17
"""Entries of `waiting` that one step looks through."""
SIFTING_PAYS: Final = 32
"""Looking through so many entries takes less time than hashing one token again."""
NO_SEGMENT: Final = (1 << 32) - 1
_ORDER_MAX: Final = (1 << 64) - 1
"""Stands behind every segment: of a window that nobody owns any more."""


@dataclass(frozen=True, slots=True)
class Tables:
    waiting: Table = field(default_factory=Table)
    followers: Table = field(default_factory=Table)
    owners: Table = field(default_factory=Table)


@dataclass(frozen=True, slots=True, eq=False)
class MergeJob:
    """Runs to be made one. `run` may take seconds and needs no lock, `DatanetIndex.finish` puts the result in."""

    table: Literal["waiting", "followers", "owners"]
    old: tuple[Run, ...]
    rank: Rank
    settled: Bools | None = None
    """Positions whose entries are elsewhere by now and left out."""

    def run(self) -> Run:
        merged, *others = sorted((self._kept(run) for run in self.old), key=len)
        for other in others:
            merged = merge(merged, other, self.rank)
        return merged.with_directory()

    def _kept(self, run: Run) -> Run:
        return run if self.settled is None else run.take(~self.settled[run.keys])


@dataclass(slots=True)
class _Ingest:
    """A version on its way into the index. The queues, of pieces of `waiting` and of positions, are known once the changes are
    complete."""

    changes: Changes
    complete: bool = False
    joining: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Positions of the segments that are sifted out of `waiting`."""
    to_sift: deque[Run] = field(default_factory=deque)
    to_settle: deque[int] = field(default_factory=deque)
    to_pass_on: deque[int] = field(default_factory=deque)


class DatanetIndex:
    """One datanet's tables."""

    def __init__(self, datanet: int, k: int, tokenizer: Hash32) -> None:
        self._k: Final = k
        self._tokenizer: Final = tokenizer
        self.tables = Tables()
        self._log: Final = SegmentLog(datanet)
        self._roster: Final = Roster(datanet, self._log)
        self._tickets: Final = Column(np.uint32)
        self._limits = [0]
        """By version: how many tickets had been handed out when it was complete."""
        self._ingest: _Ingest | None = None
        self._placed = 0
        """Segments below this position are in one of the tables."""
        self._swept = 0
        """The version at which `waiting` was last seen to be worth its memory."""

    @property
    def versions(self) -> int:
        """Versions that can be asked for."""
        return len(self._limits) - 1

    # ---------------------------------------------------------------- look-ups, without a lock

    def owners_of(self, version: int, windows: Windows) -> tuple[U64s, U64s]:
        """The owner of each window in an ingested version, or NOBODY; and the order of its first segment."""
        limit, table, tickets = self._limits[version], self.tables.owners, self._named
        contributions, first_orders = self._log.contributions, self._log.first_orders
        owners = np.full(len(windows), NOBODY, np.uint64)
        orders = np.zeros(len(windows), np.uint64)
        for places, found in _latest(table, windows, limit):
            places, positions = _held(places, tickets[found])
            owners[places] = contributions[positions]
            orders[places] = first_orders[positions]
        return owners, orders

    def count_owned(
        self, slots: Slots, blobs: BlobReader, contribution: int, block_number: int, is_rejected: Callable[[int], bool]
    ) -> int:
        """How many of a contribution's windows no earlier segment of another holds (see `SpanIndex.owned_windows`)."""
        blocks = self._log.blocks
        mine = [position for position in self._log.positions(contribution) if blocks[position] < block_number]
        if not mine:
            return 0
        own = self._read(slots, blobs, [(position, self._log.read(slots, position)) for position in mine])
        own = own.take(own.first_of_each())
        windows, my_orders = own.windows, self._log.orders[own.keys]
        tables, tickets = self.tables, self._named
        orders, contributions, blocks = self._log.orders, self._log.contributions, self._log.blocks
        unclaimed = np.ones(len(own), np.bool_)

        def claimed(positions: U32s, before: U64s) -> Bools:
            """Committed content revealed in this block has an early number too, but this block doesn't know it yet."""
            others = contributions[positions]
            counts: Bools = (orders[positions] < before) & (blocks[positions] < block_number) & (others != contribution)
            counts[counts] = ~_each(others[counts], is_rejected)
            return counts

        # A follower has an earlier segment in `owners` before it, which only a state older than the index may not know.
        followers = tables.followers.runs if blocks[-1] >= block_number else ()
        for run in (*tables.waiting.runs, *followers):
            looking = unclaimed.copy()
            for places, positions in run.rounds(windows, looking):
                taken = claimed(positions, my_orders[places])
                unclaimed[places[taken]] = False
                looking[places[taken | (orders[positions] >= my_orders[places])]] = False
        for run in tables.owners.runs:
            for places, found in run.rounds(windows, unclaimed):
                places, positions = _held(places, tickets[found])
                unclaimed[places[claimed(positions, my_orders[places])]] = False
        return int(np.count_nonzero(unclaimed))

    # ---------------------------------------------------------------- segments

    def step_segments(self, slots: Slots, blobs: BlobReader, before_block: int) -> bool:
        """Take in some segments of blocks before `before_block`; False if all are in a table."""
        log, position, tokens = self._log, self._placed, 0
        end = min(log.stored(slots), position + STEP_RECORDS)
        fresh: list[tuple[int, Segment]] = []
        while position < end and tokens < STEP_TOKENS:
            if position >= len(log) or not log.settled[position]:
                record = log.read(slots, position)
                if record.block_number >= before_block:
                    break
                log.remember(position, record)
                fresh.append((position, record))
                tokens += record.tokens
            position += 1
        if fresh:
            waiting = self.tables.waiting.add(self._read(slots, blobs, fresh), log.orders)
            self.tables = replace(self.tables, waiting=waiting)
        moved, self._placed = position > self._placed, position
        return moved

    def _read(self, slots: Slots, blobs: BlobReader, segments: Sequence[tuple[int, Segment]]) -> Run:
        """The windows of known segments: positions and records."""
        ids = [stored_window_ids(blobs, segment, self._tokenizer, self._k) for _, segment in segments]
        keys = np.array([position for position, _ in segments], np.uint32)
        counts = [len(joined) // WINDOW_ID_BYTES for joined in ids]
        return Run.sort(Windows.of(b"".join(ids)), np.repeat(keys, counts), self._log.orders)

    # ---------------------------------------------------------------- versions

    def step_versions(self, slots: Slots, blobs: BlobReader, up_to: int) -> bool:
        """Do some of the work towards version `up_to`; False if it is ingested."""
        if self.versions >= up_to:
            return False
        ingest = self._ingest
        if ingest is None:
            self._ingest = _Ingest(self._roster.begin(slots, self.versions + 1))
        elif not ingest.complete:
            if not self._roster.step(slots, ingest.changes):
                self._queue(ingest)
                ingest.complete = True
        elif ingest.to_sift:
            self._sift(ingest)
        elif ingest.to_settle:
            self._settle(slots, blobs, ingest.to_settle)
        elif ingest.to_pass_on:
            self._pass_on(slots, blobs, ingest.to_pass_on)
        else:
            self._limits.append(len(self._tickets))
            self._ingest = None
        return True

    def _queue(self, ingest: _Ingest) -> None:
        """The earliest first: then few windows change hands twice."""
        joined = sorted(ingest.changes.joined, key=self._log.first_order)
        positions = [position for contribution in joined for position in self._log.positions(contribution)]
        joining = np.zeros(len(self._log), np.bool_)
        joining[positions] = True
        joining[self._placed :] = False
        waiting = self.tables.waiting
        if int(self._log.tokens[joining].sum()) * SIFTING_PAYS >= len(waiting):
            ingest.joining = joining
            for run in waiting.runs:
                ingest.to_sift.extend(run.parts(STEP_ENTRIES))
            positions = [position for position in positions if not joining[position]]
        ingest.to_settle.extend(positions)
        for contribution in ingest.changes.left:
            ingest.to_pass_on.extend(self._log.positions(contribution))

    def _sift(self, ingest: _Ingest) -> None:
        """Settle what a piece of `waiting` has of the joining segments; with the last piece they are done with."""
        piece, joining = ingest.to_sift[0], ingest.joining
        self._give(piece.take(joining[piece.keys]))
        ingest.to_sift.popleft()
        if not ingest.to_sift:
            self._log.settled[: len(joining)][joining] = True

    def _settle(self, slots: Slots, blobs: BlobReader, queue: deque[int]) -> None:
        """Settle some joining segments from their content."""
        positions, run = self._read_some(slots, blobs, queue)
        self._give(run)
        self._log.settled[positions] = True
        _drop(queue, len(positions))

    def _give(self, run: Run) -> None:
        """Give windows of joining segments to the earliest that has them: these, or who owns them already."""
        orders, tables = self._log.orders, self.tables
        wins = run.first_of_each()
        heads = run.take(wins)
        wins[wins] = orders[heads.keys] < self._owner_orders(heads.windows)
        events, named = self._events(run.windows.take(wins), run.keys[wins])
        owners = tables.owners.add(events, None)
        followers = tables.followers.add(run.take(~wins), orders)
        self._tickets.extend(named)
        self.tables = replace(tables, owners=owners, followers=followers)

    def _pass_on(self, slots: Slots, blobs: BlobReader, queue: deque[int]) -> None:
        """Where the owner of a window is no member any more, the next member that has the window owns it, or nobody does."""
        positions, run = self._read_some(slots, blobs, queue)
        windows = run.windows.take(run.first_of_each())
        places, owners = _held(np.arange(len(windows)), self._owner_positions(windows))
        windows = windows.take(places[~self._are_members(owners)])
        events, named = self._events(windows, self._next_members(windows))
        changed = self.tables.owners.add(events, None)
        self._tickets.extend(named)
        self.tables = replace(self.tables, owners=changed)
        _drop(queue, len(positions))

    def _read_some(self, slots: Slots, blobs: BlobReader, queue: Sequence[int]) -> tuple[list[int], Run]:
        """The windows of the first segments of a queue, as many as a step may take."""
        segments: list[tuple[int, Segment]] = []
        tokens = 0
        for position in queue:
            if tokens >= STEP_TOKENS or len(segments) == STEP_RECORDS:
                break
            record = self._log.read(slots, position)
            segments.append((position, record))
            tokens += record.tokens
        return [position for position, _ in segments], self._read(slots, blobs, segments)

    def _events(self, windows: Windows, positions: U32s) -> tuple[Run, U32s]:
        """Entries of `owners` for windows (each once, sorted) that change hands, and the positions that their tickets name."""
        named, which = np.unique(positions, return_inverse=True)
        return Run(windows, (which + len(self._tickets)).astype(np.uint32)), named

    @property
    def _named(self) -> U32s:
        """By ticket: the position of the segment it gives a window to. Take it after the tables it is for."""
        return self._tickets.view  # type: ignore[return-value]  # of the column's dtype

    def _owner_positions(self, windows: Windows) -> U32s:
        """Who owns each window after all tickets so far, or NO_SEGMENT."""
        result = np.full(len(windows), NO_SEGMENT, np.uint32)
        for places, found in _latest(self.tables.owners, windows, len(self._tickets)):
            result[places] = self._named[found]
        return result

    def _owner_orders(self, windows: Windows) -> U64s:
        result = np.full(len(windows), _ORDER_MAX, np.uint64)
        places, positions = _held(np.arange(len(windows)), self._owner_positions(windows))
        result[places] = self._log.orders[positions]
        return result

    def _next_members(self, windows: Windows) -> U32s:
        """The earliest segment of a member that has each window, or NO_SEGMENT."""
        orders = self._log.orders
        best = np.full(len(windows), NO_SEGMENT, np.uint32)
        best_orders = np.full(len(windows), _ORDER_MAX, np.uint64)

        def offer(places: Places, positions: U32s) -> Bools:
            members = self._are_members(positions)
            better = members & (orders[positions] < best_orders[places])
            best[places[better]] = positions[better]
            best_orders[places[better]] = orders[positions[better]]
            return members

        for run in self.tables.followers.runs:
            looking = np.ones(len(windows), np.bool_)
            for places, positions in run.rounds(windows, looking):
                looking[places[offer(places, positions)]] = False
        everywhere = np.ones(len(windows), np.bool_)
        for run in self.tables.owners.runs:
            for places, found in run.rounds(windows, everywhere):
                offer(*_held(places, self._named[found]))
        return best

    def _are_members(self, positions: U32s) -> Bools:
        return _each(self._log.contributions[positions], self._roster.members.__contains__)

    # ---------------------------------------------------------------- merging

    def next_merge(self) -> MergeJob | None:
        """The most useful merge there is to do, if any."""
        versions, tables, orders, settled = self.versions, self.tables, self._log.orders, self._log.settled
        if self._swept != versions:
            stale = sum(int(np.count_nonzero(settled[run.keys])) for run in tables.waiting.runs)
            if stale * 2 > len(tables.waiting):
                return MergeJob("waiting", tables.waiting.runs, orders, settled)
            self._swept = versions
        if pair := tables.waiting.overdue():
            return MergeJob("waiting", pair, orders, settled)
        if pair := tables.followers.overdue():
            return MergeJob("followers", pair, orders)
        if pair := tables.owners.overdue():
            return MergeJob("owners", pair, None)
        return None

    def finish(self, job: MergeJob, merged: Run) -> None:
        """Put a merged run in place of those it was made from, if they are still there."""
        table: Table = getattr(self.tables, job.table)
        self.tables = replace(self.tables, **{job.table: table.replace(job.old, merged)})


def _latest(owners: Table, windows: Windows, limit: int) -> Iterator[tuple[Places, U32s]]:
    """Of each window that has any, the last ticket below `limit`: places in `windows`, and tickets. The newest run decides."""
    places: Places = np.arange(len(windows))
    for run in reversed(owners.runs):
        if not places.size:
            return
        found, tickets = run.last_below(windows, limit)
        if found.size:
            yield places[found], tickets
            missing = np.ones(len(places), np.bool_)
            missing[found] = False
            places, windows = places[missing], windows.take(missing)


def _held(places: Places, positions: U32s) -> tuple[Places, U32s]:
    """Only where there is a segment."""
    held = positions != NO_SEGMENT
    return places[held], positions[held]


def _each(values: U64s, holds: Callable[[int], bool]) -> Bools:
    """`holds` for each of many values, asked once for each distinct one."""
    distinct, which = np.unique(values, return_inverse=True)
    return np.array([holds(value) for value in distinct.tolist()], np.bool_)[which]


def _drop(queue: deque[int], count: int) -> None:
    for _ in range(count):
        queue.popleft()

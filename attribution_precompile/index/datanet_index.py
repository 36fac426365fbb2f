"""One datanet's part of the span index: who has a window, and who owns it in a version (rules 3 to 5).

Segments are known by their position in the datanet. Two tables of windows (`window_runs.py`) have an entry for each segment
with a window, in the chain's order: `pending` those of contributions that no version has had, `members` the others. Who joined
which version, who left and who died, stands in columns (`segment_log.py`). The owner of a window in a version, in a block, is
found by walking over its entries in `members`: the first that the version has and that isn't dead, unless one has lost it to a
challenge before (`walks.py`). So nothing is to be done about owners when a version is published or somebody leaves.

The index is fed with final states, one after the other. What a state adds can be told from it by block numbers: answers for
older states stay as they were. Only what is taken out (`endings.py`) or lost is missing afterwards; then the tables of before
are kept for a while, as an *epoch* of their own.

Reading a state is cut into steps of bounded work. Each reads first and changes the index afterwards, so a step that fails
(content is missing) leaves it as it was. Steps need the caller's lock; look-ups don't: tables are replaced as a whole.
"""

import copy
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop
from typing import Any, Final, Literal

import numpy as np

from attribution_precompile.index.content import FinalState, stored_window_ids
from attribution_precompile.index.endings import NEVER, STAYS
from attribution_precompile.index.losses import Lost
from attribution_precompile.index.roster import STEP_RECORDS, Roster
from attribution_precompile.index.segment_log import SegmentLog, in_version
from attribution_precompile.index.walks import NO_KEY, Told, first_that_ends
from attribution_precompile.index.window_runs import Bools, Places, Run, Table, U32s, U64s, Windows, merge
from attribution_precompile.layout import DATANETS, SEGMENTS
from attribution_precompile.rules.span import NOBODY
from attribution_precompile.rules.tokens import WINDOW_ID_BYTES
from genesis.primitives import Hash32

STEP_TOKENS: Final = 1 << 14
"""Content that one step takes in: about 20 ms of work. A segment is never cut."""
STEP_ENTRIES: Final = 1 << 17
"""Entries that one step looks through."""
SIFTING_PAYS: Final = 32
"""Looking through so many entries takes less time than hashing one token again."""
EPOCHS_KEPT: Final = 2
"""Tables of before that are kept: questions about the block before the last are common, older ones are few."""

TableName = Literal["pending", "members"]


@dataclass(frozen=True, slots=True)
class Tables:
    """What there is to know of the blocks `since` to `until`."""

    since: int = 0
    until: int = NEVER
    pending: Table = field(default_factory=Table)
    members: Table = field(default_factory=Table)
    lost: Lost = field(default_factory=Lost)


@dataclass(frozen=True, slots=True, eq=False)
class MergeJob:
    """Runs to be made one. `run` may take seconds and needs no lock, `DatanetIndex.finish` puts the result in."""

    table: TableName
    old: tuple[Run, ...]
    rank: U64s

    def run(self) -> Run:
        merged, *others = self.old
        for other in others:
            merged = merge(merged, other, self.rank)
        return merged.packed().with_directory()


class DatanetIndex:
    """One datanet's tables."""

    def __init__(self, datanet: int, state: FinalState) -> None:
        record = DATANETS.load(state, datanet)
        self._datanet: Final = datanet
        self._k: Final = record.min_span
        self._tokenizer: Final[Hash32] = record.tokenizer
        self.known = -1
        """The newest block whose state is known."""
        self.changed = -1
        """A block after which nothing has changed."""
        self._log = SegmentLog()
        self._roster = Roster(datanet, self._log)
        self._epochs = [Tables()]
        """The newest last."""
        self._reading: FinalState | None = None
        self._failed = False
        """Whether the last step raised."""
        self._placed = 0
        """Segments below this position have been put where they belong."""
        self._taking: _Taking | None = None
        self._leaving: list[int] = []
        """Positions that are to leave the tables."""

    def forked(self) -> "DatanetIndex":
        """A copy that goes its own way."""
        twin = copy.copy(self)
        twin._log = self._log.forked()
        twin._roster = self._roster.forked(twin._log)
        twin._epochs, twin._leaving = list(self._epochs), list(self._leaving)
        twin._taking, twin._reading = copy.deepcopy(self._taking), None
        return twin

    @property
    def tables(self) -> Tables:
        return self._epochs[-1]

    def answers(self, block: int) -> bool:
        """Whether it can tell about the state after a known block."""
        return self.tables_for(block) is not None

    def tables_for(self, block: int) -> Tables | None:
        """What can tell about the state after a known block; None if that was taken out since."""
        return next((tables for tables in self._epochs if tables.since <= block <= tables.until), None)

    # ---------------------------------------------------------------- look-ups, without a lock

    def owners_of(self, tables: Tables, block: int, version: int, windows: Windows, told: Told) -> tuple[U64s, U64s]:
        """The owner of each window in a version, after a block, or NOBODY; and the order of its first segment."""
        log, orders, contribution_places = self._log, self._log.orders, self._log.contribution_places
        joined, died, purged = log.joined, log.died, log.purged
        versions = self._versions_at(block)

        def judge(places: Places, keys: U32s) -> tuple[Bools, Bools]:
            who = contribution_places[keys]
            lost = tables.lost.has(windows.take(places), keys, orders) if len(tables.lost.positions) else False
            there = (joined[who] <= versions) & ((purged[who] > block) | lost)
            return there, in_version(log, who, version) & ((died[who] > block) | lost)

        found = first_that_ends(tables.members.runs, orders, windows, judge, told)
        owners, first_orders = np.full(len(windows), NOBODY, np.uint64), np.zeros(len(windows), np.uint64)
        held = np.flatnonzero(found != NO_KEY)
        held = held[~tables.lost.has(windows.take(held), found[held], orders)]
        who = contribution_places[found[held]]
        owners[held], first_orders[held] = log.ids[who], log.first_orders[who]
        return owners, first_orders

    def count_owned(self, tables: Tables, state: FinalState, contribution: int, told: Told) -> int:
        """How many of a contribution's windows no earlier segment of another holds (see `IndexView.owned_windows`)."""
        log, orders, block = self._log, self._log.orders, state.number
        me = log.place_of(contribution)
        mine = [] if me is None else [p for p in log.positions(me) if log.blocks[p] <= block]
        if not mine:
            return 0
        own = self._windows_of(state, mine)
        own = own.pick(~tables.lost.has(own.windows, own.keys, orders))
        own = own.pick(own.first_of_each())
        windows, before = own.windows, own.keys
        contribution_places, blocks, versions = log.contribution_places, log.blocks, self._versions_at(block)
        joined, left, ended, purged = log.joined, log.left, log.ended, log.purged

        def judge(places: Places, keys: U32s) -> tuple[Bools, Bools]:
            who = contribution_places[keys]
            lost, claims = tables.lost.has(windows.take(places), keys, orders), ended[who] > block
            barrier = lost & (joined[who] <= versions)
            there = (blocks[keys] <= block) & ((purged[who] > block) | barrier)
            holds = (claims & ((who != me) | lost)) | (barrier & (left[who] > versions))
            return there, holds | ~_ahead(orders, keys, before[places])

        runs = (*tables.pending.runs, *tables.members.runs)
        found = first_that_ends(runs, orders, windows, judge, told)
        held = np.flatnonzero(found != NO_KEY)
        return len(windows) - int(np.count_nonzero(_ahead(orders, found[held], before[held])))

    def _versions_at(self, block: int) -> int:
        """Versions that were published by a block."""
        return bisect_right(self._roster.version_blocks, block)

    # ---------------------------------------------------------------- steps

    def step(self, state: FinalState) -> bool:
        """Take in some of a final state, or of one that was begun before; False if the state is known.

        What was begun is brought to its end, whoever began it. Only a later state may take its place, and only where it failed.
        """
        if self.known >= state.number:
            return False
        if self._reading is None or (self._failed and state.number > self._reading.number):
            self._reading = state
        self._failed = True
        if not self._step(self._reading):
            self.known, self._reading = self._reading.number, None
        self._failed = False
        return True

    def _step(self, state: FinalState) -> bool:
        """False if nothing is left. What comes in is placed before anything is taken out, so that the epoch before has it."""
        if self._taking is not None:
            self._take(state, self._taking)
        elif self._roster.step(state):
            self.changed = state.number
        elif self.known < 0 and self._read_losses(state):
            pass
        elif self._placed < len(self._log):
            self._place(state)
        elif moving := self._joined():
            self._taking = _Taking.of("pending", SegmentLog.MEMBER, moving, self.tables.pending, self._log)
        elif not (self._read_losses(state) or self._begin_purge(state)):
            return False
        return True

    def _place(self, state: FinalState) -> None:
        """Put the next segments into their tables. What was to be taken out before it was ever put in is left out."""
        log, lost, position, tokens = self._log, self.tables.lost, self._placed, 0
        end = min(len(log), position + STEP_RECORDS)
        wanted: list[int] = []
        since = self.tables.since
        while position < end and tokens < STEP_TOKENS:
            place = int(log.contribution_places[position])
            purged, joined = int(log.purged[place]), bool(log.joined[place] != STAYS)
            log.tables[position] = SegmentLog.MEMBER if joined else SegmentLog.PENDING
            if self.known < 0 and purged <= state.number:
                since = max(since, purged)
                log.tables[position] = SegmentLog.GONE
            if log.tables[position] != SegmentLog.GONE or (joined and position in lost.positions):
                wanted.append(position)
                tokens += int(log.tokens[position])
            position += 1
        run = self._windows_of(state, wanted)
        tables = log.tables[run.keys]
        members = (tables == SegmentLog.MEMBER) | lost.has(run.windows, run.keys, log.orders)
        members &= tables != SegmentLog.PENDING
        self._replace(
            since=since,
            pending=self.tables.pending.add(run.pick(tables == SegmentLog.PENDING), log.orders),
            members=self.tables.members.add(run.pick(members), log.orders),
        )
        self._placed = position

    def _joined(self) -> list[int]:
        """Positions of segments in `pending` whose contributions have joined."""
        log, places = self._log, self._roster.joined
        self._roster.joined = []
        positions = [position for place in places for position in log.positions(place)]
        return [position for position in positions if log.tables[position] == SegmentLog.PENDING]

    def _begin_purge(self, state: FinalState) -> bool:
        """Begin to take out of one table what is to leave it; False if there is nothing."""
        log, purges = self._log, self._roster.purges
        while purges and purges[0][0] <= state.number:
            self._leaving += log.positions(heappop(purges)[1])
        names: tuple[tuple[int, TableName], ...] = ((SegmentLog.PENDING, "pending"), (SegmentLog.MEMBER, "members"))
        for number, name in names:
            positions = [position for position in self._leaving if log.tables[position] == number]
            if positions:
                self._begin_epoch(state)
                self._taking = _Taking.of(name, SegmentLog.GONE, positions, getattr(self.tables, name), log)
                return True
        self._leaving = []
        return False

    def _take(self, state: FinalState, taking: "_Taking") -> None:
        """Take some entries out of a table, and put them where they belong."""
        log, table = self._log, getattr(self.tables, taking.name)
        if taking.sift is not None:
            if taking.sift.step():
                return
            done, places = list(taking.queue), taking.sift.places
        else:
            done = self._some(taking.queue)
            run = self._windows_of(state, done)
            places = [each.find(run.windows, run.keys, log.orders)[1] for each in table.runs]
        left = table.without(places)
        members, lost = left if taking.name == "members" else self.tables.members, self.tables.lost
        for old, found in zip(table.runs, places, strict=True):
            entries = old.pick(found)
            if taking.to != SegmentLog.MEMBER:  # what was lost ends walks for ever
                kept = lost.has(entries.windows, entries.keys, log.orders)
                entries = entries.pick(kept if taking.name == "members" else np.zeros(len(kept), np.bool_))
            members = members.add(entries, log.orders)
        # in one go: who looks something up meanwhile finds each entry in one table or the other
        self._replace(**{taking.name: left, "members": members})
        log.tables[done] = taking.to
        for _ in done:
            taking.queue.popleft()
        if not taking.queue:
            self._taking = None

    def _some(self, queue: Sequence[int]) -> list[int]:
        """The first segments of a queue, as many as a step may read."""
        done: list[int] = []
        tokens = 0
        for position in queue:
            if tokens >= STEP_TOKENS or len(done) == STEP_RECORDS:
                break
            done.append(position)
            tokens += int(self._log.tokens[position])
        return done

    def _windows_of(self, state: FinalState, positions: Sequence[int]) -> Run:
        """The windows of some segments, read and hashed."""
        segments = [SEGMENTS.get(state, position, self._datanet) for position in positions]
        ids = [stored_window_ids(state, segment, self._tokenizer, self._k) for segment in segments]
        counts = [len(joined) // WINDOW_ID_BYTES for joined in ids]
        keys = np.repeat(np.array(positions, np.uint32), counts)
        return Run.sort(Windows.of(b"".join(ids)), keys, self._log.orders)

    def _read_losses(self, state: FinalState) -> bool:
        """Learn some of what was lost; False if nothing is new."""
        lost = self.tables.lost.updated(state, self._datanet, self._tokenizer, self._k, self._log.orders)
        if lost is self.tables.lost:
            return False
        self._begin_epoch(state)
        self._replace(lost=lost, members=self._with_lost_of_gone(lost))
        return True

    def _with_lost_of_gone(self, lost: Lost) -> Table:
        """The members' table, with what those have lost just now that were taken out before: it ends walks for ever."""
        log, members, before = self._log, self.tables.members, self.tables.lost.run
        run = lost.run
        places = log.contribution_places[run.keys]
        fresh = (log.tables[run.keys] == SegmentLog.GONE) & (log.joined[places] != STAYS)
        if fresh.any():
            fresh[fresh] &= ~before.find(run.windows.take(fresh), run.keys[fresh], log.orders)[0]
        return members.add(run.pick(fresh), log.orders)

    def _begin_epoch(self, state: FinalState) -> None:
        """What changes from now on, no older state may see."""
        self.changed = state.number
        if self.tables.since >= state.number:
            return
        if self.known < 0:
            self._replace(since=state.number)
        else:
            before = [*self._epochs[:-1], replace(self.tables, until=self.known)]
            self._epochs = [*before[len(before) - EPOCHS_KEPT :], replace(self.tables, since=state.number)]

    def _replace(self, **changes: Any) -> None:
        self._epochs = [*self._epochs[:-1], replace(self.tables, **changes)]

    # ---------------------------------------------------------------- merging

    def next_merge(self) -> MergeJob | None:
        """The most useful merge there is to do, if any."""
        orders = self._log.orders
        names: tuple[TableName, ...] = ("pending", "members")
        for name in names:
            table: Table = getattr(self.tables, name)
            wasteful = next((run for run in table.runs if run.is_wasteful), None)
            if wasteful is not None:
                return MergeJob(name, (wasteful,), orders)
            if pair := table.overdue():
                return MergeJob(name, pair, orders)
        return None

    def finish(self, job: MergeJob, merged: Run) -> None:
        """Put a merged run in place of those it was made from, if they are still there and nobody is looking through them."""
        if self._taking is None or self._taking.name != job.table:
            self._epochs = [
                replace(tables, **{job.table: getattr(tables, job.table).replace(job.old, merged)})
                for tables in self._epochs
            ]


def _ahead(orders: U64s, keys: U32s, others: U32s) -> Bools:
    """Which segments come before others. All segments of committed content stand at one place in the chain's order."""
    found: Bools = (orders[keys] < orders[others]) | ((orders[keys] == orders[others]) & (keys < others))
    return found


@dataclass(slots=True)
class _Taking:
    """Segments on their way out of a table: `to` says where they are then."""

    name: TableName
    to: int
    queue: deque[int]
    sift: "_Sift | None"
    """How they are found, where looking through the table takes less than reading them again."""

    @classmethod
    def of(cls, name: TableName, to: int, positions: list[int], table: Table, log: SegmentLog) -> "_Taking":
        tokens = int(log.tokens[positions].sum())
        sift = _Sift.through(table, positions, len(log)) if tokens * SIFTING_PAYS >= len(table) else None
        return cls(name, to, deque(positions), sift)


@dataclass(slots=True)
class _Sift:
    """Looking through a table, piece by piece, for the entries of some segments."""

    runs: tuple[Run, ...]
    wanted: Bools
    places: list[Places]
    """Places in the runs that have been looked through."""
    pieces: list[Places]
    """Places in the next one, as far as it has been."""
    at: int = 0

    @classmethod
    def through(cls, table: Table, positions: list[int], count: int) -> "_Sift":
        wanted = np.zeros(count, np.bool_)
        wanted[positions] = True
        return cls(table.runs, wanted, [], [])

    def step(self) -> bool:
        """Look through a piece; False once all is done."""
        if len(self.places) == len(self.runs):
            return False
        run = self.runs[len(self.places)]
        end = min(self.at + STEP_ENTRIES, len(run.keys))
        self.pieces.append(np.flatnonzero(self.wanted[run.keys[self.at : end]]) + self.at)
        self.at = end
        if end == len(run.keys):
            self.places.append(run.only_left(np.concatenate(self.pieces)))
            self.pieces, self.at = [], 0
        return True

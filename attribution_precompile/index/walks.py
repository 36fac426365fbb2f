"""Walking over who has a window, from the first on, for many windows at a time.

The entries of a window may lie in several runs; they are met in the order of their ranks, whichever run they are in. A walk
looks at one entry of each window first. Where that doesn't end it, it goes on by more and more of them at a time: a window that
a thousand have costs a few rounds. What was looked at is told by window: up to the entry that ended its walk, however far the
last round reached beyond. So that number follows from the entries alone. It is told after each round, and a round looks at one
entry of each window, or at `ROUND_ENTRIES`, or at as many as were told before: who can't pay is stopped soon.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np

from attribution_precompile.index.window_runs import Bools, Places, Run, U32s, U64s, Windows

ROUND_ENTRIES: Final = 1 << 10
"""Entries of a round that take about as long as the round itself."""
NO_KEY: Final = (1 << 32) - 1

Judge: TypeAlias = Callable[[Places, U32s], tuple[Bools, Bools]]
"""For entries (places in the windows asked for, and keys): which are there at all, and which end their window's walk."""
Told: TypeAlias = Callable[[int], None]
"""Takes how many more entries were looked at, beyond the first of each window. It may raise."""


def first_that_ends(runs: Sequence[Run], rank: U64s, windows: Windows, judge: Judge, told: Told) -> U32s:
    """The key of the entry that ends each window's walk, or NO_KEY."""
    found = np.full(len(windows), NO_KEY, np.uint32)
    cursors = _Cursors(runs, windows)
    if not cursors.places.size:
        return found
    places, keys, _ = cursors.next(1, rank)
    there, ends = judge(places, keys)
    ends &= there
    found[places[ends]] = keys[ends]
    if ends.all():
        return found
    begun = np.zeros(len(windows), np.bool_)
    begun[places] = there
    cursors.leave(places[ends], len(windows))
    all_told = 0
    while cursors.places.size:
        count = max(1, max(ROUND_ENTRIES, all_told) // cursors.windows)
        all_told += _look(cursors, count, rank, judge, told, found, begun)
    return found


def _look(cursors: "_Cursors", count: int, rank: U64s, judge: Judge, told: Told, found: U32s, begun: Bools) -> int:
    """One round of up to `count` entries of each window: puts what ends walks into `found`. Returns what was told."""
    places, keys, number = cursors.next(count, rank)
    there, ends = judge(places, keys)
    ends &= there
    firsts = np.flatnonzero(number == 0)
    sizes = np.diff(np.append(firsts, len(places)))
    end = np.minimum.reduceat(np.where(ends, number, count), firsts)
    looked = there & (number <= np.repeat(end, sizes))
    met, ended = places[firsts], end < count
    found[met[ended]] = keys[firsts[ended] + end[ended]]
    passed = np.add.reduceat(looked.astype(np.int64), firsts)
    free = (passed > 0) & ~begun[met]
    begun[met[free]] = True
    more = int(passed.sum()) - int(np.count_nonzero(free))
    if more:
        told(more)
    cursors.leave(met[ended], len(begun))
    return more


class _Cursors:
    """Where the walk is: for each window and run with entries of it that it has not met, [at, end)."""

    def __init__(self, runs: Sequence[Run], windows: Windows) -> None:
        self._runs: Final = runs
        parts: list[tuple[Places, ...]] = []
        for number, run in enumerate(runs):
            start, end = run.entries_of(windows)
            found = (start < end).nonzero()[0]
            if found.size:
                parts.append((found, np.full(len(found), number), start[found], end[found]))
        none = np.zeros(0, np.intp)
        columns = parts[0] if parts else (none,) * 4
        if len(parts) > 1:
            joined = [np.concatenate(each) for each in zip(*parts, strict=True)]
            order = np.argsort(joined[0], kind="stable")
            columns = tuple(each[order] for each in joined)
        self.places, self._numbers, self._ats, self._ends = columns

    @property
    def windows(self) -> int:
        """How many windows are left; at least 1."""
        return 1 + int(np.count_nonzero(self.places[1:] != self.places[:-1]))

    def next(self, count: int, rank: U64s) -> tuple[Places, U32s, Places]:
        """Up to `count` more entries of each window, window by window in the order of ranks: places, keys, and the number of
        each among those of its window."""
        apart = not (self.places[1:] == self.places[:-1]).any()
        if count == 1:
            cursor, entries = np.arange(len(self.places)), self._ats
        else:
            sizes = np.minimum(self._ends - self._ats, count)
            cursor = np.repeat(np.arange(len(sizes)), sizes)
            within = np.arange(len(cursor)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            entries = self._ats[cursor] + within
        keys = self._keys_of(self._numbers[cursor], entries)
        if apart:
            self._ats = self._ats + (1 if count == 1 else sizes)
            return self.places[cursor], keys, np.zeros(len(cursor), np.intp) if count == 1 else within
        places = self.places[cursor]
        order = np.lexsort((keys, rank[keys], places))
        places, keys, cursor = places[order], keys[order], cursor[order]
        new = np.ones(len(places), np.bool_)
        new[1:] = places[1:] != places[:-1]
        firsts = np.flatnonzero(new)
        number_of = np.arange(len(places)) - firsts[np.cumsum(new) - 1]
        met = number_of < count
        self._ats = self._ats + np.bincount(cursor[met], minlength=len(self._ats))
        return places[met], keys[met], number_of[met]

    def _keys_of(self, numbers: Places, entries: Places) -> U32s:
        """The keys of entries of the runs with these numbers."""
        if len(self._runs) == 1:
            return self._runs[0].keys_of(entries)
        keys = np.empty(len(entries), np.uint32)
        for number, run in enumerate(self._runs):
            of_run = (numbers == number).nonzero()[0]
            if of_run.size:
                keys[of_run] = run.keys_of(entries[of_run])
        return keys

    def leave(self, windows: Places, count: int) -> None:
        """Drop some windows, and what has come to its end."""
        gone = np.zeros(count, np.bool_)
        gone[windows] = True
        going = ~gone[self.places] & (self._ats < self._ends)
        self.places, self._numbers = self.places[going], self._numbers[going]
        self._ats, self._ends = self._ats[going], self._ends[going]

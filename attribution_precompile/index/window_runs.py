"""Sorted tables of windows: the storage of the span index.

An entry is a window id (BLAKE2b-128, whole, so that equal ids need no confirmation) and a 32-bit key that says who has the
window. Entries lie in *runs*: NumPy arrays sorted by id, and among equal ids by the rank of their keys. A run never changes
once it is made, so any thread may read it without a lock. A *table* is a few runs, oldest first. New entries make a new run;
neighbours are merged when the older is not three times as large as the newer, so n entries lie in O(log n) runs and each is
moved O(log n) times. 20 bytes per entry, and a directory; a look-up is a short search in each run, for many windows at a time.

Entries are taken out by noting their places. A reader counts the entries that are left: the place of the qth of them is
found by one bisection, so nobody walks over what was taken out, however much that is.

No answer depends on how entries are spread over runs. Nothing here is ever hashed or leaves the node.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

U64s: TypeAlias = npt.NDArray[np.uint64]
U32s: TypeAlias = npt.NDArray[np.uint32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.intp]

SIZES_APART: Final = 3
"""The ratio of neighbouring runs. More means fewer runs to search and more merging; 2 and 4 change neither by a quarter."""
BUCKET_ENTRIES: Final = 4
"""Entries of a directory's bucket, about: a byte an entry."""
FEW: Final = 64
"""Windows that are looked up faster without a directory."""
SMALL_RUN: Final = 1 << 11
"""Runs that have no more entries together become one, whatever their sizes: moving them takes less than searching in both."""
MERGED_AT_ONCE_MAX: Final = 1 << 16
"""Entries that adding a run may move: a few milliseconds. Larger merges wait for `Table.overdue` to be asked for them."""
TAKEN_PART: Final = 4
"""A large run is copied without what was taken out of it once that is more than this part of it; a small one at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Window ids, each as two 64-bit halves; in any order, repeats allowed."""

    high: U64s
    low: U64s

    @classmethod
    def of(cls, joined: bytes) -> "Windows":
        """Ids of 16 bytes one behind the other."""
        halves = np.frombuffer(joined, np.uint64).reshape(-1, 2)
        return cls(np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1]))

    def __len__(self) -> int:
        return len(self.high)

    def take(self, places: Places | Bools) -> "Windows":
        return Windows(self.high[places], self.low[places])


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What was taken out of a run: the places, rising, and how many entries are left before each."""

    places: Places
    left_before: Places

    @classmethod
    def at(cls, places: Places) -> "Taken":
        return cls(places, places - np.arange(len(places)))

    def left_below(self, places: Places) -> Places:
        """How many entries are left below each place."""
        return places - np.searchsorted(self.places, places)

    def place_of(self, counted: Places) -> Places:
        """The place of the entry before which so many are left."""
        return counted + np.searchsorted(self.left_before, counted, side="right")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Entries sorted by (high, low, rank of key, key). Entry q is the qth that has not been taken out."""

    windows: Windows
    keys: U32s
    directory: U32s | None = None
    """Where the entries begin whose high half begins with each of the numbers of some bits: ids are spread evenly, so few lie
    between two. None: there is none yet, look-ups take longer."""
    taken: Taken | None = None

    @classmethod
    def sort(cls, windows: Windows, keys: U32s, rank: U64s) -> "Run":
        """A run of entries in any order; of equal ones it keeps one."""
        order = np.argsort(windows.high)
        high = windows.high[order]
        same_as_next = high[1:] == high[:-1]
        if same_as_next.any():
            tied = np.zeros(len(order), np.bool_)
            tied[:-1] |= same_as_next
            tied[1:] |= same_as_next
            members = order[tied]
            tied_keys = keys[members]
            order[tied] = members[np.lexsort((tied_keys, rank[tied_keys], windows.low[members], high[tied]))]
        run = cls(windows.take(order), keys[order])
        again = ~run.first_of_each()
        again[1:] &= run.keys[1:] == run.keys[:-1]
        return run.pick(~again) if again.any() else run

    def __len__(self) -> int:
        return len(self.keys) - (0 if self.taken is None else len(self.taken.places))

    def pick(self, places: Places | Bools) -> "Run":
        """The entries at some places, in the same order."""
        return Run(self.windows.take(places), self.keys[places])

    def first_of_each(self) -> Bools:
        """Which places have the first entry of their window."""
        high, low = self.windows.high, self.windows.low
        first = np.ones(len(high), np.bool_)
        first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        return first

    def with_directory(self) -> "Run":
        """The same, ready for many look-ups."""
        bits = (len(self.keys) // BUCKET_ENTRIES).bit_length()
        if self.directory is not None or bits == 0:
            return self
        edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        starts = np.searchsorted(self.windows.high, edges)
        return replace(self, directory=np.append(starts, len(self.keys)).astype(np.uint32))

    # ---------------------------------------------------------------- look-ups

    def entries_of(self, windows: Windows) -> tuple[Places, Places]:
        """The entries of each window that are left: [start, end)."""
        start, end = self._places_of(windows)
        if self.taken is None:
            return start, end
        return self.taken.left_below(start), self.taken.left_below(end)

    def keys_of(self, entries: Places) -> U32s:
        return self.keys[entries if self.taken is None else self.taken.place_of(entries)]

    def find(self, windows: Windows, keys: U32s, rank: U64s) -> tuple[Bools, Places]:
        """Which (window, key) pairs the run has, taken out or not, and the places of those."""
        start, end = self._places_of(windows)
        at = _bisect(start, end, _before(self.keys, keys, rank))
        has = at < end
        has[has] = self.keys[at[has]] == keys[has]
        return has, at[has]

    def _first_not_below(self, wanted: U64s) -> Places:
        """The place of the first entry whose high half is not less, for each: a bisection within its bucket."""
        high, directory = self.windows.high, self.directory
        if directory is None or len(wanted) < FEW:
            return np.searchsorted(high, wanted)
        shift = np.uint64(65 - len(directory).bit_length())
        bucket = (wanted >> shift).astype(np.intp)
        place, end = directory[bucket].astype(np.intp), directory[bucket + 1].astype(np.intp)
        step = 1 << int((end - place).max(initial=0)).bit_length()
        while step := step >> 1:
            beyond = place + step
            below = (beyond <= end) & (high.take(beyond - 1, mode="clip") < wanted)
            place = np.where(below, beyond, place)
        return place

    def _places_of(self, windows: Windows) -> tuple[Places, Places]:
        """Where the entries of each window are: [start, end). Where it has none, both are the place it would have."""
        high, low = self.windows.high, self.windows.low
        start = self._first_not_below(windows.high)
        end = start.copy()
        if not len(high):
            return start, end
        found = (high.take(start, mode="clip") == windows.high).nonzero()[0]
        found = found[start[found] < len(high)]
        alone = self._alone(start[found]) & (low[start[found]] == windows.low[found])
        end[found[alone]] += 1
        found = found[~alone]
        if found.size:
            wanted = windows.low[found]
            first, last = start[found], np.searchsorted(high, windows.high[found], side="right")
            start[found] = _bisect(first, last, lambda at, who: low[at] < wanted[who])
            end[found] = _bisect(first, last, lambda at, who: low[at] <= wanted[who])
        return start, end

    def _alone(self, places: Places) -> Bools:
        """Whether the entry behind is of another high half."""
        high = self.windows.high
        alone: Bools = (places + 1 == len(high)) | (high.take(places + 1, mode="clip") != high[places])
        return alone

    # ---------------------------------------------------------------- taking out

    def without(self, places: Places) -> "Run":
        """Without the entries at these places, which are left so far."""
        before = self.taken.places if self.taken is not None else places[:0]
        run = replace(self, taken=Taken.at(np.sort(np.concatenate((before, places)), kind="stable")))
        return run.packed().with_directory() if len(self.keys) <= MERGED_AT_ONCE_MAX else run

    @property
    def is_wasteful(self) -> bool:
        """Whether much of its memory is of entries that were taken out."""
        return self.taken is not None and len(self.taken.places) * TAKEN_PART > len(self.keys)

    def only_left(self, places: Places) -> Places:
        """Those of some places whose entries are left."""
        return places if self.taken is None else places[~np.isin(places, self.taken.places)]

    def packed(self) -> "Run":
        """The same entries, in arrays that have no others."""
        if self.taken is None:
            return self
        left = np.ones(len(self.keys), np.bool_)
        left[self.taken.places] = False
        return self.pick(left)


def merge(one: Run, other: Run, rank: U64s) -> Run:
    """The entries of both. Neither has an entry of the other."""
    one, other = one.packed(), other.packed()
    large, small = (one, other) if len(one) >= len(other) else (other, one)
    start, end = large._places_of(small.windows)
    at = _bisect(start, end, _before(large.keys, small.keys, rank))
    at += np.arange(len(small))
    from_large = np.ones(len(large) + len(small), np.bool_)
    from_large[at] = False

    def woven(of_large: npt.NDArray[np.generic], of_small: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        both = np.empty(len(from_large), of_large.dtype)
        both[at] = of_small
        both[from_large] = of_large
        return both

    high = woven(large.windows.high, small.windows.high)
    low = woven(large.windows.low, small.windows.low)
    return Run(Windows(high, low), woven(large.keys, small.keys)).with_directory()  # type: ignore[arg-type]  # the dtypes are kept


@dataclass(frozen=True, slots=True)
class Table:
    """Runs, oldest first. Immutable: adding makes another table, which shares the runs."""

    runs: tuple[Run, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def add(self, run: Run, rank: U64s) -> "Table":
        """With the entries of another run, merged as far as that is a small thing to do."""
        if not len(run):
            return self
        table = Table((*self.runs, run.with_directory()))
        while pair := table.overdue(MERGED_AT_ONCE_MAX):
            table = table.replace(pair, merge(*pair, rank))
        return table

    def overdue(self, entries_max: int | None = None) -> tuple[Run, Run] | None:
        """The newest neighbours that should be one run, of at most so many entries; None if all is in order."""
        for older, newer in reversed(list(pairwise(self.runs))):
            together = len(older) + len(newer)
            small_enough = entries_max is None or together <= entries_max
            if small_enough and (together <= SMALL_RUN or len(older) < SIZES_APART * len(newer)):
                return older, newer
        return None

    def without(self, taken: Sequence[Places]) -> "Table":
        """Without the entries at some places of each run."""
        pairs = zip(self.runs, taken, strict=True)
        runs = [run.without(places) if places.size else run for run, places in pairs]
        return Table(tuple(run for run in runs if len(run)))

    def replace(self, old: Sequence[Run], new: Run) -> "Table":
        """With `new` in place of neighbouring runs; unchanged if these are not all there any more."""
        for at in range(len(self.runs) - len(old) + 1):
            if all(mine is theirs for mine, theirs in zip(self.runs[at:], old, strict=False)):
                return Table((*self.runs[:at], *((new,) if len(new) else ()), *self.runs[at + len(old) :]))
        return self


def _before(keys: U32s, wanted: U32s, rank: U64s) -> Callable[[Places, Places], Bools]:
    """For `_bisect`: whether the key at a place comes before the wanted one. Of one rank the smaller key is first."""
    wanted_ranks = rank[wanted]

    def before(at: Places, who: Places) -> Bools:
        ranks, theirs = rank[keys[at]], wanted_ranks[who]
        found: Bools = (ranks < theirs) | ((ranks == theirs) & (keys[at] < wanted[who]))
        return found

    return before


def _bisect(start: Places, end: Places, before: Callable[[Places, Places], Bools]) -> Places:
    """In each range [start, end), the first place that isn't `before(place, number of the range)`."""
    low, high = start.copy(), end.copy()
    who = (low < high).nonzero()[0]
    while who.size:
        middle = (low[who] + high[who]) >> 1
        right = before(middle, who)
        low[who[right]] = middle[right] + 1
        high[who[~right]] = middle[~right]
        who = who[low[who] < high[who]]
    return low

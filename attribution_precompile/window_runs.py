"""Sorted tables of windows: the storage of the span index.

An entry is a window id (BLAKE2b-128, whole, so that equal ids need no confirmation) and a 32-bit key that says what is known of
the window. Entries lie in *runs*: NumPy arrays sorted by id, and among equal ids by the rank of their keys. A run never changes
once it is made, so any thread may read it without a lock. A *table* is a few runs, oldest first. New entries make a new run;
neighbours are merged when the older is not three times as large as the newer, so n entries lie in O(log n) runs and each is
moved O(log n) times. 20 bytes per entry, and a directory; a look-up is a short search in each run, for many windows at a time.

No answer depends on how entries are spread over runs. Nothing here is ever hashed or leaves the node.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

U64s: TypeAlias = npt.NDArray[np.uint64]
U32s: TypeAlias = npt.NDArray[np.uint32]
Bools: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.intp]

Rank: TypeAlias = U64s | None
"""The rank of key x among entries of one window: `rank[x]`, or x itself. Smaller is first."""

SIZES_APART: Final = 3
"""Of neighbouring runs. More means fewer runs to search and more merging; from 2 to 4 neither changes by a quarter."""
BUCKET_ENTRIES: Final = 4
"""Of a directory, about: a byte an entry."""
FEW: Final = 64
"""Windows that are looked up faster without a directory."""
SMALL_RUN: Final = 1 << 11
"""Runs that have no more entries together become one, whatever their sizes: moving them takes less than searching in both."""
MERGED_AT_ONCE_MAX: Final = 1 << 16
"""Entries that adding a run may move: a few milliseconds. Larger merges wait for `Table.overdue` to be asked for them."""


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
class Run:
    """Entries sorted by (high, low, rank of key)."""

    windows: Windows
    keys: U32s
    directory: U32s | None = None
    """Where the entries begin whose high half begins with each of the numbers of some bits: ids are spread evenly, so few lie
    between two. None: there is none yet, look-ups take longer."""

    @classmethod
    def sort(cls, windows: Windows, keys: U32s, rank: Rank) -> "Run":
        """A run of entries in any order; of equal ones it keeps one. Keys of one rank go by their number."""
        order = np.argsort(windows.high)
        high = windows.high[order]
        same_as_next = high[1:] == high[:-1]
        if same_as_next.any():
            tied = np.zeros(len(order), np.bool_)
            tied[:-1] |= same_as_next
            tied[1:] |= same_as_next
            members = order[tied]
            tied_keys = keys[members]
            order[tied] = members[np.lexsort((tied_keys, _ranks(tied_keys, rank), windows.low[members], high[tied]))]
        run = cls(windows.take(order), keys[order])
        again = ~run.first_of_each()
        again[1:] &= run.keys[1:] == run.keys[:-1]
        return run.take(~again) if again.any() else run

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, places: Places | Bools) -> "Run":
        """Some of the entries, in the same order."""
        return Run(self.windows.take(places), self.keys[places])

    def parts(self, entries: int) -> "Iterator[Run]":
        """The run in pieces of at most so many entries, which share its memory."""
        for at in range(0, len(self), entries):
            piece = slice(at, at + entries)
            yield Run(Windows(self.windows.high[piece], self.windows.low[piece]), self.keys[piece])

    def first_of_each(self) -> Bools:
        """Which entries are the first of their window."""
        high, low = self.windows.high, self.windows.low
        first = np.ones(len(high), np.bool_)
        first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        return first

    def with_directory(self) -> "Run":
        """The same, ready for many look-ups."""
        bits = (len(self) // BUCKET_ENTRIES).bit_length()
        if self.directory is not None or bits == 0:
            return self
        edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        starts = np.searchsorted(self.windows.high, edges)
        return replace(self, directory=np.append(starts, len(self)).astype(np.uint32))

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

    def ranges(self, windows: Windows) -> tuple[Places, Places]:
        """Where the entries of each window are: [start, end). Where it has none, both are the place it would have."""
        high, low = self.windows.high, self.windows.low
        start = self._first_not_below(windows.high)
        end = start.copy()
        found = (high.take(start, mode="clip") == windows.high).nonzero()[0]
        found = found[start[found] < len(self)]
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
        alone: Bools = (places + 1 == len(self)) | (high.take(places + 1, mode="clip") != high[places])
        return alone

    def last_below(self, windows: Windows, key: int) -> tuple[Places, U32s]:
        """For windows with an entry of a key less than `key`: their places, and the greatest such key. Ranks are the keys."""
        start, end = self.ranges(windows)
        found = (start < end).nonzero()[0]
        first, last = start[found], end[found]
        beyond = (self.keys[last - 1] >= key).nonzero()[0]
        if beyond.size:
            last[beyond] = _bisect(first[beyond], last[beyond], lambda at, _who: self.keys[at] < key)
            within = first < last
            found, last = found[within], last[within]
        return found, self.keys[last - 1]

    def rounds(self, windows: Windows, looking: Bools) -> Iterator[tuple[Places, U32s]]:
        """Walk over the entries of all windows together, one entry of each a round: places in `windows`, and the keys there.

        The caller clears `looking` at the places that it wants no more of.
        """
        start, end = self.ranges(windows)
        places = ((start < end) & looking).nonzero()[0]
        while places.size:
            yield places, self.keys[start[places]]
            start[places] += 1
            places = places[looking[places] & (start[places] < end[places])]


def merge(one: Run, other: Run, rank: Rank) -> Run:
    """The entries of both. Neither has an entry of the other."""
    large, small = (one, other) if len(one) >= len(other) else (other, one)
    start, end = large.ranges(small.windows)
    wanted = _ranks(small.keys, rank)
    at = _bisect(start, end, lambda at, who: _ranks(large.keys[at], rank) < wanted[who])
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

    def add(self, run: Run, rank: Rank) -> "Table":
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

    def replace(self, old: Sequence[Run], new: Run) -> "Table":
        """With `new` in place of neighbouring runs; unchanged if these are not all there any more."""
        for at in range(len(self.runs) - len(old) + 1):
            if all(mine is theirs for mine, theirs in zip(self.runs[at:], old, strict=False)):
                return Table((*self.runs[:at], *((new,) if len(new) else ()), *self.runs[at + len(old) :]))
        return self


def _ranks(keys: U32s, rank: Rank) -> npt.NDArray[np.unsignedinteger]:
    return keys if rank is None else rank[keys]


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

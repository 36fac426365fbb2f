"""What the span index remembers of a datanet's segments and contributions, in columns.

All of it is read from final states, and each value is written once: a column holds "never" until then. So whoever asks about an
older block compares, and finds what was true then.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from attribution_precompile.index.endings import NEVER, STAYS
from attribution_precompile.index.window_runs import Bools, U32s, U64s
from attribution_precompile.layout import Segment


class Column:
    """A NumPy array that grows at its end. A view that was taken before stays as it is, so readers need no lock."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._buffer = np.empty(4, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def view(self) -> npt.NDArray[Any]:
        length = self._length  # first: the buffer may be replaced by a larger one meanwhile
        return self._buffer[:length]

    def append(self, value: int) -> None:
        length = self._length
        if length == len(self._buffer):
            larger = np.empty(2 * length, self._buffer.dtype)
            larger[:length] = self._buffer
            larger[length] = value
            self._buffer = larger
        else:
            self._buffer[length] = value
        self._length = length + 1

    def forked(self) -> "Column":
        """A copy that goes its own way."""
        twin = copy.copy(self)
        twin._buffer = self._buffer.copy()
        return twin


class SegmentLog:
    """Columns by position of a segment in its datanet, and by place of a contribution among those that have segments."""

    UNPLACED, PENDING, MEMBER, GONE = range(4)
    """Which table has a segment's windows."""

    def __init__(self) -> None:
        self._orders = Column(np.uint64)
        self._blocks = Column(np.uint64)
        self._tokens = Column(np.uint32)
        self._contribution_places = Column(np.uint32)
        self._tables = Column(np.uint8)
        self._ids = Column(np.uint64)
        self._first_orders = Column(np.uint64)
        self._joined = Column(np.uint32)
        self._left = Column(np.uint32)
        self._ended = Column(np.uint64)
        self._died = Column(np.uint64)
        self._purged = Column(np.uint64)
        self._place_of: dict[int, int] = {}
        self._positions: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._orders)

    def forked(self) -> "SegmentLog":
        """A copy that goes its own way."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Column):
                setattr(twin, name, value.forked())
        twin._place_of = dict(self._place_of)
        twin._positions = [list(each) for each in self._positions]
        return twin

    def add(self, record: Segment) -> None:
        """Take in the record of the next segment."""
        place = self._place_of.get(record.contribution_id)
        if place is None:
            place = len(self._ids)
            for column, value in (
                (self._first_orders, record.order),
                (self._joined, STAYS),
                (self._left, STAYS),
                (self._ended, NEVER),
                (self._died, NEVER),
                (self._purged, NEVER),
                (self._ids, record.contribution_id),
            ):
                column.append(value)
            self._positions.append([])
            self._place_of[record.contribution_id] = place
        self._positions[place].append(len(self))
        self._blocks.append(record.block_number)
        self._tokens.append(record.tokens)
        self._contribution_places.append(place)
        self._tables.append(self.UNPLACED)
        self._orders.append(record.order)

    def place_of(self, contribution: int) -> int | None:
        """The place of a contribution; None if it has no segment."""
        return self._place_of.get(contribution)

    def positions(self, place: int) -> Sequence[int]:
        """The segments of a contribution."""
        return self._positions[place]

    # ---------------------------------------------------------------- by position

    @property
    def orders(self) -> U64s:
        """Segments in the chain's order: the ranks of the index's tables."""
        return self._orders.view

    @property
    def blocks(self) -> U64s:
        return self._blocks.view

    @property
    def tokens(self) -> U32s:
        return self._tokens.view

    @property
    def contribution_places(self) -> U32s:
        return self._contribution_places.view

    @property
    def tables(self) -> npt.NDArray[np.uint8]:
        return self._tables.view

    # ---------------------------------------------------------------- by contribution

    @property
    def ids(self) -> U64s:
        return self._ids.view

    @property
    def first_orders(self) -> U64s:
        """Rule 4's priorities."""
        return self._first_orders.view

    @property
    def joined(self) -> U32s:
        """The first version that has it."""
        return self._joined.view

    @property
    def left(self) -> U32s:
        """The last version that may have it."""
        return self._left.view

    @property
    def ended(self) -> U64s:
        """The block that ended its claim."""
        return self._ended.view

    @property
    def died(self) -> U64s:
        return self._died.view

    @property
    def purged(self) -> U64s:
        """The block at whose end it leaves the index."""
        return self._purged.view


def in_version(log: SegmentLog, places: U32s, version: int) -> Bools:
    """Which contributions a version has."""
    found: Bools = (log.joined[places] <= version) & (log.left[places] >= version)
    return found

"""The segments of a datanet as the span index remembers them: by position, only those that can't change any more."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from attribution_precompile.layout import SEGMENTS, Segment
from attribution_precompile.window_runs import Bools, U32s, U64s
from evm_runtime.native import Slots
from genesis.errors import StorageCorrupt


class Column:
    """A NumPy array that grows at its end. A view that was taken before stays as it is, so readers need no lock."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._buffer = np.empty(16, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def view(self) -> npt.NDArray[np.generic]:
        length = self._length  # first: the buffer may be replaced by a larger one meanwhile
        return self._buffer[:length]

    def append(self, value: int) -> None:
        self.extend(np.array([value], self._buffer.dtype))

    def extend(self, values: npt.NDArray[np.generic]) -> None:
        length = self._length + len(values)
        if length > len(self._buffer):
            larger = np.empty(max(length, 2 * len(self._buffer)), self._buffer.dtype)
            larger[: self._length] = self._buffer[: self._length]
            larger[self._length : length] = values
            self._buffer = larger
        else:
            self._buffer[self._length : length] = values
        self._length = length


class SegmentLog:
    """Order, contribution, block and tokens of each segment, and which segments a contribution has."""

    def __init__(self, datanet: int) -> None:
        self._datanet: Final = datanet
        self._orders = Column(np.uint64)
        self._first_orders = Column(np.uint64)
        self._contributions = Column(np.uint64)
        self._blocks = Column(np.uint64)
        self._tokens = Column(np.uint32)
        self._settled = Column(np.bool_)
        self._positions: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._orders)

    @property
    def orders(self) -> U64s:
        return self._orders.view  # type: ignore[return-value]  # of the column's dtype

    @property
    def first_orders(self) -> U64s:
        """The order of the first segment of each segment's contribution."""
        return self._first_orders.view  # type: ignore[return-value]

    @property
    def contributions(self) -> U64s:
        return self._contributions.view  # type: ignore[return-value]

    @property
    def blocks(self) -> U64s:
        return self._blocks.view  # type: ignore[return-value]

    @property
    def tokens(self) -> U32s:
        return self._tokens.view  # type: ignore[return-value]

    @property
    def settled(self) -> Bools:
        """Which segments a version has; set by who ingests the version."""
        return self._settled.view  # type: ignore[return-value]

    def read(self, slots: Slots, position: int) -> Segment:
        """A segment's record, from storage."""
        return SEGMENTS.get(slots, position, self._datanet)

    def stored(self, slots: Slots) -> int:
        """How many segments the storage has."""
        return SEGMENTS.length(slots, self._datanet)

    def remember(self, position: int, record: Segment) -> None:
        """Take in the record of the next segment; of one that is known already, nothing happens."""
        if position != len(self):
            return
        positions = self._positions.setdefault(record.contribution_id, [])
        positions.append(position)
        self._settled.append(False)
        self._tokens.append(record.tokens)
        self._blocks.append(record.block_number)
        self._contributions.append(record.contribution_id)
        self._first_orders.append(record.order if len(positions) == 1 else self.first_order(record.contribution_id))
        self._orders.append(record.order)

    def positions(self, contribution: int) -> Sequence[int]:
        return self._positions.get(contribution, ())

    def first_order(self, contribution: int) -> int:
        """Rule 4's priority."""
        positions = self.positions(contribution)
        if not positions:
            raise StorageCorrupt(f"contribution {contribution} of datanet {self._datanet} has no segment")
        return int(self.orders[positions[0]])

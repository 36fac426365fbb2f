"""Windows that segments have lost to challenges, as the span index knows them (rule 5).

A window is lost to a segment when every place at which the segment has it lies in a range that a challenge took. `LOSING` has
one entry for each loss, so what has changed is found without looking at the rest.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from attribution_precompile.index.content import FinalState, stored_window_ids
from attribution_precompile.index.window_runs import Bools, Run, U32s, U64s, Windows
from attribution_precompile.layout import LOSING, LOSSES, SEGMENTS
from attribution_precompile.rules.tokens import split_ids
from genesis.primitives import Hash32

STEP_LOSSES: Final = 4
"""That are learnt at a time: about 20 ms of work."""
_NONE: Final = Run(Windows(np.zeros(0, np.uint64), np.zeros(0, np.uint64)), np.zeros(0, np.uint32))


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """The windows lost, as a run of (window, position of the segment)."""

    read: int = 0
    """Losses that are known."""
    positions: U32s = field(default_factory=lambda: np.zeros(0, np.uint32))
    """Segments that have lost anything."""
    run: Run = _NONE

    def has(self, windows: Windows, keys: U32s, rank: U64s) -> Bools:
        """Which windows are lost to the segments given with them."""
        found = np.isin(keys, self.positions) if len(self.positions) else np.zeros(len(keys), np.bool_)
        if found.any():
            found[found], _ = self.run.find(windows.take(found), keys[found], rank)
        return found

    def updated(self, state: FinalState, datanet: int, tokenizer: Hash32, k: int, rank: U64s) -> "Lost":
        """With some more of what a later state has; the same if that is nothing."""
        count = LOSING.length(state, datanet)
        if count == self.read:
            return self
        most = min(count, self.read + STEP_LOSSES)
        changed = np.unique([LOSING.get(state, i, datanet) for i in range(self.read, most)]).astype(np.uint32)
        kept = self.run.pick(~np.isin(self.run.keys, changed))
        lost = [_lost_ids(state, datanet, position, tokenizer, k) for position in changed.tolist()]
        fresh, keys = Windows.of(b"".join(map(b"".join, lost))), np.repeat(changed, list(map(len, lost)))
        windows = Windows(*map(np.concatenate, ((kept.windows.high, fresh.high), (kept.windows.low, fresh.low))))
        run = Run.sort(windows, np.concatenate((kept.keys, keys)), rank).with_directory()
        return Lost(most, np.union1d(self.positions, changed), run)


def _lost_ids(state: FinalState, datanet: int, position: int, tokenizer: Hash32, k: int) -> list[bytes]:
    """The window ids that a segment has nowhere but in its lost places."""
    ids = split_ids(stored_window_ids(state, SEGMENTS.get(state, position, datanet), tokenizer, k))
    taken: set[int] = set()
    for i in range(LOSSES.length(state, datanet, position)):
        loss = LOSSES.get(state, i, datanet, position)
        taken.update(range(loss.start, loss.end))
    left = {each for place, each in enumerate(ids) if place not in taken}
    return list({each for place, each in enumerate(ids) if place in taken} - left)

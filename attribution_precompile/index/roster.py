"""Who joins, leaves and dies in a datanet, read from final states into the log's columns (rule 5; `membership.py`).

A version's members are fixed when it is published: the contributions among the segments below its watermark that were
accepted by review before it, or were never reviewed and past their deadline by then, and had not gone. So what is read here of
a version is the same in every state after it.
"""

import copy
from heapq import heappop, heappush, heapreplace
from typing import Final

from attribution_precompile.index.content import FinalState
from attribution_precompile.index.segment_log import SegmentLog
from attribution_precompile.layout import CONTRIBUTIONS, DATANETS, ENDINGS, REVIEWED, SEGMENTS, VERSIONS, Version
from genesis.errors import StorageCorrupt

STEP_RECORDS: Final = 128
"""Records that one step looks at."""


class Roster:
    """Reads on where the last state ended. Each record is done with at once, so a read may fail and be tried again."""

    def __init__(self, datanet: int, log: SegmentLog) -> None:
        self._datanet: Final = datanet
        self._log = log
        self.version_blocks: list[int] = []
        """The blocks that published the versions, in order."""
        self.purges: list[tuple[int, int]] = []
        """A heap of (block, place of a contribution) of those that are still to leave the tables."""
        self.joined: list[int] = []
        """Places of contributions that have joined since somebody emptied this."""
        self._endings_read = 0
        self._reviewed_read = 0
        self._queued = 0
        """Segments below this position were looked at for their contribution's deadline."""
        self._deadlines: list[tuple[int, int]] = []
        """A heap of (deadline when last looked at, place) of those no version has yet."""
        self._version: Version | None = None
        """The one that is being read."""

    def forked(self, log: SegmentLog) -> "Roster":
        """A copy that goes its own way, with its own log."""
        twin = copy.copy(self)
        twin._log = log
        for name in ("version_blocks", "purges", "joined", "_deadlines"):
            setattr(twin, name, list(getattr(self, name)))
        return twin

    def step(self, state: FinalState) -> bool:
        """Look at some records; False if all that the state has was known."""
        for looked in range(STEP_RECORDS):
            if not (self._read_segment(state) or self._read_ending(state) or self._read_version(state)):
                return looked > 0
        return True

    def _read_segment(self, state: FinalState) -> bool:
        if len(self._log) >= SEGMENTS.length(state, self._datanet):
            return False
        self._log.add(SEGMENTS.get(state, len(self._log), self._datanet))
        return True

    def _read_ending(self, state: FinalState) -> bool:
        if self._endings_read >= ENDINGS.length(state, self._datanet):
            return False
        ending, log = ENDINGS.get(state, self._endings_read, self._datanet), self._log
        self._endings_read += 1
        place = log.place_of(ending.contribution_id)
        if place is None:
            return True  # of what was never more than held
        log.ended[place] = min(int(log.ended[place]), ending.block_number)
        log.left[place] = min(int(log.left[place]), ending.left)
        if ending.died:
            log.died[place] = min(int(log.died[place]), ending.block_number)
        if ending.purge_block < int(log.purged[place]):
            log.purged[place] = ending.purge_block
            heappush(self.purges, (ending.purge_block, place))
        return True

    # ---------------------------------------------------------------- versions

    def _read_version(self, state: FinalState) -> bool:
        number = len(self.version_blocks) + 1
        if self._version is None:
            if number > DATANETS.load_field(state, "versions", self._datanet):
                return False
            self._version = VERSIONS.load(state, self._datanet, number)
        version = self._version
        if (
            self._queue_deadline(version)
            or self._read_review(state, number)
            or self._read_deadline(state, number, version)
        ):
            return True
        self.version_blocks.append(version.block_number)
        self._version = None
        return True

    def _queue_deadline(self, version: Version) -> bool:
        position = self._queued
        if position >= version.segments:
            return False
        place = int(self._log.contribution_places[position])
        if self._log.positions(place)[0] == position:
            heappush(self._deadlines, (0, place))
        self._queued += 1
        return True

    def _read_review(self, state: FinalState, number: int) -> bool:
        if self._reviewed_read >= REVIEWED.length(state, self._datanet):
            return False
        contribution = REVIEWED.get(state, self._reviewed_read, self._datanet)
        if CONTRIBUTIONS.load_field(state, "accepted_version", contribution) > number:
            return False
        place = self._log.place_of(contribution)
        if place is None:
            raise StorageCorrupt(f"contribution {contribution} of datanet {self._datanet} has no segment")
        self._join(place, number)
        self._reviewed_read += 1
        return True

    def _read_deadline(self, state: FinalState, number: int, version: Version) -> bool:
        """One of those whose deadline had come when last looked at. Appending moves a deadline, so it is read again here."""
        if not self._deadlines or self._deadlines[0][0] > version.time:
            return False
        place = self._deadlines[0][1]
        deadline = CONTRIBUTIONS.load_field(state, "deadline", int(self._log.ids[place]))
        if deadline > version.time:
            heapreplace(self._deadlines, (deadline, place))
            return True
        self._join(place, number)
        heappop(self._deadlines)
        return True

    def _join(self, place: int, number: int) -> None:
        log = self._log
        if log.joined[place] > number and log.left[place] >= number:
            log.joined[place] = number
            self.joined.append(place)

"""Who joins and who leaves a datanet with each version, read from storage version by version (rule 5; `membership.py`).

A version's members are fixed when it is published: the contributions among the segments below its watermark that were
accepted by review before it, or were never reviewed and past their deadline by then, and had not gone. So nothing that is read
here can change.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from typing import Final

from attribution_precompile.declarations import Status
from attribution_precompile.layout import CONTRIBUTIONS, DEPARTED, DEPARTURES, REVIEWED, VERSIONS, Version
from attribution_precompile.membership import gone_before
from attribution_precompile.segment_log import SegmentLog
from evm_runtime.native import Slots
from genesis.errors import StorageCorrupt

STEP_RECORDS: Final = 128
"""Records that one step looks at."""


@dataclass(slots=True)
class Changes:
    """What a version changes: contributions that its predecessor doesn't have, and that it doesn't have any more."""

    number: int
    version: Version
    joined: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)


class Roster:
    """The members as of the last version that was read, or is being read. Each record is done with at once: reading one may
    fail and be tried again."""

    def __init__(self, datanet: int, log: SegmentLog) -> None:
        self._datanet: Final = datanet
        self._log: Final = log
        self.members: set[int] = set()
        self._deadlines: list[tuple[int, int]] = []
        """A heap of (deadline when last looked at, contribution) of those no version has yet."""
        self._queued_segments = 0
        self._reviewed_read = 0
        self._departed_read = 0

    def begin(self, slots: Slots, number: int) -> Changes:
        """Start on the version after the last."""
        version = VERSIONS.load(slots, self._datanet, number)
        if version.block_number == 0:
            raise StorageCorrupt(f"version {number} of datanet {self._datanet} is missing")
        return Changes(number, version)

    def step(self, slots: Slots, changes: Changes) -> bool:
        """Look at some records; False when the changes are complete."""
        for _ in range(STEP_RECORDS):
            if not (
                self._queue_segment(slots, changes)
                or self._read_review(slots, changes)
                or self._read_deadline(slots, changes)
                or self._read_departure(slots, changes)
            ):
                return False
        return True

    def _queue_segment(self, slots: Slots, changes: Changes) -> bool:
        position = self._queued_segments
        if position >= changes.version.segments:
            return False
        if position == len(self._log):
            self._log.remember(position, self._log.read(slots, position))
        contribution = int(self._log.contributions[position])
        if self._log.positions(contribution)[0] == position:
            heappush(self._deadlines, (0, contribution))
        self._queued_segments += 1
        return True

    def _read_review(self, slots: Slots, changes: Changes) -> bool:
        if self._reviewed_read >= REVIEWED.length(slots, self._datanet):
            return False
        contribution = REVIEWED.get(slots, self._reviewed_read, self._datanet)
        if CONTRIBUTIONS.load_field(slots, "accepted_version", contribution) > changes.number:
            return False
        self._join(slots, contribution, changes)
        self._reviewed_read += 1
        return True

    def _read_deadline(self, slots: Slots, changes: Changes) -> bool:
        """One of those never reviewed whose deadline had come. Appending moves a deadline, so it is read again here.

        A rejection is only possible before the deadline, so one seen here is final and the contribution is dropped.
        """
        if not self._deadlines or self._deadlines[0][0] > changes.version.time:
            return False
        contribution = self._deadlines[0][1]
        deadline = CONTRIBUTIONS.load_field(slots, "deadline", contribution)
        if deadline > changes.version.time:
            heapreplace(self._deadlines, (deadline, contribution))
            return True
        if CONTRIBUTIONS.load_field(slots, "status", contribution) != Status.REJECTED:
            self._join(slots, contribution, changes)
        heappop(self._deadlines)
        return True

    def _join(self, slots: Slots, contribution: int, changes: Changes) -> None:
        if contribution not in self.members and not gone_before(slots, contribution, changes.number):
            self.members.add(contribution)
            changes.joined.append(contribution)

    def _read_departure(self, slots: Slots, changes: Changes) -> bool:
        if self._departed_read >= DEPARTED.length(slots, self._datanet):
            return False
        contribution = DEPARTED.get(slots, self._departed_read, self._datanet)
        departure = DEPARTURES.load(slots, contribution)
        if departure.gone and departure.left >= changes.number:
            return False
        self._departed_read += 1
        if departure.gone and contribution in self.members:
            self.members.discard(contribution)
            changes.left.append(contribution)
        return True

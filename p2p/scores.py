"""Faults add up to a score, a score of 100 is a ban, a ban ends by itself.

A score fades by one point a second, so that only who keeps misbehaving is banned. Each further ban of a peer is twice as
long. The table is bounded: who has been quiet longest is forgotten first.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

BAN_SCORE: Final = 100.0
FADE_PER_S: Final = 1.0
BAN_S_FIRST: Final = 60.0
BAN_S_MAX: Final = 24 * 3600.0
PEERS_MAX: Final = 4096


@dataclass(slots=True)
class _Record:
    score: float = 0.0
    at_s: float = 0.0
    banned_until_s: float = 0.0
    bans: int = 0


class ScoreBook:
    """What is remembered of peers' faults. Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self, ban_s_first: float = BAN_S_FIRST, peers_max: int = PEERS_MAX) -> None:
        self._ban_s_first = ban_s_first
        self._peers_max = peers_max
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def add(self, peer_id: str, weight: float, now_s: float) -> bool:
        """Count a fault; True if it made the peer banned."""
        if weight <= 0:
            return False
        record = self._records.setdefault(peer_id, _Record(at_s=now_s))
        self._records.move_to_end(peer_id)
        record.score = _faded(record, now_s) + weight
        record.at_s = now_s
        while len(self._records) > self._peers_max:
            self._records.popitem(last=False)
        if record.score < BAN_SCORE or record.banned_until_s > now_s:
            return False
        record.score = 0.0
        record.banned_until_s = now_s + min(self._ban_s_first * 2**record.bans, BAN_S_MAX)
        record.bans = min(record.bans + 1, 32)
        return True

    def score(self, peer_id: str, now_s: float) -> float:
        record = self._records.get(peer_id)
        return _faded(record, now_s) if record else 0.0

    def ban_left_s(self, peer_id: str, now_s: float) -> float:
        """Seconds until the peer may come back; 0 if it is not banned."""
        record = self._records.get(peer_id)
        return max(0.0, record.banned_until_s - now_s) if record else 0.0

    def pardon(self, peer_id: str) -> None:
        """Forget everything held against a peer."""
        self._records.pop(peer_id, None)


def _faded(record: _Record, now_s: float) -> float:
    return max(0.0, record.score - (now_s - record.at_s) * FADE_PER_S)

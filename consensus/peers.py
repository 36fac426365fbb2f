"""What the engine remembers of its peers: claimed heights (never believed), and when they were last served. Bounded."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from genesis.primitives import Hash32, Height

PEERS_MAX: Final = 256
BLOCK_GAP_MS: Final = 250
BLOCKS_REMEMBERED_MAX: Final = 8
STUCK_MS: Final = 3_000
"""A node that stays one height behind a peer for so long was not helped by that peer's commit."""
TELL_GAP_MS: Final = 1_000


@dataclass(slots=True)
class _Peer:
    height: Height = Height(0)
    ahead_of: Height = Height(-1)
    """Our height when the peer was first seen to be ahead of it."""
    ahead_since_ms: int = 0
    told_ms: int = 0
    answered_ms: int = 0
    blocks: OrderedDict[Hash32, int] = field(default_factory=OrderedDict)


class PeerBook:
    """Least recently heard peers are forgotten first."""

    def __init__(self) -> None:
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._turn = 0

    def saw(self, peer: str, height: Height) -> None:
        """A peer claims to be at `height`."""
        self._peer(peer).height = height

    def is_out_of_reach(self, peer: str, ours: Height, now_ms: int) -> bool:
        """True (at most once a second) if block sync should help: two heights behind, or one for STUCK_MS."""
        record = self._peer(peer)
        if record.ahead_of != ours:
            record.ahead_of, record.ahead_since_ms = ours, now_ms
        far = record.height >= ours + 2 or now_ms - record.ahead_since_ms >= STUCK_MS
        if not far or record.height <= ours or abs(now_ms - record.told_ms) < TELL_GAP_MS:
            return False
        record.told_ms = now_ms
        return True

    def may_answer(self, peer: str, now_ms: int, gap_ms: int) -> bool:
        """True if the peer's RoundState may be answered with votes now: not more often than every `gap_ms`."""
        record = self._peer(peer)
        if abs(now_ms - record.answered_ms) < gap_ms:
            return False
        record.answered_ms = now_ms
        return True

    def may_send_block(self, peer: str, block_hash: Hash32, now_ms: int) -> bool:
        """True if the block was not sent to the peer just now."""
        blocks = self._peer(peer).blocks
        if abs(now_ms - blocks.get(block_hash, -BLOCK_GAP_MS)) < BLOCK_GAP_MS:
            return False
        blocks[block_hash] = now_ms
        if len(blocks) > BLOCKS_REMEMBERED_MAX:
            blocks.popitem(last=False)
        return True

    def next_source(self, height: Height) -> str | None:
        """A peer that may hold blocks of `height`, another one each time."""
        able = [name for name, record in self._peers.items() if record.height >= height]
        if not able:
            return None
        self._turn += 1
        return able[self._turn % len(able)]

    def _peer(self, peer: str) -> _Peer:
        record = self._peers.get(peer)
        if record is None:
            record = self._peers[peer] = _Peer()
            if len(self._peers) > PEERS_MAX:
                self._peers.popitem(last=False)
        self._peers.move_to_end(peer)
        return record

"""Bounded queues between peers and the one task that runs the rules. Pure bookkeeping: the engine does the waiting."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from genesis.primitives import Height

Action = Callable[[], None]

PER_PEER_MAX: Final = 256
FROM_PEERS_MAX: Final = 4096
HEAVY_PER_PEER_MAX: Final = 2
HEAVY_MAX: Final = 8
"""Blocks are heavy: a message is at most 64 KiB, a block 8 MiB."""
PEERS_MAX: Final = 256


class Inbox:
    """What waits to be processed: the node's own results first, then what peers sent, in order of arrival.

    A peer that sends faster than it is served loses what exceeds its share, nobody else's.
    """

    def __init__(self, wake: Action) -> None:
        self._wake = wake
        self._own: deque[Action] = deque()
        self._from_peers: deque[tuple[str, bool, Action]] = deque()
        self._light: Counter[str] = Counter()
        self._heavy: Counter[str] = Counter()
        self.dropped = 0
        """Messages of peers that were dropped, for metrics."""

    def put(self, action: Action) -> None:
        """Add a result of the node itself; these are few by construction and never dropped."""
        self._own.append(action)
        self._wake()

    def put_from(self, peer: str, action: Action, *, heavy: bool = False) -> bool:
        """Add what a peer sent; False if it was dropped."""
        shares, peer_max, all_max = (
            (self._heavy, HEAVY_PER_PEER_MAX, HEAVY_MAX) if heavy else (self._light, PER_PEER_MAX, FROM_PEERS_MAX)
        )
        if shares[peer] >= peer_max or shares.total() >= all_max:
            self.dropped += 1
            return False
        shares[peer] += 1
        self._from_peers.append((peer, heavy, action))
        self._wake()
        return True

    def pop(self) -> Action | None:
        """The next action; None if nothing waits."""
        if self._own:
            return self._own.popleft()
        if not self._from_peers:
            return None
        peer, heavy, action = self._from_peers.popleft()
        shares = self._heavy if heavy else self._light
        shares[peer] -= 1
        if not shares[peer]:
            del shares[peer]
        return action

    def drop_own(self) -> None:
        """Forget the node's own results: they belonged to a height that has ended."""
        self._own.clear()


class FutureBuffer:
    """What peers sent for the height after the current one, kept until it begins. Bounded per peer."""

    def __init__(self) -> None:
        self._height = Height(0)
        self._waiting: dict[str, list[Action]] = {}
        self._heavy: set[str] = set()

    def put(self, height: Height, peer: str, action: Action, *, heavy: bool = False) -> bool:
        """Keep an action for `height`; False if the peer has its share already."""
        if height != self._height:
            self._height, self._waiting, self._heavy = height, {}, set()
        if heavy and (peer in self._heavy or len(self._heavy) >= HEAVY_MAX):
            return False
        if peer not in self._waiting and len(self._waiting) >= PEERS_MAX:
            return False
        mine = self._waiting.setdefault(peer, [])
        if len(mine) >= PER_PEER_MAX:
            return False
        mine.append(action)
        if heavy:
            self._heavy.add(peer)
        return True

    def take(self, height: Height) -> list[Action]:
        """All that was kept for `height`; what was kept for another is dropped."""
        kept = [action for actions in self._waiting.values() for action in actions] if height == self._height else []
        self._waiting, self._heavy = {}, set()
        return kept

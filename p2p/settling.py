"""Which connections are kept: duplicates, limits and protection. No IO.

Two hosts that dial each other at once end up with two connections. Both keep the same one, by rules that need no talk:
1. A host that was started anew (another instance in its hello) wins over the connection to its former self.
2. Of two connections in different directions, the one dialed by the smaller PeerId is kept.
3. Of two in the same direction, the newer is kept: the dialer would not have dialed if it still had the older.

Places: up to `peers_high` anybody; up to `peers_max` protected and known peers; beyond, a protected or known peer takes the
place of the one that is neither and has the worst score.
"""

from collections.abc import Callable

from p2p.config import Limits
from p2p.faults import NotKept
from p2p.info import Direction
from p2p.peer import Peer


class PeerTable:
    """The settled peers, at most one connection each."""

    def __init__(self, own_peer_id: str, limits: Limits, score: Callable[[str], float]) -> None:
        """`score(peer_id)` tells who is trimmed first."""
        self.peers: dict[str, Peer] = {}
        self.protected: set[str] = set()
        self.known: set[str] = set()
        self._own_peer_id = own_peer_id
        self._limits = limits
        self._score = score

    def check(self, peer_id: str, direction: Direction, instance: bytes) -> None:
        """Raises NotKept if a connection would not be kept. Changes nothing."""
        if peer_id == self._own_peer_id:
            raise NotKept("this is my own PeerId: a loop in the addresses, or two nodes with one key")
        old = self.peers.get(peer_id)
        if old is not None:
            if not self._replaces(peer_id, direction, instance, old):
                raise NotKept("already connected")
        elif not self._place(peer_id)[0]:
            raise NotKept("no place left for more peers")

    def settle(self, peer: Peer) -> Peer | None:
        """Give a peer its place; returns the one that must make way, if any. Raises NotKept like `check`."""
        self.check(peer.peer_id, peer.connection.direction, peer.greeting.instance)
        old = self.peers.get(peer.peer_id)
        if old is None:
            old = self._place(peer.peer_id)[1]
        if old is not None:
            del self.peers[old.peer_id]
        self.peers[peer.peer_id] = peer
        return old

    def remove(self, peer: Peer) -> bool:
        """Take a peer out; True if it (and not a later connection of the same peer) held the place."""
        if self.peers.get(peer.peer_id) is not peer:
            return False
        del self.peers[peer.peer_id]
        return True

    def _replaces(self, peer_id: str, direction: Direction, instance: bytes, old: Peer) -> bool:
        if instance != old.greeting.instance:
            return True
        if direction == old.connection.direction:
            return True
        dialer = self._own_peer_id if direction == "outbound" else peer_id
        return dialer == min(self._own_peer_id, peer_id)

    def _place(self, peer_id: str) -> tuple[bool, Peer | None]:
        """Whether there is a place for a new peer, and who must go for it, if anybody."""
        if not self._is_wanted(peer_id):
            return len(self.peers) < self._limits.peers_high, None
        if len(self.peers) < self._limits.peers_max:
            return True, None
        others = [other for other in self.peers if not self._is_wanted(other)]
        return (True, self.peers[max(others, key=self._score)]) if others else (False, None)

    def _is_wanted(self, peer_id: str) -> bool:
        return peer_id in self.protected or peer_id in self.known

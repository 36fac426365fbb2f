"""Trie nodes kept in memory from one block to the next, so that a block reads few of them from the store.

A node is named by its hash, so what is cached is right for every state, also if the block that made it never becomes final.
Every block opens the upper levels of the state trie. With a million accounts these are five, some 70,000 branches: they fit.
Leaves are not worth a place: `trie.update` knows them by the values that they hold.
"""

from typing import Final

from genesis.limits import MIB
from genesis.primitives import Hash32

NODE_CACHE_BYTES: Final = 64 * MIB
"""Memory of all that is kept; each node takes its bytes and `_NODE_OVERHEAD_BYTES`."""
_NODE_OVERHEAD_BYTES: Final = 200
_BRANCH_END: Final = 0x80
"""A branch ends in its value, which is empty. (So may another node end, by chance: then it is kept, too.)"""


class NodeCache:
    """The nodes used lately, in two generations: a full young one becomes the old one, which is then forgotten.

    Safe to use from several threads: every step is one operation on a dictionary, and a race costs a place, never a wrong node.
    """

    def __init__(self, bytes_max: int = NODE_CACHE_BYTES) -> None:
        self._generation_bytes: Final = bytes_max // 2
        self._young: dict[Hash32, bytes] = {}
        self._old: dict[Hash32, bytes] = {}
        self._young_bytes = 0

    def get(self, node_hash: Hash32) -> bytes | None:
        node = self._young.get(node_hash)
        if node is None:
            node = self._old.get(node_hash)
            if node is not None:
                self.put(node_hash, node)
        return node

    def put(self, node_hash: Hash32, node: bytes) -> None:
        """Keep a branch; leaves are let go."""
        if node[-1] != _BRANCH_END:
            return
        self._young[node_hash] = node
        self._young_bytes += len(node) + _NODE_OVERHEAD_BYTES
        if self._young_bytes > self._generation_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

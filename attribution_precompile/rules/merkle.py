"""Merkle trees as OpenZeppelin's `StandardMerkleTree` builds them, so that attestors and contributors can use it.

A leaf is keccak(keccak(abi.encode(…))), a node keccak of its two children in ascending order. Leaves are hashed twice, so that
no inner node passes for one.
"""

from collections.abc import Sequence
from typing import Final

from genesis.primitives import Hash32, abi_words, keccak256

DEPTH_MAX: Final = 64


def leaf_of(*words: int | bytes) -> Hash32:
    """The leaf for a tuple of static values."""
    return keccak256(keccak256(abi_words(*words)))


def root_from(leaf: Hash32, proof: Sequence[Hash32]) -> Hash32:
    """The root that a proof leads to from a leaf."""
    node = leaf
    for sibling in proof:
        node = keccak256(min(node, sibling) + max(node, sibling))
    return node


def tree(leaves: Sequence[Hash32]) -> tuple[Hash32, list[list[Hash32]]]:
    """The root over one or more leaves, and the proof of each. For tools and tests; the contract only checks."""
    if not leaves:
        raise ValueError("a tree needs a leaf")
    level, places = list(leaves), list(range(len(leaves)))
    proofs: list[list[Hash32]] = [[] for _ in leaves]
    while len(level) > 1:
        for leaf, place in enumerate(places):
            sibling = place ^ 1
            if sibling < len(level):
                proofs[leaf].append(level[sibling])
        level = [root_from(level[i], level[i + 1 : i + 2]) for i in range(0, len(level), 2)]
        places = [place // 2 for place in places]
    return level[0], proofs

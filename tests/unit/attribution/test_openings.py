"""Merkle proofs and the opening of committed windows, with trees built here, word for word from OpenZeppelin's definition.

Each refusal is told from the others by its words: a wrong place in the tree, a wrong text, and a text that is no window.
"""

import pytest
import sha3

from attribution_precompile.methods.hearings import OPENING_BYTES_MAX
from attribution_precompile.rules.merkle import DEPTH_MAX, leaf_of, root_from, tree
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from genesis.chain_spec import AttributionParams
from genesis.primitives import Hash32
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, USER, World, words

BOND = AttributionParams().dispute_bond
K = 16
TEXT = words(0, 19)
NOT_IN_TREE = "the opening is not in the tree of the content root"
NOT_THE_WINDOW = "the opening is not of the window whose id was given"


def keccak(data: bytes) -> Hash32:
    return Hash32(sha3.keccak_256(data).digest())


def leaf(window: int, opening: bytes) -> Hash32:
    """keccak(keccak(abi.encode(uint256 window, bytes32 keccak(opening))))."""
    return keccak(keccak(window.to_bytes(32, "big") + keccak(opening)))


def node(one: Hash32, other: Hash32) -> Hash32:
    return keccak(min(one, other) + max(one, other))


class Four:
    """A tree over four openings, drawn by hand: proofs[i] leads from leaf i to the root."""

    def __init__(self, openings: list[bytes]) -> None:
        a, b, c, e = (leaf(window, opening) for window, opening in enumerate(openings))
        left, right = node(a, b), node(c, e)
        self.root = node(left, right)
        self.proofs = [[b, right], [a, right], [e, left], [c, left]]


def opening(window: int, salt: int = 7) -> bytes:
    return bytes([salt, window]) * 16 + " ".join(TEXT.split()[window : window + K]).encode()


OPENED = [opening(window) for window in range(4)]
TREE = Four(OPENED)
IDS = tokenize(TEXT.encode(), WORDS_V1).window_ids(K)


def hidden(root: Hash32 = TREE.root, tokens: int = 19, ids: bytes = IDS) -> World:
    """A commit-only contribution of Alice; dispute 1 asks for window 2 of it (or for its last)."""
    world = World()
    world.datanet(commit_only=True, min_span=K)
    world.contributeCommitted(1, root, tokens, ids, ALICE, bytes(32), sender=ALICE)
    world.challengeCommitted(1, min(2, tokens - K), sender=USER, value=BOND)
    return world


def reveal(world: World, opened: bytes, proof: list[Hash32]) -> None:
    world.reveal(1, opened, proof, sender=ALICE)


def test_the_right_opening_with_its_proof_is_taken() -> None:
    world = hidden()
    reveal(world, OPENED[2], TREE.proofs[2])
    assert world.balance(ALICE) == BOND


@pytest.mark.parametrize(
    ("opened", "proof"),
    [
        (opening(2, salt=8), TREE.proofs[2]),
        (OPENED[2], TREE.proofs[3]),
        (OPENED[2], []),
        (OPENED[2], [TREE.proofs[2][0]]),
        (OPENED[2], [TREE.proofs[2][0], Hash32(bytes(32))]),
        (OPENED[2] + b" ", TREE.proofs[2]),
    ],
    ids=["another salt", "another leaf's proof", "no proof", "half a proof", "a wrong sibling", "a byte more"],
)
def test_the_right_text_outside_of_the_tree_is_refused(opened: bytes, proof: list[Hash32]) -> None:
    world = hidden()
    refused(world, "BadProof", lambda: reveal(world, opened, proof), NOT_IN_TREE)
    assert world.getDispute(1)[1] == 0, "and the dispute is open as before"


def test_a_leaf_counts_only_at_the_window_that_it_names() -> None:
    """Window 2's text under window 1's number is in the tree, but not where it is asked for."""
    swapped = Four([OPENED[0], OPENED[2], OPENED[1], OPENED[3]])
    world = hidden(swapped.root)
    refused(world, "BadProof", lambda: reveal(world, OPENED[2], swapped.proofs[1]), NOT_IN_TREE)
    refused(world, "BadProof", lambda: reveal(world, OPENED[1], swapped.proofs[2]), NOT_THE_WINDOW)


@pytest.mark.parametrize("count", [K - 1, K + 1])
def test_an_opening_in_the_tree_that_is_no_window_is_refused(count: int) -> None:
    opened = bytes(32) + words(0, count).encode()
    world = hidden(leaf(0, opened), K, IDS[:16])
    refused(world, "BadProof", lambda: reveal(world, opened, []), f"a window has {K} tokens, the opening {count}")


def test_an_opening_in_the_tree_that_is_no_text_is_refused() -> None:
    opened = bytes(32) + b"\xff\xfe"
    world = hidden(leaf(0, opened), K, IDS[:16])
    refused(world, "InvalidContent", lambda: reveal(world, opened, []))


def test_what_is_too_long_is_refused_before_it_is_hashed() -> None:
    world = hidden()
    reveal_of = [
        (OPENED[2], [Hash32(bytes(32))] * (DEPTH_MAX + 1)),
        (bytes(OPENING_BYTES_MAX + 1), TREE.proofs[2]),
    ]
    for opened, proof in reveal_of:
        refused(world, "TooLong", lambda opened=opened, proof=proof: reveal(world, opened, proof))  # type: ignore[misc]
    refused(world, "BadProof", lambda: reveal(world, OPENED[2], [Hash32(bytes(32))] * DEPTH_MAX), NOT_IN_TREE)
    refused(world, "BadProof", lambda: reveal(world, bytes(OPENING_BYTES_MAX), TREE.proofs[2]), NOT_IN_TREE)


def test_the_tree_is_openzeppelins() -> None:
    """The example of OpenZeppelin's merkle-tree package: two addresses with amounts."""
    leaves = [leaf_of(int("11" * 20, 16), 5 * 10**18), leaf_of(int("22" * 20, 16), 25 * 10**17)]
    root, proofs = tree(leaves)
    assert root.hex() == "d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"
    assert proofs[0] == [bytes.fromhex("b92c48e9d7abe27fd8dfd6b5dfdbfb1c9a463f80c712b66f3a5180a090cccafc")]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9])
def test_trees_and_proofs_are_what_the_definition_gives(count: int) -> None:
    made = [keccak(bytes([place])) for place in range(count)]
    root, proofs = tree(made)
    level = made
    while len(level) > 1:
        level = [node(*level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
    assert root == level[0]
    for place, proof in enumerate(proofs):
        walked = made[place]
        for sibling in proof:
            walked = node(walked, sibling)
        assert walked == root == root_from(made[place], proof)
        assert root_from(keccak(b"other"), proof) != root


def test_a_tree_needs_a_leaf() -> None:
    with pytest.raises(ValueError, match="a tree needs a leaf"):
        tree([])

"""Commit and reveal: the place in the order is the one of the commitment, whatever was shown and indexed in between."""

import pytest

from genesis.chain_spec import AttributionParams
from genesis.primitives import Address, keccak256
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, ZERO32, World, params, words

SALT = b"\x07" * 32
EXPIRY = 24 * 3_600


def root_of(*pieces: bytes) -> bytes:
    root = ZERO32
    for piece in pieces:
        root = keccak256(root + keccak256(piece))
    return root


def promise(
    who: Address, datanet: int, pieces: list[bytes], payout: Address | None = None, salt: bytes = SALT
) -> bytes:
    """keccak256(abi.encode(sender, salt, datanetId, contentRoot, payout)), written out by hand."""
    pad = bytes(12)
    return keccak256(pad + who + salt + datanet.to_bytes(32, "big") + root_of(*pieces) + pad + (payout or who))


@pytest.fixture
def world() -> World:
    world = World()
    world.datanet()
    return world


def scores(world: World, text: str, version: int = 1) -> dict[int, int]:
    model = world.model([(1, version, 0, 10_000)])
    return dict(world.trace(model, text.encode())[0])


def reveal(world: World, who: Address, content: bytes, salt: bytes = SALT) -> int:
    return int(world.contribute(1, content, ZERO32, who, salt, sender=who))


def test_a_front_runner_gets_nothing(world: World) -> None:
    text = words(0, 30)
    world.commit(promise(ALICE, 1, [text.encode()]), sender=ALICE)
    assert world.events("Committed")[0]["sender"] == "0x" + ALICE.hex()
    world.chain.next_block()
    thief = world.give(1, BOB, text)
    author = reveal(world, ALICE, text.encode())
    world.accept(thief)
    world.accept(author)
    assert (world.getContribution(thief)[5], world.getContribution(author)[5]) == (0, 23)
    world.publish(1)
    assert scores(world, text) == {author: 30}


def test_content_in_pieces_stands_where_its_root_was_committed(world: World) -> None:
    pieces = [words(0, 20).encode(), words(13, 20).encode(), words(26, 20).encode()]
    commitment = promise(ALICE, 1, pieces)
    world.commit(commitment, sender=ALICE)
    world.chain.next_block()
    author = reveal(world, ALICE, pieces[0])
    world.chain.next_block()
    thieves = [world.give(1, BOB, pieces[0]), world.give(1, CAROL, words(0, 46))]
    world.appendContent(author, pieces[1], sender=ALICE)
    refused(world, "UnknownCommitment", lambda: world.finalizeContent(author, sender=ALICE))
    for act in (lambda: world.review(author, True, 1), lambda: world.setPayout(author, BOB, sender=ALICE)):
        refused(world, "NotRevealed", act, author)
    for thief in thieves:
        world.accept(thief)
    world.publish(1)
    world.appendContent(author, pieces[2], sender=ALICE)
    world.finalizeContent(author, sender=ALICE)
    assert world.events("Completed")[0]["contentRoot"] == root_of(*pieces)
    refused(world, "Complete", lambda: world.appendContent(author, pieces[0], sender=ALICE), author)
    world.accept(author)
    assert world.getContribution(author)[5] == 39
    world.publish(1)
    text = words(0, 46)
    copied = {thieves[1]: 33, thieves[0]: 13}
    assert scores(world, text, 1) == copied, "published before the author was accepted"
    assert scores(world, text, 2) == {author: 46}
    world.contract.index = world.fresh_index()
    assert scores(world, text, 2) == {author: 46} and scores(world, text, 1) == copied


@pytest.mark.parametrize("warm", [False, True])
def test_an_index_that_read_later_content_first_counts_the_same(world: World, warm: bool) -> None:
    """Holders of a window stay in the order of the chain, not in that of reading."""
    text = words(0, 20)
    early, later = (promise(who, 1, [text.encode()]) for who in (ALICE, BOB))
    world.commit(early, sender=ALICE)
    world.commit(later, sender=BOB)
    world.chain.next_block()
    contributions = []
    for who in (CAROL, BOB, ALICE):
        contributions.append(world.give(1, who, text) if who == CAROL else reveal(world, who, text.encode()))
        world.chain.next_block()
        if warm:
            world.contract.index.warm(world.chain.finals.tip(), 1)
    for contribution in contributions:
        world.review(contribution, True, 10_000)
    assert [world.getContribution(c)[5] for c in contributions] == [0, 0, 13]
    world.publish(1)
    assert scores(world, text) == {contributions[2]: 20}


def test_a_copied_piece_of_what_is_held_keeps_no_weight_after_a_recount(world: World) -> None:
    """Pieces of held content lie in calldata: a copy was counted before the promise was found, and never again."""
    pieces = [words(0, 27).encode(), words(20, 27).encode(), words(40, 27).encode()]
    world.commit(promise(ALICE, 1, pieces), sender=ALICE)
    world.chain.next_block()
    author = reveal(world, ALICE, pieces[0])
    world.chain.next_block()
    thief = world.give(1, BOB, pieces[0])
    world.accept(thief)
    for piece in pieces[1:]:
        world.appendContent(author, piece, sender=ALICE)
    world.finalizeContent(author, sender=ALICE)
    world.accept(author)
    world.publish(1)
    model = world.model([(1, 1, 0, 10_000)], output_price=10**18)

    def from_pool() -> list[int]:
        before = [world.balance(who) for who in (ALICE, BOB)]
        world.run(model, words(900, 30), 10**18)
        world.claimPool([author, thief])
        return [world.balance(who) - old for who, old in zip((ALICE, BOB), before, strict=True)]

    assert (world.getContribution(author)[5], world.getContribution(thief)[5]) == (60, 20)
    honest, stolen = from_pool()
    assert stolen > 0 and honest == pytest.approx(3 * stolen, abs=2), "a quarter of the pool"
    assert world.recount(thief, sender=CAROL) == 0
    assert world.events("Recounted")[0]["ownedWindows"] == 0
    assert from_pool()[1] == pytest.approx(stolen, abs=1), "as published, until the next version"
    world.publish(1)
    world.setUses(model, [(1, 2, 0, 10_000)], sender=DEV)
    assert from_pool()[1] <= 1, "but for what rounding had left to pay"
    refused(world, "UnknownContribution", lambda: world.recount(9))


def test_a_review_counts_what_earlier_blocks_show_also_on_an_old_state(world: World) -> None:
    """Content revealed later, with an earlier number, changes no review of before: not even when a block is run again."""
    text = words(0, 20)
    world.commit(promise(ALICE, 1, [text.encode()]), sender=ALICE)
    thief = world.give(1, BOB, text)
    world.chain.next_block()
    go_back = world.chain.checkpoint()
    reveal(world, ALICE, text.encode())
    world.review(thief, True, 1)
    assert world.getContribution(thief)[5] == 13, "in the block of the reveal"
    world.chain.next_block()
    while world.contract.index.warm(world.chain.finals.tip(), 1):
        pass
    go_back()
    world.review(thief, True, 1)
    assert world.getContribution(thief)[5] == 13


def test_a_reveal_in_the_block_of_the_commitment_hides_nothing_and_is_refused(world: World) -> None:
    content = words(0, 20).encode()
    world.commit(promise(ALICE, 1, [content]), sender=ALICE)
    refused(world, "CommitmentTooNew", lambda: reveal(world, ALICE, content))


def test_a_commitment_expires_and_can_then_be_made_again(world: World) -> None:
    content = words(0, 20).encode()
    commitment = promise(ALICE, 1, [content])
    world.commit(commitment, sender=ALICE)
    refused(world, "CommitmentExists", lambda: world.commit(commitment, sender=ALICE))
    world.chain.next_block(EXPIRY)
    refused(world, "CommitmentExists", lambda: world.commit(commitment, sender=ALICE))
    world.chain.next_block(1)
    refused(world, "CommitmentExpired", lambda: reveal(world, ALICE, content))
    first = world.give(1, BOB, content)
    world.commit(commitment, sender=ALICE)
    world.chain.next_block(EXPIRY)
    second = reveal(world, ALICE, content)
    world.accept(first)
    world.accept(second)
    assert (world.getContribution(first)[5], world.getContribution(second)[5]) == (13, 0), "the place is the new one"


def test_a_commitment_is_its_senders_and_used_once(world: World) -> None:
    content = words(0, 20).encode()
    world.commit(promise(ALICE, 1, [content]), sender=BOB)  # somebody else's hash gives nobody anything
    world.commit(promise(ALICE, 1, [content]), sender=ALICE)
    world.chain.next_block()
    stolen = reveal(world, BOB, content)  # not found: waits for more content
    refused(world, "UnknownCommitment", lambda: world.finalizeContent(stolen, sender=BOB))
    reveal(world, ALICE, content)
    again = reveal(world, ALICE, content)
    refused(world, "UnknownCommitment", lambda: world.finalizeContent(again, sender=ALICE))


def test_what_is_never_found_lapses_and_gives_its_bond_back(world: World) -> None:
    world.setDatanet(1, params(bond_per_kib=5, review_seconds=0))
    lost = int(world.contribute(1, words(0, 20).encode(), ZERO32, ALICE, SALT, sender=ALICE, value=5))
    refused(world, "BondLocked", lambda: world.withdrawBond(lost, sender=ALICE))
    world.chain.next_block(EXPIRY)
    refused(world, "DeadlinePassed", lambda: world.finalizeContent(lost, sender=ALICE))
    refused(world, "NotRevealed", lambda: world.review(lost, True, 1))
    refused(world, "BondLocked", lambda: world.withdrawBond(lost, sender=ALICE))
    world.chain.next_block(AttributionParams().bond_seconds)
    assert world.withdrawBond(lost, sender=ALICE) == 5
    world.publish(1)
    assert scores(world, words(0, 20)) == {}

"""Disputes about contributions: who came first, what was committed, whose it is; decided, by default or in time."""

import random

import pytest

from attribution_precompile.rules.merkle import leaf_of, tree
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from genesis.chain_spec import AttributionParams
from genesis.primitives import Hash32, keccak256
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, COUNCIL, USER, World, words

PARAMS = AttributionParams()
BOND = PARAMS.dispute_bond
LONG = words(0, 120)
EVIDENCE = b"\x0e" * 32


def scores(world: World, text: str, datanet: int, version: int = 1) -> dict[int, int]:
    model = world.model([(datanet, version, 0, 10_000)])
    return dict(world.trace(model, text.encode())[0])


@pytest.fixture
def copied() -> World:
    """Alice's text, rejected by datanet 1's owner, who then lets Bob's copy into datanet 2, with a bond of 3 wei a KiB."""
    world = World()
    world.datanet()
    world.give(1, ALICE, LONG)
    world.chain.next_block()
    world.review(1, False, 0)
    world.datanet(bond_per_kib=3)
    world.contribute(2, f"intro one two {LONG}".encode(), EVIDENCE, BOB, bytes(32), sender=BOB, value=3)
    world.accept(2)
    world.publish(2)
    return world


# ---------------------------------------------------------------- commit-only


def openings(text: str, k: int = 16, seed: int = 1) -> tuple[list[bytes], bytes, Hash32, list[list[Hash32]]]:
    """(opening of each window, window ids, content root, proofs)."""
    rng = random.Random(seed)
    tokens = text.split()
    opened = [rng.randbytes(32) + " ".join(tokens[i : i + k]).encode() for i in range(len(tokens) - k + 1)]
    root, proofs = tree([leaf_of(i, keccak256(opening)) for i, opening in enumerate(opened)])
    return opened, tokenize(text.encode(), WORDS_V1).window_ids(k), root, proofs


OPENED, IDS, ROOT, PROOFS = openings(words(0, 40))


@pytest.fixture
def hidden() -> World:
    """Contribution 1 in a commit-only datanet: 40 tokens of Alice that nobody sees, in version 1."""
    world = World()
    world.datanet(commit_only=True, min_span=16, bond_per_kib=7)
    world.contributeCommitted(1, ROOT, 40, IDS, ALICE, bytes(32), sender=ALICE, value=7)
    world.accept(1)
    world.publish(1)
    return world


def ask(world: World, window: int, value: int = BOND) -> int:
    return int(world.challengeCommitted(1, window, sender=USER, value=value))


def test_committed_windows_are_attributed_like_any_other(hidden: World) -> None:
    assert hidden.getContribution(1)[4:6] == (40, 25) and hidden.getDatanet(1)[1][4] is True
    assert scores(hidden, f"{words(3, 30)} and more", 1) == {1: 30}
    later = hidden.contributeCommitted(1, ROOT, 40, IDS, BOB, bytes(32), sender=BOB, value=7)
    hidden.accept(later)
    assert hidden.getContribution(later)[5] == 0, "a copy of the ids owns nothing"


def test_opening_the_window_earns_the_challengers_bond(hidden: World) -> None:
    world = hidden
    dispute = ask(world, 11, BOND + 3)
    assert world.balance(USER) == 3
    refused(world, "BondLocked", lambda: world.withdrawBond(1, sender=ALICE))
    refused(world, "NotAllowed", lambda: world.reveal(dispute, OPENED[11], PROOFS[11], sender=USER))
    refused(world, "BadProof", lambda: world.reveal(dispute, OPENED[12], PROOFS[12], sender=ALICE))
    refused(world, "DisputeOpen", lambda: world.resolve(dispute, True, sender=COUNCIL))
    world.reveal(dispute, OPENED[11], PROOFS[11], sender=ALICE)
    assert world.balance(ALICE) == BOND and world.getDispute(dispute)[1] == 2
    refused(world, "DisputeClosed", lambda: world.reveal(dispute, OPENED[11], PROOFS[11], sender=ALICE))
    refused(world, "BondLocked", lambda: world.withdrawBond(1, sender=ALICE))
    world.chain.next_block(PARAMS.bond_seconds)
    assert world.withdrawBond(1, sender=ALICE) == 7
    assert scores(world, words(3, 30), 1) == {1: 30}


def test_what_is_not_opened_in_time_is_dead(hidden: World) -> None:
    world = hidden
    dispute = ask(world, 0)
    refused(world, "DisputeOpen", lambda: world.resolve(dispute, True, sender=USER))
    world.chain.next_block(PARAMS.reveal_seconds + 1)
    refused(world, "DisputeOver", lambda: world.reveal(dispute, OPENED[0], PROOFS[0], sender=ALICE))
    refused(world, "InvalidParameter", lambda: world.resolve(dispute, False, sender=ALICE))
    world.resolve(dispute, True, sender=CAROL)
    assert world.balance(USER) == BOND + 7 and world.getContribution(1)[7] == 5
    world.chain.next_block()
    assert scores(world, words(3, 30), 1) == {}
    refused(world, "WrongStatus", lambda: ask(world, 1))


def test_invented_ids_cannot_be_opened() -> None:
    """The root is over real openings, the ids are not of them; or over openings that are no windows."""
    world = World()
    world.datanet(commit_only=True, min_span=16)
    invented = random.Random(9).randbytes(16 * 25)
    world.contributeCommitted(1, ROOT, 40, invented, ALICE, bytes(32), sender=ALICE)
    dispute = ask(world, 5)
    refused(world, "BadProof", lambda: world.reveal(dispute, OPENED[5], PROOFS[5], sender=ALICE))
    short = bytes(32) + words(0, 15).encode()
    world.contributeCommitted(1, leaf_of(0, keccak256(short)), 16, IDS[:16], ALICE, bytes(32), sender=ALICE)
    second = world.challengeCommitted(2, 0, sender=USER, value=BOND)
    refused(world, "BadProof", lambda: world.reveal(second, short, [], sender=ALICE))


def test_challenges_are_capped_so_that_nobody_is_made_to_show_the_text(hidden: World) -> None:
    for i in range(PARAMS.openings_max):
        hidden.reveal(ask(hidden, i), OPENED[i], PROOFS[i], sender=ALICE)
    refused(hidden, "TooLong", lambda: ask(hidden, 20))
    assert hidden.balance(ALICE) == PARAMS.openings_max * BOND


def test_what_commit_only_needs(hidden: World) -> None:
    world = hidden
    plain = world.datanet()
    give = world.contributeCommitted
    cases = [
        ("CommitOnly", lambda: give(plain, ROOT, 40, IDS, ALICE, bytes(32), sender=ALICE)),
        ("CommitOnly", lambda: world.give(1, ALICE, words(0, 40))),
        ("InvalidParameter", lambda: give(1, ROOT, 40, IDS[:-1], ALICE, bytes(32), sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, ROOT, 41, IDS, ALICE, bytes(32), sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, ROOT, 15, b"", ALICE, bytes(32), sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, bytes(32), 40, IDS, ALICE, bytes(32), sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, ROOT, 40, IDS, bytes(20), bytes(32), sender=ALICE, value=7)),
        ("TooLong", lambda: give(1, ROOT, 1_552, bytes(16 * 1_537), ALICE, bytes(32), sender=ALICE, value=10**6)),
        ("BondTooLow", lambda: give(1, ROOT, 40, IDS, ALICE, bytes(32), sender=ALICE)),
        ("InvalidParameter", lambda: ask(world, 25)),
        ("BondTooLow", lambda: ask(world, 1, BOND - 1)),
    ]
    for name, act in cases:
        refused(world, name, act)
    later = give(1, ROOT, 40, IDS, BOB, bytes(32), sender=BOB, value=7)
    refused(world, "Complete", lambda: world.appendContent(later, words(0, 20).encode(), sender=BOB, value=7))
    world.give(plain, ALICE, words(0, 40))
    refused(world, "CommitOnly", lambda: world.challengeCommitted(3, 0, sender=USER, value=BOND))


def test_the_index_takes_the_ids_also_after_a_restart(hidden: World) -> None:
    hidden.contract.index = hidden.fresh_index()
    assert scores(hidden, words(3, 30), 1) == {1: 30}
    hidden.erase(1, sender=ALICE)
    hidden.chain.next_block()
    assert scores(hidden, words(3, 30), 1) == {}


# ---------------------------------------------------------------- judgement


@pytest.mark.parametrize("upheld", [True, False])
def test_the_council_judges_what_the_contract_cannot(copied: World, upheld: bool) -> None:
    world = copied
    dispute = world.disputeContribution(2, EVIDENCE, sender=CAROL, value=BOND)
    assert world.getDispute(dispute)[7] == EVIDENCE
    refused(world, "BondLocked", lambda: world.withdrawBond(2, sender=BOB))
    world.resolve(dispute, upheld, sender=COUNCIL)
    assert (world.balance(CAROL), world.balance(BOB)) == ((BOND + 3, 0) if upheld else (0, BOND))
    assert world.getContribution(2)[7] == (5 if upheld else 1)


def test_erasing_what_is_disputed_saves_no_bond(copied: World) -> None:
    world = copied
    dispute = world.disputeContribution(2, EVIDENCE, sender=CAROL, value=BOND)
    world.erase(2, sender=BOB)
    world.resolve(dispute, True, sender=COUNCIL)
    assert world.balance(CAROL) == BOND + 3 and world.getContribution(2)[7] == 4


def test_without_a_judgement_in_time_a_dispute_is_dismissed(copied: World) -> None:
    world = copied
    dispute = world.disputeContribution(2, EVIDENCE, sender=CAROL, value=BOND)
    world.chain.next_block(PARAMS.resolve_seconds)
    refused(world, "NotAllowed", lambda: world.resolve(dispute, False, sender=USER))
    world.chain.next_block(1)
    world.resolve(dispute, False, sender=USER)
    assert world.balance(BOB) == BOND

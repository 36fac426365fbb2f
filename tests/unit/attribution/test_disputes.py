"""Disputes about contributions: who came first, what was committed, whose it is; decided, by default or in time."""

import random

import pytest

from attribution_precompile.merkle import leaf_of, tree
from attribution_precompile.tokens import WORDS_V1, tokenize
from evm_runtime.native import PlainSlots
from genesis.chain_spec import AttributionParams
from genesis.primitives import Hash32, keccak256
from tests.unit.attribution.redacting import drop
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, COUNCIL, USER, World, words

PARAMS = AttributionParams()
BOND = PARAMS.dispute_bond
LONG = words(0, 120)
EVIDENCE = b"\x0e" * 32


def scores(world: World, text: str, datanet: int, version: int = 1) -> dict[int, int]:
    model = world.model([(datanet, version, 0, 10_000)])
    return dict(world.trace(model, text.encode())[0])


# ---------------------------------------------------------------- priority


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


def challenge(world: World, *places: int, sender: bytes = ALICE) -> int:
    return int(world.challengePriority(*places, sender=sender))


def test_an_earlier_contribution_of_any_status_kills_its_copy_anywhere(copied: World) -> None:
    world = copied
    assert scores(world, LONG, 2) == {2: 120}
    dispute = challenge(world, 2, 0, 3, 1, 0, 0)
    assert world.events("Slashed")[0]["reason"] == 3 and world.events("Resolved")[0]["upheld"]
    assert world.balance(ALICE) == 3, "the copier's bond"
    assert world.getContribution(2)[7] == 5 and world.getDispute(dispute)[:2] == (3, 1)
    world.chain.next_block()
    assert scores(world, LONG, 2) == {}
    world.publish(2)
    assert scores(world, LONG, 2, 2) == {}
    refused(world, "WrongStatus", lambda: challenge(world, 2, 0, 3, 1, 0, 0))
    refused(world, "WrongStatus", lambda: world.review(2, True, 1))


def test_a_dead_copy_has_no_weight_and_a_pending_one_never_enters(copied: World) -> None:
    world = copied
    world.contribute(2, words(500, 20).encode(), EVIDENCE, CAROL, bytes(32), sender=CAROL, value=3)
    world.accept(3)
    world.publish(2)
    model = world.model([(2, 2, 0, 10_000)], output_price=10**18)
    challenge(world, 2, 0, 3, 1, 0, 0)
    world.chain.next_block()
    world.run(model, words(0, 40), 10**18)
    world.claimPool([2, 3])
    assert world.balance(BOB) == 0 and world.balance(CAROL) > 0
    pending = world.give(1, BOB, LONG)
    challenge(world, pending, 1, 0, 1, 0, 0)
    refused(world, "WrongStatus", lambda: world.review(pending, True, 1))


def test_the_order_of_the_chain_decides_and_not_that_of_calling() -> None:
    world = World()
    world.datanet()
    world.accept(world.give(1, ALICE, LONG))
    world.accept(world.give(1, BOB, LONG))
    refused(world, "NotDecidable", lambda: challenge(world, 1, 0, 0, 2, 1, 0, sender=BOB))
    challenge(world, 2, 1, 0, 1, 0, 0)


def test_committed_content_stands_where_its_commitment_does() -> None:
    from tests.unit.attribution.test_commit import SALT, promise

    world, text = World(), words(0, 100).encode()
    world.datanet()
    world.commit(promise(ALICE, 1, [text]), sender=ALICE)
    world.chain.next_block()
    thief = world.give(1, BOB, text)
    author = world.contribute(1, text, EVIDENCE, ALICE, SALT, sender=ALICE)
    world.chain.next_block()
    refused(world, "NotDecidable", lambda: challenge(world, author, 1, 0, thief, 0, 0, sender=BOB))
    challenge(world, thief, 0, 0, author, 1, 0)


def test_what_a_priority_challenge_must_show(copied: World) -> None:
    world = copied
    cases = [
        ("NotAllowed", (2, 0, 3, 1, 0, 0), CAROL),
        ("NotAllowed", (2, 0, 3, 1, 0, 0), BOB),
        ("NotDecidable", (2, 0, 2, 1, 0, 0), ALICE),
        ("NotDecidable", (2, 0, 3, 1, 0, 1), ALICE),
        ("NotDecidable", (2, 0, 53, 1, 0, 50), ALICE),
        ("NotDecidable", (2, 0, 2**32 - 1, 1, 0, 0), ALICE),
        ("InvalidParameter", (2, 1, 3, 1, 0, 0), ALICE),
        ("InvalidParameter", (2, 0, 3, 1, 9, 0), ALICE),
        ("UnknownContribution", (2, 0, 3, 9, 0, 0), ALICE),
        ("WrongStatus", (1, 0, 0, 1, 0, 0), ALICE),
    ]
    for name, places, who in cases:
        refused(world, name, lambda places=places, who=who: challenge(world, *places, sender=who))  # type: ignore[misc]
    challenge(world, 2, 0, 52, 1, 0, 49)


def test_a_short_passage_is_no_copy_and_a_short_contribution_is_compared_whole() -> None:
    world = World()
    world.datanet()
    world.give(1, ALICE, words(0, 40))
    world.give(1, BOB, words(0, 40) + " " + words(900, 60))
    world.give(1, BOB, words(5, 20))
    world.give(1, ALICE, words(5, 20))
    refused(world, "NotDecidable", lambda: challenge(world, 2, 1, 0, 1, 0, 0))
    challenge(world, 3, 2, 0, 1, 0, 5)
    refused(world, "InvalidParameter", lambda: challenge(world, 4, 3, 0, 1, 0, 5))


def test_what_the_contract_cannot_compare_it_refuses(copied: World) -> None:
    world = copied
    raw = b"".join(i.to_bytes(4, "big") for i in range(100))
    world.datanet(tokenizer=b"\x09" * 32)
    world.give(3, CAROL, raw)
    refused(world, "NotDecidable", lambda: challenge(world, 3, 0, 0, 1, 0, 0))
    world.datanet(min_span=9)
    world.give(4, CAROL, LONG)
    refused(world, "NotDecidable", lambda: challenge(world, 4, 0, 0, 1, 0, 0))


@pytest.mark.parametrize("redacted", [True, False])
def test_an_erased_text_still_shows_who_came_first_on_nodes_that_dropped_it_and_others(
    copied: World, redacted: bool
) -> None:
    world = copied
    world.erase(1, sender=ALICE)
    world.chain.next_block()
    state = world.chain.state
    if redacted:
        [_] = drop(PlainSlots(state, world.contract.address), state, 1)
    challenge(world, 2, 0, 3, 1, 0, 0)


def test_committed_ids_show_it_as_well(hidden: World) -> None:
    world = hidden
    world.contributeCommitted(1, ROOT, 40, IDS, BOB, sender=BOB, value=7)
    challenge(world, 2, 1, 0, 1, 0, 0)
    assert world.balance(ALICE) == 7


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
    world.contributeCommitted(1, ROOT, 40, IDS, ALICE, sender=ALICE, value=7)
    world.accept(1)
    world.publish(1)
    return world


def ask(world: World, window: int, value: int = BOND) -> int:
    return int(world.challengeCommitted(1, window, sender=USER, value=value))


def test_committed_windows_are_attributed_like_any_other(hidden: World) -> None:
    assert hidden.getContribution(1)[4:6] == (40, 25) and hidden.getDatanet(1)[1][4] is True
    assert scores(hidden, f"{words(3, 30)} and more", 1) == {1: 30}
    later = hidden.contributeCommitted(1, ROOT, 40, IDS, BOB, sender=BOB, value=7)
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
    world.contributeCommitted(1, ROOT, 40, invented, ALICE, sender=ALICE)
    dispute = ask(world, 5)
    refused(world, "BadProof", lambda: world.reveal(dispute, OPENED[5], PROOFS[5], sender=ALICE))
    short = bytes(32) + words(0, 15).encode()
    world.contributeCommitted(1, leaf_of(0, keccak256(short)), 16, IDS[:16], ALICE, sender=ALICE)
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
        ("CommitOnly", lambda: give(plain, ROOT, 40, IDS, ALICE, sender=ALICE)),
        ("CommitOnly", lambda: world.give(1, ALICE, words(0, 40))),
        ("InvalidParameter", lambda: give(1, ROOT, 40, IDS[:-1], ALICE, sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, ROOT, 41, IDS, ALICE, sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, ROOT, 15, b"", ALICE, sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, bytes(32), 40, IDS, ALICE, sender=ALICE, value=7)),
        ("InvalidParameter", lambda: give(1, ROOT, 40, IDS, bytes(20), sender=ALICE, value=7)),
        ("TooLong", lambda: give(1, ROOT, 1_552, bytes(16 * 1_537), ALICE, sender=ALICE, value=10**6)),
        ("BondTooLow", lambda: give(1, ROOT, 40, IDS, ALICE, sender=ALICE)),
        ("InvalidParameter", lambda: ask(world, 25)),
        ("BondTooLow", lambda: ask(world, 1, BOND - 1)),
    ]
    for name, act in cases:
        refused(world, name, act)
    later = give(1, ROOT, 40, IDS, BOB, sender=BOB, value=7)
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

"""Priority challenges: who came first takes the window places that he shows, once, and of bond and weight their part."""

import itertools
import random
from typing import Any

import pytest

from attribution_precompile.layout import LOSING, LOSSES, Loss
from attribution_precompile.methods.challenges import OPENED_WINDOWS, chosen_windows
from attribution_precompile.methods.commitments import commitment_hash, ids_commitment_hash
from attribution_precompile.methods.passages import joined
from evm_runtime.native import PlainSlots
from genesis.chain_spec import AttributionParams
from genesis.primitives import WEI_PER_OPEN, Address, Hash32
from tests.unit.attribution.redacting import drop
from tests.unit.attribution.test_disputes import openings
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, COUNCIL, OWNER, USER, ZERO32, World, words

PARAMS = AttributionParams()
BOND = PARAMS.dispute_bond
LONG = words(0, 120)
SALT = Hash32(b"\x07" * 32)
LICENCE = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom
the Software is furnished to do so, subject to the following conditions: The above copyright notice and this permission notice
shall be included in all copies or substantial portions of the Software."""
"""87 tokens that stand in very many texts."""


def challenge(world: World, *places: int, sender: bytes = ALICE) -> int:
    """(later, segment, window, windows, earlier, segment, window)."""
    return int(world.challengePriority(*places, sender=sender))


def scores(world: World, text: str, datanet: int, version: int = 1) -> dict[int, int]:
    model = world.model([(datanet, version, 0, 10_000)])
    return dict(world.trace(model, text.encode())[0])


def owned(world: World, contribution: int) -> int:
    return int(world.getContribution(contribution)[5])


def lost(world: World, datanet: int, segment: int) -> list[tuple[int, int]]:
    slots = PlainSlots(world.chain.state, world.contract.address)
    found = [LOSSES.get(slots, i, datanet, segment) for i in range(LOSSES.length(slots, datanet, segment))]
    return [(loss.start, loss.end) for loss in found]


def bonded(world: World, datanet: int, who: Address, text: str, bond: int) -> int:
    return int(world.contribute(datanet, text.encode(), ZERO32, who, ZERO32, sender=who, value=bond))


@pytest.fixture
def copied() -> World:
    """Alice's text, rejected by datanet 1's owner, who then lets Bob's copy into datanet 2, with a bond of 3 wei a KiB."""
    world = World()
    world.datanet()
    world.give(1, ALICE, LONG)
    world.chain.next_block()
    world.review(1, False, 0)
    world.datanet(bond_per_kib=3)
    bonded(world, 2, BOB, f"intro one two {LONG}", 3)
    world.accept(2)
    world.publish(2)
    return world


# ---------------------------------------------------------------- what is taken


def test_a_notice_that_many_texts_carry_takes_itself_and_nothing_else() -> None:
    """Who registered the text of a licence used to slash everybody who carries it."""
    world, price = World(), WEI_PER_OPEN
    world.datanet()
    notice = world.give(1, BOB, LICENCE)
    world.datanet(bond_per_kib=price)
    own = words(0, 3_000)
    text = f"{LICENCE} {own}"
    bond = price * -(-len(text.encode()) // 1_024)
    author = bonded(world, 2, ALICE, text, bond)
    world.accept(author)
    world.publish(2)
    places = 87 + 3_000 - 7
    assert owned(world, author) == places
    challenge(world, author, 0, 0, 80, notice, 0, 0, sender=BOB)
    part = bond * 80 // places
    event = world.events("WindowsLost")[0]
    assert (event["window"], event["windows"], event["bond"], event["ownedWindows"]) == (0, 80, part, 80)
    assert world.balance(BOB) == part and owned(world, author) == places - 80
    world.chain.next_block()
    assert scores(world, words(100, 300), 2) == {author: 300}, "her own text is hers as before"
    assert scores(world, LICENCE, 2) == {}, "and what was shown is nobody's"
    assert world.getContribution(author)[7] == 1
    world.chain.next_block(PARAMS.bond_seconds)
    assert world.withdrawBond(author, sender=ALICE) == bond - part


def test_a_whole_copy_loses_everything_in_all_versions_from_the_next_block_on(copied: World) -> None:
    world = copied
    world.publish(2)
    dispute = challenge(world, 2, 0, 3, 113, 1, 0, 0)
    assert world.events("Resolved")[0]["upheld"] and world.getDispute(dispute)[:2] == (3, 1)
    world.chain.next_block()
    assert scores(world, LONG, 2) == scores(world, LONG, 2, 2) == {}
    assert owned(world, 2) == 116 - 113
    refused(world, "NotDecidable", lambda: challenge(world, 2, 0, 3, 113, 1, 0, 0))
    world.review(2, True, 5_000)
    assert world.recount(2) == 116 - 113, "a count leaves out what was lost"


def test_lost_windows_are_the_earlier_ones_where_it_is_a_member_and_else_nobodys() -> None:
    """Bob's copy stands in Alice's datanet too; Carol's, later than both, gets nothing of what he loses."""
    world = World()
    world.datanet()
    first = world.give(1, ALICE, words(0, 80))
    world.datanet()
    copy, later = world.give(2, BOB, words(0, 80)), world.give(2, CAROL, words(0, 80))
    own = world.give(1, BOB, words(0, 80))
    for contribution in (first, copy, later, own):
        world.accept(contribution)
    world.publish(1)
    world.publish(2)
    challenge(world, copy, 0, 0, 73, first, 0, 0)
    challenge(world, own, 1, 0, 73, first, 0, 0)
    world.chain.next_block()
    assert scores(world, words(0, 80), 2) == {}
    assert scores(world, words(0, 80), 1) == {first: 80}


def test_splitting_a_challenge_changes_nothing() -> None:
    """Bond, weight and ranges come to the same in one piece and in many, which may overlap and come in any order."""
    rng = random.Random(7)
    ends = []
    for pieces in ([(0, 300)], [(0, 64), (64, 128), (128, 300)], [(200, 300), (0, 100), (36, 260)]):
        world = World()
        world.datanet()
        world.give(1, ALICE, words(0, 307))
        world.datanet(bond_per_kib=10**18 + 7)
        copy = bonded(world, 2, BOB, f"{words(0, 307)} {words(900, 90)}", 10**19)
        world.accept(copy)
        for start, end in pieces:
            challenge(world, copy, 0, start, end - start, 1, 0, start)
            world.chain.next_block(rng.randint(1, 5))
        ends.append((world.balance(ALICE), owned(world, copy), lost(world, 2, 0)))
    assert ends[0] == ends[1] == ends[2] and ends[0][2] == [(0, 300)]


@pytest.mark.parametrize("seed", range(30))
def test_ranges_equal_a_set_of_places(seed: int) -> None:
    rng = random.Random(seed)
    ranges: list[Loss] = []
    places: set[int] = set()
    for _ in range(25):
        start = rng.randrange(200)
        end = start + rng.randint(1, 20)
        ranges, fresh = joined(ranges, Loss(start, end))
        assert fresh == len(set(range(start, end)) - places), f"seed {seed}"
        places |= set(range(start, end))
        assert {place for loss in ranges for place in range(loss.start, loss.end)} == places, f"seed {seed}"
        gaps = [b.start - a.end for a, b in itertools.pairwise(ranges)]
        assert all(gap > 0 for gap in gaps), f"seed {seed}: disjoint, in order, none adjoining"


def test_a_place_is_lost_once_whoever_challenges(copied: World) -> None:
    world = copied
    third = world.give(1, CAROL, LONG)
    world.chain.next_block()
    fourth = bonded(world, 2, USER, LONG, 3)
    world.finalizeContent(fourth, sender=USER)
    challenge(world, fourth, 1, 0, 113, 1, 0, 0)
    refused(world, "NotDecidable", lambda: challenge(world, fourth, 1, 0, 113, third, 1, 0, sender=CAROL))
    refused(world, "NotDecidable", lambda: challenge(world, fourth, 1, 10, 70, 1, 0, 10))
    assert world.balance(ALICE) == 3, "all of its places: all of its bond"
    slots = PlainSlots(world.chain.state, world.contract.address)
    assert [LOSING.get(slots, i, 2) for i in range(LOSING.length(slots, 2))] == [1]


def test_nothing_is_taken_for_what_was_the_earlier_ones_anyway() -> None:
    """In Alice's own datanet Bob's copy never owned what it copied: it keeps bond and weight."""
    world = World()
    world.datanet(bond_per_kib=5)
    first = bonded(world, 1, ALICE, LONG, 5)
    copy = bonded(world, 1, BOB, f"{LONG} {words(500, 40)}", 10)
    for contribution in (first, copy):
        world.accept(contribution)
    before = owned(world, copy)
    challenge(world, copy, 1, 0, 113, first, 0, 0)
    assert world.balance(ALICE) == 0 and owned(world, copy) == before == 40
    assert lost(world, 1, 1) == [(0, 113)], "but they are lost, should she go"


def test_weight_falls_at_once_and_only_by_what_was_lost(copied: World) -> None:
    """Bob's copy and Carol's text share a pool; half of his windows are challenged before an inference pays it."""
    world = copied
    world.contribute(2, words(500, 127).encode(), ZERO32, CAROL, bytes(32), sender=CAROL, value=3)
    world.accept(3)
    world.publish(2)
    model = world.model([(2, 2, 0, 10_000)], output_price=10**18)
    challenge(world, 2, 0, 3, 64, 1, 0, 0)
    left = 116 - 116 * 64 // 116
    world.run(model, " ".join(["zzz"] * 40), 10**18)
    pooled = world.events("Pooled")[0]["amount"]
    world.claimPool([2, 3])
    assert world.balance(BOB) == pooled * left // (left + 120)
    assert world.balance(CAROL) >= pooled * 120 // (left + 120)


def test_a_cut_reaches_a_quality_that_waits_for_the_next_version_too(copied: World) -> None:
    world = copied
    world.review(2, True, 2_000)
    challenge(world, 2, 0, 3, 113, 1, 0, 0)
    for _ in range(2):
        model = world.model([(2, int(world.getDatanet(2)[3]), 0, 10_000)], output_price=10**18)
        world.run(model, " ".join(["zzz"] * 40), 10**18)
        pooled = world.events("Pooled")[0]["amount"]
        before = world.balance(BOB)
        world.claimPool([2])
        assert world.balance(BOB) - before in (pooled, pooled - 1), "alone in the pool, with three windows"
        world.publish(2)


# ---------------------------------------------------------------- who may, against whom, with what


def test_the_order_of_the_chain_decides_and_not_that_of_calling() -> None:
    world = World()
    world.datanet()
    world.accept(world.give(1, ALICE, LONG))
    world.accept(world.give(1, BOB, LONG))
    refused(world, "NotDecidable", lambda: challenge(world, 1, 0, 0, 64, 2, 1, 0, sender=BOB))
    challenge(world, 2, 1, 0, 64, 1, 0, 0)


def test_committed_content_stands_where_its_commitment_does() -> None:
    from tests.unit.attribution.test_commit import promise

    world, text = World(), words(0, 100).encode()
    world.datanet()
    world.commit(promise(ALICE, 1, [text]), sender=ALICE)
    world.chain.next_block()
    thief = world.give(1, BOB, text)
    author = world.contribute(1, text, ZERO32, ALICE, SALT, sender=ALICE)
    world.accept(thief)
    refused(world, "NotDecidable", lambda: challenge(world, author, 1, 0, 64, thief, 0, 0, sender=BOB))
    challenge(world, thief, 0, 0, 64, author, 1, 0)


def test_what_a_priority_challenge_must_show(copied: World) -> None:
    world = copied
    cases = [
        ("NotAllowed", (2, 0, 3, 64, 1, 0, 0), CAROL),
        ("NotAllowed", (2, 0, 3, 64, 1, 0, 0), BOB),
        ("NotDecidable", (2, 0, 2, 64, 1, 0, 0), ALICE),
        ("NotDecidable", (2, 0, 3, 64, 1, 0, 1), ALICE),
        ("NotDecidable", (2, 0, 3, 63, 1, 0, 0), ALICE),
        ("NotDecidable", (2, 0, 3, 0, 1, 0, 0), ALICE),
        ("NotDecidable", (2, 0, 3, 114, 1, 0, 0), ALICE),
        ("NotDecidable", (2, 0, 53, 64, 1, 0, 50), ALICE),
        ("NotDecidable", (2, 0, 3, 2**32 - 1, 1, 0, 0), ALICE),
        ("NotDecidable", (2, 0, 2**32 - 1, 64, 1, 0, 0), ALICE),
        ("InvalidParameter", (2, 1, 3, 64, 1, 0, 0), ALICE),
        ("InvalidParameter", (2, 0, 3, 64, 1, 9, 0), ALICE),
        ("InvalidParameter", (1, 0, 0, 64, 1, 0, 0), ALICE),
        ("UnknownContribution", (2, 0, 3, 64, 9, 0, 0), ALICE),
        ("NotDecidable", "announce", ALICE),
    ]
    for name, places, who in cases:
        if places == "announce":
            refused(world, name, lambda: world.announceChallenge(2, 0, 3, 1, 0, 0, sender=ALICE, value=BOND))
        else:
            refused(world, name, lambda places=places, who=who: challenge(world, *places, sender=who))  # type: ignore[misc]
    challenge(world, 2, 0, 52, 64, 1, 0, 49)


def test_a_short_passage_is_no_copy_and_a_short_contribution_is_compared_whole() -> None:
    world = World()
    world.datanet()
    world.give(1, ALICE, words(0, 40))
    world.give(1, BOB, words(0, 40) + " " + words(900, 60))
    world.give(1, BOB, words(5, 20))
    for contribution in (2, 3):
        world.finalizeContent(contribution, sender=BOB)
    refused(world, "NotDecidable", lambda: challenge(world, 2, 1, 0, 33, 1, 0, 0))
    refused(world, "NotDecidable", lambda: challenge(world, 3, 2, 0, 12, 1, 0, 5))
    challenge(world, 3, 2, 0, 13, 1, 0, 5)


def test_what_the_contract_cannot_compare_it_refuses(copied: World) -> None:
    world = copied
    raw = b"".join(i.to_bytes(4, "big") for i in range(100))
    world.datanet(tokenizer=b"\x09" * 32)
    world.give(3, CAROL, raw)
    world.datanet(min_span=9)
    world.give(4, CAROL, LONG)
    for contribution in (3, 4):
        world.finalizeContent(contribution, sender=CAROL)
        refused(world, "NotDecidable", lambda c=contribution: challenge(world, c, 0, 0, 64, 1, 0, 0))  # type: ignore[misc]


def test_what_can_still_grow_cannot_be_challenged_yet(copied: World) -> None:
    """The part that is lost is of a number of places that has to be known."""
    world = copied
    for end in ("reviewed", "past its deadline", "finalized"):
        copy = bonded(world, 2, BOB, LONG, 3)
        place = copy - 2
        refused(world, "NotComplete", lambda c=copy, p=place: challenge(world, c, p, 0, 64, 1, 0, 0))  # type: ignore[misc]
        if end == "reviewed":
            world.accept(copy)
        elif end == "finalized":
            world.finalizeContent(copy, sender=BOB)
        else:
            world.chain.next_block(10_000)
        challenge(world, copy, place, 0, 64, 1, 0, 0)


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
    challenge(world, 2, 0, 3, 113, 1, 0, 0)


@pytest.mark.parametrize("before", ["erased", "rejected", ""])
def test_who_lost_a_dispute_challenges_nobody(copied: World, before: str) -> None:
    world = copied
    world.datanet(bond_per_kib=1)
    squatter = bonded(world, 3, CAROL, LONG, 1)
    if before == "erased":
        world.erase(squatter, sender=CAROL)
    elif before == "rejected":
        world.chain.next_block()
        world.review(squatter, False, 0, sender=OWNER)
    copy = bonded(world, 2, BOB, LONG, 3)
    world.accept(copy)
    dispute = world.disputeContribution(squatter, ZERO32, sender=ALICE, value=BOND)
    world.resolve(dispute, True, sender=COUNCIL)
    refused(world, "NotAllowed", lambda: challenge(world, copy, 1, 0, 64, squatter, 0, 0, sender=CAROL))
    challenge(world, copy, 1, 0, 64, 1, 0, 0)


def test_what_was_lost_shows_nothing(copied: World) -> None:
    """Bob's copy, challenged by Alice, takes no places of Carol's later one; what he has beside it still does."""
    world = copied
    challenge(world, 2, 0, 3, 64, 1, 0, 0)
    copy = world.give(1, CAROL, LONG)
    world.accept(copy)
    refused(world, "NotDecidable", lambda: challenge(world, copy, 1, 0, 64, 2, 0, 3, sender=BOB))
    refused(world, "NotDecidable", lambda: challenge(world, copy, 1, 40, 64, 2, 0, 43, sender=BOB))


@pytest.mark.parametrize("leaving", ["erase", "withdraw", "reject", "slash"])
def test_leaving_ahead_of_a_challenge_saves_no_bond(copied: World, leaving: str) -> None:
    world = copied
    copy = bonded(world, 2, BOB, LONG, 3)
    world.finalizeContent(copy, sender=BOB)
    world.chain.next_block()
    if leaving == "erase":
        world.erase(copy, sender=BOB)
    elif leaving == "withdraw":
        world.withdrawConsent(copy, 31, sender=BOB)
    elif leaving == "reject":
        world.review(copy, False, 0)
    else:
        world.resolve(world.disputeContribution(copy, ZERO32, sender=CAROL, value=BOND), True, sender=COUNCIL)
        refused(world, "WrongStatus", lambda: challenge(world, copy, 1, 0, 113, 1, 0, 0), copy, 5)
        return
    refused(world, "BondLocked", lambda: world.withdrawBond(copy, sender=BOB))
    challenge(world, copy, 1, 0, 113, 1, 0, 0)
    assert world.balance(ALICE) == 3


def test_a_segment_loses_so_many_ranges_and_then_only_what_joins_them() -> None:
    world = World(losses_max=2)
    world.datanet()
    world.give(1, ALICE, words(0, 500))
    world.datanet()
    copy = world.give(2, BOB, words(0, 500))
    world.accept(copy)
    for start in (0, 100):
        challenge(world, copy, 0, start, 64, 1, 0, start)
    refused(world, "NotDecidable", lambda: challenge(world, copy, 0, 200, 64, 1, 0, 200))
    challenge(world, copy, 0, 0, 240, 1, 0, 0)
    challenge(world, copy, 0, 400, 64, 1, 0, 400)
    assert lost(world, 2, 0) == [(0, 240), (400, 464)]


# ---------------------------------------------------------------- commit-only


OPENED, IDS, ROOT, PROOFS = openings(words(0, 120))
"""105 windows of 16 tokens."""


def give_ids(world: World, who: Address, salt: bytes = ZERO32, root: bytes = ROOT, ids: bytes = IDS) -> int:
    return int(world.contributeCommitted(1, root, len(ids) // 16 + 15, ids, who, salt, sender=who))


def promise_ids(
    world: World, who: Address, root: bytes = ROOT, ids: bytes = IDS, payout: Address | None = None
) -> None:
    world.commit(ids_commitment_hash(who, SALT, 1, Hash32(root), payout or who, ids), sender=who)


@pytest.fixture
def hidden() -> World:
    """A commit-only datanet: Bob's copy came in before the ids that Alice had promised, and before these are shown."""
    world = World()
    world.datanet(commit_only=True, min_span=16)
    promise_ids(world, ALICE)
    world.chain.next_block()
    give_ids(world, BOB)
    world.chain.next_block()
    world.review(1, True, 10_000)
    give_ids(world, ALICE, SALT)
    world.accept(2)
    world.chain.next_block()
    return world


def announce(world: World, later: int, first: int, who: Address, value: int = BOND) -> int:
    """Contribution c is the datanet's segment c - 1."""
    return int(world.announceChallenge(later, later - 1, 0, first, first - 1, 0, sender=who, value=value))


def shown(windows: Any) -> list[tuple[bytes, list[Hash32]]]:
    return [(OPENED[window], PROOFS[window]) for window in windows]


def test_ids_copied_out_of_the_mempool_challenge_nobody() -> None:
    """It used to slash who was copied, for half a million gas."""
    world = World()
    world.datanet(commit_only=True, min_span=16)
    thief, victim = give_ids(world, BOB), give_ids(world, ALICE)
    world.accept(thief)
    world.accept(victim)
    refused(world, "NotDecidable", lambda: challenge(world, victim, 1, 0, 64, thief, 0, 0, sender=BOB))
    refused(world, "NotDecidable", lambda: announce(world, victim, thief, BOB))


def test_who_commits_to_ids_stands_ahead_of_their_copy(hidden: World) -> None:
    assert (owned(hidden, 1), owned(hidden, 2)) == (105, 105), "his were counted before hers were shown"
    assert hidden.recount(1) == 0 and hidden.recount(2) == 105
    hidden.publish(1)
    assert scores(hidden, words(0, 120), 1) == {2: 120}


def test_an_announced_challenge_opens_three_windows_chosen_later(hidden: World) -> None:
    world = hidden
    refused(world, "NotDecidable", lambda: challenge(world, 1, 0, 0, 64, 2, 1, 0))
    refused(world, "BondTooLow", lambda: announce(world, 1, 2, ALICE, BOND - 1))
    dispute = announce(world, 1, 2, ALICE, BOND + 5)
    assert world.balance(ALICE) == 5 and world.getDispute(dispute)[5] == BOND
    for _ in range(2):
        refused(world, "NotChosen", lambda: world.windowsToOpen(dispute))
        refused(world, "NotChosen", lambda: world.openPassage(dispute, shown([0, 1, 2]), sender=ALICE))
        world.chain.next_block()
    windows = world.windowsToOpen(dispute)
    block_hash = world.chain.state.get_block_hash(world.chain.number - 1)
    assert tuple(windows) == chosen_windows(block_hash, dispute, 64) and len(set(windows)) == OPENED_WINDOWS
    wrong = [window for window in range(64) if window not in windows][:3]
    refused(world, "BadProof", lambda: world.openPassage(dispute, shown(wrong), sender=ALICE))
    refused(world, "InvalidParameter", lambda: world.openPassage(dispute, shown(windows[:2]), sender=ALICE))
    refused(world, "NotAllowed", lambda: world.openPassage(dispute, shown(windows), sender=CAROL))
    refused(world, "DisputeOpen", lambda: world.resolve(dispute, False, sender=COUNCIL))
    world.openPassage(dispute, shown(windows), sender=ALICE)
    assert world.balance(ALICE) == BOND + 5 and world.getDispute(dispute)[1] == 1
    assert lost(world, 1, 0) == [(0, 64)]
    refused(world, "DisputeClosed", lambda: world.openPassage(dispute, shown(windows), sender=ALICE))


def test_a_thief_who_promised_copied_ids_cannot_open_them() -> None:
    """Bob sees Alice's ids wait, commits to them with a root of his own, and overtakes her by that."""
    world = World()
    world.datanet(commit_only=True, min_span=16)
    _, _, root, proofs = openings(words(500, 120))
    promise_ids(world, BOB, root)
    victim = give_ids(world, ALICE)
    world.chain.next_block()
    thief = give_ids(world, BOB, SALT, root)
    world.accept(victim)
    dispute = int(world.announceChallenge(victim, 0, 0, thief, 1, 0, sender=BOB, value=BOND))
    refused(world, "BondLocked", lambda: world.withdrawBond(victim, sender=ALICE))
    world.chain.next_block(1, 2)
    opened = openings(words(500, 120))[0]
    chosen = world.windowsToOpen(dispute)
    false = [(opened[window], proofs[window]) for window in chosen]
    refused(world, "BadProof", lambda: world.openPassage(dispute, false, sender=BOB))
    world.chain.next_block(PARAMS.open_seconds)
    refused(world, "DisputeOver", lambda: world.openPassage(dispute, false, sender=BOB))
    refused(world, "InvalidParameter", lambda: world.resolve(dispute, True, sender=BOB))
    world.resolve(dispute, False, sender=CAROL)
    assert world.balance(ALICE) == BOND and lost(world, 1, 0) == []


def test_a_commitment_binds_all_that_is_given(hidden: World) -> None:
    world = hidden
    others = openings(words(700, 120))
    world.commit(commitment_hash(CAROL, SALT, 1, ROOT, CAROL), sender=CAROL)
    promise_ids(world, CAROL)
    promise_ids(world, USER, payout=BOB)
    refused(world, "CommitmentTooNew", lambda: give_ids(world, CAROL, SALT))
    world.chain.next_block()
    for act in (
        lambda: give_ids(world, CAROL, SALT, ids=others[1]),
        lambda: give_ids(world, CAROL, SALT, root=others[2]),
        lambda: give_ids(world, CAROL, b"\x09" * 32),
        lambda: give_ids(world, USER, SALT),
    ):
        refused(world, "UnknownCommitment", act)
    give_ids(world, CAROL, SALT)
    refused(world, "UnknownCommitment", lambda: give_ids(world, CAROL, SALT))


def test_a_challenge_overtaken_by_another_gives_its_bond_back(hidden: World) -> None:
    world = hidden
    both = [announce(world, 1, 2, ALICE) for _ in range(2)]
    world.chain.next_block(1, 2)
    for dispute in both:
        windows = world.windowsToOpen(dispute)
        world.openPassage(dispute, shown(windows), sender=ALICE)
    assert world.balance(ALICE) == 2 * BOND and lost(world, 1, 0) == [(0, 64)]


def test_windows_are_chosen_by_a_hash_that_the_state_still_has(hidden: World) -> None:
    world = hidden
    dispute = announce(world, 1, 2, ALICE)
    world.chain.next_block(1, 8_193)
    refused(world, "NotChosen", lambda: world.windowsToOpen(dispute))


def test_chosen_windows_are_distinct_and_spread() -> None:
    counts = [0] * 64
    for number in range(2_000):
        chosen = chosen_windows(Hash32(number.to_bytes(32, "big")), number, 64)
        assert len(set(chosen)) == 3
        for window in chosen:
            counts[window] += 1
    assert min(counts) > 50 and max(counts) < 150, "each about 94 times"
    assert sorted(chosen_windows(Hash32(ZERO32), 1, 2)) == [0, 1]


def test_committed_ids_show_it_as_well(hidden: World) -> None:
    """A later commit-only contribution is compared by its ids, with a text too: but for that windows must be of one length."""
    world = hidden
    world.datanet(min_span=16)
    text = world.give(2, CAROL, words(0, 120))
    later = give_ids(world, USER)
    world.accept(later)
    challenge(world, later, 2, 0, 105, text, 0, 0, sender=CAROL)


def test_audits_see_what_a_segment_has_lost(copied: World) -> None:
    from attribution_precompile.reading.audit import AuditQueries
    from tests.unit.attribution.test_interface import Reader
    from tests.unit.native.harness import CHAIN_ID

    challenge(copied, 2, 0, 3, 64, 1, 0, 0)
    [segment] = AuditQueries(Reader(copied), CHAIN_ID).segments(2)
    assert segment.lost == ((3, 67),)
    [segment] = AuditQueries(Reader(copied), CHAIN_ID).segments(1)
    assert segment.lost == ()

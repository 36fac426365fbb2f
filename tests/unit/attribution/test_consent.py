"""Consent withdrawn, content erased, quality changed: who owns and earns what from when on; what audits see."""

import pytest

from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from genesis.errors import StorageCorrupt
from genesis.primitives import WEI_PER_OPEN, keccak256
from tests.unit.attribution.redacting import drop, droppable
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.test_interface import Reader
from tests.unit.attribution.world import (
    ALICE,
    BOB,
    CAROL,
    COUNCIL,
    OWNER,
    REVIEW_SECONDS,
    TREASURY,
    World,
    params,
    words,
)

TEXT = words(0, 20)
FEE = WEI_PER_OPEN


@pytest.fixture
def world() -> World:
    """Alice and Bob have given the same text to datanet 1; both are in version 1, Alice owns it; model 1 uses that."""
    world = World()
    world.datanet(min_fee_per_1k=50 * FEE)
    for contribution in (world.give(1, ALICE, TEXT), world.give(1, BOB, TEXT + " " + words(100, 20))):
        world.accept(contribution)
    world.publish(1)
    world.model([(1, 1, 0, 10_000)])
    return world


def owners(world: World, model: int = 1, text: str = TEXT) -> dict[int, int]:
    fresh = world.fresh_index()
    shared, world.contract.index = world.contract.index, fresh
    rebuilt = world.trace(model, text.encode())[0]
    world.contract.index = shared
    assert world.trace(model, text.encode())[0] == rebuilt, "an index built at another time says the same"
    return dict(rebuilt)


def next_version(world: World) -> int:
    return world.model([(1, world.publish(1), 0, 10_000)])


def test_withdrawn_consent_acts_on_later_versions(world: World) -> None:
    world.withdrawConsent(1, 4, sender=ALICE)
    assert world.events("ConsentWithdrawn") == [{"contributionId": 1, "useMask": 4}]
    assert world.getContribution(1)[7] == 3
    world.chain.next_block()
    assert owners(world) == {1: 20}, "version 1 keeps it, and keeps paying for it"
    later = next_version(world)
    assert owners(world, later) == {2: 20}, "the next one that is in the version"
    assert owners(world) == {1: 20}
    third = world.give(1, CAROL, TEXT)
    world.accept(third)
    assert owners(world, next_version(world)) == {2: 20}
    for act in (
        lambda: world.review(1, True, 5),
        lambda: world.appendContent(1, TEXT.encode(), sender=ALICE),
    ):
        refused(world, "WrongStatus", act, 1, 3)


def test_a_window_that_everybody_has_withdrawn_is_nobodys_until_somebody_gives_it_again(world: World) -> None:
    world.withdrawConsent(1, 1, sender=ALICE)
    world.withdrawConsent(2, 1, sender=BOB)
    second = next_version(world)
    assert owners(world, second) == {}
    third = world.give(1, CAROL, TEXT)
    world.accept(third)
    assert owners(world, next_version(world)) == {third: 20}
    assert owners(world, second) == {} and owners(world) == {1: 20}


def test_only_uses_that_the_datanet_serves_count(world: World) -> None:
    world.setDatanet(1, params(use_mask=3))
    world.withdrawConsent(1, 4, sender=ALICE)
    assert world.getContribution(1)[7] == 1
    world.withdrawConsent(1, 2, sender=ALICE)
    world.withdrawConsent(1, 8, sender=ALICE)
    assert world.getContribution(1)[7] == 3
    for mask in (0, 32):
        refused(world, "InvalidParameter", lambda mask=mask: world.withdrawConsent(1, mask, sender=ALICE))
    refused(world, "NotAllowed", lambda: world.withdrawConsent(1, 1, sender=COUNCIL))


def test_what_is_withdrawn_before_a_version_has_it_is_in_none(world: World) -> None:
    waiting = [world.give(1, CAROL, words(300 + 100 * i, 20)) for i in range(3)]
    world.chain.next_block()
    world.withdrawConsent(waiting[0], 1, sender=CAROL)
    world.review(waiting[1], True, 9_000)
    world.withdrawConsent(waiting[1], 1, sender=CAROL)
    world.erase(waiting[2], sender=CAROL)
    world.chain.next_block(REVIEW_SECONDS)
    later = next_version(world)
    assert [owners(world, later, words(300 + 100 * i, 20)) for i in range(3)] == [{}, {}, {}]
    copy = world.give(1, BOB, words(500, 20))
    world.accept(copy)
    assert owners(world, next_version(world), words(500, 20)) == {copy: 20}, "it never was anybody's"


@pytest.mark.parametrize("who", [ALICE, COUNCIL])
def test_erased_windows_are_the_next_members_from_the_next_block_on(world: World, who: bytes) -> None:
    refused(world, "NotAllowed", lambda: world.erase(1, sender=OWNER))
    world.erase(1, sender=who)
    assert world.events("Erased") == [{"contributionId": 1}]
    assert owners(world) == {1: 20}, "this block is as it was"
    world.chain.next_block()
    assert owners(world) == {2: 20}, "Bob's, who has the same text"
    assert owners(world, text=words(100, 20)) == {2: 20}
    third = world.give(1, CAROL, TEXT)
    world.accept(third)
    later = next_version(world)
    assert owners(world, later) == {2: 20} == owners(world)
    assert world.getContribution(third)[5] == 0, "Bob's copy claims them"
    world.erase(2, sender=COUNCIL)
    world.chain.next_block()
    assert owners(world) == {} and owners(world, later) == {third: 20}
    refused(world, "WrongStatus", lambda: world.erase(1, sender=ALICE), 1, 4)
    refused(world, "WrongStatus", lambda: world.withdrawConsent(1, 1, sender=ALICE), 1, 4)


def test_withdrawn_and_then_erased(world: World) -> None:
    world.withdrawConsent(1, 1, sender=ALICE)
    later = next_version(world)
    world.erase(1, sender=ALICE)
    world.chain.next_block()
    assert owners(world) == {2: 20} == owners(world, later)


def test_rejected_content_can_be_erased_and_still_counts_for_nothing(world: World) -> None:
    rejected = world.give(1, CAROL, words(700, 20))
    world.chain.next_block()
    world.review(rejected, False, 0)
    world.erase(rejected, sender=COUNCIL)
    good = world.give(1, BOB, words(700, 20))
    world.accept(good)
    assert world.getContribution(good)[5] == 13 and world.getContribution(rejected)[7] == 2


def test_nodes_keep_window_ids_in_place_of_erased_content(world: World) -> None:
    state, reader = world.chain.state, Reader(world)
    assert droppable(ReaderSlots(reader), reader, 1) == []
    world.erase(1, sender=ALICE)
    world.chain.next_block()
    assert droppable(ReaderSlots(reader), reader, 1, through=state.block_number - 2) == [], "alive then"
    [found] = drop(ReaderSlots(reader), state, 1)
    assert found.content_hash == keccak256(TEXT.encode())
    [ids] = found.instead
    del state.blobs[keccak256(ids)]
    with pytest.raises(StorageCorrupt, match="missing"):
        owners(world)
    state.put_blob(ids)
    assert owners(world) == {2: 20} == owners(world, next_version(world))
    assert owners(world, text=words(100, 20)) == {2: 20}
    assert droppable(ReaderSlots(reader), reader, 1) == []


def test_erasing_a_copy_drops_nothing_that_others_need(world: World) -> None:
    """Neither a living contribution's text, nor the ids that stand for an erased one, given as content and erased."""
    reader = Reader(world)
    copy = world.give(1, CAROL, TEXT)
    world.erase(copy, sender=CAROL)
    assert droppable(ReaderSlots(reader), reader, copy) == [], "Alice's is alive and has the same bytes"
    world.erase(1, sender=ALICE)
    [found] = droppable(ReaderSlots(reader), reader, 1)
    raw = world.datanet(tokenizer=b"\x09" * 32)
    trap = world.give(raw, CAROL, found.instead[0])
    world.erase(trap, sender=CAROL)
    assert droppable(ReaderSlots(reader), reader, trap) == []


def test_what_is_dropped_leaves_what_each_who_had_it_needs(world: World) -> None:
    """The same bytes in datanets of other windows, and held behind a salt: all of them dead, all of them still indexed."""
    other = world.datanet(min_span=12)
    twice = world.give(other, CAROL, TEXT)
    hidden = int(world.contribute(1, TEXT.encode(), bytes(32), CAROL, b"s" * 32, sender=CAROL))
    world.accept(twice)
    world.publish(other)
    for contribution, who in ((hidden, CAROL), (twice, CAROL), (1, ALICE)):
        world.erase(contribution, sender=who)
    world.chain.next_block()
    state, slots = world.chain.state, ReaderSlots(Reader(world))
    [found] = drop(slots, state, hidden)
    assert {len(ids) // 16 for ids in found.instead} == {13, 9}
    assert drop(slots, state, 1, twice) == []
    index = world.view(world.fresh_index())
    for datanet, k in ((1, 8), (other, 12)):
        ids = tokenize(TEXT.encode(), WORDS_V1).window_ids(k)
        assert set(index.owners(datanet, 1, ids)[0].tolist()) == {2 if datanet == 1 else 0}


def test_what_is_hidden_can_be_erased_too(world: World) -> None:
    hidden = int(world.contribute(1, words(800, 20).encode(), bytes(32), CAROL, b"s" * 32, sender=CAROL))
    world.erase(hidden, sender=CAROL)
    reader = Reader(world)
    [found] = droppable(ReaderSlots(reader), reader, hidden)
    assert found.instead == () and world.getContribution(hidden)[7] == 4
    refused(world, "WrongStatus", lambda: world.finalizeContent(hidden, sender=CAROL), hidden, 4)


# ---------------------------------------------------------------- weight in the pool


def pooled(world: World, model: int = 1) -> dict[bytes, int]:
    """What a fully unmatched inference's pool part brings each contributor, to a wei."""
    before = {who: world.balance(who) for who in (ALICE, BOB, TREASURY)}
    world.run(model, words(0, 20, "z"), world.quote(model, 0, 20))
    world.claimPool([1, 2])
    return {who: world.balance(who) - before[who] for who in before}


PART = FEE * 5_500 // 10_000
ALICES, BOBS = 13, 33 - 13  # owned windows


def test_a_changed_quality_acts_with_the_next_version(world: World) -> None:
    def share(mine: int, other: int) -> int:
        return PART * mine // (mine + other)

    near = lambda found, expected: abs(found - expected) <= 2  # noqa: E731
    assert near(pooled(world)[ALICE], share(ALICES, BOBS))
    world.review(1, True, 5_000)
    assert world.getContribution(1)[6:] == (5_000, 1)
    assert near(pooled(world)[ALICE], share(ALICES, BOBS)), "not yet"
    world.review(1, True, 2_500)
    assert near(pooled(world)[ALICE], share(ALICES, BOBS)), "a change of a change, not yet either"
    later = next_version(world)
    assert near(pooled(world, later)[ALICE], share(ALICES, 4 * BOBS))
    world.review(1, True, 0)
    assert pooled(world, next_version(world))[ALICE] == 0
    world.review(1, True, 10_000)
    world.publish(1)
    assert near(pooled(world, next_version(world))[ALICE], share(ALICES, BOBS))
    assert near(pooled(world)[ALICE], share(ALICES, BOBS)), "no change reaches back"
    assert near(pooled(world, later)[ALICE], share(ALICES, 4 * BOBS)), "no change reaches back"
    refused(world, "WrongStatus", lambda: world.review(1, False, 0), 1, 1)


def test_what_is_owed_across_a_change_is_exact_without_claims_in_between(world: World) -> None:
    fee = world.quote(1, 0, 20)
    world.run(1, words(0, 20, "z"), fee)
    world.review(1, True, 5_000)
    world.run(1, words(0, 20, "z"), fee)
    world.run(next_version(world), words(0, 20, "z"), fee)
    world.claimPool([1, 2])
    alice = 2 * PART * ALICES // (ALICES + BOBS) + PART * ALICES // (ALICES + 2 * BOBS)
    assert abs(world.balance(ALICE) - alice) <= 2
    assert 0 <= 3 * PART - world.balance(ALICE) - world.balance(BOB) <= 2


def test_withdrawn_weight_ends_with_the_next_version_and_erased_weight_at_once(world: World) -> None:
    world.withdrawConsent(1, 1, sender=ALICE)
    later = next_version(world)
    assert pooled(world)[ALICE] > 0, "a version that has it pays it"
    assert pooled(world, later)[BOB] in (PART - 1, PART), "and one that hasn't doesn't"
    fee = world.quote(1, 0, 20)
    world.run(1, words(0, 20, "z"), fee)
    before = world.balance(BOB)
    world.erase(2, sender=COUNCIL)
    assert abs(world.balance(BOB) - before - PART * BOBS // (ALICES + BOBS)) <= 2, "what was earned is credited"
    world.claimPool([1])
    assert pooled(world)[ALICE] in (PART - 1, PART), "in every version the others get all from now on"
    assert pooled(world, later) == {ALICE: 0, BOB: 0, TREASURY: FEE * 200 // 10_000 + PART}
    world.erase(1, sender=ALICE)
    assert pooled(world) == {ALICE: 0, BOB: 0, TREASURY: FEE * 200 // 10_000 + PART}


def test_erasing_right_after_a_withdrawal_or_a_change_leaves_no_weight_behind(world: World) -> None:
    world.withdrawConsent(1, 1, sender=ALICE)
    world.erase(1, sender=ALICE)
    world.review(2, True, 1)
    world.erase(2, sender=BOB)
    for model in (1, next_version(world)):
        assert pooled(world, model) == {ALICE: 0, BOB: 0, TREASURY: FEE * 200 // 10_000 + PART}
    late = world.give(1, CAROL, words(900, 20))
    world.accept(late)
    world.erase(late, sender=CAROL)
    assert pooled(world, next_version(world))[TREASURY] == FEE * 200 // 10_000 + PART


# ---------------------------------------------------------------- audits


def test_a_summary_names_the_terms_of_each_version(world: World) -> None:
    world.setDatanet(1, params(terms_hash=b"\x09" * 32))
    world.publish(1)
    model = world.model([(1, 2, 1, 4_000), (1, 1, 0, 6_000)])
    uses = ((1, 2, 1, 4_000), (1, 1, 0, 6_000))
    assert world.trainingSummary(model, 0) == (uses, (b"\x09" * 32, b"\x01" * 32), 0)
    assert world.trainingSummary(model, 1) == (uses[1:], (b"\x01" * 32,), 0)
    assert world.trainingSummary(model, 99) == ((), (), 0)


def forgotten(world: World, model: int) -> list[int]:
    found, cursor = [], 0
    while True:
        page, cursor = world.forgetSet(model, cursor)
        found += page
        if cursor == 0:
            return found


def test_a_forget_set_has_what_left_the_versions_that_were_used(world: World) -> None:
    never_in = world.give(1, CAROL, words(300, 20))
    world.withdrawConsent(never_in, 1, sender=CAROL)
    assert forgotten(world, 1) == []
    world.withdrawConsent(2, 1, sender=BOB)
    later = next_version(world)
    world.erase(1, sender=ALICE)
    world.erase(2, sender=BOB)
    assert forgotten(world, 1) == [2, 1]
    assert forgotten(world, later) == [1], "it was built after Bob had left"
    other = world.datanet()
    mine = [world.give(other, CAROL, words(1_000 * i, 8)) for i in range(1, 71)]
    world.chain.next_block()
    for contribution in mine:
        world.review(contribution, True, 1)
    world.publish(other)
    both = world.model([(1, 1, 0, 5_000), (other, 1, 0, 5_000)])
    for contribution in mine:
        world.withdrawConsent(contribution, 1, sender=CAROL)
    assert forgotten(world, both) == [2, 1, *mine]
    assert world.forgetSet(both, 2 << 64) == ((), 0)

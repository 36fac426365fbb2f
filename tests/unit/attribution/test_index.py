"""The span index: what decides ownership, that it can be rebuilt, that it ingests only what is final; copy attacks."""

import random

import pytest

from genesis.errors import StorageCorrupt
from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.world import ALICE, BOB, CAROL, OWNER, REVIEW_SECONDS, USER, World, words
from tests.unit.native.harness import Reverted


@pytest.fixture
def world() -> World:
    return World()


def scores(world: World, model: int, text: str) -> dict[int, int]:
    return dict(world.trace(model, text.encode())[0])


def test_appending_later_takes_nothing_that_others_wrote_in_between(world: World) -> None:
    datanet = world.datanet()
    early = world.give(datanet, ALICE, words(0, 20))
    honest = world.give(datanet, BOB, words(100, 30))
    world.appendContent(early, words(100, 30).encode(), sender=ALICE)
    world.accept(early)
    world.accept(honest)
    assert world.getContribution(early)[5] == 13, "the copied windows are not its own"
    assert world.getContribution(honest)[5] == 23
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    assert scores(world, model, words(100, 30)) == {honest: 30}


def test_a_copier_gains_nothing_by_overtaking_an_upload_in_parts(world: World) -> None:
    datanet = world.datanet()
    author = world.give(datanet, ALICE, words(0, 40))
    copier = world.give(datanet, BOB, words(0, 40))
    world.appendContent(author, words(33, 40).encode(), sender=ALICE)
    for contribution in (copier, author):
        world.accept(contribution)
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    assert scores(world, model, words(0, 73)) == {author: 73}
    assert world.getContribution(copier)[5] == 0, "no owned windows, so no pool weight"


@pytest.mark.parametrize("insert_every", [8, 12, 20])
def test_a_late_copier_with_common_words_gets_almost_nothing(world: World, insert_every: int) -> None:
    """The attack that broke extension: copy everything, put one common word after each passage."""
    rng = random.Random(insert_every)
    datanet = world.datanet()
    originals = [[f"t{rng.randrange(4_000)}" for _ in range(120)] for _ in range(6)]
    honest = [world.give(datanet, ALICE, " ".join(text)) for text in originals]
    copied: list[str] = []
    for text in originals:
        for start in range(0, len(text), insert_every):
            copied += [*text[start : start + insert_every], "the"]
    copier = world.give(datanet, BOB, " ".join(copied))
    for contribution in (*honest, copier):
        world.accept(contribution)
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    total = to_copier = 0
    for _ in range(30):
        text = rng.choice(originals)
        start = rng.randrange(80)
        output = [*text[start : start + 40], "the", *(f"n{rng.randrange(9_999)}" for _ in range(10))]
        found = scores(world, model, " ".join(output))
        total += sum(found.values())
        to_copier += found.get(copier, 0)
    assert total > 1_000 and to_copier * 100 < total * 5


def test_stuffing_repeated_windows_earns_one_window(world: World) -> None:
    datanet = world.datanet()
    stuffer = world.give(datanet, ALICE, "spam " * 500)
    world.accept(stuffer)
    assert world.getContribution(stuffer)[5] == 1


def test_versions_decide_who_owns(world: World) -> None:
    """Three contributions with the same text: the owner changes with each version, and old versions keep theirs."""
    datanet = world.datanet()
    text = words(0, 20)
    first, second, third = (world.give(datanet, who, text) for who in (ALICE, BOB, CAROL))
    for contribution in (third, second, first):
        world.accept(contribution)
        world.publish(datanet)
    models = [world.model([(datanet, version, 0, 10_000)]) for version in (1, 2, 3)]
    expected = [{third: 20}, {second: 20}, {first: 20}]
    assert [scores(world, model, text) for model in models] == expected
    world.contract.index = world.fresh_index()
    for model, owner in reversed(list(zip(models, expected, strict=True))):
        assert scores(world, model, text) == owner


def test_who_was_displaced_owns_again_when_the_earlier_one_leaves(world: World) -> None:
    """The later contribution is accepted first; the earlier one takes its windows over, and gives them back."""
    datanet = world.datanet()
    text = words(0, 20)
    early, late = world.give(datanet, ALICE, text), world.give(datanet, BOB, text)
    world.accept(late)
    world.publish(datanet)
    world.accept(early)
    world.publish(datanet)
    world.withdrawConsent(early, 31, sender=ALICE)
    world.publish(datanet)
    world.withdrawConsent(late, 31, sender=BOB)
    world.publish(datanet)
    models = [world.model([(datanet, version, 0, 10_000)]) for version in (1, 2, 3, 4)]
    expected: list[dict[int, int]] = [{late: 20}, {early: 20}, {late: 20}, {}]
    assert [scores(world, model, text) for model in models] == expected
    world.contract.index = world.fresh_index()
    assert [scores(world, model, text) for model in reversed(models)] == expected[::-1]


def test_unreviewed_content_is_in_from_its_deadline_without_weight(world: World) -> None:
    datanet = world.datanet(min_fee_per_1k=WEI_PER_OPEN)
    contribution = world.give(datanet, ALICE, words(0, 20))
    world.chain.next_block(REVIEW_SECONDS - 1)
    early = world.publish(datanet)  # goes on by a second: the deadline is reached
    late = world.publish(datanet)
    before, after = (world.model([(datanet, version, 0, 10_000)]) for version in (early, late))
    assert scores(world, before, words(0, 20)) == {}
    assert scores(world, after, words(0, 20)) == {contribution: 20}
    world.run(before, words(0, 20), WEI_PER_OPEN)
    assert world.events("Pooled") == [], "no weight yet: the pool part is the treasury's"
    world.review(contribution, True, 10_000)
    assert scores(world, before, words(0, 20)) == {}, "a later review changes no version"
    reviewed = world.model([(datanet, world.publish(datanet), 0, 10_000)])
    for model, pooled in ((before, 0), (after, 0), (reviewed, 1)):
        world.run(model, words(100, 20), WEI_PER_OPEN)
        assert len(world.events("Pooled")) == pooled, "weight counts from the version after the review"
    world.claimPool([contribution])
    assert world.balance(ALICE) > 0


def test_rejected_content_owns_nothing_and_blocks_nobody(world: World) -> None:
    datanet = world.datanet()
    rejected = world.give(datanet, ALICE, words(0, 20))
    good = world.give(datanet, BOB, words(0, 20))
    world.chain.next_block()
    world.review(rejected, False, 0)
    world.accept(good)
    assert world.getContribution(good)[5] == 13
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    assert scores(world, model, words(0, 20)) == {good: 20}


def test_windows_do_not_span_segments_or_datanets(world: World) -> None:
    one, two = world.datanet(), world.datanet()
    a = world.give(one, ALICE, words(0, 10))
    world.appendContent(a, words(10, 10).encode(), sender=ALICE)
    b = world.give(two, BOB, words(0, 20))
    world.accept(a)
    world.accept(b)
    world.publish(one)
    world.publish(two)
    model = world.model([(one, 1, 0, 10_000)])
    assert scores(world, model, words(5, 10)) == {}, "across the seam of two segments"
    assert scores(world, model, words(0, 20)) == {a: 20}
    both = world.model([(one, 1, 0, 5_000), (two, 1, 0, 5_000)])
    assert scores(world, both, words(0, 20)) == {b: 20}, "the longer run wins, each datanet has its own owners"


def test_the_index_never_keeps_what_a_lost_block_wrote(world: World) -> None:
    """A block that is executed and thrown away (another proposal wins) must leave no trace in the index."""
    datanet = world.datanet()
    kept = world.give(datanet, ALICE, words(0, 20))
    world.chain.next_block()
    go_back = world.chain.checkpoint()
    world.give(datanet, BOB, words(40, 20))
    world.review(kept, True, 1)
    world.publishVersion(datanet)
    go_back()
    mine = world.give(datanet, CAROL, words(70, 20))
    world.review(kept, True, 1)
    world.publish(datanet)
    world.accept(mine)
    world.publish(datanet)
    assert world.getContribution(mine)[5] == 13
    model = world.model([(datanet, 2, 0, 10_000)])
    assert scores(world, model, words(40, 20)) == {}
    assert scores(world, model, words(70, 20)) == {mine: 20}


def test_warming_changes_no_answer(world: World) -> None:
    datanet = world.datanet()
    first = world.give(datanet, ALICE, words(0, 20))
    world.accept(first)
    world.publish(datanet)
    world.give(datanet, BOB, words(0, 20))
    index = world.contract.index = world.fresh_index()
    for _ in range(3):
        index.warm(world.chain.finals.tip(), datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    assert scores(world, model, words(0, 20)) == {first: 20}


def test_lost_content_stops_the_node_and_a_restored_copy_mends_it(world: World) -> None:
    datanet = world.datanet()
    world.accept(world.give(datanet, ALICE, words(0, 20)))
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    blobs, world.chain.state.blobs = world.chain.state.blobs, {}
    world.contract.index.clear()
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match="missing"):
            world.trace(model, words(0, 20).encode())
    world.chain.state.blobs = blobs
    assert scores(world, model, words(0, 20)) == {1: 20}


def test_an_isolated_contract_differs_in_what_it_does_about_errors_alone(world: World) -> None:
    isolated = world.contract.isolated()
    assert isolated.hypothetical and not world.contract.hypothetical  # type: ignore[attr-defined]
    assert isolated.index is world.contract.index  # type: ignore[attr-defined]


def test_what_is_above_the_soft_cap_goes_to_the_pool(world: World) -> None:
    datanet = world.datanet(soft_cap_bps=1_000, min_fee_per_1k=WEI_PER_OPEN)
    first = world.give(datanet, ALICE, words(0, 30))
    world.accept(first)
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    fee = world.quote(model, 0, 30)
    world.run(model, words(0, 30), fee, sender=USER)
    contributors = fee * 5_500 // 10_000
    assert [event["amount"] for event in world.events("Attributed")] == [contributors // 10]
    assert [event["amount"] for event in world.events("Pooled")] == [contributors - contributors // 10]
    assert world.balance(ALICE) == contributors // 10


def test_a_review_in_the_block_of_the_content_is_refused_even_by_the_owner(world: World) -> None:
    datanet = world.datanet()
    contribution = world.give(datanet, ALICE, words(0, 20))
    with pytest.raises(Reverted, match="ReviewTooEarly"):
        world.review(contribution, True, 1, sender=OWNER)


def test_only_the_best_64_share_and_the_rest_goes_to_the_pool(world: World) -> None:
    datanet = world.datanet(min_fee_per_1k=WEI_PER_OPEN)
    contributions = [world.give(datanet, ALICE, words(0, 8, f"c{i}x")) for i in range(70)]
    world.chain.next_block()
    for contribution in contributions:
        world.review(contribution, True, 1)
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    output = " ".join(words(0, 8, f"c{i}x") for i in reversed(range(70)))
    fee = world.quote(model, 0, 560)
    world.run(model, output, fee)
    paid = world.events("Attributed")
    assert [event["contributionId"] for event in paid] == contributions[:64], "ties by priority"
    part = fee * 5_500 // 10_000
    assert sum(event["amount"] for event in paid) == part * 64 // 70
    assert [event["amount"] for event in world.events("Pooled")] == [part - part * 64 // 70]

"""Terms that change, datanets and models that change hands, uses named anew."""

from typing import Any

import pytest

from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.test_errors import OTHER_TOKENIZER, refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, OWNER, USER, World, params, words

NOBODY = bytes(20)


@pytest.fixture
def ready() -> World:
    world = World()
    datanet = world.datanet(uri="ipfs://a-document-whose-address-is-longer-than-a-slot-and-longer-than-two")
    world.accept(world.give(datanet, ALICE, words(0, 40)))
    world.publish(datanet)
    world.model([(datanet, 1, 0, 10_000)])
    return world


def test_mutable_terms_change_at_once(ready: World) -> None:
    world = ready
    changed = params(
        uri="short", terms_hash=b"\x07" * 32, open_to_models=False, use_mask=3, min_fee_per_1k=5, curator_bps=9,
        soft_cap_bps=1_008, bond_per_kib=7, review_seconds=6,
    )  # fmt: skip
    world.setDatanet(1, changed)
    assert [event["termsHash"] for event in world.events("DatanetChanged")] == [b"\x07" * 32]
    assert world.getDatanet(1) == ("0x" + OWNER.hex(), changed, 1, 1)
    refused(world, "ModelNotAllowed", lambda: world.run(1, words(0, 10), 1))
    long = params(uri="x" * 1_024, use_mask=3)
    world.setDatanet(1, long)
    assert world.getDatanet(1)[1] == long
    world.setDatanet(1, params(uri="", use_mask=0))
    assert world.getDatanet(1)[1] == params(uri="", use_mask=0)


def test_a_raised_floor_holds_from_the_next_inference(ready: World) -> None:
    world = ready
    assert world.quote(1, 0, 10) == 0
    world.setDatanet(1, params(min_fee_per_1k=WEI_PER_OPEN, curator_bps=2_000))
    fee = world.quote(1, 0, 10)
    assert fee == WEI_PER_OPEN // 100
    refused(world, "FeeTooLow", lambda: world.run(1, words(0, 10), fee - 1), fee, fee - 1)
    world.run(1, words(0, 10), fee)
    assert world.balance(OWNER) == 0, "version 1 was published without a curator's share"


def test_the_terms_that_a_use_pays_by_are_those_of_its_version(ready: World) -> None:
    """A share and a cap set later hold for later versions, and never for this one; nor does taking them back."""
    world = ready
    fee = 10**18
    world.setDatanet(1, params(min_fee_per_1k=WEI_PER_OPEN * 100, curator_bps=2_000, soft_cap_bps=1_000))
    world.run(1, words(0, 10), fee)
    part = fee * 5_500 // 10_000
    assert (world.balance(OWNER), world.balance(ALICE)) == (0, part)
    assert world.getTerms(1, 1) == (0, 10_000, 10_000 * 33)
    world.publish(1)
    world.setDatanet(1, params(min_fee_per_1k=WEI_PER_OPEN * 100))
    assert world.getTerms(1, 2) == (2_000, 1_000, 10_000 * 33)
    later = world.model([(1, 2, 0, 10_000)])
    world.run(later, words(0, 10), fee)
    [pooled] = world.events("Pooled")
    assert world.balance(OWNER) == part // 5
    assert world.balance(ALICE) == part + (part - part // 5) // 10
    assert (pooled["version"], pooled["amount"]) == (2, part - part // 5 - (part - part // 5) // 10)


@pytest.mark.parametrize(
    ("changes", "name", "about"),
    [
        ({"tokenizer": OTHER_TOKENIZER}, "InvalidParameter", "tokenizer"),
        ({"min_span": 9}, "InvalidParameter", "minSpan"),
        ({"commit_only": True, "min_span": 16}, "InvalidParameter", "minSpan"),
        ({"uri": "x" * 1_025}, "TooLong", "uri"),
        ({"curator_bps": 2_001}, "InvalidParameter", "curatorBps"),
        ({"use_mask": 32}, "InvalidParameter", "useMask"),
    ],
)
def test_what_never_changes_is_refused(ready: World, changes: dict[str, Any], name: str, about: str) -> None:
    with pytest.raises(Exception, match=name) as caught:
        ready.setDatanet(1, params(**changes))
    assert caught.value.values[0] == about  # type: ignore[attr-defined]  # a Reverted


def test_uses_once_consented_to_are_not_widened(ready: World) -> None:
    ready.setDatanet(1, params(use_mask=4))
    refused(ready, "InvalidParameter", lambda: ready.setDatanet(1, params(use_mask=5)))


def test_a_shorter_review_time_moves_no_deadline_back(ready: World) -> None:
    """Else content could be appended to what a published version already counts as accepted."""
    world = ready
    late = world.give(1, BOB, words(100, 20))
    world.setDatanet(1, params(review_seconds=0))
    world.appendContent(late, words(200, 20).encode(), sender=BOB)
    world.chain.next_block()
    world.publish(1)
    model = world.model([(1, 2, 0, 10_000)])
    assert world.trace(model, words(100, 20).encode())[0] == ()
    world.appendContent(late, words(300, 20).encode(), sender=BOB)


@pytest.mark.parametrize("model", [False, True])
def test_ownership_moves_in_two_steps(ready: World, model: bool) -> None:
    world, owner = ready, DEV if model else OWNER
    transfer, accept = (
        (world.transferModel, world.acceptModel) if model else (world.transferDatanet, world.acceptDatanet)
    )
    show = world.getModel if model else world.getDatanet
    transfer(1, BOB, sender=owner)
    assert world.events("TransferOffered") == [{"model": model, "id": 1, "to": "0x" + BOB.hex()}]
    assert show(1)[0] == "0x" + owner.hex(), "an offer changes nothing yet"
    refused(world, "NothingOffered", lambda: accept(1, sender=CAROL), 1, "0x" + CAROL.hex())
    transfer(1, CAROL, sender=owner)
    refused(world, "NothingOffered", lambda: accept(1, sender=BOB))
    accept(1, sender=CAROL)
    assert world.events("Transferred") == [{"model": model, "id": 1, "to": "0x" + CAROL.hex()}]
    assert show(1)[0] == "0x" + CAROL.hex()
    refused(world, "NothingOffered", lambda: accept(1, sender=CAROL))
    refused(world, "NotAllowed", lambda: transfer(1, BOB, sender=owner))
    transfer(1, BOB, sender=CAROL)
    transfer(1, NOBODY, sender=CAROL)
    refused(world, "NothingOffered", lambda: accept(1, sender=BOB))


def test_fees_go_to_the_new_owners(ready: World) -> None:
    world = ready
    world.setDatanet(1, params(curator_bps=1_000))
    world.setUses(1, [(1, world.publish(1), 0, 10_000)], sender=DEV)
    world.setModel(1, NOBODY, 0, WEI_PER_OPEN, True, sender=DEV)
    world.transferDatanet(1, BOB)
    world.acceptDatanet(1, sender=BOB)
    world.transferModel(1, CAROL, sender=DEV)
    world.acceptModel(1, sender=CAROL)
    world.run(1, words(0, 10), WEI_PER_OPEN)
    assert world.balance(OWNER) == world.balance(DEV) == 0
    assert world.balance(BOB) > 0 and world.balance(CAROL) > 0


def test_uses_can_be_named_anew(ready: World) -> None:
    world = ready
    second = world.datanet()
    world.accept(world.give(second, BOB, words(500, 40)))
    assert world.publishVersion(second) == 1
    both = [(second, 1, 1, 4_000), (1, 1, 0, 6_000)]
    refused(world, "VersionNotFinal", lambda: world.setUses(1, both, sender=DEV), second, 1)
    world.chain.next_block()
    for uses, name in (
        ([], "InvalidParameter"),
        ([(1, 1, 0, 9_999)], "InvalidParameter"),
        ([(1, 2, 0, 10_000)], "UnknownVersion"),
        ([(7, 1, 0, 10_000)], "UnknownDatanet"),
    ):
        refused(world, name, lambda uses=uses: world.setUses(1, uses, sender=DEV))
    world.setUses(1, both, sender=DEV)
    assert world.getUses(1, 0) == (tuple(both), 0)
    assert dict(world.trace(1, words(500, 10).encode())[0]) == {2: 10}
    world.setUses(1, [(second, 1, 1, 10_000)], sender=DEV)
    assert world.getUses(1, 0) == (((second, 1, 1, 10_000),), 0)
    assert world.trace(1, words(0, 10).encode())[0] == ()
    other = world.datanet(tokenizer=OTHER_TOKENIZER)
    world.publish(other)
    refused(world, "InvalidParameter", lambda: world.setUses(1, [(other, 1, 0, 10_000)], sender=DEV))


def test_a_transfer_leaves_the_signer_as_it_is(ready: World) -> None:
    ready.setModel(1, ALICE, 0, 0, True, sender=DEV)
    ready.transferModel(1, BOB, sender=DEV)
    ready.acceptModel(1, sender=BOB)
    assert ready.getModel(1)[1] == "0x" + ALICE.hex()
    refused(ready, "SignatureExpired", lambda: ready.run(1, words(0, 10), 0, sender=USER))
    assert ready.getModel(1)[0] == "0x" + BOB.hex()


def test_a_datanet_has_no_more_versions_than_the_chain_allows() -> None:
    world = World(versions_max=2)
    world.datanet()
    world.publish(1)
    world.publish(1)
    refused(world, "TooLong", lambda: world.publishVersion(1), "versions", 3, 2)


def test_a_weight_changes_so_often_and_then_can_only_end() -> None:
    """Else an owner could change a quality until no erasure fits a transaction any more."""
    world = World(pool_steps_max=3)
    world.datanet()
    world.accept(world.give(1, ALICE, words(0, 20)))
    world.publish(1)
    world.review(1, True, 5_000)
    world.review(1, True, 6_000)
    world.publish(1)
    world.review(1, True, 6_000)
    refused(world, "TooLong", lambda: world.review(1, True, 7_000), "changes of weight", 3, 2)
    world.withdrawConsent(1, 1, sender=ALICE)
    world.publish(1)
    assert [world.getTerms(1, version)[2] for version in (1, 2, 3)] == [13 * 10_000, 13 * 6_000, 0]
    world.erase(1, sender=ALICE)
    assert [world.getTerms(1, version)[2] for version in (1, 2, 3)] == [0, 0, 0]

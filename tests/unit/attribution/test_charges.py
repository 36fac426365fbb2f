"""What native methods charge beyond their entry price: each charge by its reason and to the gas, whatever else a call costs."""

from collections.abc import Callable

import pytest

from attribution_precompile import gas
from attribution_precompile.declarations import Method
from evm_runtime.native import Frame
from genesis.chain_spec import AttributionParams
from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.test_signature import OUTPUT, sign
from tests.unit.attribution.test_signature import SIGNER as MODEL_SIGNER
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, NONE, USER, ZERO32, World, words

PRICE = 1_000 * WEI_PER_OPEN
FEE = 100 * WEI_PER_OPEN
Charges = Callable[[], dict[str, list[int]]]


@pytest.fixture
def charges(monkeypatch: pytest.MonkeyPatch) -> Charges:
    """What has been charged since the last question, by reason."""
    seen: dict[str, list[int]] = {}
    charge = Frame.charge

    def noting(frame: Frame, amount: int, reason: str) -> None:
        seen.setdefault(reason, []).append(amount)
        charge(frame, amount, reason)

    def asked() -> dict[str, list[int]]:
        found = dict(seen)
        seen.clear()
        return found

    monkeypatch.setattr(Frame, "charge", noting)
    return asked


@pytest.fixture
def world() -> World:
    world = World()
    world.datanet()
    for first, who in ((0, ALICE), (20, BOB), (40, CAROL)):
        world.accept(world.give(1, who, words(first, 20)))
    world.publish(1)
    return world


def test_a_review_pays_for_the_windows_that_it_counts(charges: Charges) -> None:
    world = World()
    world.datanet()
    world.give(1, ALICE, words(0, 37))
    world.chain.next_block()
    charges()
    world.review(1, True, 5_000)
    assert charges()["counting owned windows"] == [gas.SEGMENT + gas.REVIEW_TOKEN * 37]
    world.chain.next_block()
    world.review(1, True, 6_000)
    assert "counting owned windows" not in charges(), "they are counted once"


def test_an_inference_pays_for_matching_royalties_and_payees(world: World, charges: Charges) -> None:
    uses = [(1, 1, 0, 10_000)]
    roots = [world.model(uses, sender=BOB) for _ in range(3)]
    leaf = world.model(uses, output_price=PRICE, parents=[(root, 10) for root in roots])
    charges()
    world.run(leaf, words(0, 60), FEE)
    found = charges()
    assert found["matching"] == [gas.MATCH]
    assert found["royalties"] == [gas.ROYALTY * 3]
    assert found["settlement"] == [gas.PAYEE * 3]
    world.run(leaf, words(0, 10), FEE)
    assert charges()["settlement"] == [gas.PAYEE * 1]
    world.run(leaf, words(900, 10), FEE)
    assert charges()["settlement"] == [0], "nobody is scored"


def test_no_more_payees_are_paid_for_than_are_paid(charges: Charges) -> None:
    world = World(payees_max=2)
    world.datanet()
    for first, who in ((0, ALICE), (20, BOB), (40, CAROL)):
        world.accept(world.give(1, who, words(first, 20)))
    world.publish(1)
    world.model([(1, 1, 0, 10_000)], output_price=PRICE)
    charges()
    world.run(1, words(0, 60), FEE)
    assert len(world.events("Attributed")) == 2 and charges()["settlement"] == [gas.PAYEE * 2]


def test_a_signature_is_paid_for_where_a_model_names_a_signer(charges: Charges) -> None:
    world = World()
    world.datanet()
    world.accept(world.give(1, ALICE, words(0, 40)))
    world.publish(1)
    world.model([(1, 1, 0, 10_000)], signer=bytes.fromhex(MODEL_SIGNER.address[2:]))
    charges()
    world.run(1, OUTPUT, 0, (0, 2**63, sign()), input_tokens=3)
    assert charges()["signature"] == [gas.SIGNATURE]
    world.model([(1, 1, 0, 10_000)])
    world.run(2, OUTPUT, 0)
    assert "signature" not in charges()


def test_a_challenge_pays_for_the_tokens_of_both_passages(charges: Charges) -> None:
    world = World()
    world.datanet()
    world.give(1, ALICE, words(0, 120))
    world.give(1, BOB, "well " + words(0, 120))
    world.chain.next_block(AttributionParams().reveal_seconds)
    charges()
    world.challengePriority(2, 1, 1, 1, 0, 0, sender=ALICE)
    assert sorted(charges()["comparing passages"]) == [
        gas.SEGMENT + gas.CHALLENGE_TOKEN * 120,
        gas.SEGMENT + gas.CHALLENGE_TOKEN * 121,
    ]


def test_vectors_are_paid_for_by_number_and_products_by_what_a_version_has(charges: Charges) -> None:
    world = World()
    world.datanet()
    for first, who in ((0, ALICE), (20, BOB), (40, CAROL)):
        contribution = world.give(1, who, words(first, 20))
        charges()
        world.commitVectors(contribution, 4, bytes(4 * 7), sender=who)
        assert charges()["vectors"] == [gas.VECTOR * 7]
        world.accept(contribution)
    world.publish(1)
    world.model([(1, 1, 2, 10_000)], kind=Method.DOT, sender=DEV)
    world.withdrawConsent(1, 31, sender=ALICE)
    charges()
    world.inferVector(1, 0, ZERO32, 0, 5, b"\x01" * 4, NONE, sender=USER)
    assert charges()["products"] == [gas.products_gas(21, 4)]

"""Each way to be refused: a clear error, and nothing changed. Through py-evm."""

from typing import Any

import pytest

from attribution_precompile.declarations import ERRORS
from attribution_precompile.rules.tokens import WORDS_V1
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, UNHELD_ADDRESSES
from genesis.primitives import ZERO_ADDRESS
from tests.unit.attribution.world import (
    ADMIN,
    ALICE,
    BOB,
    CURATOR,
    DEV,
    NONE,
    REVIEW_SECONDS,
    USER,
    ZERO32,
    World,
    params,
    words,
)  # fmt: skip
from tests.unit.native.harness import Reverted, address

NOBODY = bytes(20)
OTHER_TOKENIZER = b"\x09" * 32


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ready(world: World) -> World:
    """Datanet 1 with contribution 1 in version 1, model 1 on it, priced 1 OPEN per 1000 output tokens."""
    datanet = world.datanet()
    world.accept(world.give(datanet, ALICE, words(0, 40)))
    world.publish(datanet)
    world.model([(datanet, 1, 0, 10_000)], output_price=10**18)
    return world


def refused(world: World, name: str, act: Any, *values: Any) -> None:
    storage_root = world.chain.state.make_state_root()
    blobs = dict(world.chain.state.blobs)
    with pytest.raises(Reverted) as caught:
        act()
    assert caught.value.name == name, caught.value
    if values:
        assert caught.value.values == values
    assert world.chain.state.make_state_root() == storage_root
    assert world.chain.state.blobs == blobs


@pytest.mark.parametrize(
    ("changes", "name", "about"),
    [
        ({"uri": "x" * 1_025}, "TooLong", "uri"),
        ({"commit_only": True, "min_span": 15}, "InvalidParameter", "minSpan"),
        ({"tokenizer": ZERO32}, "InvalidParameter", "tokenizer"),
        ({"min_span": 7}, "InvalidParameter", "minSpan"),
        ({"min_span": 33}, "InvalidParameter", "minSpan"),
        ({"use_mask": 32}, "InvalidParameter", "useMask"),
        ({"curator_bps": 2_001}, "InvalidParameter", "curatorBps"),
        ({"soft_cap_bps": 0}, "InvalidParameter", "softCapBps"),
        ({"soft_cap_bps": 999}, "InvalidParameter", "softCapBps"),
        ({"soft_cap_bps": 10_001}, "InvalidParameter", "softCapBps"),
        ({"review_seconds": 365 * 24 * 3_600 + 1}, "InvalidParameter", "reviewSeconds"),
    ],
)
def test_datanet_parameters(world: World, changes: dict[str, Any], name: str, about: str) -> None:
    with pytest.raises(Reverted) as caught:
        world.createDatanet(params(**changes))
    assert (caught.value.name, caught.value.values[0]) == (name, about)


def test_unknown_ids(ready: World) -> None:
    world = ready
    acts = {
        "UnknownDatanet": [
            lambda: world.give(9, ALICE, words(0, 9)), lambda: world.setRole(9, ALICE, 1), lambda: world.publishVersion(9),
            lambda: world.allowModel(9, 1, True), lambda: world.getDatanet(9), lambda: world.getDatanet(0),
            lambda: world.setDatanet(9, params()), lambda: world.transferDatanet(9, BOB),
            lambda: world.acceptDatanet(9), lambda: world.getVersion(9, 1), lambda: world.model([(9, 1, 0, 10_000)]),
        ],
        "UnknownContribution": [
            lambda: world.appendContent(9, b"x"), lambda: world.review(9, True, 0), lambda: world.getContribution(9),
            lambda: world.setPayout(9, ALICE), lambda: world.claimPool([1, 9]), lambda: world.finalizeContent(9),
            lambda: world.withdrawBond(9), lambda: world.withdrawConsent(9, 1), lambda: world.erase(9),
        ],
        "UnknownVersion": [lambda: world.getVersion(1, 2), lambda: world.model([(1, 2, 0, 10_000)])],
        "UnknownModel": [
            lambda: world.quote(9, 1, 1), lambda: world.trace(9, b"x"), lambda: world.run(9, "x", 0),
            lambda: world.getModel(9), lambda: world.getUses(9, 0), lambda: world.allowModel(1, 9, True),
            lambda: world.setModel(9, NOBODY, 0, 0, True), lambda: world.setUses(9, []),
            lambda: world.transferModel(9, BOB), lambda: world.acceptModel(9),
            lambda: world.trainingSummary(9, 0), lambda: world.forgetSet(9, 0),
            lambda: world.getRoyalties(9), lambda: world.model([(1, 1, 0, 10_000)], parents=[(9, 1)]),
            lambda: world.registerAgent("", ALICE, 1, [1, 9]),
        ],
        "UnknownAgent": [
            lambda: world.getAgent(9), lambda: world.setAgent(9, ALICE, 0, []), lambda: world.depositAgent(9, value=1),
            lambda: world.withdrawAgent(9, 0), lambda: world.infer((1, 9, ZERO32, 0, b"x", NONE)),
        ],
        "UnknownReceipt": [lambda: world.getReceipt(ZERO32)],
    }  # fmt: skip
    for name, attempts in acts.items():
        for act in attempts:
            refused(world, name, act)


@pytest.mark.parametrize("nobody", [NOBODY, ATTRIBUTION_ADDRESS, STAKING_ADDRESS, address(1), address(0x100)])
def test_nothing_is_owed_or_sent_to_an_address_that_nobody_holds(ready: World, nobody: bytes) -> None:
    """Wei credited to a native contract stayed there for ever."""
    world = ready
    world.datanet(commit_only=True, min_span=16)
    for act in (
        lambda: world.contribute(1, words(0, 9).encode(), ZERO32, nobody, ZERO32, sender=BOB),
        lambda: world.contributeCommitted(2, b"\x01" * 32, 16, bytes(16), nobody, ZERO32, sender=BOB),
        lambda: world.setPayout(1, nobody, sender=ALICE),
        lambda: world.claim(nobody, sender=ALICE),
    ):
        refused(world, "InvalidParameter", act)


def test_unheld_addresses_are_those_that_the_runtime_answers_at() -> None:
    from evm_runtime.hardforks import FORKS

    answering = {at for fork in FORKS.values() for at in fork.precompiles}
    assert answering | {ZERO_ADDRESS, ATTRIBUTION_ADDRESS, STAKING_ADDRESS} == UNHELD_ADDRESSES


def test_roles(ready: World) -> None:
    world = ready
    for act in (
        lambda: world.publishVersion(1, sender=BOB),
        lambda: world.setRole(1, BOB, 1, sender=BOB),
        lambda: world.allowModel(1, 1, True, sender=BOB),
        lambda: world.setModel(1, NOBODY, 0, 0, True, sender=BOB),
        lambda: world.setPayout(1, BOB, sender=BOB),
        lambda: world.setDatanet(1, params(), sender=BOB),
        lambda: world.transferDatanet(1, BOB, sender=BOB),
        lambda: world.setUses(1, [(1, 1, 0, 10_000)], sender=BOB),
        lambda: world.transferModel(1, BOB, sender=BOB),
        lambda: world.finalizeContent(1, sender=BOB),
        lambda: world.withdrawBond(1, sender=BOB),
        lambda: world.withdrawConsent(1, 1, sender=BOB),
        lambda: world.erase(1, sender=BOB),
        lambda: world.appendContent(1, words(0, 9).encode(), sender=BOB),
    ):
        refused(world, "NotAllowed", act)
    world.setRole(1, CURATOR, 1)
    world.setRole(1, ADMIN, 2)
    world.publishVersion(1, sender=CURATOR)
    refused(world, "NotAllowed", lambda: world.allowModel(1, 1, True, sender=CURATOR))
    refused(world, "NotAllowed", lambda: world.setRole(1, BOB, 1, sender=CURATOR))
    world.allowModel(1, 1, True, sender=ADMIN)
    world.setRole(1, BOB, 1, sender=ADMIN)
    refused(world, "NotAllowed", lambda: world.setRole(1, BOB, 2, sender=ADMIN))
    refused(world, "NotAllowed", lambda: world.setRole(1, ADMIN, 0, sender=ADMIN))
    world.setRole(1, ADMIN, 0)
    refused(world, "NotAllowed", lambda: world.allowModel(1, 1, True, sender=ADMIN))
    refused(world, "InvalidParameter", lambda: world.setRole(1, NOBODY, 1))
    refused(world, "MalformedInput", lambda: world.setRole(1, BOB, 3))


def test_content(world: World) -> None:
    text, binary = world.datanet(), world.datanet(tokenizer=OTHER_TOKENIZER)
    for datanet, content, name in (
        (text, b"", "TooShort"),
        (text, words(0, 7).encode(), "TooShort"),
        (text, b"\xff" * 100, "InvalidContent"),
        (text, b"\xed\xa0\x80" * 10, "InvalidContent"),
        (text, b"a" * (24 * 1024 + 1), "TooLong"),
        (binary, bytes(33), "InvalidContent"),
        (binary, bytes(28), "TooShort"),
    ):
        refused(world, name, lambda c=content, d=datanet: world.give(d, ALICE, c))
    good = words(0, 8).encode()
    refused(world, "InvalidParameter", lambda: world.contribute(text, good, ZERO32, NOBODY, ZERO32))
    contribution = world.give(text, ALICE, good)
    refused(world, "InvalidParameter", lambda: world.setPayout(contribution, NOBODY, sender=ALICE))
    refused(world, "TooShort", lambda: world.appendContent(contribution, b"one two", sender=ALICE))


def test_review_and_append(world: World) -> None:
    datanet = world.datanet()
    first = world.give(datanet, ALICE, words(0, 20))
    refused(world, "ReviewTooEarly", lambda: world.review(first, True, 1), first, world.chain.number)
    world.chain.next_block()
    world.appendContent(first, words(50, 20).encode(), sender=ALICE)
    refused(world, "ReviewTooEarly", lambda: world.review(first, True, 1))
    world.chain.next_block(REVIEW_SECONDS - 1)
    refused(world, "NotAllowed", lambda: world.review(first, True, 1, sender=BOB))
    refused(world, "InvalidParameter", lambda: world.review(first, True, 10_001))
    refused(world, "InvalidParameter", lambda: world.review(first, False, 1))
    world.chain.next_block(1)
    refused(world, "DeadlinePassed", lambda: world.appendContent(first, words(0, 8).encode(), sender=ALICE))
    refused(world, "DeadlinePassed", lambda: world.review(first, False, 0))
    world.review(first, True, 7)
    assert world.getContribution(first)[4:] == (40, 26, 7, 1)
    for act in (
        lambda: world.review(first, False, 0),
        lambda: world.appendContent(first, words(0, 8).encode(), sender=ALICE),
    ):
        refused(world, "WrongStatus", act, first, 1)
    second = world.give(datanet, BOB, words(90, 20))
    world.chain.next_block()
    world.review(second, False, 0)
    refused(world, "WrongStatus", lambda: world.appendContent(second, words(0, 8).encode(), sender=BOB), second, 2)


def test_models(ready: World) -> None:
    world = ready
    other = world.datanet(tokenizer=OTHER_TOKENIZER)
    world.publish(other)
    register = lambda *a: world.registerModel(*a, sender=DEV)  # noqa: E731
    full = [(1, 1, 0, 10_000)]
    cases = [
        (("u" * 1_025, ZERO32, 0, NOBODY, 0, 0, 0, [], full), "TooLong"),
        (("", ZERO32, 0, NOBODY, 0, 0, 5_001, [], full), "InvalidParameter"),
        (("", ZERO32, 0, NOBODY, 0, 0, 0, [], []), "InvalidParameter"),
        (("", ZERO32, 0, NOBODY, 0, 0, 0, [], [(1, 1, 0, 9_999)]), "InvalidParameter"),
        (("", ZERO32, 0, NOBODY, 0, 0, 0, [], [(1, 1, 0, 10_000), (1, 1, 0, 0)]), "InvalidParameter"),
        (("", ZERO32, 0, NOBODY, 0, 0, 0, [], [(1, 1, 3, 10_000)]), "InvalidParameter"),
        (("", ZERO32, 0, NOBODY, 0, 0, 0, [], [(1, 1, 0, 5_000), (other, 1, 0, 5_000)]), "InvalidParameter"),
        (("", ZERO32, 0, NOBODY, 0, 0, 0, [], [(1, 1, 0, 588)] * 17), "TooLong"),
    ]
    for arguments, name in cases:
        refused(world, name, lambda a=arguments: register(*a))


def test_inference(ready: World) -> None:
    world = ready
    output = words(0, 10)
    fee = world.quote(1, 0, 10)
    assert fee == 10**16
    refused(world, "FeeTooLow", lambda: world.run(1, output, fee - 1), fee, fee - 1)
    refused(world, "TooShort", lambda: world.run(1, " ,.!", fee))
    refused(world, "TooShort", lambda: world.run(1, b"", fee))
    refused(world, "InvalidContent", lambda: world.run(1, b"\xc0\x80", fee))
    refused(world, "TooLong", lambda: world.run(1, b"a" * (24 * 1024 + 1), fee))
    refused(world, "TooLong", lambda: world.run(1, b"a " * 8_193, fee))
    refused(world, "TooShort", lambda: world.trace(1, b""))
    refused(world, "BadSignature", lambda: world.run(1, output, fee, signed=(0, 0, b"x")))
    batch = [(1, 0, ZERO32, 0, output.encode(), NONE)] * 3
    refused(world, "FeeTooLow", lambda: world.inferBatch(batch, value=3 * fee - 1, sender=USER), fee, fee - 1)
    assert len(set(world.inferBatch(batch, value=3 * fee + 5, sender=USER))) == 3
    assert world.balance(USER) == 5
    world.setModel(1, NOBODY, 0, 0, False, sender=DEV)
    refused(world, "ModelInactive", lambda: world.run(1, output, fee))


def test_a_closed_datanet_admits_models_by_list(world: World) -> None:
    datanet = world.datanet(open_to_models=False, min_fee_per_1k=10**18)
    world.accept(world.give(datanet, ALICE, words(0, 40)))
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    fee = world.quote(model, 5, 10)
    assert fee == 10**16, "the floor holds though the model is free"
    refused(world, "ModelNotAllowed", lambda: world.run(model, words(0, 10), fee), datanet, model)
    world.allowModel(datanet, model, True)
    world.run(model, words(0, 10), fee)
    world.allowModel(datanet, model, False)
    refused(world, "ModelNotAllowed", lambda: world.run(model, words(0, 10), fee))


def test_claims(ready: World) -> None:
    world = ready
    refused(world, "InvalidParameter", lambda: world.claim(NOBODY))
    refused(world, "InvalidParameter", lambda: world.claim(world.contract.address))
    refused(world, "NotPayable", lambda: world.claim(BOB, value=1))
    assert world.claim(BOB, sender=BOB) == 0
    assert world.events("Claimed") == []


def test_every_declared_error_is_raised_somewhere() -> None:
    """The tests of this folder name each custom error at least once."""
    from pathlib import Path

    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [e.signature.name for e in ERRORS if f'"{e.signature.name}"' not in text] == []


def test_words_v1_is_the_name_tools_expect() -> None:
    assert b"words-v1" + bytes(24) == WORDS_V1

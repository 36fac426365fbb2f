"""DOT: exact int8 products, copies worth nothing, versions as prefixes; against an obvious reference."""

import random

import pytest
from eth_account.messages import encode_typed_data

from attribution_precompile.declarations import Method
from evm_runtime.native import PlainSlots
from genesis.errors import StorageCorrupt
from genesis.primitives import WEI_PER_OPEN, keccak256
from tests.unit.attribution.redacting import drop
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.test_signature import SIGNER, typed_data
from tests.unit.attribution.vector_history import VectorHistory
from tests.unit.attribution.world import ALICE, BOB, CAROL, COUNCIL, DEV, NONE, TREASURY, USER, ZERO32, World, words
from tests.unit.native.harness import Reverted

DIM = 4
PRICE = 1_000 * WEI_PER_OPEN


def int8s(*components: int) -> bytes:
    return bytes(component % 256 for component in components)


def give(world: World, who: bytes, first: int, *vectors: tuple[int, ...], datanet: int = 1) -> int:
    contribution = world.give(datanet, who, words(first, 10))  # type: ignore[arg-type]  # an address
    if vectors:
        dim = len(vectors[0])
        world.commitVectors(contribution, dim, b"".join(int8s(*vector) for vector in vectors), sender=who)
    return contribution


@pytest.fixture
def world() -> World:
    """Version 1: Alice along x, Bob along y and z, Carol against x; a model on it by DOT."""
    world = World()
    world.datanet()
    for contribution in (
        give(world, ALICE, 0, (100, 0, 0, 0)),
        give(world, BOB, 100, (0, 50, 0, 0), (0, 0, 60, 0)),
        give(world, CAROL, 200, (-100, 0, 0, 0)),
    ):
        world.accept(contribution)
    world.publish(1)
    world.model([(1, 1, 2, 10_000)], output_price=PRICE, kind=Method.DOT)
    return world


def scores(world: World, *query: int, model: int = 1) -> dict[int, int]:
    return dict(world.traceVector(model, int8s(*query)))


def pay(world: World, query: bytes, value: int = 40 * WEI_PER_OPEN, **options: object) -> bytes:
    sender = options.pop("sender", USER)
    signed = options.pop("signed", NONE)
    return bytes(world.inferVector(1, 0, ZERO32, 0, 40, query, signed, sender=sender, value=value))


def test_the_best_vector_of_each_contribution_counts_if_its_product_is_positive(world: World) -> None:
    assert scores(world, 2, 1, 0, 0) == {1: 200, 2: 50}
    assert scores(world, -2, -1, 3, 0) == {2: 180, 3: 200}
    assert scores(world, 0, 0, 0, 127) == {}
    assert list(scores(world, 1, 1, 2, 0).items()) == [(2, 120), (1, 100)]


def test_products_are_exact_at_the_edges_of_the_types() -> None:
    dim, world = 4_096, World()
    world.datanet()
    lowest = give(world, ALICE, 0, (-128,) * dim)
    world.accept(lowest)
    world.publish(1)
    world.model([(1, 1, 2, 10_000)], kind=Method.DOT)
    assert scores(world, *(-128,) * dim) == {1: 128 * 128 * dim}


def test_the_contributors_part_is_shared_by_the_products(world: World) -> None:
    receipt = pay(world, int8s(2, 1, 0, 0))
    assert [e["weight"] for e in world.events("Attributed")] == [200, 50]
    part = 40 * WEI_PER_OPEN * 5_500 // 10_000
    assert (world.balance(ALICE), world.balance(BOB)) == (part * 200 // 250, part * 50 // 250)
    assert world.balance(USER) == 0 and world.balance(TREASURY) == 40 * WEI_PER_OPEN * 200 // 10_000
    record = world.getReceipt(receipt)
    assert (record[0], record[5], record[6]) == (1, 40, 0)
    nobody = pay(world, int8s(0, 0, 0, 1))
    assert world.events("Pooled")[0]["amount"] == part
    assert world.getReceipt(nobody)[6] == 40


def test_a_copy_of_a_vector_earns_nothing_also_if_accepted_first() -> None:
    world = World()
    world.datanet()
    author, thief = give(world, ALICE, 0, (90, 1, 2, 3)), give(world, BOB, 50, (90, 1, 2, 3), (0, 9, 0, 0))
    world.accept(thief)
    world.publish(1)
    world.accept(author)
    world.publish(1)
    for version, expected in ((1, {thief: 90}), (2, {author: 90})):
        model = world.model([(1, version, 2, 10_000)], kind=Method.DOT)
        assert scores(world, 1, 0, 0, 0, model=model) == expected
        assert scores(world, 0, 1, 0, 0, model=model)[thief] == 9


def test_who_leaves_scores_no_more_and_who_dies_leaves_the_vector_to_the_next() -> None:
    world = World()
    world.datanet()
    gone, dead = give(world, ALICE, 0, (90, 0, 0, 0)), give(world, BOB, 50, (0, 90, 0, 0))
    heir = give(world, CAROL, 90, (90, 0, 0, 0), (0, 90, 0, 0))
    for contribution in (gone, dead, heir):
        world.accept(contribution)
    world.publish(1)
    world.withdrawConsent(gone, 31, sender=ALICE)
    world.erase(dead, sender=BOB)
    world.publish(1)
    models = [world.model([(1, version, 2, 10_000)], kind=Method.DOT) for version in (1, 2)]
    assert [scores(world, 1, 0, 0, 0, model=m) for m in models] == [{gone: 90}, {heir: 90}]
    world.chain.next_block()
    assert [scores(world, 0, 1, 0, 0, model=m) for m in models] == [{heir: 90}, {heir: 90}]


def test_what_is_finalized_takes_no_vectors_either() -> None:
    """They start the time for review again: a review could be kept away for ever."""
    from tests.unit.attribution.test_commit import SALT, promise

    world, text = World(), words(0, 20).encode()
    world.datanet()
    plain = give(world, ALICE, 0, (1, 0, 0, 0))
    world.finalizeContent(plain, sender=ALICE)
    world.commit(promise(BOB, 1, [text]), sender=BOB)
    world.commit(promise(CAROL, 1, [text, text]), sender=CAROL)
    world.chain.next_block()
    once = world.contribute(1, text, ZERO32, BOB, SALT, sender=BOB)
    held = world.contribute(1, text, ZERO32, CAROL, SALT, sender=CAROL)
    for contribution, who in ((once, BOB), (held, CAROL)):
        world.commitVectors(contribution, 4, bytes(4), sender=who)
    world.appendContent(held, text, sender=CAROL)
    world.finalizeContent(once, sender=BOB)
    world.finalizeContent(held, sender=CAROL)
    for contribution, who in ((plain, ALICE), (once, BOB), (held, CAROL)):
        refused(
            world, "Complete", lambda c=contribution, w=who: world.commitVectors(c, 4, bytes(4), sender=w), contribution
        )  # type: ignore[misc]
        refused(world, "Complete", lambda c=contribution, w=who: world.finalizeContent(c, sender=w), contribution)  # type: ignore[misc]


def test_vectors_of_what_is_held_stretch_no_commitment() -> None:
    from tests.unit.attribution.test_commit import EXPIRY, SALT

    world = World()
    world.datanet(review_seconds=10 * EXPIRY)
    held = world.contribute(1, words(0, 20).encode(), ZERO32, ALICE, SALT, sender=ALICE)
    world.chain.next_block(EXPIRY - 1)
    world.commitVectors(held, 4, bytes(4), sender=ALICE)
    world.chain.next_block(1)
    refused(world, "DeadlinePassed", lambda: world.commitVectors(held, 4, bytes(4), sender=ALICE))


def test_the_first_accepted_vectors_fix_the_dimension_and_unreviewed_ones_do_not_count() -> None:
    world = World()
    world.datanet(review_seconds=9)
    wide = give(world, ALICE, 300, (1, 2, 3, 4, 5))
    timed_out = give(world, CAROL, 500, (9, 9, 9, 9))
    world.accept(give(world, BOB, 600, (1, 1, 1, 1)))
    world.accept(wide)
    refused(world, "InvalidParameter", lambda: world.commitVectors(timed_out, 5, bytes(5), sender=CAROL))
    world.chain.next_block(9)
    refused(world, "DeadlinePassed", lambda: world.commitVectors(timed_out, 4, bytes(4), sender=CAROL))
    world.publish(1)
    world.review(timed_out, True, 1)
    world.publish(1)
    models = [world.model([(1, version, 2, 10_000)], kind=Method.DOT) for version in (1, 2)]
    assert [scores(world, 1, 1, 1, 1, model=model) for model in models] == [{3: 4}, {3: 4, timed_out: 36}]


def test_what_is_refused(world: World) -> None:
    fresh = give(world, ALICE, 700)
    cases = [
        ("NotAllowed", lambda: world.commitVectors(fresh, 4, bytes(4), sender=BOB)),
        ("WrongStatus", lambda: world.commitVectors(1, 4, bytes(4), sender=ALICE)),
        ("InvalidParameter", lambda: world.commitVectors(fresh, 0, bytes(4), sender=ALICE)),
        ("InvalidParameter", lambda: world.commitVectors(fresh, 4, b"", sender=ALICE)),
        ("InvalidParameter", lambda: world.commitVectors(fresh, 4, bytes(6), sender=ALICE)),
        ("InvalidParameter", lambda: world.commitVectors(fresh, 5, bytes(5), sender=ALICE)),
        ("InvalidParameter", lambda: world.commitVectors(fresh, 4_097, bytes(4_097), sender=ALICE)),
        ("TooLong", lambda: world.commitVectors(fresh, 4, bytes(24 * 1024 + 4), sender=ALICE)),
        ("InvalidParameter", lambda: world.traceVector(1, bytes(5))),
        ("InvalidParameter", lambda: pay(world, b"")),
        ("FeeTooLow", lambda: pay(world, bytes(4), 1)),
        ("TooShort", lambda: world.inferVector(1, 0, ZERO32, 0, 0, bytes(4), NONE, value=0)),
        ("WrongMethod", lambda: world.run(1, words(0, 10), 10**20)),
        ("WrongMethod", lambda: world.trace(1, words(0, 10).encode())),
    ]
    for name, act in cases:
        refused(world, name, act)


def test_the_signer_of_a_model_vouches_for_query_and_tokens(world: World) -> None:
    world.setModel(1, bytes.fromhex(SIGNER.address[2:]), 0, PRICE, True, sender=DEV)
    query = int8s(1, 1, 1, 1)

    def signature(query: bytes, nonce: int, tokens: int = 40) -> tuple[int, int, bytes]:
        deadline = world.chain.time + 10
        message = {
            "modelId": 1, "payer": "0x" + USER.hex(), "ioHash": ZERO32, "inputTokens": 0, "outputTokens": tokens,
            "queryHash": keccak256(query), "nonce": nonce, "deadline": deadline,
        }  # fmt: skip
        kinds = ["uint64", "address", "bytes32", "uint32", "uint32", "bytes32", "uint256", "uint64"]
        fields = zip(message, kinds, strict=True)
        typed = typed_data()
        typed |= {"primaryType": "VectorInference", "message": message}
        typed["types"] = {
            "EIP712Domain": typed["types"]["EIP712Domain"],
            "VectorInference": [{"name": name, "type": kind} for name, kind in fields],
        }
        return nonce, deadline, bytes(SIGNER.sign_message(encode_typed_data(full_message=typed)).signature)

    refused(world, "SignatureExpired", lambda: pay(world, query))
    refused(world, "BadSignature", lambda: pay(world, query, signed=(1, 2**63, b"")))
    refused(world, "BadSignature", lambda: pay(world, query, signed=signature(query, 1, 39)))
    refused(world, "BadSignature", lambda: pay(world, int8s(1, 1, 1, 2), signed=signature(query, 1)))
    pay(world, query, signed=signature(query, 1))
    refused(world, "NonceUsed", lambda: pay(world, query, signed=signature(query, 1)))


def test_an_agent_pays_out_of_its_deposit(world: World) -> None:
    world.registerAgent("", USER, 10**24, [1], sender=CAROL)
    world.depositAgent(1, sender=CAROL, value=50 * WEI_PER_OPEN)
    arguments = (1, 1, ZERO32, 0, 40, int8s(2, 1, 0, 0), NONE)
    refused(world, "NotAllowed", lambda: world.inferVector(*arguments, sender=BOB))
    receipt = world.inferVector(*arguments, sender=USER)
    assert world.getAgent(1)[2] == 10 * WEI_PER_OPEN and world.getReceipt(receipt)[1:4:2] == (1, 40 * WEI_PER_OPEN)


def test_gas_is_paid_by_the_vectors_before_the_work(world: World) -> None:
    world.traceVector(1, bytes(4))
    few = world.last.gas_used  # type: ignore[union-attr]  # there was a call
    many = world.datanet()
    contribution = world.give(many, ALICE, words(900, 10))
    world.commitVectors(contribution, 4, bytes(4 * 6_000), sender=ALICE)
    world.accept(contribution)
    world.publish(many)
    model = world.model([(many, 1, 2, 10_000)], kind=Method.DOT)
    world.traceVector(model, bytes(4))
    assert world.last.gas_used - few == 41 * (6_000 - 4)  # type: ignore[union-attr]
    with pytest.raises(Reverted, match="OutOfGas"):
        world.traceVector(model, bytes(4), gas=200_000)


def test_an_index_built_anew_and_one_on_an_older_state_say_the_same(world: World) -> None:
    go_back = world.chain.checkpoint()
    before = scores(world, 2, 1, 0, 0)
    world.accept(give(world, ALICE, 800, (127, 127, 0, 0)))
    world.publish(1)
    model = world.model([(1, 2, 2, 10_000)], kind=Method.DOT)
    assert scores(world, 2, 1, 0, 0, model=model) == {1: 200, 2: 50, 4: 381}
    assert scores(world, 2, 1, 0, 0) == before
    world.contract.vectors = world.fresh_vectors()
    assert scores(world, 2, 1, 0, 0, model=model) == {1: 200, 2: 50, 4: 381}
    go_back()
    assert scores(world, 2, 1, 0, 0) == before


def test_an_index_is_warmed_by_what_earlier_blocks_published(world: World) -> None:
    world.publish(1)
    index = world.contract.vectors = world.fresh_vectors()
    while index.warm(world.chain.finals.tip(), 1):
        pass
    assert [len(bank._ids) for bank in index._gateway._live.values()] == [3]
    assert scores(world, 2, 1, 0, 0) == {1: 200, 2: 50}


def test_erased_vectors_can_be_dropped(world: World) -> None:
    world.erase(2, sender=COUNCIL)
    world.chain.next_block()
    copy = give(world, CAROL, 850, (0, 50, 0, 0))
    world.accept(copy)
    world.publish(1)
    model = world.model([(1, 2, 2, 10_000)], kind=Method.DOT)
    before = scores(world, 3, 3, 3, 3, model=model)
    assert before == {1: 300, copy: 150}, "the next of its equals counts in its place"
    state, contract = world.chain.state, world.contract
    assert len(drop(PlainSlots(state, contract.address), state, 2)) == 2, "text and vectors"
    contract.vectors = world.fresh_vectors()
    assert scores(world, 3, 3, 3, 3, model=model) == before
    state.blobs = {}
    contract.vectors = world.fresh_vectors()
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match="missing"):
            scores(world, 3, 3, 3, 3, model=model)


@pytest.mark.parametrize("seed", range(8))
def test_random_datanets_equal_an_obvious_reference(seed: int) -> None:
    """Vectors with many repetitions, contributions that come, go and die; every version against loops over plain lists."""
    history = VectorHistory(random.Random(seed))
    for _ in range(80):
        history.step()
    history.publish()
    for version in range(1, history.versions + 1):
        for _ in range(4):
            query = history.vector()
            assert history.chain_scores(version, query) == history.scores(version, query), f"seed {seed}"

"""ATTESTED: a bond, a root, a window for disputes, claims with proofs; and every wei accounted for."""

import functools
import random

import pytest

from attribution_precompile.declarations import Method
from attribution_precompile.rules.merkle import leaf_of, root_from, tree
from genesis.chain_spec import AttributionParams
from genesis.primitives import WEI_PER_OPEN, ZERO_ADDRESS, Hash32, keccak256
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import (
    ALICE,
    BOB,
    CAROL,
    COUNCIL,
    DEV,
    TREASURY,
    USER,
    ZERO32,
    World,
    params,
    words,
)

PARAMS = AttributionParams()
PRICE = 1_000 * WEI_PER_OPEN
FEE = 40 * WEI_PER_OPEN
PART = FEE * 5_500 // 10_000
SCORES = [(1, 600), (2, 300), (3, 100)]
EVIDENCE = b"\x0e" * 32


def leaves(scores: list[tuple[int, int]]) -> tuple[Hash32, list[list[Hash32]]]:
    return tree([leaf_of(*score) for score in scores])


def attest(world: World, scores: list[tuple[int, int]] = SCORES, total: int | None = None, **options: int) -> bytes:
    total = sum(weight for _, weight in scores) if total is None else total
    arguments = (1, options.get("agent", 0), ZERO32, 0, 40, leaves(scores)[0], total)
    return bytes(world.inferAttested(*arguments, sender=options.get("sender", DEV), value=options.get("value", FEE)))


def claim(world: World, receipt: bytes, place: int, scores: list[tuple[int, int]] = SCORES) -> None:
    world.claimScored(receipt, scores[place], leaves(scores)[1][place], sender=CAROL)


@pytest.fixture
def world() -> World:
    """Three contributions in version 1; model 1 is DEV's, by attested scores; DEV has bonded 100 OPEN."""
    world = World()
    world.datanet()
    for first, who in ((0, ALICE), (100, BOB), (200, CAROL)):
        world.accept(world.give(1, who, words(first, 30)))
    world.publish(1)
    world.model([(1, 1, 0, 10_000)], output_price=PRICE, kind=Method.ATTESTED)
    world.bond(sender=DEV, value=100 * WEI_PER_OPEN)
    return world


def final(world: World) -> None:
    world.chain.next_block(PARAMS.attest_seconds)


def test_scores_are_claimed_with_their_proofs_once_final(world: World) -> None:
    receipt = attest(world)
    assert world.events("Attested")[0]["held"] == PART
    locked = PART + PARAMS.attest_bond
    assert world.getBond(DEV) == (100 * WEI_PER_OPEN - locked, locked)
    assert world.claimable(DEV)[1] == 100 * WEI_PER_OPEN
    refused(world, "ScoresNotFinal", lambda: claim(world, receipt, 0))
    final(world)
    for place in (2, 0, 1):
        claim(world, receipt, place)
    assert [world.balance(who) for who in (ALICE, BOB, CAROL)] == [PART * 6 // 10, PART * 3 // 10, PART // 10]
    assert world.getBond(DEV) == (100 * WEI_PER_OPEN, 0), "free after the first claim"
    refused(world, "ScoreClaimed", lambda: claim(world, receipt, 0), receipt, 1)
    world.unbond(100 * WEI_PER_OPEN, sender=DEV)
    assert world.events("Unbonded")[0]["amount"] == 100 * WEI_PER_OPEN
    record = world.getReceipt(receipt)
    assert (record[5], record[6], record[7]) == (40, 0, leaves(SCORES)[0])
    attestation = world.getAttestation(receipt)
    assert attestation[0] == "0x" + DEV.hex() and attestation[3:8] == (1_000, 1_000, PART, 0, False)


def test_shares_sum_to_all_that_is_held_whatever_the_order() -> None:
    rng = random.Random(3)
    for _ in range(4):
        world = World()
        world.datanet()
        count = rng.randint(1, 9)
        for i in range(count):
            world.accept(world.give(1, ALICE, words(i * 50, 12)))
        world.publish(1)
        world.model([(1, 1, 0, 10_000)], output_price=1 + rng.randrange(10**9), kind=Method.ATTESTED)
        world.bond(sender=DEV, value=100 * WEI_PER_OPEN)
        scores = [(i + 1, rng.randint(1, 10**20)) for i in range(count)]
        receipt = attest(world, scores)
        held = world.getAttestation(receipt)[5]
        final(world)
        for place in rng.sample(range(count), count):
            claim(world, receipt, place, scores)
        assert world.balance(ALICE) == held


def test_who_may_attest_and_with_what_bond(world: World) -> None:
    role = "the model's signer, or its owner if it names none"
    refused(world, "NotAllowed", lambda: attest(world, sender=USER), "0x" + USER.hex(), role)
    refused(world, "FeeTooLow", lambda: attest(world, value=FEE - 1), FEE, FEE - 1)
    world.setModel(1, BOB, 0, PRICE, True, sender=DEV)
    refused(world, "NotAllowed", lambda: attest(world), "0x" + DEV.hex(), role)
    refused(world, "BondTooLow", lambda: attest(world, sender=BOB), PART + PARAMS.attest_bond, 0)
    world.bond(sender=BOB, value=PART + PARAMS.attest_bond)
    attest(world, sender=BOB)
    refused(world, "BondTooLow", lambda: attest(world, sender=BOB), PART + PARAMS.attest_bond, 0)
    refused(world, "BondTooLow", lambda: world.unbond(1, sender=BOB), 1, 0)
    refused(world, "WrongMethod", lambda: world.run(1, words(0, 10), FEE), 1, Method.ATTESTED)
    for total in (0, 1 << 128):
        weighed = functools.partial(attest, world, total=total, sender=BOB)
        refused(world, "InvalidParameter", weighed, "totalWeight", "1 to 2**128 - 1")
    zero_root = (1, 0, ZERO32, 0, 40, ZERO32, 5)
    tree_rule = ("scoreRoot", "the root of a tree with at least one score")
    refused(world, "InvalidParameter", lambda: world.inferAttested(*zero_root, sender=BOB, value=FEE), *tree_rule)
    no_tokens = (1, 0, ZERO32, 0, 0, EVIDENCE, 5)
    refused(world, "TooShort", lambda: world.inferAttested(*no_tokens, sender=BOB, value=FEE), "output (tokens)", 0, 1)
    refused(world, "UnknownReceipt", lambda: world.getAttestation(ZERO32), ZERO32)
    assert world.getBond(BOB) == (0, PART + PARAMS.attest_bond), "one receipt has locked it"


def test_an_agents_deposit_pays_where_its_wallet_attests(world: World) -> None:
    world.registerAgent("", DEV, 10**24, [1], sender=USER)
    world.depositAgent(1, sender=USER, value=FEE)
    receipt = attest(world, agent=1, value=3)
    assert world.getReceipt(receipt)[1] == 1 and world.getAgent(1)[2] == 0
    assert world.balance(DEV) == 3 + FEE * 3_000 // 10_000


def test_a_forged_score_or_too_much_weight_is_refused(world: World) -> None:
    receipt = attest(world)
    overweight = attest(world, total=650)
    final(world)
    proofs = leaves(SCORES)[1]
    forged = [((1, 601), proofs[0]), ((2, 600), proofs[0]), ((1, 600), proofs[1]), ((1, 600), [])]
    for score, proof in forged:
        called = functools.partial(world.claimScored, receipt, score, proof)
        refused(world, "BadProof", called, "this score is not in the tree")
    refused(world, "TooLong", lambda: world.claimScored(receipt, (1, 600), [ZERO32] * 65), "proof", 65, 64)
    unknown = attest(world, [(9, 1)])
    final(world)
    refused(world, "UnknownContribution", lambda: claim(world, unknown, 0, [(9, 1)]), 9)
    claim(world, overweight, 0)
    assert world.balance(ALICE) == PART * 600 // 650
    exceeds = "the weights in the tree exceed its total"
    refused(world, "BadProof", lambda: claim(world, overweight, 1), exceeds)
    assert world.balance(BOB) == 0


def test_an_inner_node_is_no_leaf() -> None:
    """A node's preimage is 64 bytes as a score's is: hashed once, where leaves are hashed twice."""
    four = [leaf_of(i, i) for i in range(1, 5)]
    root, proofs = tree(four)
    left = keccak256(min(four[0], four[1]) + max(four[0], four[1]))
    assert all(root_from(leaf, proof) == root for leaf, proof in zip(four, proofs, strict=True))
    assert root_from(left, proofs[0][1:]) == root
    words_of_it = (int.from_bytes(min(four[0], four[1]), "big"), int.from_bytes(max(four[0], four[1]), "big"))
    assert leaf_of(*words_of_it) != left


@pytest.mark.parametrize("leaf_count", [1, 2, 3, 5, 8, 13])
def test_trees_of_any_size_prove_each_leaf(leaf_count: int) -> None:
    made = [leaf_of(i) for i in range(leaf_count)]
    root, proofs = tree(made)
    assert {root_from(leaf, proof) for leaf, proof in zip(made, proofs, strict=True)} == {root}


def test_what_is_capped_or_dead_goes_to_the_versions_pool_and_what_no_use_has_to_all(world: World) -> None:
    """The cap is that of the version at the inference: neither other terms nor other uses reach back."""
    world.setDatanet(1, params(soft_cap_bps=5_000))
    version = world.publish(1)
    world.setUses(1, [(1, version, 0, 10_000)], sender=DEV)
    world.give(1, BOB, words(500, 20))
    world.chain.next_block()
    world.review(4, False, 0)
    world.erase(2, sender=BOB)
    world.chain.next_block()
    scores = [(1, 600), (2, 300), (4, 100)]
    receipt = attest(world, scores)
    world.setDatanet(1, params(soft_cap_bps=1_000))
    world.setUses(1, [(1, world.publish(1), 0, 10_000)], sender=DEV)
    final(world)
    pooled = []
    for place in range(3):
        claim(world, receipt, place, scores)
        pooled += [(event["version"], event["amount"]) for event in world.events("Pooled")]
    assert pooled == [(version, PART // 10), (version, PART * 3 // 10), (version, PART // 10)]
    assert (world.balance(ALICE), world.balance(BOB)) == (PART // 2, 0)


# ---------------------------------------------------------------- disputes


def test_wrong_scores_cost_the_bond_and_what_was_held_goes_to_the_pools(world: World) -> None:
    receipt = attest(world)
    locked = PART + PARAMS.attest_bond
    before = world.chain.state.get_balance(world.contract.address)
    dispute = world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond + 5)
    assert world.events("Disputed")[0]["subject"] == receipt and world.balance(USER) == 5
    again = lambda: world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond)  # noqa: E731
    refused(world, "DisputeOpen", again)
    final(world)
    refused(world, "ScoresNotFinal", lambda: claim(world, receipt, 0))
    refused(world, "NotAllowed", lambda: world.resolve(dispute, True, sender=USER))
    world.resolve(dispute, True, sender=COUNCIL)
    assert world.events("Slashed")[0]["amount"] == locked and world.events("Pooled")[0]["amount"] == PART
    assert world.getBond(DEV) == (100 * WEI_PER_OPEN - locked, 0)
    assert world.balance(USER) == 5 + PARAMS.dispute_bond + locked // 2
    burned = before + PARAMS.dispute_bond + 5 - world.chain.state.get_balance(world.contract.address)
    assert burned == locked - locked // 2
    refused(world, "ScoresSlashed", lambda: claim(world, receipt, 0))
    refused(world, "ScoresSlashed", again)
    refused(world, "DisputeClosed", lambda: world.resolve(dispute, True, sender=COUNCIL))
    assert world.getDispute(dispute)[1] == 1


@pytest.mark.parametrize("by_council", [True, False])
def test_a_dispute_that_is_dismissed_pays_the_attestor(world: World, by_council: bool) -> None:
    receipt = attest(world)
    dispute = world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond)
    earned = world.balance(DEV)
    if by_council:
        world.resolve(dispute, False, sender=COUNCIL)
    else:
        world.chain.next_block(PARAMS.resolve_seconds + 1)
        refused(world, "InvalidParameter", lambda: world.resolve(dispute, True, sender=COUNCIL))
        world.resolve(dispute, False, sender=CAROL)
    assert world.balance(DEV) - earned == PARAMS.dispute_bond and world.balance(USER) == 0
    final(world)
    claim(world, receipt, 0)
    late = lambda: world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond)  # noqa: E731
    refused(world, "ScoresFinal", late)


@pytest.mark.parametrize("claimed", [0, 1, 3])
def test_what_nobody_claims_in_time_goes_to_the_pools(world: World, claimed: int) -> None:
    """A total above the sum of the weights used to lock the rest for ever, while the bond was free after one claim."""
    receipt = attest(world, total=1_000_000)
    final(world)
    for place in range(claimed):
        claim(world, receipt, place)
    world.chain.next_block(PARAMS.score_seconds - 1)
    refused(world, "ScoresNotFinal", lambda: world.releaseScores(receipt, sender=USER))
    world.chain.next_block(1)
    given = PART * sum(weight for _, weight in SCORES[:claimed]) // 1_000_000
    assert world.releaseScores(receipt, sender=USER) == PART - given
    assert world.events("Released")[0]["amount"] == PART - given == world.events("Pooled")[0]["amount"]
    assert world.getBond(DEV) == (100 * WEI_PER_OPEN, 0)
    for act in (lambda: world.releaseScores(receipt), lambda: claim(world, receipt, 2)):
        refused(world, "ScoresReleased", act, receipt)
    world.claimPool([1, 2, 3])
    paid = sum(world.balance(who) for who in (ALICE, BOB, CAROL))
    assert PART - 3 <= paid <= PART, "all of it but the rounding of three shares"


def test_what_is_disputed_or_slashed_is_not_released(world: World) -> None:
    receipt = attest(world)
    dispute = world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond)
    final(world)
    world.chain.next_block(PARAMS.score_seconds)
    refused(world, "ScoresNotFinal", lambda: world.releaseScores(receipt))
    world.resolve(dispute, False, sender=USER)
    world.releaseScores(receipt)
    second = attest(world)
    world.resolve(world.disputeScores(second, EVIDENCE, sender=USER, value=PARAMS.dispute_bond), True, sender=COUNCIL)
    world.chain.next_block(PARAMS.attest_seconds + PARAMS.score_seconds)
    refused(world, "ScoresSlashed", lambda: world.releaseScores(second), second)
    refused(world, "UnknownReceipt", lambda: world.releaseScores(EVIDENCE), EVIDENCE)


def test_what_was_held_goes_to_the_uses_of_the_inference_whatever_was_named_since(world: World) -> None:
    """Else a model's owner could be slashed on purpose, after naming a datanet of his own."""
    receipt = attest(world)
    mine = world.datanet()
    world.accept(world.give(mine, DEV, words(900, 20)))
    world.publish(mine)
    world.setUses(1, [(mine, 1, 0, 10_000)], sender=DEV)
    dispute = world.disputeScores(receipt, EVIDENCE, sender=USER, value=PARAMS.dispute_bond)
    before = world.balance(TREASURY)
    world.resolve(dispute, True, sender=COUNCIL)
    [pooled] = world.events("Pooled")
    assert (pooled["datanetId"], pooled["version"], pooled["amount"]) == (1, 1, PART)
    assert world.balance(TREASURY) == before


def test_disputing_oneself_costs_half_the_bond(world: World) -> None:
    receipt = attest(world)
    locked = PART + PARAMS.attest_bond
    dispute = world.disputeScores(receipt, EVIDENCE, sender=DEV, value=PARAMS.dispute_bond)
    before = world.balance(DEV)
    world.resolve(dispute, True, sender=COUNCIL)
    assert world.balance(DEV) - before == PARAMS.dispute_bond + locked // 2


def test_what_a_dispute_needs(world: World) -> None:
    refused(
        world, "UnknownReceipt", lambda: world.disputeScores(EVIDENCE, EVIDENCE, sender=USER, value=10**20), EVIDENCE
    )
    receipt, bond = attest(world), PARAMS.dispute_bond
    short = functools.partial(world.disputeScores, receipt, EVIDENCE, sender=USER, value=bond - 1)
    refused(world, "BondTooLow", short, bond, bond - 1)
    refused(world, "UnknownDispute", lambda: world.resolve(1, True, sender=COUNCIL), 1)
    refused(world, "UnknownDispute", lambda: world.getDispute(1), 1)
    assert world.disputeScores(receipt, EVIDENCE, sender=USER, value=bond) == 1
    assert world.getDispute(1)[5] == bond and world.getAttestation(receipt)[8] == 1


def test_a_chain_without_a_council_has_no_attested_models() -> None:
    world = World(council=ZERO_ADDRESS)
    world.datanet()
    contribution = world.give(1, ALICE, words(0, 20))
    world.accept(contribution)
    world.publish(1)
    uses = [(1, 1, 0, 10_000)]
    missing = "ATTESTED: this chain has no council to judge disputed scores"
    refused(world, "NotSupported", lambda: world.model(uses, kind=Method.ATTESTED), missing)
    disputed = functools.partial(world.disputeContribution, contribution, EVIDENCE, sender=BOB, value=10**20)
    refused(world, "NotSupported", disputed, "judgement: this chain has no council")
    assert world.model(uses) == 1, "the methods that are recomputed need none"

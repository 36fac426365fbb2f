"""Evidence: what a block may carry of it, what the pool keeps, and its way through four engines into a block, once."""

from dataclasses import replace

import pytest
import trio

from consensus.application import PastHeight
from consensus.block_rules import check_block
from consensus.evidence import EVIDENCE_KEPT_MAX, EvidencePool, check_evidence, duplicate_proposal
from consensus.evidence_desk import CHECKS_MAX
from consensus.messages import decode_message, encode_message
from genesis.errors import InvalidBlock
from genesis.limits import EVIDENCE_PER_BLOCK_MAX
from genesis.primitives import ZERO_HASH, Address, Hash32, Height
from genesis.types import DuplicateProposal, DuplicateVote, Evidence
from tests.unit.consensus.support import (
    CHAIN,
    EVIDENCE_AGE_MS,
    PREVOTE,
    commit_for,
    first_context,
    make_block,
    next_context,
    proposal,
    validator_set,
    vote,
)
from tests.unit.consensus.test_engine import Machine, machines, reach, until

VALIDATORS = validator_set(4)
FIRST = first_context(VALIDATORS)
BLOCK_1 = make_block(FIRST)
SECOND = next_context(FIRST, BLOCK_1, commit_for(FIRST, BLOCK_1.hash))
PAST = {Height(1): PastHeight(BLOCK_1.consensus.time_ms, VALIDATORS)}
A = Hash32(b"\xaa" * 32)


def double_vote(who: int, height: int = 1) -> DuplicateVote:
    return DuplicateVote(
        vote(VALIDATORS, who, PREVOTE, 0, ZERO_HASH, height=height), vote(VALIDATORS, who, PREVOTE, 0, A, height=height)
    )


def double_proposal() -> DuplicateProposal:
    found = duplicate_proposal(proposal(FIRST, 0, A), proposal(FIRST, 0, BLOCK_1.hash))
    assert found is not None
    return found


def check(*evidence: Evidence, **changes: object) -> None:
    block = make_block(SECOND, evidence=evidence, **changes)  # type: ignore[arg-type]
    check_block(CHAIN, SECOND, block, PAST)


def test_a_block_carries_votes_and_proposals_that_contradict_each_other() -> None:
    check(double_vote(0), double_vote(1))
    check(double_proposal())
    other = next(i for i, m in enumerate(VALIDATORS.members) if m.address != double_proposal().offender)
    check(double_vote(other), double_proposal())
    # A block with evidence alone is due as early as one with transactions.
    check(double_vote(0), transactions=())


def test_evidence_that_breaks_a_rule_makes_a_block_invalid() -> None:
    good = double_vote(0)
    stranger = Address(b"\x01" * 20)
    forged = DuplicateVote(good.first, replace(good.second, signature=good.first.signature))
    slander = DuplicateVote(*(replace(v, validator=VALIDATORS.members[1].address) for v in (good.first, good.second)))
    unknown = DuplicateVote(*(replace(v, validator=stranger) for v in (good.first, good.second)))
    for bad, why in (
        ((forged,), "somebody else|bad signature"),
        ((slander,), "somebody else"),
        ((unknown,), "no validator of height 1"),
        ((good, good), "twice in one block"),
        ((double_vote(0, height=2),), "not final before block 2"),
        ((double_vote(0, height=3),), "not final before block 2"),
    ):
        with pytest.raises(InvalidBlock, match=why):
            check(*bad)
    with pytest.raises(InvalidBlock, match="evidence_hash"):
        check(good, evidence_hash=make_block(SECOND).consensus.evidence_hash)
    with pytest.raises(InvalidBlock, match="not final"):
        check_block(CHAIN, SECOND, make_block(SECOND, evidence=(good,)))


def test_evidence_of_the_blocks_own_height_is_refused_whatever_is_known_of_it() -> None:
    past = {**PAST, Height(2): PastHeight(BLOCK_1.consensus.time_ms, VALIDATORS)}
    with pytest.raises(InvalidBlock, match="not final before block 2"):
        check_block(CHAIN, SECOND, make_block(SECOND, evidence=(double_vote(0, height=2),)), past)


def test_only_proposals_have_a_turn() -> None:
    """Everybody votes; who proposes out of turn has no voice, so two such proposals are no equivocation."""
    item = double_proposal()
    other = next(m.address for m in VALIDATORS.members if m.address != item.offender)
    for who in range(4):
        check_evidence(CHAIN, VALIDATORS, double_vote(who), lambda _round: other)
    check_evidence(CHAIN, VALIDATORS, item, lambda _round: item.offender)
    check_evidence(CHAIN, VALIDATORS, item)
    with pytest.raises(InvalidBlock, match="not its own"):
        check_evidence(CHAIN, VALIDATORS, item, lambda _round: other)


def test_evidence_is_of_the_set_that_voted_at_its_height() -> None:
    """A signature names its set: the same votes under another set are not those of its members."""
    other = {Height(1): PastHeight(BLOCK_1.consensus.time_ms, validator_set(4, (10, 10, 10, 11)))}
    block = make_block(SECOND, evidence=(double_vote(0),))
    check_block(CHAIN, SECOND, block, PAST)
    with pytest.raises(InvalidBlock, match="signature"):
        check_block(CHAIN, SECOND, block, other)


def test_evidence_has_an_age_in_time() -> None:
    last_ms = BLOCK_1.consensus.time_ms + EVIDENCE_AGE_MS
    check(double_vote(0), time_ms=last_ms)
    with pytest.raises(InvalidBlock, match="older than"):
        check(double_vote(0), time_ms=last_ms + 1)


def test_the_pool_gives_a_block_what_it_can_carry_and_closes_the_rest() -> None:
    pool = EvidencePool()
    now_ms = BLOCK_1.consensus.time_ms + 1_000
    items = [double_vote(i) for i in range(3)] + [double_vote(3, height=2)]
    assert all(pool.add(item) for item in items) and not pool.add(items[0])
    punishable = [items[i].offender for i in (0, 1, 3)]
    assert pool.choose(SECOND, now_ms, PAST, punishable) == (items[0], items[1])
    assert pool.accuses(items[2].offender) and not pool.add(items[2])
    assert pool.items() == (items[0], items[1], items[3])  # of height 2: not final yet
    pool.close(items[0].offender)
    assert pool.choose(SECOND, now_ms, PAST, punishable) == (items[1],)
    assert pool.choose(SECOND, now_ms + EVIDENCE_AGE_MS, PAST, punishable) == ()
    assert pool.items() == (items[3],)


def test_the_pool_is_bounded_and_a_block_holds_so_many() -> None:
    pool = EvidencePool()
    for i in range(2 * EVIDENCE_KEPT_MAX):
        item = double_vote(0)
        who = Address(i.to_bytes(20, "big"))
        pool.add(DuplicateVote(*(replace(v, validator=who) for v in (item.first, item.second))))
    assert len(pool.items()) == EVIDENCE_KEPT_MAX
    everybody = [item.offender for item in pool.items()]
    assert len(pool.choose(SECOND, SECOND.parent_time_ms, PAST, everybody)) == EVIDENCE_PER_BLOCK_MAX
    assert {pool.next_to_tell() for _ in range(EVIDENCE_KEPT_MAX)} == set(pool.items())
    for who in everybody:
        pool.close(who)
    for i in range(2 * EVIDENCE_KEPT_MAX):
        pool.close(Address(i.to_bytes(20, "little")))
    assert pool.next_to_tell() is None and len(pool._closed) == EVIDENCE_KEPT_MAX


@pytest.mark.parametrize("item", [double_vote(0), double_proposal()], ids=["votes", "proposals"])
def test_evidence_travels(item: Evidence) -> None:
    assert decode_message(encode_message(item)) == item


# ---------------------------------------------------------------- engines


def carried(node: Machine) -> list[Evidence]:
    return [item for block, _ in node.app.chain for item in block.evidence]


async def test_what_one_node_saw_ends_up_in_a_block_once() -> None:
    nodes = machines(4)
    guilty = double_vote(2, height=3)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(4, *nodes)
        nodes[0].wires.engines["v0"].receive("v1", guilty)
        await until(lambda: all(carried(node) for node in nodes))
        height = len(nodes[0].app.chain)
        nodes[0].wires.engines["v0"].receive("v1", guilty)
        await reach(height + 6, *nodes)
        assert all(engine.evidence.accuses(guilty.offender) for engine in nodes[0].wires.engines.values())
        assert not any(engine.evidence.items() for engine in nodes[0].wires.engines.values())
        nursery.cancel_scope.cancel()
    assert all(carried(node) == [guilty] for node in nodes)
    assert nodes[0].wires.faults == []


async def test_a_peer_that_slanders_is_blamed_and_nobody_else_is() -> None:
    nodes = machines(4)
    good = double_vote(2, height=2)
    slander = DuplicateVote(*(replace(v, validator=VALIDATORS.members[1].address) for v in (good.first, good.second)))
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(3, *nodes)
        for _ in range(2 * CHECKS_MAX):
            nodes[0].wires.engines["v0"].receive("v3", slander)
        nodes[0].wires.engines["v0"].receive("v3", double_vote(1, height=10**6))
        await until(lambda: nodes[0].wires.faults)
        await reach(len(nodes[0].app.chain) + 4, *nodes)
        nursery.cancel_scope.cancel()
    assert {peer for peer, _ in nodes[0].wires.faults} == {"v3"}
    assert not any(carried(node) for node in nodes)


async def test_a_validator_that_votes_twice_before_all_eyes_is_found_told_and_punished() -> None:
    nodes = machines(4)
    async with trio.open_nursery() as nursery:
        for node in nodes:
            nursery.start_soon(node.run)
        await reach(3, *nodes)

        def contradict() -> bool:
            position = nodes[0].wires.engines["v0"].position
            assert position is not None
            for who in (A, ZERO_HASH) if position[1] >= 0 else ():
                nodes[0].wires.engines["v0"].receive("v3", vote(VALIDATORS, 3, PREVOTE, 0, who, height=position[0]))
            return bool(carried(nodes[1]))

        await until(contradict)
        nursery.cancel_scope.cancel()
    assert [item.offender for item in carried(nodes[1])] == [VALIDATORS.members[3].address]


async def test_a_proposer_asks_the_application_who_was_punished_before() -> None:
    """Evidence that came by block sync is closed on the way to a proposal, and breaks no proposal."""
    (node,) = machines(1)
    one = validator_set(1)
    guilty = DuplicateVote(*(vote(one, 0, PREVOTE, 0, value, height=1) for value in (ZERO_HASH, A)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.run)
        await reach(2, node)
        node.wires.engines["v0"].evidence.add(guilty)
        await until(lambda: carried(node))
        pool = node.wires.engines["v0"].evidence
        pool._closed.clear()
        pool.add(guilty)
        await reach(len(node.app.chain) + 3, node)
        nursery.cancel_scope.cancel()
    assert carried(node) == [guilty]

"""What consensus asks of a block, each rule broken once; commits and polkas; time."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.application import HeightContext
from consensus.block_rules import check_block, check_committed_block, check_polka, verify_commit
from consensus.evidence import EvidencePool, check_evidence, duplicate_proposal
from consensus.messages import Step
from consensus.timing import is_timely, message_delay_ms, proposal_time_ms, timeout_ms
from genesis.crypto import SECP256K1_N
from genesis.errors import InvalidBlock
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Round
from genesis.types import Block, Commit, DuplicateProposal, DuplicateVote
from tests.unit.consensus.support import (
    BLOCK_PARAMS,
    CHAIN,
    GENESIS_TIME_MS,
    PARAMS,
    PRECOMMIT,
    PREVOTE,
    commit_for,
    first_context,
    make_block,
    next_context,
    proposal,
    validator_set,
    vote,
)

VALIDATORS = validator_set(4)
FIRST = first_context(VALIDATORS)
BLOCK_1 = make_block(FIRST)
SECOND = next_context(FIRST, BLOCK_1, commit_for(FIRST, BLOCK_1.hash, signers=[0, 1, 2]))
BLOCK_2 = make_block(SECOND)
A = Hash32(b"\xaa" * 32)


def check(context: HeightContext, block: Block) -> None:
    check_block(CHAIN, context, block)


def test_good_blocks_pass() -> None:
    check(FIRST, BLOCK_1)
    check(SECOND, BLOCK_2)
    check(SECOND, make_block(SECOND, round_=3))
    more = commit_for(FIRST, BLOCK_1.hash)
    check(SECOND, make_block(SECOND, last_commit=more))
    again = commit_for(FIRST, BLOCK_1.hash, round_=1, signers=[1, 2, 3])
    check(SECOND, make_block(SECOND, last_commit=again))


@pytest.mark.parametrize(
    ("why", "make"),
    [
        ("is next", lambda: BLOCK_1),
        ("validators_hash", lambda: make_block(SECOND, validators_hash=A)),
        ("next_validators_hash", lambda: make_block(SECOND, next_validators_hash=A)),
        ("not the proposer", lambda: make_block(SECOND, proposer=Address(A[:20]))),
        ("not the proposer", lambda: make_block(SECOND, proposer=SECOND.proposer(Round(1)))),
        ("evidence_hash", lambda: make_block(SECOND, evidence_hash=A)),
        ("last_commit_hash", lambda: make_block(SECOND, last_commit_hash=A)),
        ("earliest", lambda: make_block(SECOND, time_ms=SECOND.parent_time_ms + BLOCK_PARAMS.interval_ms - 1)),
        ("an empty block", lambda: make_block(SECOND, transactions=())),
    ],
)
def test_each_broken_rule_is_named(why: str, make: Callable[[], Block]) -> None:
    with pytest.raises(InvalidBlock, match=why):
        check(SECOND, make())


def test_an_empty_block_waits_in_round_zero_only() -> None:
    check(SECOND, make_block(SECOND, transactions=(), round_=1))
    check(SECOND, make_block(SECOND, transactions=(), time_ms=SECOND.parent_time_ms + BLOCK_PARAMS.empty_interval_ms))


def test_block_one_carries_the_empty_commit() -> None:
    with pytest.raises(InvalidBlock):
        check(FIRST, make_block(FIRST, last_commit=replace(FIRST.last_commit, round=Round(1))))


def malleated(commit: Commit) -> Commit:
    """The same signature with a high s: recovers to the same key, and is refused all the same."""
    signature = commit.signatures[0]
    s = SECP256K1_N - int.from_bytes(signature[32:64], "big")
    high = signature[:32] + s.to_bytes(32, "big") + bytes([1 - signature[64]])
    return replace(commit, signatures=(high, *commit.signatures[1:]))


GOOD = commit_for(FIRST, BLOCK_1.hash)


@pytest.mark.parametrize(
    "commit",
    [
        commit_for(FIRST, BLOCK_1.hash, signers=[0, 1]),
        commit_for(FIRST, A),
        commit_for(SECOND, BLOCK_1.hash),
        replace(GOOD, round=Round(1)),
        replace(GOOD, signatures=GOOD.signatures[:3]),
        replace(GOOD, signatures=(*GOOD.signatures, b"")),
        replace(GOOD, signatures=()),
        replace(GOOD, signatures=(GOOD.signatures[1], GOOD.signatures[0], *GOOD.signatures[2:])),
        replace(GOOD, signatures=(*GOOD.signatures[:3], GOOD.signatures[0])),
        replace(GOOD, signatures=(*GOOD.signatures[:3], bytes(65))),
        malleated(GOOD),
        replace(GOOD, block_hash=ZERO_HASH),
    ],
    ids=[
        "no quorum",
        "another block",
        "another height",
        "another round",
        "short",
        "long",
        "empty",
        "swapped",
        "repeated",
        "garbage after a quorum",
        "high s",
        "nil",
    ],
)
def test_bad_commits_are_refused(commit: Commit) -> None:
    """GHSA-hrhf and GHSA-c32p: lengths are checked, and every signature, not just the first 2/3."""
    verify_commit(CHAIN, VALIDATORS, GOOD, Height(1), BLOCK_1.hash)
    with pytest.raises(InvalidBlock):
        verify_commit(CHAIN, VALIDATORS, commit, Height(1), BLOCK_1.hash)
    with pytest.raises(InvalidBlock):
        verify_commit(CHAIN, VALIDATORS, commit, Height(1), BLOCK_1.hash, known=GOOD)


def test_a_commit_is_verified_with_the_set_that_voted() -> None:
    with pytest.raises(InvalidBlock):
        verify_commit(CHAIN, validator_set(7), GOOD, Height(1), BLOCK_1.hash)
    with pytest.raises(InvalidBlock):
        verify_commit(replace(CHAIN, chain_id=1), VALIDATORS, GOOD, Height(1), BLOCK_1.hash)


def test_a_synced_block_belongs_to_its_commit() -> None:
    check_committed_block(BLOCK_1, GOOD)
    with pytest.raises(InvalidBlock):
        check_committed_block(BLOCK_2, GOOD)
    with pytest.raises(InvalidBlock):
        late = make_block(FIRST, round_=1)
        check_committed_block(late, replace(GOOD, block_hash=late.hash))


def test_a_re_proposal_needs_a_whole_polka() -> None:
    polka = tuple(vote(VALIDATORS, i, PREVOTE, 0, A) for i in range(3))
    good = proposal(FIRST, 1, A, valid_round=0, polka=polka)
    check_polka(CHAIN, VALIDATORS, good)
    check_polka(CHAIN, VALIDATORS, proposal(FIRST, 1, A))
    bad = [
        (),
        polka[:2],
        (*polka[:2], polka[1]),
        (*polka[:2], vote(VALIDATORS, 2, PRECOMMIT, 0, A)),
        (*polka[:2], vote(VALIDATORS, 2, PREVOTE, 0)),
        (*polka[:2], vote(VALIDATORS, 2, PREVOTE, 0, A, height=2)),
        (*polka[:2], replace(polka[2], signature=polka[1].signature)),
        (*polka[:2], replace(polka[2], validator=Address(A[:20]))),
    ]
    for votes in bad:
        with pytest.raises(InvalidBlock):
            check_polka(CHAIN, VALIDATORS, replace(good, polka=votes))


def test_evidence_is_proven_by_signatures_alone() -> None:
    a, b = (vote(VALIDATORS, 0, PREVOTE, 0, value) for value in (A, ZERO_HASH))
    check_evidence(CHAIN, VALIDATORS, DuplicateVote(b, a))
    first, second = proposal(FIRST, 0, A), proposal(FIRST, 0, BLOCK_1.hash)
    found = duplicate_proposal(first, second)
    assert isinstance(found, DuplicateProposal)
    check_evidence(CHAIN, VALIDATORS, found, FIRST.proposer)
    assert duplicate_proposal(first, first) is None
    for forged in (
        DuplicateVote(b, replace(a, signature=b.signature)),
        replace(found, first=replace(found.first, signature=found.second.signature)),
    ):
        with pytest.raises(InvalidBlock):
            check_evidence(CHAIN, VALIDATORS, forged)
    with pytest.raises(InvalidBlock):
        check_evidence(CHAIN, validator_set(1), DuplicateVote(b, a))
    with pytest.raises(InvalidBlock):
        check_evidence(CHAIN, VALIDATORS, found, lambda _: VALIDATORS.members[0].address[::-1])  # type: ignore[arg-type,return-value]
    pool = EvidencePool()
    assert pool.add(found) and not pool.add(found) and pool.accuses(found.offender)


def test_timeliness_at_its_edges() -> None:
    def timely(received_ms: int, round_: int = 0) -> bool:
        return is_timely(
            PARAMS, time_ms=GENESIS_TIME_MS, received_ms=GENESIS_TIME_MS + received_ms, round_=Round(round_)
        )

    late = PARAMS.precision_ms + PARAMS.message_delay_ms
    assert timely(-PARAMS.precision_ms) and not timely(-PARAMS.precision_ms - 1)
    assert timely(late) and not timely(late + 1)
    assert timely(late + 400, 1) and not timely(late + 401, 1)


def test_a_proposer_that_wakes_a_little_late_keeps_the_pace() -> None:
    def time_ms(now_ms: int) -> int:
        return proposal_time_ms(now_ms, earliest_ms=10_500, interval_ms=500)

    assert [time_ms(now) for now in (10_499, 10_500, 10_507, 10_550)] == [10_500] * 4
    assert [time_ms(now) for now in (10_551, 99_000)] == [10_551, 99_000]


def test_delays_grow_by_ten_percent_a_round_and_timeouts_are_capped() -> None:
    """besu #7642: timeouts that double reach hours."""
    delays = [message_delay_ms(PARAMS, Round(r)) for r in range(4)]
    assert delays == [4_000, 4_400, 4_840, 5_324]
    assert message_delay_ms(PARAMS, Round(1 << 31)) == message_delay_ms(PARAMS, Round(64))
    assert timeout_ms(PARAMS, Step.PROPOSE, Round(2)) == 4_000
    assert timeout_ms(PARAMS, Step.PREVOTE, Round(2)) == timeout_ms(PARAMS, Step.PRECOMMIT, Round(2)) == 2_000
    assert timeout_ms(PARAMS, Step.PROPOSE, Round(10**6)) == PARAMS.timeout_cap_ms

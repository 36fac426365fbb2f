"""Every rule of arXiv 1807.04938, algorithm 1, by its line, on four validators of equal power (Q = 3, W = 2)."""

from dataclasses import replace

import pytest

from consensus.events import (
    BlockBuilt,
    BlockValidated,
    BuildBlock,
    CastVote,
    CommitReceived,
    Decide,
    Effect,
    EnterHeight,
    EvidenceFound,
    PersistPolka,
    ProposalReceived,
    Propose,
    ScheduleTimeout,
    TimeoutExpired,
    VoteReceived,
    WantBlock,
)
from consensus.messages import Step
from consensus.state_machine import PROPOSAL_ROUNDS_AHEAD, RoundsState, resume, step
from consensus.vote_set import PAST_ROUNDS_KEPT
from genesis.errors import InvariantError
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round
from genesis.proposers import Rotation
from genesis.types import VoteType
from tests.unit.consensus.support import (
    GENESIS_TIME_MS,
    PARAMS,
    PRECOMMIT,
    PREVOTE,
    commit_for,
    first_context,
    proposal,
    validator_set,
    vote,
)

VALIDATORS = validator_set(4)
CONTEXT = first_context(VALIDATORS)
ROTATION = Rotation(VALIDATORS, CONTEXT.priorities)
A, B = Hash32(b"\xaa" * 32), Hash32(b"\xbb" * 32)
NIL = ZERO_HASH
H = Height(1)


class Bench:
    """One state machine: validator 3 (proposer of round 3), entered at round 0 unless `new`."""

    def __init__(self, me: int | None = 3, *, new: bool = False) -> None:
        address = None if me is None else VALIDATORS.members[me].address
        self.state = RoundsState(H, VALIDATORS, ROTATION.proposer, PARAMS, address)
        self.me = me
        if not new:
            self.feed(EnterHeight(H))

    def feed(self, *events: object) -> list[Effect]:
        """Give inputs; own votes come back as the driver does it."""
        out: list[Effect] = []
        for event in events:
            effects = step(self.state, event)  # type: ignore[arg-type]  # tests pass inputs only
            out += effects
            for effect in effects:
                if isinstance(effect, CastVote) and self.me is not None:
                    own = vote(VALIDATORS, self.me, effect.kind, effect.round, effect.block_hash)
                    out += self.feed(VoteReceived(own))
        return out

    def proposal(self, round_: int, value: Hash32, *, vr: int = -1, late_ms: int = 0) -> list[Effect]:
        polka = tuple(vote(VALIDATORS, i, PREVOTE, vr, value) for i in range(3)) if vr >= 0 else ()
        message = proposal(CONTEXT, round_, value, valid_round=vr, polka=polka)
        return self.feed(ProposalReceived(message, GENESIS_TIME_MS + late_ms))

    def valid(self, value: Hash32, *, round_: int = 0, good: bool = True) -> list[Effect]:
        return self.feed(BlockValidated(H, value, good, GENESIS_TIME_MS, Round(round_)))

    def votes(self, kind: VoteType, round_: int, value: Hash32, *who: int) -> list[Effect]:
        return self.feed(*(VoteReceived(vote(VALIDATORS, i, kind, round_, value)) for i in who))

    def timeout(self, step_: Step, round_: int) -> list[Effect]:
        return self.feed(TimeoutExpired(H, Round(round_), step_))

    def lock(self, value: Hash32, round_: int = 0) -> None:
        """Bring the machine to a lock on `value` in its current round."""
        self.proposal(round_, value)
        self.valid(value, round_=round_)
        self.votes(PREVOTE, round_, value, 0, 1)
        assert (self.state.locked_value, self.state.locked_round) == (value, round_)

    def to_round(self, round_: int) -> list[Effect]:
        """By nil precommits of the others, and the precommit timer (L47, L65)."""
        self.votes(PRECOMMIT, round_ - 1, NIL, 0, 1, 2)
        return self.timeout(Step.PRECOMMIT, round_ - 1)


def cast(effects: list[Effect]) -> list[tuple[str, int, Hash32]]:
    return [(e.kind.name.lower(), e.round, e.block_hash) for e in effects if isinstance(e, CastVote)]


def place_of_proposer(round_: int) -> int:
    place = VALIDATORS.index(ROTATION.proposer(Round(round_)))
    assert place is not None
    return place


# ---------------------------------------------------------------- L11-L21


def test_l14_the_proposer_of_a_new_round_builds_a_block_and_others_start_a_timer() -> None:
    assert BuildBlock(Round(0)) in Bench(place_of_proposer(0), new=True).feed(EnterHeight(H))
    effects = Bench(place_of_proposer(1), new=True).feed(EnterHeight(H))
    assert effects == [ScheduleTimeout(Round(0), Step.PROPOSE)]


def test_l19_what_was_built_is_proposed_unless_the_round_is_over() -> None:
    bench = Bench(place_of_proposer(0))
    bench.valid(A)
    assert bench.feed(BlockBuilt(H, Round(0), A)) == [Propose(Round(0), A, NO_ROUND, ())]
    late = Bench(place_of_proposer(0))
    late.timeout(Step.PROPOSE, 0)
    late.valid(A)
    assert late.feed(BlockBuilt(H, Round(0), A)) == []


def test_l15_the_valid_value_is_proposed_again_with_its_polka() -> None:
    bench = Bench(place_of_proposer(1))
    bench.proposal(0, A)
    bench.valid(A)
    others = [i for i in range(4) if i != bench.me][:2]
    bench.votes(PREVOTE, 0, A, *others)
    bench.votes(PRECOMMIT, 0, NIL, *others)
    again = [effect for effect in bench.timeout(Step.PRECOMMIT, 0) if isinstance(effect, Propose)]
    assert [(p.block_hash, p.valid_round, len(p.polka)) for p in again] == [(A, 0, 3)]


def test_a_follower_never_votes_and_still_decides() -> None:
    bench = Bench(None)
    bench.proposal(0, A)
    effects = bench.valid(A) + bench.votes(PREVOTE, 0, A, 0, 1, 2) + bench.votes(PRECOMMIT, 0, A, 0, 1, 2)
    assert cast(effects) == []
    assert effects[-1] == Decide(Round(0), A)


# ---------------------------------------------------------------- entry on demand


def test_a_height_is_entered_by_w_votes_or_a_proposal_and_not_by_one_vote() -> None:
    bench = Bench(new=True)
    bench.votes(PREVOTE, 0, NIL, 0)
    assert bench.state.step is Step.NEW
    bench.votes(PRECOMMIT, 0, NIL, 1)
    assert (bench.state.round, bench.state.step) == (0, Step.PROPOSE)
    other = Bench(new=True)
    other.proposal(0, A)
    assert (other.state.round, other.state.step) == (0, Step.PROPOSE)


def test_w_votes_in_different_rounds_enter_round_zero() -> None:
    bench = Bench(new=True)
    bench.votes(PREVOTE, 0, NIL, 0)
    bench.votes(PREVOTE, 2, NIL, 1)
    assert bench.state.round == 0


# ---------------------------------------------------------------- L22-L33


def test_l22_a_fresh_valid_proposal_is_prevoted_once_it_is_executed() -> None:
    bench = Bench()
    assert bench.proposal(0, A) == [WantBlock(A)]
    assert cast(bench.valid(A)) == [("prevote", 0, A)]


def test_l22_execution_may_end_before_the_proposal_comes() -> None:
    bench = Bench()
    assert cast(bench.valid(A)) == []
    assert cast(bench.proposal(0, A)) == [("prevote", 0, A)]


@pytest.mark.parametrize(
    ("good", "block_round", "late_ms"),
    [(False, 0, 0), (True, 1, 0), (True, 0, 4_501), (True, 0, -501)],
    ids=["invalid", "block of another round", "too late", "too early"],
)
def test_l26_what_is_not_valid_and_timely_gets_nil(good: bool, block_round: int, late_ms: int) -> None:
    bench = Bench()
    bench.proposal(0, A, late_ms=late_ms)
    assert cast(bench.valid(A, round_=block_round, good=good)) == [("prevote", 0, NIL)]


def test_l23_a_locked_node_prevotes_nil_for_another_fresh_value() -> None:
    bench = Bench()
    bench.lock(A)
    bench.to_round(1)
    bench.proposal(1, B)
    assert cast(bench.valid(B, round_=1)) == [("prevote", 1, NIL)]


def test_l28_a_re_proposal_with_a_newer_polka_is_prevoted_by_a_node_locked_on_another_value() -> None:
    bench = Bench()
    bench.lock(A)
    bench.to_round(1)
    bench.to_round(2)
    bench.proposal(2, B, vr=1)
    assert cast(bench.valid(B, round_=1)) == [("prevote", 2, B)]


def test_l29_a_re_proposal_with_an_older_polka_is_refused_by_a_newer_lock_on_another_value() -> None:
    bench = Bench()
    bench.to_round(1)
    bench.lock(A, 1)
    bench.to_round(2)
    # a polka for B in round 0 (an equivocation of one, or votes this node did not see)
    bench.proposal(2, B, vr=0)
    assert cast(bench.valid(B)) == [("prevote", 2, NIL)]


def test_l29_the_locked_value_is_prevoted_whatever_the_valid_round() -> None:
    bench = Bench()
    bench.to_round(1)
    bench.proposal(1, A, vr=0)
    bench.valid(A)
    bench.votes(PREVOTE, 1, A, 0, 1)
    assert bench.state.locked_round == 1
    bench.to_round(2)
    assert cast(bench.proposal(2, A, vr=0)) == [("prevote", 2, A)]


def test_l28_a_re_proposal_of_a_block_from_after_its_valid_round_gets_nil() -> None:
    bench = Bench()
    bench.to_round(1)
    bench.proposal(1, A, vr=0)
    assert cast(bench.valid(A, round_=1)) == [("prevote", 1, NIL)]


def test_a_re_proposal_is_checked_even_if_an_earlier_round_prevoted_it() -> None:
    """autonity #615: validity is asked of every proposal."""
    bench = Bench()
    bench.proposal(0, A)
    bench.valid(A, good=False)
    bench.to_round(1)
    bench.proposal(1, A, vr=0)
    assert cast(bench.valid(A, good=False)) == [("prevote", 1, NIL)]


def test_re_proposals_ignore_timeliness() -> None:
    bench = Bench()
    bench.to_round(1)
    bench.proposal(1, A, vr=0, late_ms=10**6)
    assert cast(bench.valid(A)) == [("prevote", 1, A)]


# ---------------------------------------------------------------- L34-L48


def test_l34_prevotes_of_any_mix_start_the_timer_once() -> None:
    bench = Bench()
    bench.timeout(Step.PROPOSE, 0)
    assert ScheduleTimeout(Round(0), Step.PREVOTE) in bench.votes(PREVOTE, 0, A, 0, 1)
    assert ScheduleTimeout(Round(0), Step.PREVOTE) not in bench.votes(PREVOTE, 0, B, 2)


def test_l36_a_polka_locks_persists_and_precommits_in_this_order() -> None:
    bench = Bench()
    bench.proposal(0, A)
    bench.valid(A)
    effects = bench.votes(PREVOTE, 0, A, 0, 1)
    polka = next(effect for effect in effects if isinstance(effect, PersistPolka))
    assert polka.locks and polka.block_hash == A and len(polka.polka) == 3
    assert effects.index(polka) < next(i for i, e in enumerate(effects) if isinstance(e, CastVote))
    assert cast(effects) == [("precommit", 0, A)]
    assert (bench.state.locked_round, bench.state.valid_round) == (0, 0)


def test_l36_waits_for_the_block_and_the_verdict() -> None:
    bench = Bench()
    bench.timeout(Step.PROPOSE, 0)
    assert WantBlock(A) in bench.votes(PREVOTE, 0, A, 0, 1, 2)
    assert bench.state.locked_round == NO_ROUND
    assert cast(bench.valid(A)) == [("precommit", 0, A)]


def test_l36_an_invalid_block_is_never_locked_whatever_others_prevote() -> None:
    bench = Bench()
    bench.proposal(0, A)
    bench.valid(A, good=False)
    effects = bench.votes(PREVOTE, 0, A, 0, 1, 2)
    assert cast(effects) == []
    assert cast(bench.timeout(Step.PREVOTE, 0)) == [("precommit", 0, NIL)]


def test_l42_a_polka_after_the_precommit_sets_the_valid_value_and_not_the_lock() -> None:
    bench = Bench()
    bench.proposal(0, A)
    bench.valid(A)
    bench.votes(PREVOTE, 0, NIL, 0)
    bench.timeout(Step.PREVOTE, 0)
    effects = bench.votes(PREVOTE, 0, A, 1, 2)
    assert [e.locks for e in effects if isinstance(e, PersistPolka)] == [False]
    assert (bench.state.valid_value, bench.state.locked_value) == (A, None)
    assert cast(effects) == []


def test_l44_a_nil_polka_precommits_nil_and_never_clears_the_lock() -> None:
    """tendermint #3003: and the node goes on."""
    bench = Bench()
    bench.lock(A)
    bench.to_round(1)
    bench.timeout(Step.PROPOSE, 1)
    assert cast(bench.votes(PREVOTE, 1, NIL, 0, 1)) == [("precommit", 1, NIL)]
    assert (bench.state.locked_value, bench.state.locked_round) == (A, 0)
    bench.to_round(2)
    assert bench.state.round == 2


def test_the_valid_round_never_goes_down() -> None:
    bench = Bench()
    bench.to_round(1)
    bench.lock(A, 1)
    bench.votes(PREVOTE, 0, B, 0, 1, 2)
    bench.valid(B)
    assert (bench.state.valid_value, bench.state.valid_round) == (A, 1)


def test_l47_precommits_of_any_mix_start_the_timer_once_in_any_step() -> None:
    bench = Bench()
    effects = bench.votes(PRECOMMIT, 0, A, 0) + bench.votes(PRECOMMIT, 0, NIL, 1, 2)
    assert effects.count(ScheduleTimeout(Round(0), Step.PRECOMMIT)) == 1
    assert bench.state.step is Step.PROPOSE


# ---------------------------------------------------------------- L49-L56


def test_l49_precommits_of_any_round_decide_a_valid_block() -> None:
    bench = Bench()
    bench.votes(PRECOMMIT, 0, A, 0, 1)
    bench.votes(PRECOMMIT, 0, NIL, 2)
    bench.timeout(Step.PRECOMMIT, 0)
    bench.to_round(2)
    assert WantBlock(A) in bench.votes(PRECOMMIT, 0, A, 3)
    assert bench.valid(A) == [Decide(Round(0), A)]
    assert bench.votes(PREVOTE, 2, A, 0, 1, 2) == []


def test_l49_needs_no_proposal_and_no_entry() -> None:
    bench = Bench(new=True)
    bench.feed(CommitReceived(commit_for(CONTEXT, A, round_=5, signers=[0, 1, 2])))
    assert bench.valid(A) == [Decide(Round(5), A)]


def test_l50_a_commit_of_an_invalid_block_stops_the_node() -> None:
    bench = Bench()
    bench.valid(A, good=False)
    with pytest.raises(InvariantError, match="invalid"):
        bench.votes(PRECOMMIT, 0, A, 0, 1, 2)


def test_l49_the_block_that_is_decided_is_the_one_committed_not_the_one_proposed() -> None:
    """tendermint #861."""
    bench = Bench()
    bench.proposal(0, B)
    bench.valid(B)
    bench.valid(A)
    assert Decide(Round(0), A) in bench.votes(PRECOMMIT, 0, A, 0, 1, 2)


def test_l55_w_of_the_power_in_a_later_round_is_followed() -> None:
    """tendermint #1496."""
    bench = Bench()
    bench.votes(PREVOTE, 7, NIL, 0)
    bench.votes(PRECOMMIT, 7, NIL, 0)
    assert bench.state.round == 0, "one sender twice is no W"
    effects = bench.votes(PRECOMMIT, 7, NIL, 1)
    assert bench.state.round == 7
    assert ScheduleTimeout(Round(7), Step.PROPOSE) in effects


def test_l55_a_proposal_counts_as_a_message_of_its_proposer() -> None:
    bench = Bench()
    bench.proposal(1, A)
    who = next(i for i in range(3) if i != place_of_proposer(1))
    bench.votes(PREVOTE, 1, NIL, who)
    assert bench.state.round == 1


# ---------------------------------------------------------------- L57-L67


def test_l57_l61_l65_timers_act_in_their_round_and_step_only() -> None:
    bench = Bench()
    assert cast(bench.timeout(Step.PROPOSE, 0)) == [("prevote", 0, NIL)]
    assert bench.timeout(Step.PROPOSE, 0) == []
    assert cast(bench.timeout(Step.PREVOTE, 0)) == [("precommit", 0, NIL)]
    assert bench.timeout(Step.PREVOTE, 0) == []
    bench.timeout(Step.PRECOMMIT, 0)
    assert (bench.state.round, bench.state.step) == (1, Step.PROPOSE)
    for step_ in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
        assert bench.timeout(step_, 0) == []
    assert bench.state.round == 1


# ---------------------------------------------------------------- bounds, evidence, assertions


def test_a_second_proposal_is_evidence_and_changes_nothing() -> None:
    bench = Bench()
    bench.proposal(0, A)
    effects = bench.proposal(0, B)
    assert [type(effect) for effect in effects] == [EvidenceFound]
    assert bench.state.proposals[Round(0)].proposal.block_hash == A


def test_proposals_far_ahead_and_of_past_rounds_are_ignored() -> None:
    bench = Bench()
    bench.proposal(PROPOSAL_ROUNDS_AHEAD + 1, A)
    assert not bench.state.proposals
    bench.to_round(1)
    bench.proposal(0, A)
    assert not bench.state.proposals


def test_a_past_polka_still_serves_a_re_proposal_but_locks_nothing() -> None:
    bench = Bench()
    bench.to_round(1)
    bench.votes(PREVOTE, 0, A, 0, 1, 2)
    bench.valid(A)
    assert (bench.state.locked_round, bench.state.valid_round) == (NO_ROUND, NO_ROUND)
    message = proposal(CONTEXT, 1, A, valid_round=Round(0))
    assert cast(bench.feed(ProposalReceived(message, 0))) == [("prevote", 1, A)]


def test_two_blocks_committed_at_one_height_stop_the_node() -> None:
    bench = Bench()
    bench.votes(PRECOMMIT, 0, A, 0, 1, 2)
    with pytest.raises(InvariantError, match="forked"):
        bench.votes(PRECOMMIT, 1, B, 0, 1, 2)


def test_a_verdict_that_changes_stops_the_node() -> None:
    bench = Bench()
    bench.valid(A)
    with pytest.raises(InvariantError, match="both valid and invalid"):
        bench.valid(A, good=False)


def test_a_lock_beyond_the_valid_round_is_noticed() -> None:
    bench = Bench()
    bench.state.locked_round = Round(3)
    with pytest.raises(InvariantError, match="out of order"):
        bench.votes(PREVOTE, 0, NIL, 0)


def test_memory_stays_bounded_over_a_thousand_rounds() -> None:
    bench = Bench()
    for round_ in range(1, 1000):
        bench.to_round(round_)
    state = bench.state
    assert state.round == 999
    assert len(state.votes._senders) <= PAST_ROUNDS_KEPT + 2
    assert len(state.fired) <= 8 and len(state.proposals) == 0


def test_a_block_that_was_forgotten_is_wanted_again() -> None:
    bench = Bench()
    bench.proposal(0, A)
    bench.valid(A)
    bench.to_round(1)
    assert WantBlock(A) in bench.proposal(1, A, vr=0)


def test_a_node_that_is_no_member_says_nothing() -> None:
    stranger = replace(VALIDATORS.members[0], address=VALIDATORS.members[0].address[::-1]).address  # type: ignore[arg-type]
    state = RoundsState(H, VALIDATORS, ROTATION.proposer, PARAMS, stranger)
    assert state.me is None


# ---------------------------------------------------------------- after a restart


def restored(me: int, round_: int = 0, step_: Step = Step.PROPOSE) -> RoundsState:
    """What recovery hands to `resume`: a position, and nothing else yet."""
    bench = Bench(me, new=True)
    bench.state.round, bench.state.step = Round(round_), step_
    return bench.state


def test_a_proposer_that_restarts_before_it_proposed_proposes() -> None:
    proposer = place_of_proposer(2)
    timer = ScheduleTimeout(Round(2), Step.PROPOSE)
    assert resume(restored(proposer, 2)) == [timer, BuildBlock(Round(2))]
    assert resume(restored((proposer + 1) % 4, 2)) == [timer], "it is another's turn"
    assert resume(restored(proposer, 2, Step.PREVOTE)) == [], "its time to propose is over"
    again = restored(proposer, 2)
    again.proposals[Round(2)] = ProposalReceived(proposal(CONTEXT, 2, A), GENESIS_TIME_MS)
    assert resume(again) == [timer, WantBlock(A)], "it has proposed already"


def test_a_proposer_that_restarts_with_a_valid_value_proposes_that() -> None:
    state = restored(place_of_proposer(2), 2)
    polka = tuple(vote(VALIDATORS, i, PREVOTE, 1, A) for i in range(3))
    state.valid_value, state.valid_round, state.valid_polka = A, Round(1), polka
    assert Propose(Round(2), A, Round(1), polka) in resume(state)


def test_several_missing_blocks_are_wanted_in_an_order_of_their_own() -> None:
    """A set of hashes has another order in each process; effects must not."""
    for i in range(16):
        first, second, third = (Hash32(bytes([i, place]) * 16) for place in (1, 2, 3))
        state = restored(3)
        state.proposals[Round(0)] = ProposalReceived(proposal(CONTEXT, 0, second), GENESIS_TIME_MS)
        for who in range(3):
            state.votes.add(vote(VALIDATORS, who, PREVOTE, 0, first), Round(0))
            state.votes.add(vote(VALIDATORS, who, PRECOMMIT, 5, third), Round(0), certified=True)
        state.round, state.step = Round(0), Step.PREVOTE
        state.votes._power.pop(Round(5))  # else it would go to round 5 before it asks for anything
        wanted = [effect.block_hash for effect in resume(state) if isinstance(effect, WantBlock)]
        assert wanted == [first, second, third]


def test_after_a_decision_nothing_changes_any_more() -> None:
    bench = Bench()
    bench.proposal(0, A)
    bench.valid(A)
    assert Decide(Round(0), A) in bench.votes(PRECOMMIT, 0, A, 0, 1, 2)
    before = (bench.state.round, bench.state.step)
    assert bench.timeout(Step.PRECOMMIT, 0) == []
    assert bench.proposal(0, B) == [], "not even evidence: the height is over"
    assert (bench.state.round, bench.state.step) == before

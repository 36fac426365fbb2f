"""Tendermint (arXiv 1807.04938, algorithm 1) as a pure state machine for one height: `step(state, input) -> effects`.

A value v of the paper is a block hash here; Q is more than 2/3 of the power, W more than 1/3. The rules, in the order in
which they are tried; after one fires, all are tried again until none does (a loop, never recursion):

    line      when                                                              then
    L49       Q precommits (r, v) of any round, v held and valid                decide v
              the same, v invalid                                               halt (InvariantError)
    L55       W of the power seen in a round r > round                          start(r)
    (entry)   height not entered, and W of the power seen in it,                start(0)
              or a proposal for round 0
    (fetch)   v proposed in this round, or Q prevotes (round, v),               fetch and execute v
              or Q precommits (r, v) of any round; v not held
    L22       step = propose, fresh proposal v of this round, v judged          prevote v or nil
    L28       step = propose, proposal (v, vr) with 0 <= vr < round,            prevote v or nil
              Q prevotes (vr, v), v judged
    L34       step = prevote, Q prevotes of any mix, first time                 start the prevote timer
    L36       step >= prevote, Q prevotes (round, v), v valid, first time       valid = (v, round); and if step = prevote:
                                                                                lock = (v, round), precommit v
    L44       step = prevote, Q prevotes for nil                                precommit nil (the lock stays)
    L47       Q precommits of any mix in this round, first time                 start the precommit timer
    L57-L67   a timer of this round (and step) runs out                         prevote nil / precommit nil / start(round + 1)

Where this is more than the paper: L36 and L49 do not ask for the proposal message, the votes name the block already; a
proposer starts the propose timer too, since building a block can fail; the timeliness of L22 is that of proposer-based
timestamps; and a height is entered on demand, by an input or by what others are seen to do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

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
    Input,
    PersistPolka,
    ProposalReceived,
    Propose,
    ScheduleTimeout,
    TimeoutExpired,
    VoteReceived,
    WantBlock,
)
from consensus.evidence import duplicate_proposal
from consensus.messages import Step
from consensus.timing import is_timely
from consensus.vote_set import HeightVotes, votes_of_commit
from genesis.chain_spec import ConsensusParams
from genesis.errors import InvariantError
from genesis.primitives import NO_ROUND, ZERO_HASH, Address, Hash32, Height, Round
from genesis.types import ValidatorSet, Vote, VoteType

PROPOSAL_ROUNDS_AHEAD: Final = 8
"""Proposals further in the future are ignored: nobody correct is there unless W votes bring this node there too."""


@dataclass(slots=True)
class RoundsState:
    """What a validator (or a follower, `me` None) knows of one height. Names are the paper's."""

    height: Height
    validators: ValidatorSet
    proposer: Callable[[Round], Address]
    params: ConsensusParams
    me: Address | None
    round: Round = NO_ROUND
    step: Step = Step.NEW
    locked_value: Hash32 | None = None
    locked_round: Round = NO_ROUND
    valid_value: Hash32 | None = None
    valid_round: Round = NO_ROUND
    valid_polka: tuple[Vote, ...] = ()
    decided: Hash32 | None = None
    proposals: dict[Round, ProposalReceived] = field(default_factory=dict)
    """The first proposal of each round from the current one to a few ahead."""
    judged: dict[Hash32, BlockValidated] = field(default_factory=dict)
    wanted: set[Hash32] = field(default_factory=set)
    fired: set[tuple[str, Round]] = field(default_factory=set)
    """The rules that act once a round ("for the first time") and did."""
    votes: HeightVotes = field(init=False)

    def __post_init__(self) -> None:
        self.votes = HeightVotes(self.validators, self.height)
        if self.me is not None and self.me not in self.validators:
            self.me = None

    def fires_first(self, rule: str) -> bool:
        """True once for each rule and round."""
        if (rule, self.round) in self.fired:
            return False
        self.fired.add((rule, self.round))
        return True


def step(state: RoundsState, event: Input) -> list[Effect]:
    """Process one input; returns the effects in the order in which they must happen. Changes `state`, nothing else.

    Raises InvariantError if the node contradicts itself or the chain has more than 1/3 of byzantine power.
    """
    if state.decided is not None:
        return []
    before = (state.round, state.step, state.valid_round)
    effects: list[Effect] = []
    _take(state, event, effects)
    _run_rules(state, effects)
    _check_invariants(state, before)
    return effects


def resume(state: RoundsState) -> list[Effect]:
    """Go on after a restart: what was restored stands in `state`; timers start again, rules run on it."""
    effects: list[Effect] = []
    before = (state.round, state.step, state.valid_round)
    if state.step is Step.PROPOSE:
        effects.append(ScheduleTimeout(state.round, Step.PROPOSE))
        if state.proposer(state.round) == state.me and state.round not in state.proposals:
            _propose(state, effects)
    _run_rules(state, effects)
    _check_invariants(state, before)
    return effects


# ---------------------------------------------------------------- inputs: what is noted before the rules run


def _take(state: RoundsState, event: Input, out: list[Effect]) -> None:
    match event:
        case EnterHeight():
            if state.step is Step.NEW:
                _start_round(state, Round(0), out)
        case VoteReceived(vote):
            _take_vote(state, vote, out)
        case ProposalReceived():
            _take_proposal(state, event, out)
        case CommitReceived(commit):
            for vote in votes_of_commit(commit, state.validators):
                _take_vote(state, vote, out, certified=True)
        case BlockValidated():
            _take_judgement(state, event)
        case BlockBuilt(round=round_, block_hash=value):
            if (round_, Step.PROPOSE) == (state.round, state.step) and round_ not in state.proposals:
                out.append(Propose(round_, value, NO_ROUND, ()))
        case TimeoutExpired():
            _take_timeout(state, event, out)


def _take_vote(state: RoundsState, vote: Vote, out: list[Effect], *, certified: bool = False) -> None:
    evidence = state.votes.add(vote, state.round, certified=certified)
    if evidence is not None:
        out.append(EvidenceFound(evidence))


def _take_proposal(state: RoundsState, event: ProposalReceived, out: list[Effect]) -> None:
    """Only the first proposal of a round counts; past rounds serve nobody (the votes name their blocks)."""
    proposal = event.proposal
    known = state.proposals.get(proposal.round)
    if known is not None:
        evidence = duplicate_proposal(known.proposal, proposal)
        if evidence is not None:
            out.append(EvidenceFound(evidence))
        return
    if not state.round <= proposal.round <= max(state.round, 0) + PROPOSAL_ROUNDS_AHEAD:
        return
    state.proposals[proposal.round] = event
    state.votes.note_sender(proposal.round, proposal.proposer)
    for vote in proposal.polka:
        _take_vote(state, vote, out, certified=True)


def _take_judgement(state: RoundsState, event: BlockValidated) -> None:
    known = state.judged.get(event.block_hash)
    if known is not None and known.valid != event.valid:
        raise InvariantError(
            f"block {event.block_hash.hex()} was judged both valid and invalid: execution is not a function"
        )
    if not event.valid and event.block_hash in (state.locked_value, state.valid_value):
        raise InvariantError(
            f"block {event.block_hash.hex()} is locked or valid here, and now execution calls it invalid"
        )
    state.judged[event.block_hash] = event


def _take_timeout(state: RoundsState, event: TimeoutExpired, out: list[Effect]) -> None:
    if event.round != state.round:
        return
    if event.step is Step.PRECOMMIT:  # L65-L67
        _start_round(state, Round(state.round + 1), out)
    elif event.step is state.step is Step.PROPOSE:  # L57-L60
        _prevote(state, ZERO_HASH, out)
    elif event.step is state.step is Step.PREVOTE:  # L61-L64
        _precommit(state, ZERO_HASH, out)


# ---------------------------------------------------------------- rules: True if the rule fired


def _l49_decide(state: RoundsState, out: list[Effect]) -> bool:
    for round_, value in state.votes.commits.items():
        judged = state.judged.get(value)
        if judged is None:
            continue
        if not judged.valid:
            raise InvariantError(
                f"more than 2/3 of the power committed block {value.hex()} at height {state.height}, round {round_}, "
                "which this node finds invalid: one of the two is wrong, so it stops"
            )
        state.decided = value
        out.append(Decide(round_, value))
        return True
    return False


def _l55_skip(state: RoundsState, out: list[Effect]) -> bool:
    round_ = state.votes.latest_weak_quorum(above=state.round)
    if round_ == NO_ROUND:
        return False
    _start_round(state, round_, out)
    return True


def _enter(state: RoundsState, out: list[Effect]) -> bool:
    if state.step is not Step.NEW:
        return False
    if Round(0) not in state.proposals and not state.validators.is_weak_quorum(state.votes.power_seen()):
        return False
    _start_round(state, Round(0), out)
    return True


def _fetch(state: RoundsState, out: list[Effect]) -> bool:
    values = set(state.votes.commits.values())
    if state.round in state.proposals:
        values.add(state.proposals[state.round].proposal.block_hash)
    polka = state.votes.prevotes(state.round).quorum
    if polka is not None and polka != ZERO_HASH:
        values.add(polka)
    missing = sorted(value for value in values if value not in state.wanted and value not in state.judged)
    state.wanted.update(missing)
    out.extend(WantBlock(value) for value in missing)
    return bool(missing)


def _l22_fresh_proposal(state: RoundsState, out: list[Effect]) -> bool:
    received = state.proposals.get(state.round)
    if state.step is not Step.PROPOSE or received is None or received.proposal.valid_round != NO_ROUND:
        return False
    value = received.proposal.block_hash
    block = state.judged.get(value)
    if block is None:
        return False  # not held yet, or being executed; the propose timer runs
    fits = block.valid and block.round == state.round
    timely = is_timely(state.params, time_ms=block.time_ms, received_ms=received.received_ms, round_=state.round)
    unlocked = state.locked_round == NO_ROUND or state.locked_value == value
    _prevote(state, value if fits and timely and unlocked else ZERO_HASH, out)
    return True


def _l28_proposal_again(state: RoundsState, out: list[Effect]) -> bool:
    received = state.proposals.get(state.round)
    if state.step is not Step.PROPOSE or received is None or received.proposal.valid_round == NO_ROUND:
        return False
    value, valid_round = received.proposal.block_hash, received.proposal.valid_round
    block = state.judged.get(value)
    if block is None or state.votes.prevotes(valid_round).quorum != value:
        return False
    fits = block.valid and block.round <= valid_round
    unlocked = state.locked_round <= valid_round or state.locked_value == value
    _prevote(state, value if fits and unlocked else ZERO_HASH, out)
    return True


def _l34_prevote_timer(state: RoundsState, out: list[Effect]) -> bool:
    if state.step is not Step.PREVOTE:
        return False
    if not state.validators.is_quorum(state.votes.prevotes(state.round).power_any) or not state.fires_first("L34"):
        return False
    out.append(ScheduleTimeout(state.round, Step.PREVOTE))
    return True


def _l36_polka(state: RoundsState, out: list[Effect]) -> bool:
    if state.step < Step.PREVOTE:
        return False
    prevotes = state.votes.prevotes(state.round)
    value = prevotes.quorum
    if value is None or value == ZERO_HASH:
        return False
    block = state.judged.get(value)
    if block is None or not block.valid or not state.fires_first("L36"):
        return False
    locks = state.step is Step.PREVOTE
    state.valid_value, state.valid_round, state.valid_polka = value, state.round, prevotes.votes_for(value)  # L42, L43
    out.append(PersistPolka(state.height, state.round, value, locks, state.valid_polka))
    if locks:
        state.locked_value, state.locked_round = value, state.round  # L38, L39
        _precommit(state, value, out)  # L40, L41
    return True


def _l44_nil_polka(state: RoundsState, out: list[Effect]) -> bool:
    if state.step is not Step.PREVOTE or state.votes.prevotes(state.round).quorum != ZERO_HASH:
        return False
    _precommit(state, ZERO_HASH, out)
    return True


def _l47_precommit_timer(state: RoundsState, out: list[Effect]) -> bool:
    if state.step is Step.NEW:
        return False
    if not state.validators.is_quorum(state.votes.precommits(state.round).power_any) or not state.fires_first("L47"):
        return False
    out.append(ScheduleTimeout(state.round, Step.PRECOMMIT))
    return True


RULES: Final[tuple[Callable[[RoundsState, list[Effect]], bool], ...]] = (
    _l49_decide,
    _l55_skip,
    _enter,
    _fetch,
    _l22_fresh_proposal,
    _l28_proposal_again,
    _l34_prevote_timer,
    _l36_polka,
    _l44_nil_polka,
    _l47_precommit_timer,
)


def _run_rules(state: RoundsState, out: list[Effect]) -> None:
    while state.decided is None and any(rule(state, out) for rule in RULES):
        pass


# ---------------------------------------------------------------- what rules do


def _start_round(state: RoundsState, round_: Round, out: list[Effect]) -> None:
    """L11-L21."""
    state.round, state.step = round_, Step.PROPOSE
    _forget_past(state)
    out.append(ScheduleTimeout(round_, Step.PROPOSE))
    if state.proposer(round_) == state.me:
        _propose(state, out)


def _forget_past(state: RoundsState) -> None:
    """Keep what a later rule can still ask for; a block that is needed again later is fetched and judged again."""
    state.proposals = {r: event for r, event in state.proposals.items() if r >= state.round}
    state.fired = {(rule, r) for rule, r in state.fired if r >= state.round}
    state.votes.prune(state.round, {state.valid_round, state.locked_round})
    needed = {event.proposal.block_hash for event in state.proposals.values()} | set(state.votes.commits.values())
    needed |= {value for value in (state.locked_value, state.valid_value) if value is not None}
    state.judged = {value: event for value, event in state.judged.items() if value in needed}
    state.wanted &= needed


def _propose(state: RoundsState, out: list[Effect]) -> None:
    """L14-L19: the valid value with its polka, or a new block."""
    if state.valid_value is None:
        out.append(BuildBlock(state.round))
    else:
        out.append(Propose(state.round, state.valid_value, state.valid_round, state.valid_polka))


def _prevote(state: RoundsState, value: Hash32, out: list[Effect]) -> None:
    state.step = Step.PREVOTE
    if state.me is not None:
        out.append(CastVote(VoteType.PREVOTE, state.round, value))


def _precommit(state: RoundsState, value: Hash32, out: list[Effect]) -> None:
    state.step = Step.PRECOMMIT
    if state.me is not None:
        out.append(CastVote(VoteType.PRECOMMIT, state.round, value))


def _check_invariants(state: RoundsState, before: tuple[Round, Step, Round]) -> None:
    round_, step_, valid_round = before
    if (state.round, state.step) < (round_, step_):
        raise InvariantError(
            f"height {state.height}: position went back from {round_, step_} to {state.round, state.step}"
        )
    if not valid_round <= state.valid_round or not state.locked_round <= state.valid_round <= max(
        state.round, NO_ROUND
    ):
        raise InvariantError(
            f"height {state.height}: locked round {state.locked_round}, valid round {state.valid_round} (was {valid_round}), "
            f"round {state.round} are out of order"
        )

"""How nodes that lost messages get them again: a peer says what it has, we send what it misses. Pure functions."""

from typing import Final

from consensus.messages import ConsensusMessage, RoundState, VoteBits
from consensus.state_machine import RoundsState
from consensus.vote_set import check_bits
from genesis.primitives import NO_ROUND, Round
from genesis.types import Proposal, Vote, VoteType

VOTES_PER_ANSWER_MAX: Final = 256


def round_state(state: RoundsState) -> RoundState:
    """Where this node stands and which votes it has of the rounds that matter to it."""
    rounds = [state.round] if state.round != NO_ROUND else []
    if state.valid_round not in (NO_ROUND, state.round):
        rounds.append(state.valid_round)
    ahead = state.votes.latest_round()
    if ahead > state.round:
        rounds.append(ahead)
    bits = [
        VoteBits(kind, round_, state.votes.get(round_, kind).bits())
        for round_ in rounds
        for kind in (VoteType.PREVOTE, VoteType.PRECOMMIT)
    ]
    return RoundState(state.height, state.round, state.step, state.round in state.proposals, tuple(bits))


def missing_for(state: RoundsState, peer: RoundState) -> list[ConsensusMessage]:
    """What a peer at our height lacks: the proposal of its round, votes of its round, of ours, and of any commit we see.

    Raises PeerFault if its bit arrays do not fit the validator set. At most VOTES_PER_ANSWER_MAX votes.
    """
    has = {}
    for row in peer.votes:
        check_bits(row.bits, state.validators)
        has[row.round, row.kind] = row.bits
    answer: list[ConsensusMessage] = []
    proposal = _proposal_for(state, peer)
    if proposal is not None:
        answer.append(proposal)
    votes: list[Vote] = []
    for round_ in _rounds_for(state, peer.round):
        for kind in (VoteType.PRECOMMIT, VoteType.PREVOTE):
            votes.extend(state.votes.get(round_, kind).missing_from(has.get((round_, kind))))
    return answer + list(votes[:VOTES_PER_ANSWER_MAX])


def _proposal_for(state: RoundsState, peer: RoundState) -> Proposal | None:
    """The proposal of the round where the peer is; of ours, if it is behind (it will skip to it)."""
    if peer.round == state.round and peer.has_proposal:
        return None
    received = state.proposals.get(max(state.round, peer.round))
    return None if received is None else received.proposal


def _rounds_for(state: RoundsState, peer_round: Round) -> list[Round]:
    """Rounds worth sending votes of, the most useful first: a commit ends the height, ours lets the peer skip."""
    wanted = [*state.votes.commits, state.round, peer_round, state.valid_round]
    return [round_ for round_ in dict.fromkeys(wanted) if round_ != NO_ROUND]

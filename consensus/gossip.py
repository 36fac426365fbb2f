"""How nodes that lost messages get them again: a peer says what it has, we send what it still misses the second time.

Every node sends its own votes to all, so a peer that lacks a vote mostly need but wait; were it helped at once, all its peers
would send it what is on its way already (at 100 validators and links of 20 to 150 ms nine votes of ten: docs/adr/0035). Pure
functions.
"""

from collections.abc import Mapping
from typing import Final

from consensus.messages import ConsensusMessage, RoundState, VoteBits
from consensus.state_machine import RoundsState
from consensus.vote_set import check_bits
from genesis.primitives import NO_ROUND, Round
from genesis.types import Proposal, Vote, VoteType

VOTES_PER_ANSWER_MAX: Final = 256

Lacks = Mapping[tuple[Round, VoteType], int]
"""What a peer lacks: by round and kind the places of the validators whose votes we have and it has not (of a proposal: 1)."""


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


def missing_for(state: RoundsState, peer: RoundState, before: Lacks) -> tuple[list[ConsensusMessage], Lacks]:
    """What a peer at our height lacked when it spoke before, and lacks still; and all that it lacks now, for the next time.

    What it lacks for the first time is most likely on its way to it from its author. Of the rest: the proposal of its round,
    votes of its round, of ours, and of any commit we see, at most VOTES_PER_ANSWER_MAX.
    Raises PeerFault if its bit arrays do not fit the validator set.
    """
    has = {}
    for row in peer.votes:
        check_bits(row.bits, state.validators)
        has[row.round, row.kind] = _places(row.bits)
    lacks: dict[tuple[Round, VoteType], int] = {}
    answer: list[ConsensusMessage] = []
    proposal = _proposal_for(state, peer)
    if proposal is not None:
        lacks[proposal.round, VoteType.PROPOSAL] = 1
        answer += [proposal] if (proposal.round, VoteType.PROPOSAL) in before else []
    votes: list[Vote] = []
    for round_ in _rounds_for(state, peer.round):
        for kind in (VoteType.PRECOMMIT, VoteType.PREVOTE):
            place, ours = (round_, kind), state.votes.get(round_, kind)
            lacks[place] = _places(ours.bits()) & ~has.get(place, 0)
            votes.extend(ours.votes_at(lacks[place] & before.get(place, 0)))
    return answer + list(votes[:VOTES_PER_ANSWER_MAX]), lacks


def _places(bits: bytes) -> int:
    """Bit i of the number: the validator at place i."""
    return int.from_bytes(bits, "little")


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

"""What a restarted node takes up from its log and its sign record: votes, lock, valid value, position. Nothing is re-derived.

The lock and the valid value are those of the PolkaSeen records; the position is the furthest of what was signed, what a timer
or a polka proves to have been reached; the last signed message counts as sent, with the very bytes that were signed.

A validator whose log lacks what it must hold (a data directory that was deleted to sync again, a block taken back, a damaged
disk) may have forgotten a lock. It sits out: it follows that height without a vote, and signs from the next one on. The log
remembers that, since it soon holds the votes of others again.
"""

from dataclasses import dataclass

from consensus.events import CommitReceived, EnterHeight, ProposalReceived, TimeoutExpired, VoteReceived
from consensus.evidence import duplicate_proposal
from consensus.messages import Step
from consensus.signer import STEP_OF, SignedMessage, SignRecord
from consensus.state_machine import RoundsState
from consensus.vote_set import votes_of_commit
from consensus.wal import HeldBlock, PolkaSeen, Record, SitsOut
from genesis.errors import StorageCorrupt
from genesis.primitives import NO_ROUND, ZERO_HASH, Round
from genesis.types import Block, Evidence, Proposal, Vote, VoteType

_Position = tuple[Round, Step]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the driver has to do after `restore`: judge these blocks again, send the last signed message again, accuse."""

    blocks: tuple[Block, ...]
    last_signed: SignedMessage | None
    unlogged: ProposalReceived | VoteReceived | None
    """That message where a crash kept it out of the log: it has to go there before the sign record holds another."""
    evidence: tuple[Evidence, ...]
    """Equivocations that the log shows: the pool is in memory only."""
    sits_out: str
    """Why this validator signs nothing at this height; empty if it may."""


def restore(state: RoundsState, records: list[Record], last: SignRecord | None) -> Recovered:
    """Put the records of this height into a fresh `state`. Raises StorageCorrupt if log and sign record contradict."""
    signed = None if last is None or last.height != state.height else last.signed()
    if state.me is not None:
        _check_own(state, records, last)
    state.round, state.step = _position(state, records, signed)
    evidence = [found for record in records for found in _put(state, record)]
    sits_out = "" if signed is None else _missing(state, records, signed)
    if sits_out:
        state.me = None
    own: ProposalReceived | VoteReceived | None = None
    if isinstance(signed, Vote):
        state.votes.add(signed, state.round, certified=True)
        own = VoteReceived(signed)
    blocks = {record.block.hash: record.block for record in records if isinstance(record, HeldBlock)}
    if isinstance(signed, Proposal):  # its block was made durable before it was signed
        block = blocks.get(signed.block_hash)
        own = ProposalReceived(signed, 0 if block is None else block.consensus.time_ms)
        _put(state, own)
    return Recovered(tuple(blocks.values()), signed, None if own in records else own, tuple(evidence), sits_out)


def _check_own(state: RoundsState, records: list[Record], last: SignRecord | None) -> None:
    """The sign record is written before the log: an own vote in the log that it does not cover means an old record."""
    newest = max((own for record in records if (own := _own_position(state, record)) is not None), default=None)
    if newest is not None and (last is None or (state.height, *newest) > last.position):
        raise StorageCorrupt(
            f"the consensus log holds own signatures of height {state.height}, round {newest[0]}, which the sign record "
            "does not know: an old copy of the sign record was put back"
        )


def _missing(state: RoundsState, records: list[Record], signed: SignedMessage) -> str:
    """What the log should hold and does not, or did not before, given that this was signed; empty if nothing is missing.

    Beyond round 0 the log is synced before anything is signed, so it shows how the node came into that round, and every lock of
    the rounds before it. And the lock is durable before a precommit for a block is signed.
    """
    lost = ""
    if any(isinstance(record, SitsOut) for record in records):
        lost = "what came before it was begun anew"
    elif signed.round > max((_round_seen(record) for record in records), default=Round(0)):
        lost = "how the node came there"
    elif isinstance(signed, Vote) and signed.kind == VoteType.PRECOMMIT and signed.block_hash != ZERO_HASH:
        locked = (state.locked_round, state.locked_value)
        if state.locked_round <= signed.round and locked != (signed.round, signed.block_hash):
            lost = "its lock"
    if not lost:
        return ""
    return (
        f"something was signed at height {signed.height}, round {signed.round}, but the consensus log does not hold {lost}: "
        "its end, or the last block, is lost. The node follows this height without a vote, since it may have forgotten a lock, "
        "and signs again from the next one on"
    )


def _round_seen(record: Record) -> Round:
    """The furthest round that a record can have brought the node to."""
    match record:
        case VoteReceived(vote):
            return vote.round
        case ProposalReceived(proposal):
            return proposal.round
        case CommitReceived(commit):
            return commit.round
        case TimeoutExpired(round=round_, step=Step.PRECOMMIT):
            return Round(round_ + 1)
        case _:
            return Round(0)


def _own_position(state: RoundsState, record: Record) -> _Position | None:
    match record:
        case VoteReceived(vote) if vote.validator == state.me:
            return vote.round, STEP_OF[vote.kind]
        case ProposalReceived(proposal) if proposal.proposer == state.me:
            return proposal.round, Step.PROPOSE
        case _:
            return None


def _position(state: RoundsState, records: list[Record], signed: SignedMessage | None) -> _Position:
    reached = [_reached(state, record) for record in records]
    if isinstance(signed, Vote):
        reached.append((signed.round, STEP_OF[signed.kind]))
    elif signed is not None:
        reached.append((signed.round, Step.PROPOSE))
    return max((position for position in reached if position is not None), default=(NO_ROUND, Step.NEW))


def _reached(state: RoundsState, record: Record) -> _Position | None:
    match record:
        case EnterHeight():
            return Round(0), Step.PROPOSE
        case TimeoutExpired(round=round_, step=Step.PRECOMMIT):
            return Round(round_ + 1), Step.PROPOSE
        case TimeoutExpired(round=round_):
            return round_, Step.PROPOSE
        case PolkaSeen(round=round_):
            return round_, Step.PREVOTE
        case _:
            return _own_position(state, record)


def _put(state: RoundsState, record: Record) -> list[Evidence]:
    """Take up one record; returns the equivocations that it shows."""
    match record:
        case VoteReceived(vote):
            found = state.votes.add(vote, state.round)
            return [] if found is None else [found]
        case CommitReceived(commit):
            return _put_certified(state, votes_of_commit(commit, state.validators))
        case ProposalReceived(proposal):
            return _put_proposal(state, record, proposal)
        case PolkaSeen():
            return _put_polka(state, record)
        case _:
            return []  # judgements are made again; the rest only told the position


def _put_certified(state: RoundsState, votes: tuple[Vote, ...]) -> list[Evidence]:
    found = [state.votes.add(vote, state.round, certified=True) for vote in votes]
    return [evidence for evidence in found if evidence is not None]


def _put_proposal(state: RoundsState, record: ProposalReceived, proposal: Proposal) -> list[Evidence]:
    state.votes.note_sender(proposal.round, proposal.proposer)
    found = _put_certified(state, proposal.polka)
    if proposal.round >= state.round:
        known = state.proposals.setdefault(proposal.round, record)
        evidence = duplicate_proposal(known.proposal, proposal)
        return found if evidence is None else [*found, evidence]
    return found


def _put_polka(state: RoundsState, record: PolkaSeen) -> list[Evidence]:
    if record.round < state.valid_round:
        raise StorageCorrupt("the consensus log holds polkas out of order")
    found = _put_certified(state, record.polka)
    state.valid_value, state.valid_round, state.valid_polka = record.block_hash, record.round, record.polka
    if record.locks:
        state.locked_value, state.locked_round = record.block_hash, record.round
    return found

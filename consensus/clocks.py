"""What a fresh proposal tells about two clocks: the proposer's, by the block's time, and this node's, by when it came."""

from consensus.observer import Observer
from consensus.state_machine import RoundsState
from consensus.timing import is_timely
from genesis.primitives import NO_ROUND
from genesis.types import Block


def observe_clocks(observer: Observer, state: RoundsState, block: Block) -> None:
    """Tell the observer how the time of a block that was proposed afresh, by somebody else, lies to this node's clock."""
    data = block.consensus
    received = state.proposals.get(data.round)
    if received is None or received.proposal.block_hash != block.hash or received.proposal.valid_round != NO_ROUND:
        return
    proposer = received.proposal.proposer
    if proposer != state.me:
        came_ms = received.received_ms
        timely = is_timely(state.params, time_ms=data.time_ms, received_ms=came_ms, round_=data.round)
        ahead_ms = data.time_ms - came_ms
        observer.proposal_timed(state.height, data.round, proposer, ahead_ms=ahead_ms, timely=timely)

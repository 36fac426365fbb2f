"""How long a node waits, and when a block's time is believed. Integer milliseconds, no floats."""

from typing import Final

from consensus.messages import Step
from genesis.chain_spec import ConsensusParams
from genesis.primitives import Round

_DELAY_GROWTH_ROUNDS_MAX: Final = 64
"""1.1 ** 64 is about 446: by then the message delay is no bound any more, and the integers stay small."""
_LATE_SHARE: Final = 10
"""The part of an interval by which a proposer may be late without its block's time showing it."""


def timeout_ms(params: ConsensusParams, step: Step, round_: Round) -> int:
    """timeoutPropose, timeoutPrevote and timeoutPrecommit of the paper: linear in the round, and capped.

    Growing timeouts are what makes rounds overlap in the end (section III of the paper); the cap keeps a long outage from
    pushing them to hours.
    """
    if step is Step.PROPOSE:
        wanted = params.propose_timeout_ms + round_ * params.propose_timeout_step_ms
    else:
        wanted = params.vote_timeout_ms + round_ * params.vote_timeout_step_ms
    return min(wanted, params.timeout_cap_ms)


def proposal_time_ms(now_ms: int, earliest_ms: int, interval_ms: int) -> int:
    """The time of a new block: now, or the earliest that it may have where that is yet to come or only just over.

    A proposer wakes some milliseconds late. If each block told the time of its waking, all of that would add up, and blocks
    would come every interval and a bit.
    """
    return now_ms if now_ms > earliest_ms + interval_ms // _LATE_SHARE else earliest_ms


def message_delay_ms(params: ConsensusParams, round_: Round) -> int:
    """The bound on a proposal's travel time: 10 % more each round, so that a bound set too low cannot stop the chain."""
    growth = min(round_, _DELAY_GROWTH_ROUNDS_MAX)
    return int(params.message_delay_ms * 11**growth // 10**growth)


def is_timely(params: ConsensusParams, *, time_ms: int, received_ms: int, round_: Round) -> bool:
    """Proposer-based timestamps: was a fresh proposal of a block of `time_ms` received when it may have been sent?

    True if time - precision <= received <= time + precision + message delay of the round.
    """
    latest = time_ms + params.precision_ms + message_delay_ms(params, round_)
    return time_ms - params.precision_ms <= received_ms <= latest

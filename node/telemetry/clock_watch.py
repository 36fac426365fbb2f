"""What others' block times tell about this node's clock: a warning once a minute at most, and a metric.

With a wrong clock what a validator proposes is untimely to the others, and what they propose to it: neither gets a vote.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from genesis.limits import VALIDATORS_MAX
from genesis.primitives import Address, Height, Round
from p2p.pace import Pace

logger = logging.getLogger(__name__)

_CHECK: Final = "check this machine's time service (timedatectl)"


class ClockWatch:
    """Takes what consensus sees of other clocks. All differences are theirs less ours, in milliseconds."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._difference = Gauge(
            "openledger_consensus_clock_difference_seconds",
            "The last proposed block's time, or a time that was waited for, less this node's clock",
            registry=registry,
        )
        self._untimely_count = Counter(
            "openledger_consensus_untimely_proposals",
            "Proposals whose block's time was too far from this node's clock for a vote",
            registry=registry,
        )
        self._timely: dict[Address, bool] = {}
        """The difference in each proposer's last proposal; who proposed longest ago is forgotten first."""
        self._untimely_pace = Pace(clock)
        self._waiting_pace = Pace(clock)

    def proposal(self, height: Height, round_: Round, proposer: Address, ahead_ms: int, *, timely: bool) -> None:
        """A proposal came."""
        self._difference.set(ahead_ms / 1000)
        self._timely.pop(proposer, None)
        self._timely[proposer] = timely
        if len(self._timely) > VALIDATORS_MAX:
            del self._timely[next(iter(self._timely))]
        if timely:
            return
        self._untimely_count.inc()
        if self._untimely_pace.may_say():
            logger.warning(
                "height %d round %d propose: the time of the block that 0x%s proposed is %s this node's clock, too far for a "
                "vote: %s",
                height,
                round_,
                proposer.hex(),
                _differs(ahead_ms),
                self._whose(late=ahead_ms < 0),
            )

    def waiting(self, height: Height, ahead_ms: int) -> None:
        """A height can't begin before a time that is still to come."""
        self._difference.set(ahead_ms / 1000)
        if self._waiting_pace.may_say():
            if height == 1:
                logger.warning("the chain begins %s this node's clock; if it has begun, %s", _differs(ahead_ms), _CHECK)
            else:
                logger.warning(
                    "height %d: the block before has a time %s this node's clock, which has to come first: %s",
                    height,
                    _differs(ahead_ms),
                    _CHECK,
                )

    def _whose(self, *, late: bool) -> str:
        untimely = sum(not timely for timely in self._timely.values())
        if untimely > 1 and 2 * untimely > len(self._timely):
            return f"so it is with {untimely} of {len(self._timely)} proposers, so this clock is wrong; {_CHECK}"
        return f"one of the clocks is wrong{', or it came late' if late else ''}; {_CHECK}"


def _differs(ahead_ms: int) -> str:
    return f"{abs(ahead_ms) / 1000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'}"

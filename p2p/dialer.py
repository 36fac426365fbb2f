"""Keeping a known peer connected: dial, and dial again, with a jittered back-off and no other memory of failures.

Why a peer can't be had is said once a minute at most, for each peer.
"""

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from p2p.faults import HelloRefused
from p2p.pace import Pace

if TYPE_CHECKING:
    from p2p.switch import Switch

logger = logging.getLogger(__name__)

GROWTH = 1.6
REFUSED_FACTOR = 4
"""A peer that refused our hello will most likely do so again: wait longer."""
LIVED_S = 5.0
"""A connection that lived so long was a success: start over with the shortest wait."""


class RandomSource(Protocol):
    """What the host needs of a random source; `random.Random` and `random.SystemRandom` are such."""

    def random(self) -> float: ...
    def randbytes(self, n: int, /) -> bytes: ...


async def keep_dialing(switch: "Switch", peer_id: str, rng: RandomSource) -> None:
    """Dial the known peer whenever it is not connected, until cancelled or the peer is no longer known."""
    first_s, most_s = switch.limits.redial_s_first, switch.limits.redial_s_max
    wait_s = first_s
    pace = Pace(trio.current_time)
    if switch.own_peer_id > peer_id:
        await trio.sleep(switch.limits.yield_s)
    while (address := switch.known.get(peer_id)) is not None:
        if (peer := switch.table.peers.get(peer_id)) is not None:
            await peer.closed.wait()
            wait_s = first_s
        elif (ban_left_s := switch.scores.ban_left_s(peer_id, trio.current_time())) > 0:
            await trio.sleep(ban_left_s)
        else:
            started_at = trio.current_time()
            error = await switch.run_outbound(address)
            missed = error is not None and peer_id not in switch.table.peers  # not for a mere duplicate
            level = logging.INFO if missed and pace.may_say() else logging.DEBUG
            logger.log(level, "no connection to the peer at %s: %s", address, error or "closed here")
            if trio.current_time() - started_at > LIVED_S:
                wait_s = first_s
            else:
                wait_s = min(wait_s * GROWTH, most_s)
            if missed and isinstance(error, HelloRefused):
                wait_s = min(wait_s * REFUSED_FACTOR, most_s * REFUSED_FACTOR)
        await trio.sleep(wait_s * (0.5 + rng.random() / 2))

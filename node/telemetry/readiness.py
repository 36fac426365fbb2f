"""Whether a node should be asked now, for `/ready`: is it connected, level, fed with blocks, right about the time?

Ages are told by the steady clock, from when a block came; the wall clock is what is doubted.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from consensus.messages import Step
from consensus.timing import timeout_ms
from genesis.chain_spec import BlockParams, ConsensusParams
from genesis.primitives import Height, Round
from node.interfaces import NodeStatus, StoredBlock

BEHIND_HEIGHTS: Final = 3
"""Peers work on the block after their tip, so this far above ours means that they have two blocks more."""
PATIENT_ROUNDS: Final = 2
"""Failed rounds after which a chain counts as standing still."""
AGES_KEPT: Final = 3
"""The least age of so many blocks tells of the clock: one alone may be late for other reasons."""


class Readiness:
    """Knows of blocks by `block`, and asks the status for the rest.

    `heights` are those that connected peers said last; `needs_peers` is false for a node that decides alone.
    """

    def __init__(
        self,
        status: NodeStatus,
        params: ConsensusParams,
        block_params: Callable[[], BlockParams],
        heights: Callable[[], Sequence[Height]],
        needs_peers: Callable[[], bool],
        *,
        now_ms: Callable[[], int],
        steady_s: Callable[[], float],
    ) -> None:
        self._status = status
        self._params = params
        self._block_params = block_params
        self._heights = heights
        self._needs_peers = needs_peers
        self._now_ms = now_ms
        self._steady_s = steady_s
        self._tip: StoredBlock | None = None
        self._came_s = steady_s()
        self._fresh = False
        self._ages_ms: deque[int] = deque(maxlen=AGES_KEPT)

    def block(self, stored: StoredBlock, *, fresh: bool) -> None:
        """The tip is another; `fresh`: it came just now, not from the disk or by block sync."""
        self._tip, self._fresh = stored, self._fresh or fresh
        if fresh:
            self._came_s = self._steady_s()
            self._ages_ms.append(self._now_ms() - stored.time_ms)
        else:
            self._ages_ms.clear()

    def reason(self) -> str | None:
        """Why the node should not be asked now; None if it is ready."""
        if self._tip is None:
            return "the node starts"
        if self._status.peer_count() == 0 and self._needs_peers():
            return "no peers"
        ahead = sorted(height for height in self._heights() if height >= self._tip.height + BEHIND_HEIGHTS)
        if 3 * len(ahead) > self._status.peer_count():
            return f"behind: at block {self._tip.height}, peers are at {ahead[(len(ahead) - 1) // 2] - 1}"
        return self._clock_reason(self._tip) or self._stall_reason(self._tip)

    def _clock_reason(self, tip: StoredBlock) -> str | None:
        """What differs by more than a block may take on its way."""
        tolerated_ms = self._params.precision_ms + self._params.message_delay_ms
        slow_ms = tip.time_ms - self._now_ms()
        if slow_ms > tolerated_ms:
            return f"this machine's clock is wrong: the last block is {slow_ms / 1000:.0f} s ahead of it"
        fast_ms = min(self._ages_ms, default=0)
        if len(self._ages_ms) == AGES_KEPT and fast_ms > tolerated_ms:
            return f"this machine's clock is wrong: new blocks come {fast_ms / 1000:.0f} s old"
        return None

    def _stall_reason(self, tip: StoredBlock) -> str | None:
        limit_ms = self._block_params().empty_interval_ms
        for round_ in range(PATIENT_ROUNDS):
            for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
                limit_ms += timeout_ms(self._params, step, Round(round_))
        since_s = self._steady_s() - self._came_s
        if since_s * 1000 > limit_ms:
            return f"stalled: block {tip.height} is the last, for {since_s:.0f} s"
        if not self._fresh and self._now_ms() - tip.time_ms > limit_ms:
            return f"no new block yet: block {tip.height} is {(self._now_ms() - tip.time_ms) / 1000:.0f} s old"
        return None

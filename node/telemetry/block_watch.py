"""What a node does with each final block beside executing it: measure it, protect its validators' peers, follow its
own.
"""

from typing import NamedTuple

import trio

from evm_runtime.header import Header
from evm_runtime.staking.layout import ValidatorRecord
from genesis.types import ValidatorSet
from node.feed import Feed
from node.net.network import Network
from node.net.sync import BlockSync
from node.storage.chain_store import ChainStore
from node.telemetry.duty import Duty
from node.telemetry.metrics import NodeMetrics
from node.telemetry.readiness import Readiness
from node.threads import UPKEEP


class _After(NamedTuple):
    """What the state after a block says."""

    signers: ValidatorSet | None
    """Who voted for the block."""
    current: ValidatorSet
    own: ValidatorRecord | None


class BlockWatch:
    """Follows the feed. `duty` None: a full node."""

    def __init__(
        self,
        store: ChainStore,
        feed: Feed,
        metrics: NodeMetrics,
        readiness: Readiness,
        network: Network,
        sync: BlockSync,
        duty: Duty | None,
    ) -> None:
        self._store = store
        self._feed = feed
        self._metrics = metrics
        self._readiness = readiness
        self._network = network
        self._sync = sync
        self._duty = duty

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Raises StorageCorrupt."""
        known = self._store.tip()
        after = await UPKEEP.run(self._state_after, known.header)
        self._metrics.block(known)
        self._readiness.block(known, fresh=False)
        self._follow(after)
        task_status.started()
        while True:
            async with self._feed.subscribe() as blocks:
                async for stored in blocks:
                    self._metrics.block(stored)
                    self._readiness.block(stored, fresh=self._sync.status() is None)
                    if stored.block.consensus.next_validators_hash != known.block.consensus.next_validators_hash:
                        self._network.validators_changed()
                    if stored.height == known.height + 1 and after.signers is not None:
                        self._metrics.last_commit(stored.block.last_commit, after.signers)
                    after = await UPKEEP.run(self._state_after, stored.header)
                    self._follow(after)
                    known = stored

    def _follow(self, after: _After) -> None:
        if self._duty is not None and after.own is not None:
            self._duty.look(after.own, is_member=self._duty.address in after.current)

    def _state_after(self, header: Header) -> _After:
        state = self._store.runtime.state(header)
        sets = state.validators()
        own = None if self._duty is None else state.validator_record(self._duty.address)
        return _After(sets.last, sets.current, own)

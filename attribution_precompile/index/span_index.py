"""The local index over contributions' windows: who has a window, and who owns it in a version (rules 3 to 5).

It is never hashed and can be thrown away at any time: all of it follows from the contract's final states. Nobody hands it
anything to learn from. It is asked `at(base)`, where `base` says which final block an execution stands on, and opens the state
of that block itself; if it is behind, the thread that asks takes that state in. So what a proposal, a call that is undone, or
a simulation writes never reaches it, and when it learns of a block changes no answer. What it gives out, an `IndexView`, has
no method that changes anything.

- Made-up states (`native/base.py`) have an overlay of their own: a copy of what is known of the block that they are made up
  from, or an index from nothing where the contract's own storage is overridden. It goes when they go.
- States of older blocks are answered from the same tables, by block numbers; from an index built for the occasion where too
  much has been taken out since; and not at all once a death after them is `death_blocks` deep. That rule reads the newest
  state alone, so every node refuses the same.
- If a block that it knows is taken back, it starts again.

Looking up in what is known takes no lock. Taking in holds it for one step of bounded work at a time. Large merges are computed
without it (`maintain`). See `datanet_index.py` for one datanet, docs/attribution.md for layout and cost.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from attribution_precompile import gas
from attribution_precompile.index.content import FinalState, FinalStates
from attribution_precompile.index.datanet_index import DatanetIndex, Tables
from attribution_precompile.index.gateway import Gateway, Standing
from attribution_precompile.index.walks import Told
from attribution_precompile.index.window_runs import U64s, Windows
from attribution_precompile.layout import CONTRIBUTIONS
from evm_runtime.native import Base
from genesis.chain_spec import AttributionParams
from genesis.errors import InvariantError
from genesis.primitives import ZERO_ADDRESS, Hash32

Charge = Callable[[int, str], None]


def free(_amount: int, _reason: str) -> None:
    """For people, who pay nothing."""


class SpanIndex:
    """The index of one chain. Several threads may use it; the lock should let those who wait have their turn."""

    def __init__(
        self,
        lock: AbstractContextManager[object],
        states: FinalStates,
        death_blocks: int = AttributionParams().death_blocks,
    ) -> None:
        self._gateway: Final[Gateway[DatanetIndex]] = Gateway(lock, states, death_blocks, DatanetIndex)
        self._lock = lock

    def clear(self) -> None:
        """Forget everything; the next questions build it again."""
        self._gateway.clear()

    def at(self, base: Base) -> "IndexView":
        """What an execution that stands on `base` may know. Raises LocalError for a block that the chain doesn't have."""
        return IndexView(self._gateway.at(base))

    def warm(self, block_hash: Hash32, datanet: int) -> bool:
        """Do one step towards a final block, off the critical path; False if nothing is left."""
        return self._gateway.warm(block_hash, datanet)

    def maintain(self) -> bool:
        """Merge what should be merged next, which may take seconds, while others look up and take in; False if nothing is left.

        For one thread at a time.
        """
        while (untended := self._gateway.untended()) is not None:
            datanet, part = untended
            with self._lock:
                job = part.next_merge()
            if job is not None:
                merged = job.run()
                with self._lock:
                    part.finish(job, merged)
                self._gateway.tend(datanet)
                return True
        return False


class IndexView:
    """The index as it is seen from one base. Each method may raise ErasedContent: see `Gateway.check_reach`."""

    def __init__(self, standing: Standing[DatanetIndex]) -> None:
        self._standing = standing

    @property
    def state(self) -> FinalState:
        """What all answers are about."""
        return self._standing.state

    def owners(self, datanet: int, version: int, window_ids: bytes, charge: Charge = free) -> tuple[U64s, U64s]:
        """The owner of each window in a version of the state, or NOBODY (rules 5 and 7), and its priority: the order of its
        first segment (rule 4). Entries beyond the first of each window are charged for."""
        part, tables = self._part(datanet)
        return part.owners_of(tables, self.state.number, version, Windows.of(window_ids), _paying(charge))

    def owned_windows(self, contribution: int, charge: Charge = free) -> int:
        """Distinct windows of a contribution, but those it has lost, that no earlier segment of another one of its datanet
        holds which is or can become a member. Entries beyond the first of each window are charged for."""
        record = CONTRIBUTIONS.load(self.state, contribution)
        if record.contributor == ZERO_ADDRESS:
            return 0
        part, tables = self._part(record.datanet_id)
        return part.count_owned(tables, self.state, contribution, _paying(charge))

    def _part(self, datanet: int) -> tuple[DatanetIndex, Tables]:
        part = self._standing.part(datanet)
        tables = part.tables_for(self.state.number)
        if tables is None:
            # Taken out between the look and this one: as old as that nobody has asked yet.
            part = self._standing.part(datanet)
            tables = part.tables_for(self.state.number)
        if tables is None:
            raise InvariantError(f"datanet {datanet} has no tables for block {self.state.number}")
        return part, tables


def _paying(charge: Charge) -> Told:
    return lambda entries: charge(gas.PASSED_OVER * entries, "entries passed over")

"""The one port through which consensus sees execution; shaped like ABCI 2.

Every call may take long (blocks are executed), so all are async and run off the event loop. `process_proposal` and
`finalize_block` are deterministic: the same parent and the same block give the same answer on every node.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from genesis.chain_spec import BlockParams
from genesis.primitives import Address, Hash32, Height, Round
from genesis.proposers import Priorities, proposer
from genesis.types import Block, Commit, Evidence, ValidatorSet


@dataclass(frozen=True, slots=True)
class HeightContext:
    """What a node must know of the finalized chain to decide `height`: the state after `height - 1`."""

    height: Height
    parent_hash: Hash32
    parent_time_ms: int
    validators: ValidatorSet
    """Who votes at `height`."""
    next_validators: ValidatorSet
    """Who votes at `height + 1`; known one height ahead (changes of H act at H + 2)."""
    last_validators: ValidatorSet | None
    """Who signed `last_commit`; None at height 1."""
    last_commit: Commit
    """The commit of `height - 1` as this node holds it (EMPTY_COMMIT at height 1)."""
    priorities: Priorities
    block_params: BlockParams
    """What is in force at this height."""
    evidence_age_ms: int
    """Evidence of older heights is not taken, by what is in force."""

    def proposer(self, round_: Round) -> Address:
        return proposer(self.validators, self.priorities, round_)


@dataclass(frozen=True, slots=True)
class PastHeight:
    """What evidence of a final height is checked against."""

    time_ms: int
    validators: ValidatorSet
    """Who voted there."""


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """What the proposer gives the application to build a block from."""

    height: Height
    round: Round
    time_ms: int
    proposer: Address
    last_commit: Commit
    evidence: tuple[Evidence, ...]


class Application(Protocol):
    """Execution and storage, as consensus sees them."""

    async def height_context(self) -> HeightContext:
        """The height after the stored tip. Called at start and after a sync."""
        ...

    async def prepare_proposal(self, request: ProposalRequest) -> Block:
        """Build and execute a block on the finalized state. It passes `process_proposal` on every correct node."""
        ...

    async def check_body(self, block: Block) -> None:
        """Cheap and without state: do header, body and ConsensusData of `block` belong together (roots and hashes)?

        Raises InvalidBlock if not. A block's hash is its header's, so anybody can pair a good header with another body; such
        bytes are no block at all and say nothing about the block of that hash. Called before `process_proposal`.
        """
        ...

    async def process_proposal(self, block: Block) -> None:
        """Execute `block` on the finalized state. Raises InvalidBlock if it breaks a rule; changes nothing either way."""
        ...

    async def finalize_block(self, block: Block, commit: Commit) -> HeightContext:
        """Store a decided block with its commit in one synchronous batch; returns the next height once that is durable."""
        ...

    async def past_height(self, height: Height) -> PastHeight | None:
        """A final height of the chain; None if it is not final here. Raises StorageCorrupt if what is needed is missing."""
        ...

    async def is_punishable(self, validator: Address) -> bool:
        """Would a block on the finalized state that accuses `validator` be valid: is, or was, it a validator, and was it not
        punished yet?"""
        ...

    def has_transactions(self) -> bool:
        """True if a transaction is waiting that the next block could hold (at the next base fee)."""
        ...

    async def wait_for_transactions(self) -> None:
        """Return once `has_transactions()` is true."""
        ...


async def past_heights(app: Application, evidence: Iterable[Evidence]) -> dict[Height, PastHeight]:
    """The final heights that evidence speaks of, as far as they are final here."""
    found = {}
    for height in sorted({item.height for item in evidence}):
        past = await app.past_height(height)
        if past is not None:
            found[height] = past
    return found

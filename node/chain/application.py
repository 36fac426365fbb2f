"""Execution, storage and mempool behind consensus' one port.

Blocks are executed on the execution thread, in the order in which consensus asks. What a proposal's execution gave is kept
until its height is decided, so deciding adopts it instead of executing again. A block is acknowledged only after its batch is
on the disk; then the mempool moves on and subscribers hear of it.
"""

import dataclasses
import itertools
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

import trio

from consensus.application import HeightContext, PastHeight, ProposalRequest
from evm_runtime.body import check_body
from evm_runtime.runtime import BuildRequest, ExecutedBlock
from evm_runtime.transaction import Transaction
from genesis.chain_spec import BlockParams
from genesis.errors import InvalidBlock, InvariantError, StorageCorrupt
from genesis.primitives import Address, Hash32, Height, Round, keccak256
from genesis.types import EMPTY_COMMIT, Block, Commit
from node.chain.patience import TRIES_MAX, Attempt, Patience
from node.chain.worker import WorkerThread
from node.feed import Feed
from node.mempool.service import MempoolService
from node.storage.chain_store import ChainStore
from node.threads import CONSENSUS

logger = logging.getLogger(__name__)

EXECUTED_KEPT: Final = 8
"""Executions of proposals kept for one height. A height rarely needs more than one or two."""
EMPTY_FROM_ROUND: Final = 6
TRANSFER_GAS: Final = 21_000
BUILDING_SHARE: Final = 3
"""A proposer packs for this part of the time in which its proposal is due; sending and executing it elsewhere take as long."""
LEFT_OUT_LOGGED: Final = 10
"""Candidates that a block had no room for, and why, one by one; of the others their number is logged."""


def gas_target(params: BlockParams, round_: Round) -> int:
    """How much gas a proposer packs: half as much each round, none from round 6, so that slow blocks cannot stop the chain."""
    return 0 if round_ >= EMPTY_FROM_ROUND else params.gas_limit >> round_


class NodeApplication:
    """Implements consensus' Application. All methods run on the event loop."""

    def __init__(
        self,
        store: ChainStore,
        mempool: MempoolService,
        feed: Feed,
        worker: WorkerThread,
        *,
        halt_height: int = 0,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._mempool = mempool
        self._feed = feed
        self._worker = worker
        self._halt_height = halt_height
        self._patience = patience or Patience()
        self._building: Attempt | None = None
        self._executed: OrderedDict[Hash32, ExecutedBlock] = OrderedDict()
        self.halted = trio.Event()
        """Set once the block at `halt_height` is final; consensus then waits for ever."""

    # ------------------------------------------------------------ consensus' Application

    async def height_context(self) -> HeightContext:
        await self._halt_if_reached()
        return await self._worker.run(self._context)

    async def prepare_proposal(self, request: ProposalRequest) -> Block:
        executed = None
        while executed is None:
            executed = await self._build(request)
            if executed is None:
                request = await self._when_there_is_more(request)
        self._keep(executed)
        return executed.block

    async def check_body(self, block: Block) -> None:
        await CONSENSUS.run(check_body, block)

    async def process_proposal(self, block: Block) -> None:
        await self._execute(block, abandon_on_cancel=True)

    async def finalize_block(self, block: Block, commit: Commit) -> HeightContext:
        try:
            executed = await self._execute(block, abandon_on_cancel=False)
        except InvalidBlock as error:
            raise InvariantError(
                f"block {block.height} ({block.hash.hex()}) is final by its commit, but executing it here gives: {error}. This "
                "node's software or state differs from the others'; it stops"
            ) from None
        stored = await self._worker.run(lambda: self._store.append(executed, commit))
        self._executed.clear()
        runtime = self._store.runtime
        self._mempool.update(runtime.state(), runtime.next_base_fee(stored.header), stored.transactions)
        self._give_up({transaction.hash for transaction in stored.transactions})
        self._feed.publish_block(stored)
        logger.info(
            "height %d round %d commit: block %s, %d transactions, %d gas",
            stored.height,
            commit.round,
            stored.hash.hex()[:16],
            len(stored.transactions),
            stored.header.gas_used,
        )
        await self._halt_if_reached()
        return await self._worker.run(self._context)

    async def past_height(self, height: Height) -> PastHeight | None:
        return await CONSENSUS.run(self._past_height, height)

    async def is_punishable(self, validator: Address) -> bool:
        state = self._store.runtime.state()
        return await CONSENSUS.run(state.is_punishable, validator)

    def has_transactions(self) -> bool:
        return self._mempool.has_executable()

    async def wait_for_transactions(self) -> None:
        await self._mempool.wait_executable()

    # ------------------------------------------------------------ inside

    def _context(self) -> HeightContext:
        """From the state after the tip. On the execution thread."""
        tip = self._store.tip()
        state, in_force = self._store.live_runtime.state().validators(), self._store.live_runtime.parameters()
        return HeightContext(
            height=Height(tip.height + 1),
            parent_hash=tip.hash,
            parent_time_ms=tip.time_ms,
            validators=state.current,
            next_validators=state.next,
            last_validators=state.last,
            last_commit=tip.commit or EMPTY_COMMIT,
            priorities=state.priorities,
            block_params=in_force.block,
            evidence_age_ms=in_force.staking.evidence_age_ms,
        )

    def _past_height(self, height: Height) -> PastHeight | None:
        if not 0 < height <= self._store.tip().height:
            return None
        block, header = self._store.block(height), self._store.header(height)
        if block is None or header is None:
            raise StorageCorrupt(f"block {height} is missing below the tip: evidence about it can't be checked")
        validators = self._store.runtime.state(header).validators().last
        if validators is None:
            raise StorageCorrupt(f"the state after block {height} does not know who signed it")
        return PastHeight(block.time_ms, validators)

    async def _build(self, request: ProposalRequest) -> ExecutedBlock | None:
        """Build from what waits in the mempool. None if nothing of it could be used and it is too early for an empty block."""
        tip, runtime = self._store.tip(), self._store.live_runtime
        in_force = self._store.runtime.parameters()
        target = gas_target(in_force.block, request.round)
        candidates = self._candidates(2 * (target // TRANSFER_GAS))
        attempt = self._building = self._attempt(in_force.block)
        seconds_max = in_force.consensus.propose_timeout_ms / 1000 / BUILDING_SHARE

        def build() -> ExecutedBlock:
            members = runtime.state().validators().current
            place = members.index(request.proposer)
            if place is None:
                raise InvariantError(f"asked to propose block {request.height} without being a validator of it")
            build_request = BuildRequest(
                height=request.height,
                time_ms=request.time_ms,
                round=request.round,
                proposer=request.proposer,
                coinbase=members.members[place].payout,
                last_commit=request.last_commit,
                evidence=request.evidence,
                gas_target=target,
            )
            paced = attempt.paced(candidates, seconds_max)
            return runtime.build_block(tip.header, tip.time_ms, build_request, paced)

        executed = await self._run(build, attempt, abandon_on_cancel=True)
        for transaction, reason in executed.skipped[:LEFT_OUT_LOGGED]:
            logger.info("left out of block %d: %s: %s", request.height, transaction.hash.hex(), reason)
        if len(executed.skipped) > LEFT_OUT_LOGGED:
            more = len(executed.skipped) - LEFT_OUT_LOGGED
            logger.info("left out of block %d: %d more", request.height, more)
        if not executed.transactions and self._is_too_early(request):
            self._drop_impossible([transaction for transaction, _ in executed.skipped])
            return None
        self._drop_impossible([tx for tx, reason in executed.skipped if reason.startswith("execution failed")])
        return executed

    def _candidates(self, most: int) -> list[Transaction]:
        """What waits, best first, without what has kept this height from being decided."""
        suspects = self._patience.suspects()
        executable = itertools.islice(self._mempool.pool.candidates(), most)
        return [transaction for transaction in executable if transaction.hash not in suspects]

    def _attempt(self, params: BlockParams) -> Attempt:
        """Slow is what alone takes as long as a whole block may: half of the interval. Whatever is built still was for a round
        that has passed, and keeps what comes next from the thread."""
        if self._building is not None:
            self._building.abandon()
        return self._patience.attempt(params.interval_ms / 2 / 1000)

    async def _run(
        self, execution: Callable[[], ExecutedBlock], attempt: Attempt, *, abandon_on_cancel: bool
    ) -> ExecutedBlock:
        """Build or execute on the execution thread. What is cancelled and may be abandoned goes no further than the transaction
        that it is at: what comes next waits for it."""

        def timed() -> ExecutedBlock:
            try:
                return execution()
            finally:
                attempt.end()

        try:
            return await self._worker.run(timed, abandon_on_cancel=abandon_on_cancel)
        except trio.Cancelled:
            attempt.abandon()
            raise

    def _give_up(self, included: Collection[Hash32]) -> None:
        for transaction in self._patience.decided(included):
            logger.warning(
                "transaction %s took longer than a block may, and %d proposals with it were not decided: it is dropped",
                transaction.hash.hex(),
                TRIES_MAX,
            )
            self._mempool.give_up(transaction.hash)

    def _is_too_early(self, request: ProposalRequest) -> bool:
        return request.round == 0 and not request.evidence and request.time_ms < self._patient_ms()

    def _patient_ms(self) -> int:
        """The earliest time of an empty block in round 0."""
        return self._store.tip().time_ms + self._store.runtime.parameters().block.empty_interval_ms

    async def _when_there_is_more(self, request: ProposalRequest) -> ProposalRequest:
        """Wait for another transaction, or until an empty block is due; returns the request with the time that it is then."""
        began = trio.current_time()
        with trio.move_on_after((self._patient_ms() - request.time_ms) / 1000):
            await self._mempool.wait_executable()
        passed_ms = math.ceil((trio.current_time() - began) * 1000)
        return dataclasses.replace(request, time_ms=request.time_ms + passed_ms)

    def _drop_impossible(self, transactions: list[Transaction]) -> None:
        """Look again at what the builder refused; of what still seems executable, each sender's first is what it refused."""
        pool = self._mempool.pool
        pool.recheck({transaction.sender for transaction in transactions})
        seen: set[Address] = set()
        for transaction in transactions:
            if transaction.sender not in seen and transaction.hash in pool:
                logger.warning("transaction %s can't be executed and is dropped", transaction.hash.hex())
                pool.drop(transaction.hash)
                seen.add(transaction.sender)

    async def _execute(self, block: Block, *, abandon_on_cancel: bool) -> ExecutedBlock:
        """Execute a block on the tip, or find that this was done. Raises InvalidBlock."""
        known = self._executed.get(block.hash)
        if known is not None and known.block == block:  # the hash covers the header alone
            return known
        attempt = self._attempt(self._store.runtime.parameters().block)
        tip = self._store.tip()
        raws = {keccak256(raw): raw for raw in block.transactions}
        self._mempool.executing(raws)
        decoded = await self._mempool.decode_ahead(raws, proposed=True)

        def execute() -> ExecutedBlock:
            return self._store.live_runtime.execute_block(tip.header, tip.time_ms, block, decoded, attempt.begin)

        executed = await self._run(execute, attempt, abandon_on_cancel=abandon_on_cancel)
        self._mempool.remember(executed.transactions)
        self._keep(executed)
        return executed

    def _keep(self, executed: ExecutedBlock) -> None:
        self._executed[executed.block.hash] = executed
        while len(self._executed) > EXECUTED_KEPT:
            self._executed.popitem(last=False)

    async def _halt_if_reached(self) -> None:
        if self._halt_height and self._store.tip().height >= self._halt_height:
            logger.warning("height %d is final: halting as asked", self._halt_height)
            self.halted.set()
            await trio.sleep_forever()

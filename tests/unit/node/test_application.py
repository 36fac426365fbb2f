"""A chain of one validator, end to end without a network: engine, application, mempool, execution thread, database."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from consensus.application import ProposalRequest
from consensus.engine import Engine
from consensus.messages import ConsensusMessage
from consensus.signer import Signer
from consensus.wal import Wal
from evm_runtime.runtime import ExecutedBlock, Runtime
from evm_runtime.transaction import Transaction
from genesis.chain_spec import BlockParams, ChainSpec
from genesis.crypto import sign
from genesis.errors import FatalError, InvalidBlock, InvalidTransaction, InvariantError, PeerFault
from genesis.primitives import Height, Round
from genesis.types import EMPTY_COMMIT, Block
from node.chain.application import NodeApplication, gas_target
from node.chain.worker import WorkerThread
from node.feed import Feed
from node.home.sign_record import SignRecordFile
from node.home.wal_file import WalFile
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.node import WallClock
from tests.unit.node.local_chain import (
    ADDRESSES,
    VALIDATOR,
    VALIDATOR_KEY,
    LocalChain,
    make_spec,
    transfer,
    with_other_time,
)

NOW_MS = WallClock().now_ms() - 60_000
QUICK = BlockParams(interval_ms=20, empty_interval_ms=200)


class NoPeers:
    """A Transport without a network."""

    def broadcast(self, message: ConsensusMessage) -> None: ...

    def send(self, peer: str, message: ConsensusMessage) -> None: ...

    def broadcast_block(self, block: Block) -> None: ...

    def send_block(self, peer: str, block: Block) -> None: ...

    def report_fault(self, peer: str, fault: PeerFault) -> None: ...


@dataclass
class Parts:
    chain: LocalChain
    app: NodeApplication
    mempool: MempoolService
    feed: Feed

    def request(self, *, round_: int = 0, time_ms: int | None = None) -> ProposalRequest:
        tip = self.chain.store.tip()
        return ProposalRequest(
            height=Height(tip.height + 1),
            round=Round(round_),
            time_ms=time_ms or tip.time_ms + self.chain.spec.block.empty_interval_ms,
            proposer=VALIDATOR,
            last_commit=tip.commit or EMPTY_COMMIT,
            evidence=(),
        )


@asynccontextmanager
async def parts(path: Path, spec: ChainSpec, **options: Any) -> AsyncIterator[Parts]:
    chain, feed, worker = LocalChain(path / "chain", spec), Feed(), WorkerThread("execution")
    runtime = chain.store.runtime
    pool = TransactionPool(spec, runtime.state(), runtime.next_base_fee(chain.store.tip().header))
    mempool = MempoolService(pool, feed, spec.chain_id, trio.current_time)
    try:
        yield Parts(chain, NodeApplication(chain.store, mempool, feed, worker, **options), mempool, feed)
    finally:
        worker.close()
        worker.join(30)
        chain.close()


@asynccontextmanager
async def running(path: Path, these: Parts) -> AsyncIterator[Engine]:
    store = these.chain.store
    record = path / "signed"
    signer = Signer(
        store.identity,
        VALIDATOR,
        lambda digest: sign(VALIDATOR_KEY, digest),
        SignRecordFile(record, create=not record.exists()),
    )
    wal = WalFile(path / "wal")
    engine = Engine(store.identity, store.spec.consensus, these.app, signer, Wal(wal), NoPeers(), WallClock())
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield engine
            nursery.cancel_scope.cancel()
    finally:
        wal.close()


async def test_transfers_become_final_and_survive_a_restart(tmp_path: Path) -> None:
    spec = make_spec(genesis_time_ms=NOW_MS, block=QUICK)
    wanted = [transfer(key, nonce) for nonce in range(3) for key in range(5)]
    async with parts(tmp_path, spec) as these, these.feed.subscribe() as blocks:
        included: list[Transaction] = []
        async with running(tmp_path, these):
            for tx in wanted:
                assert await these.mempool.add(tx.raw) == tx.hash
            with trio.fail_after(60):
                while len(included) < len(wanted):
                    included += (await blocks.receive()).transactions
        assert {tx.hash for tx in included} == {tx.hash for tx in wanted}
        assert these.mempool.stats() == (0, 0)
        assert these.mempool.pending_nonce(ADDRESSES[0]) == 3
        with pytest.raises(InvalidTransaction, match="nonce too low: next nonce 3, tx nonce 0"):
            await these.mempool.add(wanted[0].raw)
        tip = these.chain.store.tip()
        supply = these.chain.store.runtime.state().supply()
        assert supply.total == supply.genesis + supply.minted - supply.burned
        assert supply.minted > 0 < supply.burned

    async with parts(tmp_path, spec) as these:
        assert these.chain.store.tip() == tip
        async with these.feed.subscribe() as blocks, running(tmp_path, these):
            with trio.fail_after(60):
                assert (await blocks.receive()).header.parent_hash == tip.hash


async def test_empty_blocks_wait_for_their_interval(tmp_path: Path) -> None:
    spec = make_spec(genesis_time_ms=NOW_MS, block=QUICK)
    async with parts(tmp_path, spec) as these, these.feed.subscribe() as blocks, running(tmp_path, these):
        with trio.fail_after(60):
            stored = [await blocks.receive() for _ in range(4)]
    times = [block.time_ms for block in stored]
    assert all(later - earlier >= QUICK.empty_interval_ms for earlier, later in itertools.pairwise(times))


async def test_a_proposal_passes_where_it_was_built_and_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    spec = make_spec()
    async with parts(tmp_path / "a", spec) as a, parts(tmp_path / "b", spec) as b:
        for nonce in range(3):
            await a.mempool.add(transfer(0, nonce).raw)
        block = await a.app.prepare_proposal(a.request())
        assert len(block.transactions) == 3
        for these in (a, b):
            await these.app.check_body(block)
            await these.app.process_proposal(block)
            context = await these.app.finalize_block(block, these.chain.commit_for(block))
            assert (context.height, context.parent_hash) == (2, block.hash)
            assert context.last_validators == spec.validator_set
        assert a.chain.store.tip() == b.chain.store.tip()


async def test_what_a_proposal_executed_is_adopted_not_executed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executions: list[Block] = []
    original = Runtime.execute_block

    def counting(self: Runtime, parent: object, time_ms: object, block: Block, *more: object) -> ExecutedBlock:
        executions.append(block)
        return original(self, parent, time_ms, block, *more)  # type: ignore[arg-type]  # passed through as they came

    monkeypatch.setattr(Runtime, "execute_block", counting)
    async with parts(tmp_path, make_spec()) as these:
        block = these.chain.build(transfer()).block
        await these.app.process_proposal(block)
        await these.app.process_proposal(block)
        await these.app.finalize_block(block, these.chain.commit_for(block))
        assert len(executions) == 1
        second = await these.app.prepare_proposal(these.request())
        await these.app.process_proposal(second)
        await these.app.finalize_block(second, these.chain.commit_for(second))
        assert len(executions) == 1


async def test_the_same_header_with_another_body_is_not_the_same_block(tmp_path: Path) -> None:
    async with parts(tmp_path, make_spec()) as these:
        block = these.chain.build(transfer()).block
        await these.app.process_proposal(block)
        forged = [
            with_other_time(block),
            replace(block, transactions=()),
            replace(block, transactions=(*block.transactions, transfer(1).raw)),
            replace(block, last_commit=replace(block.last_commit, round=Round(1))),
        ]
        for bad in forged:
            assert bad.hash == block.hash
            with pytest.raises(InvalidBlock):
                await these.app.check_body(bad)
            with pytest.raises(InvalidBlock):
                await these.app.process_proposal(bad)
        assert these.chain.store.tip().height == 0


async def test_a_committed_block_that_does_not_execute_stops_the_node(tmp_path: Path) -> None:
    async with parts(tmp_path, make_spec()) as these:
        block = these.chain.build(transfer()).block
        broken = replace(block, header=block.header[:-1] + b"\x00")
        with pytest.raises(FatalError, match="differs from the others"):
            await these.app.finalize_block(broken, these.chain.commit_for(broken))
        assert these.chain.store.tip().height == 0


async def test_each_round_packs_half_as_much_and_the_seventh_nothing(tmp_path: Path) -> None:
    spec = make_spec(block=BlockParams(gas_limit=84_000))
    async with parts(tmp_path, spec) as these:
        for nonce in range(8):
            await these.mempool.add(transfer(0, nonce).raw)
        packed = []
        for round_ in range(8):
            block = await these.app.prepare_proposal(these.request(round_=round_))
            await these.app.process_proposal(block)
            packed.append(len(block.transactions))
    assert packed == [4, 2, 1, 0, 0, 0, 0, 0]
    assert [gas_target(BlockParams(), Round(r)) for r in (0, 1, 5, 6, 1_000)] == [30_000_000, 15_000_000, 937_500, 0, 0]


async def test_a_transaction_that_turns_out_impossible_does_not_hold_up_the_proposer(tmp_path: Path) -> None:
    spec = make_spec(block=BlockParams(interval_ms=20, empty_interval_ms=300))
    async with parts(tmp_path, spec) as these:
        await these.mempool.add(transfer(0, 0).raw)
        # The account changes behind the mempool's back, as a delegated account's may.
        these.chain.extend(transfer(0, 0, value=9))
        assert these.app.has_transactions()
        early = these.request(time_ms=these.chain.store.tip().time_ms + 20)
        with trio.fail_after(30):
            block = await these.app.prepare_proposal(early)
        assert block.transactions == ()
        assert block.consensus.time_ms >= these.chain.store.tip().time_ms + 300
        assert not these.app.has_transactions()
        await these.app.process_proposal(block)


async def test_waiting_for_transactions_ends_with_the_first(tmp_path: Path) -> None:
    async with parts(tmp_path, make_spec()) as these, trio.open_nursery() as nursery:
        assert not these.app.has_transactions()
        nursery.start_soon(these.app.wait_for_transactions)
        nursery.start_soon(these.app.wait_for_transactions)
        await trio.testing.wait_all_tasks_blocked()
        await these.mempool.add(transfer(0, 1).raw)  # behind a gap
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        with trio.fail_after(10):
            await these.mempool.add(transfer(0, 0).raw)
            while nursery.child_tasks:
                await trio.lowlevel.checkpoint()


async def test_the_halt_height_is_the_last(tmp_path: Path) -> None:
    spec = make_spec(genesis_time_ms=NOW_MS, block=QUICK)
    async with parts(tmp_path, spec, halt_height=2) as these, running(tmp_path, these):
        with trio.fail_after(60):
            await these.app.halted.wait()
        await trio.sleep(3 * QUICK.empty_interval_ms / 1000)
        assert these.chain.store.tip().height == 2


async def test_a_stranger_cannot_propose(tmp_path: Path) -> None:
    async with parts(tmp_path, make_spec()) as these:
        with pytest.raises(InvariantError, match="without being a validator"):
            await these.app.prepare_proposal(replace(these.request(), proposer=ADDRESSES[0]))


async def test_evidence_from_a_peer_ends_up_in_a_block_and_punishes_on_disk(tmp_path: Path) -> None:
    spec = make_spec(genesis_time_ms=NOW_MS, block=QUICK)
    async with parts(tmp_path, spec) as these, these.feed.subscribe() as blocks:
        assert await these.app.past_height(Height(0)) is None and await these.app.past_height(Height(1)) is None
        async with running(tmp_path, these) as engine:
            while (await blocks.receive()).height < 2:
                pass
            past = await these.app.past_height(Height(1))
            block = these.chain.store.block(Height(1))
            assert past is not None and block is not None
            assert (past.time_ms, past.validators) == (block.time_ms, spec.validator_set)
            assert await these.app.is_punishable(VALIDATOR) and not await these.app.is_punishable(ADDRESSES[0])
            engine.receive("peer", these.chain.double_vote(1))
            with trio.fail_after(60):
                while not (stored := await blocks.receive()).block.evidence:
                    pass
            assert [item.offender for item in stored.block.evidence] == [VALIDATOR]
            for _ in range(3):
                assert not (await blocks.receive()).block.evidence
        state = these.chain.store.runtime.state()
        assert state.validator_record(VALIDATOR).tombstoned and not await these.app.is_punishable(VALIDATOR)
        assert state.stake_books().slashed == spec.genesis_stake // 20

"""A transaction that takes longer than a block may is tried a bounded number of times, and others don't wait for it."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from evm_runtime.block import BlockRun
from evm_runtime.transaction import Transaction
from genesis.codec import encode
from genesis.errors import InvalidTransaction
from genesis.primitives import Hash32
from genesis.types import Block
from node.chain.patience import TRIES_MAX, Patience
from node.mempool.service import TransactionBatch
from tests.unit.node.local_chain import GWEI, make_spec, transfer
from tests.unit.node.test_application import Parts, parts

SLOW_S = 5.0
INTERVAL_S = 0.5


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_slow(monkeypatch: pytest.MonkeyPatch, clock: FakeClock, slow: set[Hash32]) -> None:
    """Executing one of these takes `SLOW_S` by the clock."""
    apply = BlockRun.apply

    def slowly(run: BlockRun, tx: Transaction) -> Any:
        clock.now_s += SLOW_S if tx.hash in slow else 0.001
        return apply(run, tx)

    monkeypatch.setattr(BlockRun, "apply", slowly)


async def decide(these: Parts, block: Block) -> None:
    await these.app.finalize_block(block, these.chain.commit_for(block))


def hashes(these: Parts, block: Block) -> set[Hash32]:
    executed = these.app._executed[block.hash]
    return {transaction.hash for transaction in executed.transactions}


async def test_what_no_proposal_gets_decided_with_is_dropped_and_slows_nobody_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Round 0 of each height comes too late with it; round 1 leaves it out, whatever it would pay."""
    caplog.set_level(logging.WARNING, "node.chain.application")
    clock, slow = FakeClock(), transfer(1, 0, tip=5 * GWEI)
    make_slow(monkeypatch, clock, {slow.hash})
    async with parts(tmp_path, make_spec(), patience=Patience(clock)) as these:
        await these.mempool.add(slow.raw)
        for nonce in range(TRIES_MAX):
            await these.mempool.add(transfer(0, nonce).raw)
            late = await these.app.prepare_proposal(these.request())
            assert slow.hash in hashes(these, late)
            good = await these.app.prepare_proposal(these.request(round_=1))
            assert hashes(these, good) == {transfer(0, nonce).hash}
            assert slow.hash in these.mempool.pool
            await decide(these, good)
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert [slow.hash.hex() in text and "dropped" in text for text in warned] == [True]
        assert slow.hash not in these.mempool.pool and not these.app.has_transactions()
        with pytest.raises(InvalidTransaction, match="was dropped: proposals that had it took too long"):
            await these.mempool.add(slow.raw)
        await these.mempool.receive("peer", bytes_of(slow))
        assert slow.hash not in these.mempool.pool
        began = clock.now_s
        await these.mempool.add(transfer(0, TRIES_MAX).raw)
        await decide(these, await these.app.prepare_proposal(these.request()))
        assert clock.now_s - began < SLOW_S and these.mempool.stats() == (0, 0)


def bytes_of(transaction: Transaction) -> bytes:
    return encode(TransactionBatch((transaction.raw,)))


async def test_a_slow_one_that_is_decided_pays_and_is_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "node.chain.application")
    clock, slow = FakeClock(), [transfer(1, nonce) for nonce in range(TRIES_MAX + 1)]
    make_slow(monkeypatch, clock, {transaction.hash for transaction in slow})
    async with parts(tmp_path, make_spec(), patience=Patience(clock)) as these:
        for transaction in slow:
            await these.mempool.add(transaction.raw)
            await decide(these, await these.app.prepare_proposal(these.request()))
            assert these.mempool.stats() == (0, 0)
        assert these.chain.store.runtime.state().nonce(slow[0].sender) == len(slow)
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


async def test_who_executes_a_proposal_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each validator would try it in proposals of its own otherwise."""
    clock, slow, spec = FakeClock(), transfer(1, 0), make_spec()
    make_slow(monkeypatch, clock, {slow.hash})
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with (
        parts(tmp_path / "a", spec, patience=Patience(clock)) as a,
        parts(tmp_path / "b", spec, patience=Patience(clock)) as b,
    ):
        for these in (a, b):
            await these.mempool.add(slow.raw)
        for nonce in range(TRIES_MAX):
            late = await a.app.prepare_proposal(a.request())
            await b.app.process_proposal(late)
            await b.mempool.add(transfer(0, nonce).raw)
            good = await b.app.prepare_proposal(b.request(round_=1))
            assert slow.hash not in hashes(b, good)
            for these in (a, b):
                await decide(these, good)
        assert slow.hash not in a.mempool.pool and slow.hash not in b.mempool.pool


async def test_a_proposer_stops_packing_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, spec = FakeClock(), make_spec()
    waiting = [transfer(0, nonce) for nonce in range(20)]
    apply = BlockRun.apply

    def slowly(run: BlockRun, tx: Transaction) -> Any:
        clock.now_s += INTERVAL_S / 2.5
        return apply(run, tx)

    monkeypatch.setattr(BlockRun, "apply", slowly)
    async with parts(tmp_path, spec, patience=Patience(clock)) as these:
        for transaction in waiting:
            await these.mempool.add(transaction.raw)
        block = await these.app.prepare_proposal(these.request())
        due_s = spec.consensus.propose_timeout_ms / 1000
        assert 1 < len(block.transactions) < len(waiting) and clock.now_s < due_s / 2
        await decide(these, block)
        assert these.mempool.stats() == (len(waiting) - len(block.transactions), 0)


async def test_what_is_cancelled_goes_no_further_than_the_transaction_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The execution thread is one: the block that was decided waits for what nobody waits for."""
    applied: list[Transaction] = []
    began, may_end = threading.Event(), threading.Event()
    apply = BlockRun.apply

    def held(run: BlockRun, tx: Transaction) -> Any:
        applied.append(tx)
        began.set()
        assert may_end.wait(60)
        return apply(run, tx)

    monkeypatch.setattr(BlockRun, "apply", held)
    async with parts(tmp_path, make_spec()) as these:
        waiting = [transfer(key, 0) for key in range(4)]
        for transaction in waiting:
            await these.mempool.add(transaction.raw)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(these.app.prepare_proposal, these.request())
            assert await trio.to_thread.run_sync(began.wait, 60)
            nursery.cancel_scope.cancel()
        may_end.set()
        await these.app.height_context()  # on the same thread, behind the abandoned one
        assert len(applied) == 1
        block = await these.app.prepare_proposal(these.request())
        assert len(block.transactions) == len(waiting)


async def test_a_build_that_its_round_did_not_wait_for_makes_way_for_the_next_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consensus cancels it only with the height; the proposal of the next round would wait behind it on the one thread."""
    applied: list[Transaction] = []
    began, may_end = threading.Event(), threading.Event()
    apply = BlockRun.apply

    def held(run: BlockRun, tx: Transaction) -> Any:
        applied.append(tx)
        began.set()
        assert may_end.wait(60)
        return apply(run, tx)

    async with parts(tmp_path, make_spec()) as these:
        for key in range(4):
            await these.mempool.add(transfer(key, 0).raw)
        next_proposal = await these.app.prepare_proposal(these.request(round_=1))
        these.app._executed.clear()
        monkeypatch.setattr(BlockRun, "apply", held)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(these.app.prepare_proposal, these.request())
            assert await trio.to_thread.run_sync(began.wait, 60)
            nursery.start_soon(these.app.process_proposal, next_proposal)
            await trio.testing.wait_all_tasks_blocked()
            may_end.set()
        assert len(applied) == 1 + len(next_proposal.transactions)

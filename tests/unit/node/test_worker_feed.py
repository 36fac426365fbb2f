"""The execution thread and the feed."""

import threading

import pytest
import trio
import trio.testing

from genesis.errors import InvalidBlock
from genesis.primitives import Hash32
from node.chain.worker import WorkerThread
from node.feed import TRANSACTIONS_BUFFERED, Feed


def _deep(levels: int) -> int:
    return 0 if levels == 0 else 1 + max([_deep(levels - 1)])


async def test_jobs_run_in_order_on_one_thread_and_errors_come_back() -> None:
    worker = WorkerThread("test")
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(worker.run, lambda number=number: seen.append(number))
            await trio.lowlevel.checkpoint()
    assert seen == sorted(seen)
    assert await worker.run(lambda: threading.current_thread().name) == "test"

    def fail() -> None:
        raise InvalidBlock("no")

    with pytest.raises(InvalidBlock, match="no"):
        await worker.run(fail)
    worker.close()
    worker.join(10)


async def test_a_cancelled_caller_waits_unless_it_may_abandon() -> None:
    worker = WorkerThread("test")
    go = threading.Event()
    done: list[str] = []

    def slow(name: str) -> None:
        go.wait(10)
        done.append(name)

    with trio.move_on_after(0.05) as scope:
        await worker.run(lambda: slow("abandoned"), abandon_on_cancel=True)
    assert scope.cancelled_caught
    assert done == []
    go.set()
    with trio.CancelScope() as scope:
        scope.cancel()
        await worker.run(lambda: slow("never begun"))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run, lambda: slow("awaited"))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert done[-1] == "awaited"
    assert "never begun" not in done
    worker.close()
    worker.join(10)


async def test_the_stack_is_deep_enough_for_the_evm() -> None:
    import sys

    worker = WorkerThread("test")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        assert await worker.run(lambda: _deep(30_000)) == 30_000
    finally:
        sys.setrecursionlimit(limit)
    worker.close()
    worker.join(10)


async def test_a_slow_reader_is_closed_and_others_are_not() -> None:
    feed = Feed()
    async with feed.subscribe_pending() as slow, feed.subscribe_pending() as quick:
        for number in range(TRANSACTIONS_BUFFERED + 1):
            feed.publish_pending(Hash32(number.to_bytes(32, "big")))
            assert (await quick.receive())[-1] == number & 0xFF
        assert len([item async for item in slow]) == TRANSACTIONS_BUFFERED
        feed.publish_pending(Hash32(bytes(32)))
        assert await quick.receive() == bytes(32)

"""The guard: only cancellation and fatal errors pass it, also when several things are raised at once."""

import logging

import pytest
import trio

from genesis.errors import InvariantError, PeerFault
from p2p.faults import ConnectionLost, ProtocolFault
from p2p.supervision import guarded, simplest


async def raise_(error: BaseException) -> None:
    raise error


def test_what_a_peer_causes_is_returned_not_raised() -> None:
    async def main() -> None:
        fault = PeerFault("x")
        assert await guarded(lambda: raise_(fault), "test") is fault
        assert await guarded(lambda: raise_(ExceptionGroup("", [ExceptionGroup("", [fault])])), "test") is fault
        assert await guarded(trio.lowlevel.checkpoint, "test") is None

    trio.run(main)


def test_what_nobody_foresaw_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        assert isinstance(await guarded(lambda: raise_(KeyError("bug")), "the task"), KeyError)

    with caplog.at_level(logging.WARNING):
        trio.run(main)
    assert "the task: unexpected KeyError" in caplog.text and "Traceback" in caplog.text


def test_a_fatal_error_passes() -> None:
    async def main() -> None:
        with pytest.raises(InvariantError):
            await guarded(lambda: raise_(ExceptionGroup("", [PeerFault("x"), InvariantError("y")])), "test")

    trio.run(main)


def test_a_fault_raised_while_cancelled_does_not_escape() -> None:
    async def main() -> None:
        async def fails_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ConnectionLost("closed under it")

        async def work() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_when_cancelled)
                nursery.start_soon(trio.sleep_forever)

        with trio.CancelScope() as scope:
            scope.cancel()
            await guarded(work, "test")
        assert scope.cancelled_caught

    trio.run(main)


def test_the_gravest_tells_what_happened() -> None:
    lost, fault, bug, fatal = ConnectionLost("a"), ProtocolFault("b"), KeyError("c"), InvariantError("d")
    assert simplest(ExceptionGroup("", [lost, ExceptionGroup("", [fault])])) is fault
    assert simplest(ExceptionGroup("", [lost, fault, bug])) is bug
    assert simplest(ExceptionGroup("", [bug, fatal, lost])) is fatal
    assert simplest(lost) is lost

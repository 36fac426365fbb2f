"""Why a known peer can't be had: said at once, with the reason, and seldom again."""

import logging
import socket

import pytest
import trio

from genesis.errors import PeerFault
from p2p.faults import reason_of
from p2p.pace import Pace
from tests.unit.p2p.harness import make_host, run, running, until


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "p2p.dialer" and each.levelno == level]


def dialed(caplog: pytest.LogCaptureFixture, address: str, times: int = 3) -> list[str]:
    """What is said at info level by the time the peer was dialed more than `times` times."""
    caplog.set_level(logging.DEBUG, "p2p.dialer")

    async def main() -> None:
        async with running(make_host(0, known=[address])):
            await until(lambda: len(told(caplog, logging.DEBUG)) >= times)

    run(main)
    return told(caplog, logging.INFO)


def test_a_peer_that_nobody_listens_for_is_named_once_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"/ip4/127.0.0.1/tcp/{free.getsockname()[1]}/p2p/{make_host(9).peer_id}"
        (line,) = dialed(caplog, address)
    assert line == f"no connection to the peer at {address}: cannot reach {address}: Connection refused"


def test_a_wrong_peer_id_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        other = make_host(1)
        async with running(other):
            wrong = other.addresses[0].replace(other.peer_id, make_host(9).peer_id)
            async with running(make_host(0, known=[wrong])):
                await until(lambda: told(caplog, logging.INFO))

    caplog.set_level(logging.INFO, "p2p.dialer")
    run(main)
    (line,) = told(caplog, logging.INFO)
    assert f"another peer than {make_host(9).peer_id} answers there" in line


def test_a_refused_hello_is_named_at_the_same_rate(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_peer_id: str, _payload: bytes) -> bytes:
        raise PeerFault("of another chain")

    async def main() -> None:
        other = make_host(1, check_hello=refuse)
        async with running(other), running(make_host(0, known=[other.addresses[0]])):
            await until(lambda: len(told(caplog, logging.DEBUG)) >= 2)

    caplog.set_level(logging.DEBUG, "p2p.dialer")
    run(main)
    (line,) = told(caplog, logging.INFO)
    assert "of another chain" in line


def test_a_pace_is_kept() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    said = 0
    for _ in range(600):
        said += pace.may_say()
        now[0] += 1
    assert said == 10


def test_reasons_are_the_systems_words() -> None:
    with pytest.raises(OSError, match="all attempts") as caught:
        trio.run(trio.open_tcp_stream, "127.0.0.1", 1)
    assert reason_of(caught.value) == "Connection refused"
    assert reason_of(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "Name or service not known"
    assert reason_of(OSError("nothing more is known")) == "nothing more is known"

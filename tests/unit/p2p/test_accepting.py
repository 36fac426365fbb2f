"""Accepting within bounds, and names that never resolve: on real sockets and threads."""

import errno
import logging
import os
import socket
import threading
from typing import Any

import pytest
import trio
import trio.testing

from p2p import accepting
from p2p.accepting import accept_forever
from p2p.resolver import THREADS_MAX, resolve_apart
from tests.unit.p2p.harness import make_host, run, running, until


def test_no_more_connections_are_accepted_than_there_are_places() -> None:
    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port, served = listener.socket.getsockname()[1], []

        async def handler(stream: trio.SocketStream) -> None:
            served.append(stream)
            try:
                await stream.receive_some(1)
            finally:
                await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                await accept_forever([listener], handler, places=2, what="test")

            nursery.start_soon(accept)
            streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(5)]
            await until(lambda: len(served) == 2)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(served) == 2, "the others wait in the kernel's queue"
            await streams[0].aclose()
            await until(lambda: len(served) == 3)
            for stream in streams[1:]:
                await stream.aclose()
            await until(lambda: len(served) == 5)
            nursery.cancel_scope.cancel()
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", port)

    run(main)


def test_failing_to_accept_is_said_once_and_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port, served, failures = listener.socket.getsockname()[1], trio.Event(), [0]
        real = listener.accept

        async def accept() -> trio.SocketStream:
            if failures[0] < 20:
                failures[0] += 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return await real()

        monkeypatch.setattr(listener, "accept", accept)
        monkeypatch.setattr(accepting, "PAUSE_S", 0.001)

        async def handler(stream: trio.SocketStream) -> None:
            served.set()
            await stream.aclose()

        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await accept_forever([listener], handler, places=1, what="JSON-RPC")

            nursery.start_soon(serve)
            async with await trio.open_tcp_stream("127.0.0.1", port):
                with trio.fail_after(10):
                    await served.wait()
            nursery.cancel_scope.cancel()
        assert failures == [20], "its one place was free again after each failure"

    caplog.set_level(logging.WARNING)
    run(main)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["JSON-RPC: connections can't be accepted: Too many open files"]


@pytest.fixture
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names that end in .example are never answered, as long as the test runs."""
    real, end, asked = socket.getaddrinfo, threading.Event(), []

    def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".example") and not flags & socket.AI_NUMERICHOST:
            asked.append(name)
            end.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, port, family, type, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    end.set()


def test_names_that_are_never_answered_leave_all_other_threads_alone(silent_names: list[str]) -> None:
    async def main() -> None:
        host = make_host(1)
        names = [make_host(100 + i).peer_id for i in range(50)]
        async with running(host):
            for place, peer_id in enumerate(names):
                host.add_known_peer(f"/dns4/name{place}.example/tcp/1/p2p/{peer_id}")
            await until(lambda: len(silent_names) == THREADS_MAX)
            with trio.fail_after(10):
                assert await trio.to_thread.run_sync(lambda: "a thread") == "a thread"
                async with trio.open_nursery() as nursery:
                    for _ in range(30):
                        nursery.start_soon(trio.to_thread.run_sync, threading.get_ident)
            assert len(silent_names) == len(set(silent_names)) == THREADS_MAX

    run(main)


def test_a_name_that_is_asked_for_still_is_not_asked_for_again(silent_names: list[str]) -> None:
    async def main() -> None:
        resolve_apart()
        for _ in range(3):
            with trio.move_on_after(0.1), pytest.raises(OSError, match="no answer yet"):
                await trio.open_tcp_stream("one.example", 1)
        assert silent_names == ["one.example"]
        assert (await trio.socket.getaddrinfo("localhost", 80))[0][4]
        assert await trio.socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == (
            "127.0.0.1",
            "80",
        )

    run(main)


def test_peers_are_reached_by_name() -> None:
    async def main() -> None:
        one, two = make_host(1), make_host(2)
        async with running(one, two):
            address = one.addresses[0].replace("/ip4/127.0.0.1", "/dns4/localhost")
            two.add_known_peer(address)
            await until(lambda: one.peers() and two.peers())

    run(main)

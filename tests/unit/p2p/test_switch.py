"""What holds a pending place and for how long, and what is given back when a connection ends."""

from contextlib import AsyncExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from genesis.errors import LocalError
from genesis.limits import HANDSHAKE_BYTES_MAX
from p2p import requests
from p2p.config import HELLO_PROTOCOL
from p2p.faults import ConnectionLost, PeerTooSlow, ProtocolFault
from p2p.frames import FrameReader, encode_frame
from p2p.hello import exchange_hello
from tests.unit.p2p.harness import TEST_LIMITS, RawPeer, make_host, run, running, until


def test_who_has_said_hello_holds_no_pending_place() -> None:
    """Else the next silent connections would push the settled ones out."""

    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, pending_max=2))
        async with running(host), AsyncExitStack() as stack:
            peers = [RawPeer(host, 20 + index) for index in range(4)]
            for peer in peers:
                await stack.enter_async_context(peer.connected())
                await peer.settle(host)
            assert not host._switch._pending
            silent = [await RawPeer(host).tcp() for _ in range(5)]
            await until(lambda: len(host._switch._pending) == 2)
            assert not any(peer.closed.is_set() for peer in peers) and len(host.peers()) == 4
            for each in silent:
                await each.aclose()
            await until(lambda: not host._switch._pending)

    run(main)


def test_a_silent_connection_that_is_pushed_out_is_closed_at_once() -> None:
    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, pending_max=2, upgrade_timeout_s=600))
        async with running(host):
            silent = []
            for _ in range(3):
                silent.append(await RawPeer(host).tcp())
                await until(lambda: len(host._switch._pending) == min(len(silent), 2))
            with trio.fail_after(10):
                while await silent[0].receive_some(1_000):
                    pass
            assert len(host._switch._pending) == 2
            for each in silent:
                await each.aclose()

    run(main)


def test_a_socket_is_closed_when_its_connection_is_over() -> None:
    """Descriptors are few: that of a connection goes at once, not when memory is collected."""

    async def main() -> None:
        host = make_host(0)
        async with running(host):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            address = listeners[0].socket.getsockname()
            far = await trio.open_tcp_stream("127.0.0.1", address[1])
            near = await listeners[0].accept()
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(host._switch.run_inbound, near)
                    await far.send_all(b"no handshake at all, and then nothing")
                    await far.aclose()
            assert near.socket.fileno() == -1
            await listeners[0].aclose()

    run(main)


def test_a_connection_that_is_gone_when_it_is_taken_up_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        host = make_host(0)
        async with running(host):
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            far = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            near = await listener.accept()
            near.socket.close()
            await host._switch.run_inbound(near)
            await far.aclose()
            await listener.aclose()

    run(main)
    assert "unexpected" not in caplog.text


def test_a_dial_says_why_it_failed() -> None:
    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, dial_timeout_s=0.2, upgrade_timeout_s=0.3))
        async with running(host):
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            address = replace(RawPeer(host).address, port=port)
            error = await host._switch.run_outbound(address)
            assert isinstance(error, PeerTooSlow | ConnectionLost), "it accepts, and says nothing"
            await listener.aclose()
            error = await host._switch.run_outbound(address)
            assert isinstance(error, ConnectionLost) and f"cannot reach {address}" in str(error)

    run(main)


def test_a_dial_that_is_not_answered_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_arguments: object, **_options: object) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, dial_timeout_s=0.1))
        async with running(host):
            address = RawPeer(host).address
            monkeypatch.setattr("p2p.switch.trio.open_tcp_stream", never)
            with pytest.raises(ConnectionLost, match=r"did not answer in 0\.1 s"):
                await host._switch._dial(address)

    run(main)


def test_a_hello_of_this_node_that_does_not_fit_is_its_own_fault() -> None:
    async def main() -> None:
        host = make_host(0, hello=lambda: bytes(HANDSHAKE_BYTES_MAX + 1))
        other = make_host(1)
        async with running(other, host):
            error = await host._switch.run_outbound(RawPeer(other).address)
            assert isinstance(error, LocalError)
            assert f"hello has {HANDSHAKE_BYTES_MAX + 1} bytes; at most {HANDSHAKE_BYTES_MAX}" in str(error)

    run(main)


def test_a_channel_before_the_hello_is_refused_in_order(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, hello_timeout_s=0.3))
        async with running(host), RawPeer(host).connected() as peer:
            await peer.open(next(iter(host._channels)))
            await peer.closed.wait()
            await until(lambda: host._switch.scores.score(peer.identity.peer_id, trio.current_time()) > 0)
            assert not host.peers()

    run(main)
    assert "unexpected" not in caplog.text


def test_a_fault_without_weight_is_not_even_said(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        host = make_host(0)
        async with running(host):
            with caplog.at_level("INFO", logger="p2p.switch"):
                host.report_fault("somebody", ValueError("nothing"), 0)
                assert not caplog.records
                host.report_fault("somebody", ValueError("little"), 1)
                assert "little" in caplog.text and host._switch.scores.score("somebody", trio.current_time()) > 0.9

    run(main)


def test_a_hello_may_have_the_greatest_size() -> None:
    async def main() -> None:
        host, other = (make_host(index, hello=lambda: b"h" * HANDSHAKE_BYTES_MAX) for index in (0, 1))
        async with running(host, other):
            other.add_known_peer(host.addresses[0])
            await until(lambda: host.peers() and other.peers())
            assert host.peers()[0].identity == b"h" * HANDSHAKE_BYTES_MAX

    run(main)


def test_the_round_trip_of_a_peer_is_told_once_it_is_known() -> None:
    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, ping_interval_s=0.1))
        async with running(host), RawPeer(host).connected() as peer:
            peer.muxer.session._handle_ping = lambda _flags, _ping_id, _events: None  # type: ignore[method-assign]  # it leaves pings unanswered
            await peer.settle(host)
            await trio.sleep(0.3)
            assert [info.rtt_ms for info in host.peers()] == [None]
            del peer.muxer.session._handle_ping
            host._switch.table.peers[peer.identity.peer_id].connection.muxer._answered_at = trio.current_time()
            await until(lambda: host.peers()[0].rtt_ms is not None)
            assert 0 < (host.peers()[0].rtt_ms or 0) < 10_000
            host._switch.table.peers[peer.identity.peer_id].connection.muxer.rtt_s = 0.25
            assert host.peers()[0].rtt_ms == 250

    run(main)


def test_a_stream_that_comes_before_the_hello_is_a_fault_of_its_peer() -> None:
    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, hello_timeout_s=0.1))
        async with running(host):
            unsettled = SimpleNamespace(settled=trio.Event(), peer_id="somebody")
            with pytest.raises(ProtocolFault, match="before the hello"):
                await host._switch.serve(unsettled, next(iter(host._channels)), SimpleNamespace())  # type: ignore[arg-type]

    run(main)


def test_a_connection_that_lost_its_place_is_served_nothing_more() -> None:
    async def main() -> None:
        host = make_host(0)
        async with running(host), RawPeer(host).connected() as peer:
            await peer.settle(host)
            settled = trio.Event()
            settled.set()
            for peer_id in (peer.identity.peer_id, "a peer that has gone"):
                old = SimpleNamespace(settled=settled, peer_id=peer_id)
                with pytest.raises(ConnectionLost, match="took the place"):
                    await host._switch.serve(old, next(iter(host._channels)), SimpleNamespace())  # type: ignore[arg-type]
            assert len(host.peers()) == 1 and not peer.closed.is_set()

    run(main)


def test_the_stream_of_a_request_is_gone_when_its_time_is_over_though_the_peer_keeps_it_open() -> None:
    async def main() -> None:
        host = make_host(0, limits=replace(TEST_LIMITS, serve_timeout_s=0.3))

        async def echo(_peer_id: str, payload: bytes) -> bytes:
            return payload

        host.register_server("/test/echo/1", echo)
        async with running(host), RawPeer(host).connected() as peer:
            await peer.settle(host)
            stream = await peer.open("/test/echo/1")
            await stream.write(encode_frame(requests._OK + b"hi", size_max=10))
            assert await FrameReader(stream, 10).read() == requests._OK + b"hi"
            await until(lambda: stream.error is not None)
            assert "reset" in str(stream.error) and not peer.closed.is_set()

    run(main)


def test_a_peer_that_came_back_takes_the_place_of_its_old_connection() -> None:
    async def main() -> None:
        told: list[str] = []
        host = make_host(
            0,
            on_peer_up=lambda info: told.append(f"up {info.peer_id}"),
            on_peer_down=lambda peer_id: told.append(f"down {peer_id}"),
        )
        async with running(host), RawPeer(host).connected() as old, RawPeer(host).connected() as new:
            await old.settle(host)
            stream = await new.open(HELLO_PROTOCOL)
            await exchange_hello(stream, b"restarts", b"chain A", lambda _instance, theirs: theirs)
            with trio.fail_after(10):
                await old.closed.wait()
            who = old.identity.peer_id
            await until(lambda: len(told) == 3)
            assert told == [f"up {who}", f"down {who}", f"up {who}"]
            assert len(host.peers()) == 1 and not new.closed.is_set()

    run(main)

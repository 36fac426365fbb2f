"""Attacks on a real host over loopback: each known weakness of the stock libp2p host, tried for real.

After every attack an honest peer must find the host in order (`still_serves`).
"""

import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import trio

from genesis.errors import InvariantError, PeerFault
from p2p import multistream
from p2p.address import parse_peer_address
from p2p.config import BLOCK_CHANNEL, CONSENSUS_CHANNEL, HELLO_PROTOCOL, SYNC_PROTOCOL
from p2p.faults import ConnectionLost
from p2p.frames import encode_frame
from p2p.host import Host
from p2p.tcp import BufferedSocket
from p2p.yamux import DATA, HEADER, INITIAL_WINDOW_BYTES, SYN, WINDOW_UPDATE
from tests.unit.p2p.harness import TEST_LIMITS, RawPeer, make_host, run, running, until

ECHO = "/test/echo/1"


def attacked(attack: Callable[[Host], Awaitable[None]], **options: object) -> None:
    """Run an attack on a host that echoes, then see that the host serves an honest peer."""

    async def main() -> None:
        host = make_host(0, **options)  # type: ignore[arg-type]  # passed through

        async def echo(_peer_id: str, payload: bytes) -> bytes:
            return payload

        host.register_server(ECHO, echo)
        async with running(host):
            await attack(host)
            await still_serves(host)

    run(main)


async def still_serves(host: Host) -> None:
    honest = make_host(1, known=host.addresses)
    async with running(honest):
        await until(honest.peers)
        assert await honest.request(host.peer_id, ECHO, b"hi", response_bytes_max=10, timeout_s=5) == b"hi"


# ---------------------------------------------------------------- P1: whatever a task raises


def test_an_exception_in_a_handler_ends_only_its_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def attack(host: Host) -> None:
        async def buggy(_peer_id: str, _payload: bytes) -> bytes:
            raise RuntimeError("a bug in a handler")

        host.register_server(SYNC_PROTOCOL, buggy)
        client = make_host(2, known=host.addresses)
        async with running(client):
            await until(client.peers)
            for _ in range(3):
                with pytest.raises(PeerFault):
                    await client.request(host.peer_id, SYNC_PROTOCOL, b"x", response_bytes_max=10, timeout_s=5)
            assert await client.request(host.peer_id, ECHO, b"hi", response_bytes_max=10, timeout_s=5) == b"hi"
            assert len(host.peers()) == 1

    with caplog.at_level(logging.WARNING):
        attacked(attack)
    assert "unexpected RuntimeError" in caplog.text


def test_a_fatal_error_of_the_node_does_stop_the_host() -> None:
    async def main() -> None:
        host = make_host(0)

        async def contradiction(_peer_id: str, _payload: bytes) -> bytes:
            raise InvariantError("the node contradicts itself")

        host.register_server(SYNC_PROTOCOL, contradiction)

        async def use(address: str) -> None:
            client = make_host(1, known=[address])
            async with running(client):
                await until(client.peers)
                with pytest.raises(PeerFault):
                    await client.request(host.peer_id, SYNC_PROTOCOL, b"x", response_bytes_max=10, timeout_s=5)

        with pytest.RaisesGroup(InvariantError):
            async with trio.open_nursery() as nursery:
                addresses = await nursery.start(host.run)
                await use(addresses[0])

    run(main)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x13/multistream/1.0.0\n\x05\xff\xfe\xfd\xfc\n",
        b"\x13/multistream/1.0.0\n\x03na\n",
        b"\x13/multistream/1.0.0\n" + b"\x03ls\n" * 50,
        b"\x13/multistream/1.0.0\n" + b"\x01\n" * 50,
        b"\xff\xff\xff\xff\x7f" + b"a" * 5000,
        b"\x00" * 100,
        b"\x13/multi",
        random.Random(7).randbytes(3000),
    ],
    ids=["not-utf8", "na", "ls", "empty", "giant", "zeros", "half", "random"],
)
def test_garbage_in_protocol_negotiation(wire: bytes) -> None:
    async def attack(host: Host) -> None:
        async with RawPeer(host).connected() as peer:
            for how in ("finish", "reset", "leave"):
                stream = peer.muxer.open()
                await stream.write(wire)
                if how != "leave":
                    getattr(stream, how)()
        tcp = await RawPeer(host).tcp()
        await tcp.send_all(wire)
        await tcp.aclose()

    attacked(attack)


def test_garbage_on_every_layer_of_a_settled_connection() -> None:
    async def attack(host: Host) -> None:
        for index, layer in enumerate(("frames", "yamux", "noise")):
            peer = RawPeer(host, 50 + index)
            rng = random.Random(index)
            async with peer.connected():
                streams = await peer.settle(host)
                if layer == "frames":
                    await streams[CONSENSUS_CHANNEL].write(b"\xff" * 4 + rng.randbytes(100))
                elif layer == "yamux":
                    await peer.channel.write(b"\x07" + rng.randbytes(100))
                else:
                    await peer.socket.write(b"\x00\x40" + rng.randbytes(64))
                with trio.fail_after(5):
                    await peer.closed.wait()
            assert host.peers() == []
            assert host._switch.scores.score(peer.identity.peer_id, trio.current_time()) > 40

    attacked(attack)


def test_garbage_requests() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            await peer.settle(host)
            for wire in (encode_frame(b"\x07rubbish", size_max=99), b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"):
                stream = await peer.open(ECHO)
                await stream.write(wire)
            with trio.fail_after(5):
                await peer.closed.wait()  # three grave faults: banned
        back = RawPeer(host)
        with pytest.raises((PeerFault, ExceptionGroup)):
            async with back.connected():
                await back.hello()

    attacked(attack)


# ---------------------------------------------------------------- P2: slots


def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    async def attack(host: Host) -> None:
        for index in range(60):
            peer = RawPeer(host, 20 + index % 3)
            async with peer.connected():
                if index % 2:
                    await peer.hello()
        await until(lambda: not host._switch._pending and not host.peers())

    attacked(attack, limits=replace(TEST_LIMITS, peers_max=4, peers_high=4, pending_max=4))


def test_silent_connections_do_not_keep_honest_ones_out() -> None:
    async def attack(host: Host) -> None:
        silent = [await RawPeer(host).tcp() for _ in range(100)]
        await until(lambda: len(host._switch._pending) == 8)
        await still_serves(host)
        for stream in silent:
            await stream.aclose()
        await until(lambda: not host._switch._pending)

    attacked(attack, limits=replace(TEST_LIMITS, pending_max=8))


def test_a_silent_connection_is_closed() -> None:
    async def attack(host: Host) -> None:
        tcp = await RawPeer(host).tcp()
        with trio.fail_after(5):
            while await tcp.receive_some(1000):
                pass
        await tcp.aclose()
        async with RawPeer(host).connected() as peer:  # encrypted, but no hello
            with trio.fail_after(5):
                await peer.closed.wait()

    attacked(attack, limits=replace(TEST_LIMITS, upgrade_timeout_s=0.2, hello_timeout_s=0.3))


# ---------------------------------------------------------------- P3 and windows


def test_a_peer_that_ignores_the_window_is_cut_off() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            streams = await peer.settle(host)  # nobody reads the host's inbox, so its window fills up
            stream_id = streams[CONSENSUS_CHANNEL].stream_id
            chunk = encode_frame(bytes(60_000), size_max=60_000)
            sent = 0
            with pytest.raises(ConnectionLost):
                while sent < 400 * len(chunk):
                    await peer.channel.write(HEADER.pack(0, DATA, 0, stream_id, len(chunk)) + chunk)
                    sent += len(chunk)
            with trio.fail_after(5):
                await peer.closed.wait()
        [score] = [host._switch.scores.score(peer.identity.peer_id, trio.current_time())]
        assert score > 40

    attacked(attack)


def test_an_announced_gigabyte_is_refused_at_once() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            await peer.channel.write(HEADER.pack(0, DATA, SYN, 1, 1 << 30))
            with trio.fail_after(5):
                await peer.closed.wait()

    attacked(attack)


def test_streams_beyond_the_limit_are_refused_and_the_peer_kept() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            await peer.settle(host)
            for _ in range(300):
                peer.muxer.open()
            await until(lambda: sum(stream.error is not None for stream in peer.muxer.streams.values()) == 0)
            [connection] = [entry.connection for entry in host._switch.table.peers.values()]
            await until(lambda: connection.muxer.session.refused_streams > 250)
            assert len(connection.muxer.streams) <= TEST_LIMITS.inbound_streams_max
            assert not peer.closed.is_set()

    attacked(attack)


# ---------------------------------------------------------------- P4: cancelled writes


def test_cancelled_requests_leave_the_connection_in_order() -> None:
    async def attack(host: Host) -> None:
        host.register_server(SYNC_PROTOCOL, _swallow, request_bytes_max=3_000_000)
        client = make_host(2, known=host.addresses)
        async with running(client):
            await until(client.peers)
            before = client._switch.table.peers[host.peer_id].connection
            for attempt in range(40):
                with trio.move_on_after(0.0005 * (attempt % 10)):
                    await client.request(
                        host.peer_id,
                        SYNC_PROTOCOL,
                        bytes(3_000_000),
                        response_bytes_max=10,
                        timeout_s=5,
                        request_bytes_max=3_000_000,
                    )
                assert await client.request(host.peer_id, ECHO, b"ok", response_bytes_max=10, timeout_s=5) == b"ok"
            assert client._switch.table.peers[host.peer_id].connection is before

    attacked(attack)


async def _swallow(_peer_id: str, _payload: bytes) -> bytes:
    return b""


def test_a_peer_that_reads_nothing_does_not_block_the_host() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            await peer.settle(host)  # the raw peer reads no channel
            for index in range(2000):
                host.broadcast(BLOCK_CHANNEL, bytes(60_000), priority=index % 3)
                if index % 100 == 0:
                    await still_serves(host)
            [info] = [info for info in host.peers() if info.peer_id == peer.identity.peer_id]
            assert info.dropped > 1000
            with trio.fail_after(5):
                await until(lambda: peer.identity.peer_id not in {info.peer_id for info in host.peers()})

    attacked(attack, limits=replace(TEST_LIMITS, write_stall_s_max=2.0))


# ---------------------------------------------------------------- P5: what is offered, and redialing


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/tls/1.0.0", "/secio/1.0.0"])
def test_nothing_but_noise_is_offered(protocol: str) -> None:
    async def attack(host: Host) -> None:
        socket = BufferedSocket(await RawPeer(host).tcp())
        try:
            with pytest.raises(ConnectionLost, match="does not speak"):
                await multistream.propose(socket, protocol)
        finally:
            socket.close()

    attacked(attack)


def test_nobody_can_pose_as_another_peer() -> None:
    async def attack(host: Host) -> None:
        impostor = make_host(2)
        async with running(impostor):
            address = impostor.addresses[0].replace(impostor.peer_id, make_host(3).peer_id)
            error = await host._switch.run_outbound(parse_peer_address(address))
            assert error is not None and f"another peer than {make_host(3).peer_id} answers" in str(error)
            assert not host.peers() and not impostor.peers()

    attacked(attack)


def RawPeerAddress(text: str):
    from p2p.address import parse_peer_address

    return parse_peer_address(text)


def test_a_failed_dial_does_not_delay_the_next() -> None:
    async def main() -> None:
        late = make_host(1)
        async with running(late):
            address = late.addresses[0]
        eager = make_host(2, known=[address])
        async with running(eager):
            await trio.sleep(1)  # several dials fail
            assert not eager.peers()
            async with running(make_host(1, port=int(address.split("/")[4]))):
                await until(eager.peers)  # stock: 60 s

    run(main)


# ---------------------------------------------------------------- the hello


def test_nothing_flows_before_the_hello() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        inbox = host.inbox
        async with peer.connected():
            for protocol in (CONSENSUS_CHANNEL, ECHO):
                stream = await peer.open(protocol)
                await stream.write(encode_frame(b"too early", size_max=99))
            with trio.fail_after(5):
                await peer.closed.wait()
            with pytest.raises(trio.WouldBlock):
                inbox.receive_nowait()

    attacked(attack, limits=replace(TEST_LIMITS, hello_timeout_s=0.4))


def test_a_second_hello_or_channel_is_a_fault() -> None:
    async def attack(host: Host) -> None:
        for index, protocol in enumerate((HELLO_PROTOCOL, CONSENSUS_CHANNEL)):
            peer = RawPeer(host, 60 + index)
            async with peer.connected():
                await peer.settle(host)
                with suppress(ConnectionLost):
                    await peer.open(protocol)
                await until(
                    lambda peer=peer: host._switch.scores.score(peer.identity.peer_id, trio.current_time()) > 40
                )

    attacked(attack)


def test_credit_for_streams_that_do_not_exist_is_ignored() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            await peer.settle(host)
            for stream_id in range(1000, 2000):
                await peer.channel.write(HEADER.pack(0, WINDOW_UPDATE, 0, stream_id, INITIAL_WINDOW_BYTES))
            await peer.open(ECHO)
            assert not peer.closed.is_set()

    attacked(attack)


@pytest.mark.parametrize(
    "wire",
    [
        encode_frame(b"short", size_max=99),
        encode_frame(bytes(4096 + 9), size_max=9999),
        b"\x00\x00\x00\x00",
        encode_frame(b"12345678chain A", size_max=99) + encode_frame(b"\x07", size_max=99),
        encode_frame(b"12345678chain A", size_max=99) + encode_frame(b"\x00\xff\x1b[31m", size_max=99),
        encode_frame(b"12345678chain A", size_max=99)[:-3],
        b"",
    ],
    ids=["short", "long", "empty", "odd-verdict", "refusal", "partial", "nothing"],
)
def test_a_malformed_hello_settles_nothing(wire: bytes) -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            stream = await peer.open(HELLO_PROTOCOL)
            await stream.write(wire)
            stream.finish()
            with trio.fail_after(5):
                await peer.closed.wait()
        assert not host.peers()

    attacked(attack, limits=replace(TEST_LIMITS, hello_timeout_s=0.5))


def test_a_frame_that_does_not_get_complete_ends_the_connection() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            streams = await peer.settle(host)
            await streams[CONSENSUS_CHANNEL].write(encode_frame(b"half a vote", size_max=99)[:8])
            with trio.fail_after(5):
                await peer.closed.wait()

    attacked(attack, limits=replace(TEST_LIMITS, frame_timeout_s=0.3))


def test_a_dialer_that_opens_no_channels_is_given_up() -> None:
    async def attack(host: Host) -> None:
        peer = RawPeer(host)
        async with peer.connected():
            await peer.hello()
            await peer.open(CONSENSUS_CHANNEL)
            with trio.fail_after(5):
                await peer.closed.wait()

    attacked(attack, limits=replace(TEST_LIMITS, hello_timeout_s=0.3))


def test_an_oversized_handshake_is_refused_before_it_is_read() -> None:
    async def attack(host: Host) -> None:
        socket = BufferedSocket(await RawPeer(host).tcp())
        try:
            await multistream.propose(socket, "/noise")
            await socket.write(b"\xff\xff" + bytes(100))  # announces 65,535 bytes, as only an absurd key would need
            with trio.fail_after(2.5), pytest.raises(ConnectionLost):  # at once, not by the time-out of 3 s
                await socket.read_exactly(1)
        finally:
            socket.close()

    attacked(attack)

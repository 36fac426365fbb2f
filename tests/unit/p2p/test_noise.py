"""The encrypted channel between two real handshakes over a socket pair: its messages, its limits, and what garbles it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.identity import identity_of
from p2p.noise import SecureChannel, _HandshakeConnection, secure
from p2p.tcp import BufferedSocket
from tests.unit.p2p.harness import seed

DIALER, LISTENER = identity_of(seed(1)), identity_of(seed(2))
WHOLE = 65_535 - 16
"""Bytes of one full message: its two bytes of length less the tag."""


class Wire:
    """A trio.SocketStream that notes what was sent, and can garble it."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self.socket = socket
        self._stream = trio.SocketStream(socket)
        self.sent = bytearray()
        self.garble: Callable[[bytes], bytes] = bytes

    async def send_all(self, data: bytes) -> None:
        self.sent += data
        await self._stream.send_all(self.garble(bytes(data)))

    async def receive_some(self, count_max: int) -> bytes:
        return bytes(await self._stream.receive_some(count_max))

    def buffered(self) -> BufferedSocket:
        return BufferedSocket(self)  # type: ignore[arg-type]  # it has what is asked of a stream


@asynccontextmanager
async def wires() -> AsyncIterator[tuple[Wire, Wire]]:
    pair = [Wire(each) for each in trio.socket.socketpair()]
    try:
        yield pair[0], pair[1]
    finally:
        for wire in pair:
            wire.socket.close()


@asynccontextmanager
async def channels() -> AsyncIterator[tuple[SecureChannel, SecureChannel, Wire]]:
    """The dialer's end, the listener's, and the dialer's socket."""
    made: dict[str, SecureChannel] = {}

    async def shake(name: str, wire: Wire, expected: str | None) -> None:
        made[name] = await secure(wire.buffered(), DIALER if expected else LISTENER, expected)

    async with wires() as (left, right):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake, "dialer", left, LISTENER.peer_id)
            nursery.start_soon(shake, "listener", right, None)
        left.sent.clear()
        yield made["dialer"], made["listener"], left


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(30):
            await main()

    trio.run(bounded)


def lengths(sent: bytes) -> list[int]:
    found, position = [], 0
    while position < len(sent):
        found.append(int.from_bytes(sent[position : position + 2], "big"))
        position += 2 + found[-1]
    assert position == len(sent)
    return found


def test_both_ends_know_each_other() -> None:
    async def main() -> None:
        async with channels() as (dialer, listener, _wire):
            assert (dialer.peer_id, listener.peer_id) == (LISTENER.peer_id, DIALER.peer_id)

    run(main)


@pytest.mark.parametrize("size", [1, WHOLE, WHOLE + 1, 3 * WHOLE + 5])
def test_messages_are_as_long_as_noise_allows(size: int) -> None:
    async def main() -> None:
        data = bytes(index % 251 for index in range(size))
        async with channels() as (dialer, listener, wire), trio.open_nursery() as nursery:
            nursery.start_soon(dialer.write, data)
            assert await listener.read_exactly(size) == data
            full, rest = divmod(size, WHOLE)
            assert lengths(bytes(wire.sent)) == [65_535] * full + [rest + 16] * bool(rest)

    run(main)


def test_bytes_are_read_as_they_are_asked_for_in_order() -> None:
    async def main() -> None:
        async with channels() as (dialer, listener, _wire):
            for part in (b"abc", b"de", b"fghij"):
                await dialer.write(part)
            assert await listener.read_exactly(4) == b"abcd"
            assert await listener.read_exactly(0) == b""
            assert await listener.read_exactly(2) == b"ef"
            await dialer.write(b"!")
            got = b""
            while len(got) < 5:
                more = await listener.receive()
                assert more, "at least a byte"
                got += more
            assert got == b"ghij!"

    run(main)


def test_all_messages_that_are_there_are_one_answer_and_others_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints: list[int] = []
    checkpoint = trio.lowlevel.checkpoint

    async def counted() -> None:
        checkpoints.append(1)
        await checkpoint()

    async def main() -> None:
        async with channels() as (dialer, listener, wire):
            await wire.send_all(b"".join(sealed(dialer, bytes([i])) for i in range(200)))
            await listener._socket.wait_for(200 * 19)
            monkeypatch.setattr("p2p.noise.trio.lowlevel.checkpoint", counted)
            assert await listener.receive() == bytes(range(200))
            monkeypatch.undo()

    run(main)
    assert len(checkpoints) == 200 // 64, "small messages are many: nobody waits for all of them"


def test_an_empty_message_gives_nothing() -> None:
    async def main() -> None:
        async with channels() as (dialer, listener, wire):
            await wire.send_all(sealed(dialer, b"") + sealed(dialer, b"end"))
            assert await listener.receive() == b"end"
            got: list[bytes] = []

            async def receive() -> None:
                got.append(await listener.receive())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await wire.send_all(sealed(dialer, b""))
                await trio.testing.wait_all_tasks_blocked()
                assert not got, "it waits on"
                await wire.send_all(sealed(dialer, b"more"))
            assert got == [b"more"]

    run(main)


def sealed(channel: SecureChannel, plain: bytes) -> bytes:
    message = channel._cipher.encrypt(plain)
    return len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize("cut", [1, 7, -1])
def test_part_of_a_message_waits_for_its_rest_and_does_not_hold_back_the_one_before(cut: int) -> None:
    async def main() -> None:
        async with channels() as (dialer, listener, wire):
            first, second = sealed(dialer, b"first"), sealed(dialer, b"second")
            await wire.send_all(first + second[:cut])
            assert await listener.receive() == b"first"
            await wire.send_all(second[cut:])
            assert await listener.receive() == b"second"

    run(main)


def test_one_changed_bit_ends_it() -> None:
    async def main() -> None:
        async with channels() as (dialer, listener, wire):
            wire.garble = lambda data: data[:-1] + bytes([data[-1] ^ 1])
            await dialer.write(b"hello")
            with pytest.raises(ProtocolFault, match="does not authenticate"):
                await listener.receive()
        async with channels() as (dialer, listener, wire):
            wire.socket.close()
            with pytest.raises(ConnectionLost):
                await listener.receive()
            assert listener._socket._stream.socket.fileno() != -1
            listener.close()
            assert listener._socket._stream.socket.fileno() == -1

    run(main)


def test_another_identity_than_expected_is_refused_by_the_dialer() -> None:
    async def main() -> None:
        other = identity_of(seed(3)).peer_id
        async with wires() as (left, right):

            async def listen() -> None:
                with pytest.raises((ProtocolFault, ConnectionLost)):
                    await secure(right.buffered(), LISTENER, None)
                    await trio.sleep_forever()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                with pytest.raises(ProtocolFault, match="another peer than"):
                    await secure(left.buffered(), DIALER, other)
                nursery.cancel_scope.cancel()

    run(main)


def test_who_goes_away_in_the_handshake_is_a_lost_connection() -> None:
    async def main() -> None:
        async with wires() as (left, right):
            left.socket.close()
            with pytest.raises(ConnectionLost):
                await secure(right.buffered(), LISTENER, None)

    run(main)


def test_a_handshake_reads_so_many_bytes_and_no_more() -> None:
    async def main() -> None:
        async with wires() as (left, right):
            handshake = _HandshakeConnection(right.buffered(), is_initiator=False)
            await left.send_all(bytes(4_000))
            assert await handshake.read(2_000) == bytes(2_000)
            assert await handshake.read(48) == bytes(48)
            for count in (1, None):
                with pytest.raises(ProtocolFault, match="more than 2048 bytes"):
                    await handshake.read(count)
            await handshake.write(b"answer")
            assert await left.receive_some(10) == b"answer"
            await handshake.close()
            assert await left.receive_some(10) == b""

    run(main)

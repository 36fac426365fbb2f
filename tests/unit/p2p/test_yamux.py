"""The muxer: two of them joined in memory, and one fed by hand with what no honest peer sends."""

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.stream import INITIAL_WINDOW_BYTES, Stream
from p2p.yamux import ACK, DATA, FIN, GO_AWAY, HEADER, PING, RST, SYN, WINDOW_UPDATE, Muxer


class Pipe:
    """One end of a connection in memory; `stuck` makes writes wait for ever."""

    def __init__(self, send: trio.MemorySendChannel[bytes], receive: trio.MemoryReceiveChannel[bytes]) -> None:
        self.out, self.into, self.stuck = send, receive, False

    async def receive(self) -> bytes:
        try:
            return await self.into.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionLost("closed") from None

    async def write(self, data: bytes) -> None:
        if self.stuck:
            await trio.sleep_forever()
        try:
            await self.out.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionLost("closed") from None

    def close(self) -> None:
        self.out.close()
        self.into.close()


def pipes() -> tuple[Pipe, Pipe]:
    send_a, receive_b = trio.open_memory_channel[bytes](4)
    send_b, receive_a = trio.open_memory_channel[bytes](4)
    return Pipe(send_a, receive_a), Pipe(send_b, receive_b)


def joined(test: Callable[[Muxer, Muxer, list[Stream]], object]) -> None:
    """Run `test(dialer, listener, streams that the listener got)` on a virtual clock."""

    async def main() -> None:
        left, right = pipes()
        came: list[Stream] = []
        dialer = Muxer(left, is_dialer=True, on_stream=came.append)
        listener = Muxer(right, is_dialer=False, on_stream=came.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, dialer)
            nursery.start_soon(carry, listener)
            await test(dialer, listener, came)  # type: ignore[misc]  # tests are async functions
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


async def carry(muxer: Muxer) -> None:
    try:
        await muxer.run()
    except* (ConnectionLost, ProtocolFault):
        pass


def alone(**options: object) -> tuple[Muxer, list[Stream]]:
    """A listening muxer that is fed by hand; nothing is sent."""
    came: list[Stream] = []
    return Muxer(pipes()[0], is_dialer=False, on_stream=came.append, **options), came  # type: ignore[arg-type]  # numbers


def frame(kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, length) + body


def test_bytes_go_both_ways_in_order_and_through_a_small_window() -> None:
    async def test(dialer: Muxer, _listener: Muxer, came: list[Stream]) -> None:
        data = random.Random(1).randbytes(3_000_000)
        stream = dialer.open()
        async with trio.open_nursery() as nursery:

            async def send(sender: Stream) -> None:
                await sender.write(data)
                sender.finish()

            async def read(reader: Stream, out: bytearray) -> None:
                while part := await reader.read(65_536):
                    out += part

            nursery.start_soon(send, stream)
            await trio.testing.wait_all_tasks_blocked()
            there, back = bytearray(), bytearray()
            nursery.start_soon(read, came[0], there)
            nursery.start_soon(send, came[0])
            nursery.start_soon(read, stream, back)
        assert bytes(there) == bytes(back) == data
        await trio.testing.wait_all_tasks_blocked()
        assert not dialer.streams and dialer._queued_bytes == {True: 0, False: 0}

    joined(test)


def test_credit_goes_back_only_when_half_the_window_is_due() -> None:
    muxer, came = alone()
    muxer.feed(frame(WINDOW_UPDATE, SYN, 1, 0))
    muxer._control.clear()
    sent = 0

    async def read_all() -> None:
        while came[0]._chunks:
            await came[0].read(65_536)

    while sent < INITIAL_WINDOW_BYTES // 2 - 1000:
        muxer.feed(frame(DATA, 0, 1, 1000, bytes(1000)))
        sent += 1000
        trio.run(read_all)
        assert not muxer._control, f"credit after {sent} bytes"
    muxer.feed(frame(DATA, 0, 1, 2000, bytes(2000)))
    trio.run(read_all)
    assert len(muxer._control) == 1
    assert came[0].receive_window == INITIAL_WINDOW_BYTES


def test_one_byte_beyond_the_window_is_a_fault_and_is_not_kept() -> None:
    muxer, came = alone()
    muxer.feed(frame(WINDOW_UPDATE, SYN, 1, 0))
    muxer.feed(frame(DATA, 0, 1, INITIAL_WINDOW_BYTES, bytes(INITIAL_WINDOW_BYTES)))
    with pytest.raises(ProtocolFault, match="into a window of 0"):
        muxer.feed(frame(DATA, 0, 1, 1, b"x"))
    assert sum(map(len, came[0]._chunks)) == INITIAL_WINDOW_BYTES


@pytest.mark.parametrize(
    "wire",
    [
        b"\x01" + bytes(11),
        frame(9, 0, 0, 0),
        frame(DATA, SYN, 2, 0),
        frame(DATA, SYN, 0, 0),
        frame(WINDOW_UPDATE, SYN, 1, 0) * 2,
        frame(DATA, 0, 5, 1, b"x"),
        frame(DATA, SYN, 1, 1 << 31),
        frame(WINDOW_UPDATE, SYN, 1, 0) + frame(WINDOW_UPDATE, 0, 1, 0xFFFFFFFF),
        frame(DATA, SYN | FIN, 1, 1, b"x") + frame(DATA, 0, 1, 1, b"x"),
        frame(PING, SYN, 0, 7) * 2000,
        b"".join(frame(WINDOW_UPDATE, SYN, 1 + 2 * index, 0) for index in range(3000)),
    ],
    ids=["version", "type", "parity", "stream-0", "twice", "stray", "giant", "window", "after-end", "pings", "streams"],
)
def test_what_breaks_the_rules_is_a_protocol_fault(wire: bytes) -> None:
    muxer, _ = alone()
    with pytest.raises(ProtocolFault):
        muxer.feed(wire)


def test_streams_beyond_the_limit_are_reset_and_a_closed_one_makes_room() -> None:
    muxer, came = alone(inbound_streams_max=2)
    for stream_id in (1, 3, 5):
        muxer.feed(frame(DATA, SYN, stream_id, 3, b"abc"))
    assert [stream.stream_id for stream in came] == [1, 3]
    assert muxer._control[-1] == frame(WINDOW_UPDATE, RST, 5, 0)
    muxer.feed(frame(WINDOW_UPDATE, RST, 1, 0))
    muxer.feed(frame(WINDOW_UPDATE, SYN, 7, 0))
    assert [stream.stream_id for stream in came] == [1, 3, 7]


def test_good_bye_ends_the_connection() -> None:
    muxer, _ = alone()
    with pytest.raises(ConnectionLost):
        muxer.feed(frame(GO_AWAY, 0, 0, 0))


def test_random_and_mutated_bytes_raise_peer_faults_only_and_keep_memory_bounded() -> None:
    for seed in range(400):
        rng = random.Random(seed)
        muxer, came = alone(inbound_streams_max=4)
        wire = bytearray()
        for _ in range(rng.randint(1, 30)):
            body = rng.randbytes(rng.randint(0, 40)) if rng.random() < 0.5 else b""
            kind = (
                rng.choice([DATA, DATA, WINDOW_UPDATE, PING, GO_AWAY]) if rng.random() < 0.97 else rng.randint(0, 255)
            )
            flags = rng.choice([0, 0, SYN, ACK, FIN, RST, SYN | FIN])
            wire += frame(kind, flags, rng.randint(0, 9), len(body) if kind == DATA else rng.randint(0, 9), body)
        for _ in range(rng.randint(0, 3)):
            wire[rng.randrange(len(wire))] = rng.randint(0, 255)
        try:
            position = 0
            while position < len(wire):
                size = rng.randint(1, 50)
                muxer.feed(bytes(wire[position : position + size]))
                position += size
        except (ProtocolFault, ConnectionLost):
            pass
        held = sum(len(chunk) for stream in came for chunk in stream._chunks)
        assert held <= len(wire) and len(muxer.streams) <= 4, f"seed {seed}"


def test_a_cancelled_write_harms_nothing_but_its_stream() -> None:
    async def test(dialer: Muxer, listener: Muxer, came: list[Stream]) -> None:
        for attempt in range(30):
            doomed = dialer.open()
            with trio.move_on_after(0.0005 * attempt):
                await doomed.write(bytes(2_000_000))
            doomed.reset()
            good = dialer.open()
            await good.write(b"still fine")
            await trio.testing.wait_all_tasks_blocked()
            assert came[-1].stream_id == good.stream_id
            assert await came[-1].read_exactly(10) == b"still fine"
            good.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert not dialer.streams and not listener.streams

    joined(test)


def test_urgent_streams_go_before_others() -> None:
    muxer, _ = alone()
    bulk, votes = muxer.open(), muxer.open()
    votes.urgent = True
    muxer._control.clear()
    muxer.send_data(bulk, b"B" * 100)
    muxer.send_data(votes, b"v")
    assert muxer._next_batch().endswith(b"B" * 100)
    muxer.send_data(bulk, b"B" * 70_000)
    muxer.send_data(bulk, b"B" * 70_000)
    muxer.send_data(votes, b"v")
    batch = muxer._next_batch()
    assert batch.startswith(frame(DATA, 0, votes.stream_id, 1, b"v")) and len(batch) < 80_000


def test_a_reset_unqueues_what_waits_and_wakes_other_writers() -> None:
    async def main() -> None:
        left, right = pipes()
        left.stuck = True
        muxer = Muxer(left, is_dialer=True, on_stream=lambda _stream: None)
        first, second = muxer.open(), muxer.open()
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1):
                await first.write(bytes(200_000))
            nursery.start_soon(second.write, b"x")
            await trio.testing.wait_all_tasks_blocked()
            assert not any(stream_id == second.stream_id for stream_id, _ in muxer._queues[False])
            first.reset()
        assert [stream_id for stream_id, _ in muxer._queues[False]] == [second.stream_id]
        right.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


def test_a_silent_peer_is_given_up_and_an_answering_one_is_not() -> None:
    async def main() -> None:
        left, right = pipes()
        muxer = Muxer(left, is_dialer=True, on_stream=lambda _stream: None, ping_interval_s=3, silence_s_max=10)
        started = trio.current_time()
        with pytest.raises(ConnectionLost, match="silent"):
            await muxer.run()
        assert 10 < trio.current_time() - started <= 13.1
        right.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    async def alive(dialer: Muxer, listener: Muxer, _came: list[Stream]) -> None:
        await trio.sleep(600)
        await dialer.open().write(b"x")
        assert dialer.rtt_s < 1 and listener.rtt_s < 1

    joined(alive)


def test_a_peer_that_talks_but_answers_no_ping_is_given_up() -> None:
    async def main() -> None:
        left, right = pipes()
        muxer = Muxer(left, is_dialer=True, on_stream=lambda _stream: None)

        async def chatter() -> None:
            with trio.CancelScope() as scope:
                try:
                    while True:
                        await right.write(frame(WINDOW_UPDATE, 0, 2, 0))
                        await trio.sleep(1)
                except ConnectionLost:
                    scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(chatter)
            with pytest.raises(ConnectionLost, match="unanswered"):
                await muxer.run()
        right.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_when_the_connection_ends_everybody_learns_of_it() -> None:
    async def main() -> None:
        left, right = pipes()
        muxer = Muxer(left, is_dialer=True, on_stream=lambda _stream: None)
        reader, writer = muxer.open(), muxer.open()
        lost = []

        async def expect_loss(work: object) -> None:
            with pytest.raises(ConnectionLost):
                await work  # type: ignore[misc]  # a coroutine
            lost.append(work)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, muxer)
            nursery.start_soon(expect_loss, reader.read(10))
            nursery.start_soon(expect_loss, writer.write(bytes(10_000_000)))
            await trio.testing.wait_all_tasks_blocked()
            right.close()
        assert len(lost) == 2
        with pytest.raises(ConnectionLost):
            muxer.open()

    trio.run(main)

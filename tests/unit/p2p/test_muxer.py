"""The muxer on trio: two of them joined in memory, on a virtual clock."""

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.muxer import Muxer
from p2p.stream import Stream
from p2p.yamux import ACK, FRAME_DATA_BYTES, HEADER, PING, SYN, WINDOW_UPDATE


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


def queued_streams(muxer: Muxer) -> set[int]:
    return {stream_id for stream_id, _ in muxer.session._bulk.frames}


async def carry(muxer: Muxer) -> None:
    try:
        await muxer.run()
    except* (ConnectionLost, ProtocolFault):
        pass


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
        assert not dialer.streams and dialer.session.queued(urgent=False) == 0

    joined(test)


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
            assert queued_streams(muxer) == {first.stream_id}
            first.reset()
        assert queued_streams(muxer) == {second.stream_id}
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
                        await right.write(HEADER.pack(0, WINDOW_UPDATE, 0, 2, 0))
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


def test_bytes_are_counted_as_they_are_carried_each_way() -> None:
    async def test(dialer: Muxer, listener: Muxer, came: list[Stream]) -> None:
        await dialer.open().write(b"x" * 10_000)
        await trio.testing.wait_all_tasks_blocked()
        assert await came[0].read_exactly(10_000) == b"x" * 10_000
        await trio.testing.wait_all_tasks_blocked()
        assert listener.bytes_in == dialer.bytes_out > 10_000
        assert dialer.bytes_in == listener.bytes_out > 0

    joined(test)


def test_one_ping_is_asked_at_a_time() -> None:
    """So that an answer which takes longer than the interval is still the answer to the ping that is timed."""

    async def main() -> None:
        left, right = pipes()
        muxer = Muxer(left, is_dialer=True, on_stream=lambda _stream: None, ping_interval_s=1, silence_s_max=100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, muxer)
            pings = b""
            with trio.move_on_after(8.5):
                while True:
                    pings += await right.receive()
            last = HEADER.unpack(pings[-HEADER.size :])[-1]
            assert last <= 2, "the virtual clock begins and pings at one moment, so a second may follow the first"
            await right.write(HEADER.pack(0, PING, ACK, 0, last))
            assert await right.receive() == HEADER.pack(0, PING, SYN, 0, last + 1)
            assert 7 < muxer.rtt_s < 9
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_stream_is_told_to_the_peer_when_it_is_opened_and_a_wider_window_when_it_is_asked_for() -> None:
    async def test(dialer: Muxer, listener: Muxer, came: list[Stream]) -> None:
        mine = dialer.open()
        await trio.testing.wait_all_tasks_blocked()
        assert [stream.stream_id for stream in came] == [mine.stream_id]
        before = dialer.session.sendable(mine.stream_id)
        came[0].widen(4 * before)
        await trio.testing.wait_all_tasks_blocked()
        assert dialer.session.sendable(mine.stream_id) == 4 * before

    joined(test)


def test_much_data_goes_in_frames_of_one_size() -> None:
    sizes: list[int] = []

    async def test(dialer: Muxer, _listener: Muxer, _came: list[Stream]) -> None:
        send = dialer.session.send

        def noting(stream_id: int, data: bytes, *, urgent: bool) -> None:
            sizes.append(len(data))
            send(stream_id, data, urgent=urgent)

        dialer.session.send = noting  # type: ignore[method-assign]
        await dialer.open().write(bytes(100_000))

    joined(test)
    assert sizes == [FRAME_DATA_BYTES] * 3 + [100_000 - 3 * FRAME_DATA_BYTES]


def test_streams_are_told_why_the_connection_ended() -> None:
    async def main() -> None:
        left, right = pipes()
        muxer = Muxer(left, is_dialer=True, on_stream=lambda _stream: None)
        stream = muxer.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, muxer)
            await right.write(HEADER.pack(0, 9, 0, 0, 0))
            while stream.error is None:
                await trio.lowlevel.checkpoint()
        assert stream.error == "yamux frame type 9"
        with pytest.raises(ConnectionLost, match="yamux frame type 9"):
            muxer.open()
        right.close()

    trio.run(main)

"""Frames: whatever is fed in whatever pieces, payloads come out, or WireError."""

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.errors import WireError
from p2p.faults import PeerTooSlow
from p2p.frames import FrameDecoder, FrameReader, encode_frame

FIXED = settings(derandomize=True, deadline=None, max_examples=200)
PAYLOADS = st.lists(st.binary(min_size=1, max_size=300), max_size=12)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [*pieces, data[position:]]


@FIXED
@given(PAYLOADS, st.lists(st.integers(1, 50), max_size=60))
def test_any_cut_gives_the_payloads_back(payloads: list[bytes], sizes: list[int]) -> None:
    decoder, out = FrameDecoder(300), []
    for piece in cut(b"".join(encode_frame(p, size_max=300) for p in payloads), sizes):
        decoder.feed(piece)
        while (payload := decoder.pop()) is not None:
            out.append(payload)
    assert out == payloads
    assert not decoder.in_frame


@FIXED
@given(PAYLOADS, st.data())
def test_mutated_bytes_give_payloads_within_the_cap_or_wire_error(payloads: list[bytes], data: st.DataObject) -> None:
    wire = bytearray(b"".join(encode_frame(p, size_max=300) for p in payloads) or b"\x00")
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    decoder, total = FrameDecoder(300), 0
    try:
        for piece in cut(bytes(wire), data.draw(st.lists(st.integers(1, 50), max_size=40))):
            decoder.feed(piece)
            while (payload := decoder.pop()) is not None:
                assert 1 <= len(payload) <= 300
                total += 4 + len(payload)
    except WireError:
        return
    assert total + decoder.buffered_bytes == len(wire)


def test_the_cap_is_checked_before_the_payload_is_kept() -> None:
    decoder = FrameDecoder(1000)
    decoder.feed((1001).to_bytes(4, "big")[:3])
    with pytest.raises(WireError, match="1001 bytes; at most 1000"):
        decoder.feed((1001).to_bytes(4, "big")[3:])
    assert decoder.buffered_bytes == 4


def test_an_empty_frame_is_refused_both_ways() -> None:
    with pytest.raises(WireError, match="empty"):
        encode_frame(b"", size_max=10)
    with pytest.raises(WireError, match="empty"):
        FrameDecoder(10).feed(bytes(4))
    with pytest.raises(WireError, match="at most 10"):
        encode_frame(bytes(11), size_max=10)


class Trickle:
    """Gives prepared pieces, then waits for ever, or ends."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0, ends: bool = False) -> None:
        self.pieces, self.pause_s, self.ends = list(pieces), pause_s, ends

    async def read(self, count_max: int) -> bytes:
        assert count_max == 64 * 1024
        await trio.sleep(self.pause_s)
        if self.pieces:
            return self.pieces.pop(0)
        if not self.ends:
            await trio.sleep_forever()
        return b""


def run_on_virtual_clock(main) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_frame_that_does_not_get_complete_times_out_but_a_quiet_stream_does_not() -> None:
    async def main() -> None:
        wire = encode_frame(b"x" * 100, size_max=100)
        quiet = FrameReader(Trickle(wire, pause_s=3600), 100, frame_timeout_s=5)
        assert await quiet.read() == b"x" * 100
        for begun in (wire[:2], wire[:50]):
            with pytest.raises(PeerTooSlow):
                await FrameReader(Trickle(begun), 100, frame_timeout_s=5).read()
        drip = Trickle(*(wire[i : i + 1] for i in range(len(wire))), pause_s=1)
        with pytest.raises(PeerTooSlow):
            await FrameReader(drip, 100, frame_timeout_s=5).read()

    run_on_virtual_clock(main)


def test_the_end_of_the_stream() -> None:
    async def main() -> None:
        wire = encode_frame(b"abc", size_max=100)
        reader = FrameReader(Trickle(wire + wire, ends=True), 100)
        assert [await reader.read(), await reader.read(), await reader.read()] == [b"abc", b"abc", None]
        with pytest.raises(WireError, match="within a frame"):
            await FrameReader(Trickle(wire[:5], ends=True), 100).read()

    run_on_virtual_clock(main)


def test_a_frame_may_come_in_pieces_and_the_next_one_with_its_end() -> None:
    async def main() -> None:
        wire = encode_frame(b"x" * 100, size_max=100) + encode_frame(b"yz", size_max=100)
        for cut in (1, 4, 50, 103):
            pieces = (wire[:cut], wire[cut : cut + 1], wire[cut + 1 : 105], wire[105:])
            reader = FrameReader(Trickle(*pieces, pause_s=1, ends=True), 100, frame_timeout_s=5)
            assert [await reader.read() for _ in range(3)] == [b"x" * 100, b"yz", None]

    run_on_virtual_clock(main)

"""The yamux protocol, fed by hand with what honest peers send and with what no honest peer sends."""

import random

import pytest

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    INITIAL_WINDOW_BYTES,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    CreditReceived,
    DataReceived,
    PingAnswered,
    Session,
    StreamFinished,
    StreamOpened,
    StreamReset,
)


def listening(inbound_streams_max: int = 32) -> Session:
    return Session(is_dialer=False, inbound_streams_max=inbound_streams_max)


def frame(kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> bytes:
    return HEADER.pack(0, kind, flags, stream_id, length) + body


def test_frames_become_events_in_order_however_the_bytes_are_cut() -> None:
    wire = (
        frame(WINDOW_UPDATE, SYN, 1, 0)
        + frame(DATA, 0, 1, 5, b"hello")
        + frame(WINDOW_UPDATE, 0, 1, 7)
        + frame(PING, ACK, 0, 9)
        + frame(DATA, FIN, 1, 2, b"!!")
    )
    for size in range(1, len(wire) + 1):
        session = listening()
        events = [event for at in range(0, len(wire), size) for event in session.receive(wire[at : at + size])]
        assert b"".join(event.data for event in events if isinstance(event, DataReceived)) == b"hello!!"
        others = [event for event in events if not isinstance(event, DataReceived)]
        assert others == [StreamOpened(1), CreditReceived(1), PingAnswered(9), StreamFinished(1)]
        assert session.next_batch() == frame(WINDOW_UPDATE, ACK, 1, 0)


def test_credit_goes_back_only_when_half_the_window_is_due() -> None:
    session = listening()
    session.receive(frame(WINDOW_UPDATE, SYN, 1, 0))
    session.next_batch()
    sent = 0
    while sent < INITIAL_WINDOW_BYTES // 2 - 1000:
        session.receive(frame(DATA, 0, 1, 1000, bytes(1000)))
        sent += 1000
        session.consumed(1, 1000)
        assert not session.next_batch(), f"credit after {sent} bytes"
    session.receive(frame(DATA, 0, 1, 2000, bytes(2000)))
    session.consumed(1, 2000)
    assert session.next_batch() == frame(WINDOW_UPDATE, 0, 1, sent + 2000)
    session.receive(frame(DATA, 0, 1, INITIAL_WINDOW_BYTES, bytes(INITIAL_WINDOW_BYTES)))


def test_one_byte_beyond_the_window_is_a_fault_and_is_not_kept() -> None:
    session = listening()
    session.receive(frame(WINDOW_UPDATE, SYN, 1, 0))
    session.receive(frame(DATA, 0, 1, INITIAL_WINDOW_BYTES, bytes(INITIAL_WINDOW_BYTES)))
    with pytest.raises(ProtocolFault, match="into a window of 0"):
        session.receive(frame(DATA, 0, 1, 1, b"x"))


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
    with pytest.raises(ProtocolFault):
        listening().receive(wire)


def test_streams_beyond_the_limit_are_reset_and_a_closed_one_makes_room() -> None:
    session = listening(inbound_streams_max=2)
    wire = b"".join(frame(DATA, SYN, stream_id, 3, b"abc") for stream_id in (1, 3, 5))
    opened = [event.stream_id for event in session.receive(wire) if isinstance(event, StreamOpened)]
    assert opened == [1, 3]
    assert session.next_batch().endswith(frame(WINDOW_UPDATE, RST, 5, 0))
    assert session.receive(frame(WINDOW_UPDATE, RST, 1, 0)) == [StreamReset(1)]
    assert session.receive(frame(WINDOW_UPDATE, SYN, 7, 0)) == [StreamOpened(7)]


def test_bytes_of_a_stream_that_was_reset_here_are_thrown_away_up_to_its_window() -> None:
    session = listening()
    session.receive(frame(WINDOW_UPDATE, SYN, 1, 0) + frame(DATA, 0, 1, 100, bytes(40)))
    session.reset(1)
    assert session.receive(bytes(60)) == []
    assert session.receive(frame(DATA, 0, 1, INITIAL_WINDOW_BYTES - 100, bytes(INITIAL_WINDOW_BYTES - 100))) == []
    with pytest.raises(ProtocolFault, match="not open"):
        session.receive(frame(DATA, 0, 1, 1, b"x"))


def test_a_stream_is_gone_once_both_ends_have_finished() -> None:
    session = listening()
    session.receive(frame(WINDOW_UPDATE, SYN, 1, 0))
    session.finish(1, urgent=False)
    assert session.sendable(1) == 0 and session.open_streams == 1
    assert session.receive(frame(WINDOW_UPDATE, FIN, 1, 0)) == [StreamFinished(1)]
    assert session.open_streams == 0


def test_good_bye_ends_the_connection() -> None:
    with pytest.raises(ConnectionLost):
        listening().receive(frame(GO_AWAY, 0, 0, 0))


def test_random_and_mutated_bytes_raise_peer_faults_only_and_keep_memory_bounded() -> None:
    for seed in range(400):
        rng = random.Random(seed)
        session = listening(inbound_streams_max=4)
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
        handed_out = 0
        try:
            position = 0
            while position < len(wire):
                size = rng.randint(1, 50)
                events = session.receive(bytes(wire[position : position + size]))
                handed_out += sum(len(event.data) for event in events if isinstance(event, DataReceived))
                position += size
        except (ProtocolFault, ConnectionLost):
            pass
        assert handed_out <= len(wire) and session.open_streams <= 4, f"seed {seed}"


def test_urgent_data_goes_before_other_data() -> None:
    session = listening()
    bulk, votes = session.open(), session.open()
    session.next_batch()
    session.send(bulk, b"B" * 100, urgent=False)
    session.send(votes, b"v", urgent=True)
    assert session.next_batch().endswith(b"B" * 100)
    session.send(bulk, b"B" * 70_000, urgent=False)
    session.send(bulk, b"B" * 70_000, urgent=False)
    session.send(votes, b"v", urgent=True)
    batch = session.next_batch()
    assert batch.startswith(frame(DATA, 0, votes, 1, b"v")) and len(batch) < 80_000


def test_a_reset_takes_back_what_waits_to_be_sent_whatever_its_urgency() -> None:
    session = listening()
    doomed, other = session.open(), session.open()
    session.next_batch()
    session.send(doomed, b"x" * 50, urgent=True)
    session.send(doomed, b"y" * 50, urgent=False)
    session.send(other, b"z", urgent=False)
    session.reset(doomed)
    assert session.next_batch() == frame(WINDOW_UPDATE, RST, doomed, 0) + frame(DATA, 0, other, 1, b"z")


@pytest.mark.parametrize("kind", [DATA, WINDOW_UPDATE])
def test_an_end_or_a_reset_may_come_on_a_frame_without_bytes(kind: int) -> None:
    """As others send them: FIN or RST on an empty DATA frame, or on a window update."""
    session = listening(inbound_streams_max=2)
    session.receive(frame(WINDOW_UPDATE, SYN, 1, 0) + frame(WINDOW_UPDATE, SYN, 3, 0))
    assert session.receive(frame(DATA, 0, 1, 3, b"abc") + frame(kind, FIN, 1, 0)) == [
        DataReceived(1, b"abc"),
        StreamFinished(1),
    ]
    session.finish(1, urgent=False)
    assert session.open_streams == 1, "both ends of stream 1 have finished"
    assert session.receive(frame(kind, RST, 3, 0)) == [StreamReset(3)]
    opened = session.receive(frame(WINDOW_UPDATE, SYN, 5, 0) + frame(WINDOW_UPDATE, SYN, 7, 0))
    assert opened == [StreamOpened(5), StreamOpened(7)], "their places are free"


def test_so_many_streams_may_be_refused_and_no_more() -> None:
    session = listening(inbound_streams_max=0)
    for index in range(1024):
        assert session.receive(frame(WINDOW_UPDATE, SYN, 1 + 2 * index, 0)) == []
        assert session.next_batch() == frame(WINDOW_UPDATE, RST, 1 + 2 * index, 0)
    assert session.refused_streams == 1024
    with pytest.raises(ProtocolFault, match="keeps opening streams"):
        session.receive(frame(WINDOW_UPDATE, SYN, 2049, 0))


def test_a_stream_that_is_gone_is_neither_finished_nor_reset_again() -> None:
    session = listening()
    mine = session.open()
    session.next_batch()
    session.finish(mine, urgent=False)
    session.finish(mine, urgent=False)
    assert session.next_batch() == frame(WINDOW_UPDATE, FIN, mine, 0)
    session.reset(mine)
    assert session.next_batch() == frame(WINDOW_UPDATE, RST, mine, 0)
    session.reset(mine)
    session.finish(mine, urgent=True)
    session.consumed(mine, 10)
    session.widen(mine, 1 << 20)
    assert session.next_batch() == b"" and session.sendable(mine) == 0


def test_pings_are_numbered_in_32_bits() -> None:
    session = listening()
    assert [session.ping() for _ in range(3)] == [1, 2, 3]
    assert session.next_batch() == b"".join(frame(PING, SYN, 0, number) for number in (1, 2, 3))
    session._ping_id = 2**32 - 1
    assert session.ping() == 0


def test_windows_are_those_of_the_specification() -> None:
    assert INITIAL_WINDOW_BYTES == 262_144
    session = listening()
    session.receive(frame(WINDOW_UPDATE, SYN, 1, 0))
    session.receive(frame(WINDOW_UPDATE, 0, 1, (1 << 31) - INITIAL_WINDOW_BYTES))
    assert session.sendable(1) == 1 << 31
    with pytest.raises(ProtocolFault, match="beyond any use"):
        session.receive(frame(WINDOW_UPDATE, 0, 1, 1))

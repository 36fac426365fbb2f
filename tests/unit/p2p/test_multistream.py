"""Agreeing on a protocol: two ends in memory, and every kind of nonsense."""

import contextlib
import random

import pytest
import trio

from p2p import multistream
from p2p.faults import ConnectionLost, ProtocolFault


class Wire:
    """What was written, and what will be read."""

    def __init__(self, incoming: bytes = b"") -> None:
        self.incoming, self.written = bytearray(incoming), b""

    async def read_exactly(self, count: int) -> bytes:
        if len(self.incoming) < count:
            raise ConnectionLost("ended")
        data = bytes(self.incoming[:count])
        del self.incoming[:count]
        return data

    async def write(self, data: bytes) -> None:
        self.written += data


def message(text: bytes) -> bytes:
    return bytes([len(text) + 1]) + text + b"\n"


HEADER = message(multistream.HEADER)


def test_the_dialer_proposes_in_one_write_and_the_listener_agrees() -> None:
    async def main() -> None:
        listener = Wire(HEADER + message(b"/unknown/1") + message(b"/two/1"))
        assert await multistream.answer(listener, ("/one/1", "/two/1")) == "/two/1"
        assert listener.written == HEADER + message(b"na") + message(b"/two/1")
        dialer = Wire(HEADER + message(b"/two/1"))
        await multistream.propose(dialer, "/two/1")
        assert dialer.written == HEADER + message(b"/two/1")

    trio.run(main)


def test_a_long_name_has_a_two_byte_length() -> None:
    async def main() -> None:
        name = "/" + "n" * 200
        dialer = Wire()
        with pytest.raises(ConnectionLost):
            await multistream.propose(dialer, name)
        assert await multistream.answer(Wire(dialer.written), (name,)) == name

    trio.run(main)


@pytest.mark.parametrize(
    ("incoming", "error"),
    [
        (HEADER + message(b"na"), ConnectionLost),
        (HEADER + message(b"/other/1"), ProtocolFault),
        (message(b"/multistream/2.0.0"), ProtocolFault),
        (b"\x00", ProtocolFault),
        (b"\xff\xff\xff", ProtocolFault),
        (b"\x03abc", ProtocolFault),
        (b"", ConnectionLost),
    ],
)
def test_a_listener_that_breaks_the_rules(incoming: bytes, error: type[Exception]) -> None:
    async def main() -> None:
        with pytest.raises(error):
            await multistream.propose(Wire(incoming), "/one/1")

    trio.run(main)


def test_proposals_are_counted() -> None:
    async def main() -> None:
        with pytest.raises(ProtocolFault, match="only protocols that are not spoken"):
            await multistream.answer(Wire(HEADER + message(b"\xff\xfe") * 100), ("/one/1",))

    trio.run(main)


def test_random_bytes_raise_peer_faults_only() -> None:
    agreed: list[int] = []

    async def main(seed: int) -> None:
        rng = random.Random(seed)
        wire = bytearray(HEADER + message(b"/one/1") if rng.random() < 0.7 else b"") + rng.randbytes(rng.randint(1, 60))
        wire[rng.randrange(len(wire))] = rng.randint(0, 255)
        for end in (
            multistream.answer(Wire(bytes(wire)), ("/one/1",)),
            multistream.propose(Wire(bytes(wire)), "/one/1"),
        ):
            with contextlib.suppress(ConnectionLost, ProtocolFault):
                await end
                agreed.append(seed)

    for seed in range(300):
        try:
            trio.run(main, seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert 100 < len(agreed) < 600, "some are harmed only after the agreement, others are refused"

"""The hello: the first stream of a connection, before anything else flows.

Each side sends one frame, its instance (8 random bytes, new at every start of a host) and the node's own bytes; checks the
other's; and answers with a verdict, `01`, or `00` and the reason in ASCII. Both verdicts must be good. The dialer opens the
stream. What the node's bytes mean, and whether they prove anything, is the node's affair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from genesis.errors import FatalError, OpenLedgerError
from genesis.limits import HANDSHAKE_BYTES_MAX
from p2p.faults import ConnectionLost, HelloRefused, NotKept, ProtocolFault
from p2p.frames import FrameReader, encode_frame
from p2p.stream import Stream

INSTANCE_BYTES: Final = 8
_FRAME_BYTES_MAX: Final = INSTANCE_BYTES + HANDSHAKE_BYTES_MAX
_REASON_CHARS_MAX: Final = 200
_REASON_DELIVERY_S_MAX: Final = 1.0
_GOOD: Final = b"\x01"
_BAD: Final = b"\x00"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the other side said: its instance, and what the node's check made of its bytes."""

    instance: bytes
    identity: bytes


async def exchange_hello(
    stream: Stream, instance: bytes, own: bytes, check: Callable[[bytes, bytes], bytes]
) -> Greeting:
    """Say hello and judge the other's, by `check(instance, bytes) -> identity`, which raises to refuse.

    Raises HelloRefused (by either side), WireError, ProtocolFault, ConnectionLost. The caller sets the time-out.
    """
    reader = FrameReader(stream, _FRAME_BYTES_MAX)
    await stream.write(encode_frame(instance + own, size_max=_FRAME_BYTES_MAX))
    theirs = await _read(reader)
    if len(theirs) < INSTANCE_BYTES:
        raise ProtocolFault("a hello that is too short")
    greeting, refusal = None, OpenLedgerError("")
    try:
        their_instance = theirs[:INSTANCE_BYTES]
        greeting = Greeting(their_instance, check(their_instance, theirs[INSTANCE_BYTES:]))
    except FatalError:
        raise
    except OpenLedgerError as error:
        refusal = error
    if greeting is None:
        await stream.write(encode_frame(_BAD + _printable(str(refusal)).encode(), size_max=_FRAME_BYTES_MAX))
        stream.finish()
        with trio.move_on_after(_REASON_DELIVERY_S_MAX):
            while await reader.read() is not None:
                pass
        raise refusal if isinstance(refusal, HelloRefused) else HelloRefused(f"refused here: {refusal}")
    await stream.write(encode_frame(_GOOD, size_max=_FRAME_BYTES_MAX))
    verdict = await _read(reader)
    if verdict != _GOOD:
        raise NotKept(f"refused by the peer: {_printable(verdict[1:].decode('ascii', 'replace'))}")
    stream.finish()
    return greeting


async def _read(reader: FrameReader) -> bytes:
    payload = await reader.read()
    if payload is None:
        raise ConnectionLost("the peer ended the hello")
    return payload


def _printable(text: str) -> str:
    """At most 200 printable ASCII characters: what a peer says ends up in logs."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:_REASON_CHARS_MAX])

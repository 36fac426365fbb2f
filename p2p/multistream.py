"""multistream-select 1.0: two ends agree on the protocol of a connection or a stream.

A message is a varint length, the text, and a newline. Names are compared as bytes and never decoded, so a name can't be
malformed, only unknown. Lengths are capped before a byte of the text is read, and so is the number of proposals: the stock
implementation does neither. The dialer sends header and proposal in one write, so agreeing takes one round trip.
(https://github.com/multiformats/multistream-select)
"""

from collections.abc import Collection
from typing import Final

from p2p.faults import ConnectionLost, ProtocolFault
from p2p.tcp import ByteStream

HEADER: Final = b"/multistream/1.0.0"
NOT_AVAILABLE: Final = b"na"
MESSAGE_BYTES_MAX: Final = 256
PROPOSALS_MAX: Final = 8


async def propose(stream: ByteStream, protocol: str) -> None:
    """As the dialer: use `protocol` or fail. Raises ConnectionLost if the peer doesn't speak it, ProtocolFault."""
    wanted = protocol.encode()
    await stream.write(_message(HEADER) + _message(wanted))
    if await _read_message(stream) != HEADER:
        raise ProtocolFault("the peer does not speak multistream-select 1.0")
    answer = await _read_message(stream)
    if answer == NOT_AVAILABLE:
        raise ConnectionLost(f"the peer does not speak {protocol}")
    if answer != wanted:
        raise ProtocolFault("the peer answered with a protocol that was not proposed")


async def answer(stream: ByteStream, supported: Collection[str]) -> str:
    """As the listener: the first proposal that is in `supported`. Raises ProtocolFault after too many, ConnectionLost."""
    names = {name.encode(): name for name in supported}
    if await _read_message(stream) != HEADER:
        raise ProtocolFault("the peer does not speak multistream-select 1.0")
    await stream.write(_message(HEADER))
    for _ in range(PROPOSALS_MAX):
        proposal = await _read_message(stream)
        if proposal in names:
            await stream.write(_message(proposal))
            return names[proposal]
        await stream.write(_message(NOT_AVAILABLE))
    raise ProtocolFault("the peer proposed only protocols that are not spoken here")


def _message(text: bytes) -> bytes:
    length = len(text) + 1
    prefix = bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
    return prefix + text + b"\n"


async def _read_message(stream: ByteStream) -> bytes:
    length = (await stream.read_exactly(1))[0]
    if length >= 0x80:
        length = length & 0x7F | (await stream.read_exactly(1))[0] << 7
    if not 1 <= length <= MESSAGE_BYTES_MAX:
        raise ProtocolFault(f"a protocol name of {length} bytes; at most {MESSAGE_BYTES_MAX} are allowed")
    text = await stream.read_exactly(length)
    if text[-1:] != b"\n":
        raise ProtocolFault("a protocol name does not end with a newline")
    return text[:-1]

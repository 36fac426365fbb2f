"""Requests whose head was seen before need no parsing: equal bytes mean the same.

A client sends the same request line and headers over and over; only the body differs, and with it the length. So where a chunk
is one whole POST to JSON-RPC, its head is remembered with what follows from it (who asks, which headers the answer takes), and
the next chunk that begins with the same head and is as long as that head says goes straight to JSON-RPC.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from node.rpc.transport.http import HttpRequest, ResponseHead

if TYPE_CHECKING:
    from node.rpc.backend import Session

_END: Final = b"\r\n\r\n"
_HEAD_BYTES_MAX: Final = 2_048
_LANES_MAX: Final = 1_024


class Lane(NamedTuple):
    """What a head means: a call of JSON-RPC, by whom, and how its answer begins (`nothing` is the one to notifications)."""

    session: "Session"
    head: ResponseHead
    nothing: ResponseHead
    keep_alive: bool


def make_lane(session: "Session", headers: tuple[tuple[str, str], ...], *, keep_alive: bool) -> Lane:
    head = ResponseHead(200, headers=headers, keep_alive=keep_alive)
    return Lane(session, head, ResponseHead(204, headers=headers, keep_alive=keep_alive), keep_alive)


class Lanes:
    """The heads seen lately, by their bytes and the peer's address (on which authorization may depend)."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str], tuple[Lane, int]] = {}

    def find(self, data: bytes, peer: str) -> tuple[Lane, bytes] | None:
        """The lane and the body, if `data` is one whole request with a known head."""
        cut = data.find(_END, 0, _HEAD_BYTES_MAX)
        found = self._known.get((data[:cut], peer)) if cut > 0 else None
        if found is None or len(data) != cut + len(_END) + found[1]:
            return None
        return found[0], data[cut + len(_END) :]

    def learn(self, data: bytes, peer: str, request: HttpRequest, lane: Lane) -> None:
        """Remember the head of `data`, which was parsed as `request` and nothing else."""
        cut = data.find(_END, 0, _HEAD_BYTES_MAX)
        is_plain = lane.keep_alive and request.header(b"content-length") == str(len(request.body))
        if not is_plain or request.header(b"expect") is not None or request.header(b"transfer-encoding") is not None:
            return
        if cut > 0 and data[cut + len(_END) :] == request.body:
            if len(self._known) >= _LANES_MAX:
                self._known.clear()
            self._known[data[:cut], peer] = lane, len(request.body)

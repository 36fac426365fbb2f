"""What can go wrong with a peer, as `PeerFault`s that say how grave it is.

A fault's `weight` is added to the peer's score (`scores.py`); a score of 100 is a ban. Losing a connection weighs nothing.
"""

import os
from typing import Final

from genesis.errors import PeerFault, WireError

WEIGHT_NONE: Final = 0
WEIGHT_LIGHT: Final = 10
WEIGHT_GRAVE: Final = 50
WEIGHT_BAN: Final = 100


class ProtocolFault(PeerFault):
    """The peer broke the wire protocol. No honest node does, so it weighs much."""

    weight: int = WEIGHT_GRAVE


class HelloRefused(PeerFault):
    """The hello did not pass, on this side or on the peer's: another chain, another version, no place left."""

    weight: int = WEIGHT_LIGHT


class NotKept(HelloRefused):
    """A connection that is not kept though nobody did wrong: a duplicate, or no place left."""

    weight: int = WEIGHT_NONE


class RequestRefused(PeerFault):
    """The peer answered a request with a reason instead of a response."""

    weight: int = WEIGHT_NONE


class ConnectionLost(PeerFault):
    """The connection or the stream ended, or the peer fell silent. Anybody's network may do that."""

    weight: int = WEIGHT_NONE


class PeerTooSlow(PeerFault):
    """The peer let a time-out pass."""

    weight: int = WEIGHT_LIGHT


def reason_of(error: OSError) -> str:
    """Why a socket could not be had: the system's words, of each attempt where trio made several."""
    attempts = getattr(error.__cause__, "exceptions", None) or (error.__cause__ or error,)
    return "; ".join(dict.fromkeys(_words(each) for each in attempts))


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # without what Python or trio has put around it
    return getattr(error, "strerror", None) or str(error)


def weight_of(error: BaseException) -> int:
    """The weight of an error that ended a connection or a stream."""
    if isinstance(error, WireError):
        return WEIGHT_GRAVE
    return int(getattr(error, "weight", WEIGHT_LIGHT if isinstance(error, PeerFault) else WEIGHT_NONE))

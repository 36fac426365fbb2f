"""What the host hands out: a message that came in, and a peer as others see it."""

from dataclasses import dataclass
from typing import Literal

Direction = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message as it came in."""

    peer_id: str
    channel: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A connected peer."""

    peer_id: str
    address: str
    direction: Direction
    identity: bytes
    """What `check_hello` made of the peer's hello."""
    channels: tuple[str, ...]
    protected: bool
    score: float
    rtt_ms: float | None
    bytes_in: int
    bytes_out: int
    dropped: int
    """Messages given up because the peer did not read fast enough."""

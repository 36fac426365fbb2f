"""What a host is told at start: identity, addresses, channels and limits. Every limit has a number here."""

from dataclasses import dataclass, field
from typing import Final

from genesis.limits import CONSENSUS_MESSAGE_BYTES_MAX, FRAME_BYTES_MAX, KIB, MIB, TX_BATCH_BYTES_MAX
from p2p.identity import KeyType

CONSENSUS_CHANNEL: Final = "/openledger/cons/1"
BLOCK_CHANNEL: Final = "/openledger/block/1"
TX_CHANNEL: Final = "/openledger/tx/1"
HELLO_PROTOCOL: Final = "/openledger/hello/1"
SYNC_PROTOCOL: Final = "/openledger/sync/1"


@dataclass(frozen=True, slots=True)
class Channel:
    """A kind of message that flows for as long as two peers are connected, on a stream of its own."""

    name: str
    frame_bytes_max: int
    urgent: bool = False
    """Written before what is not urgent on the same connection."""
    window_bytes: int = 256 * KIB
    """How far a peer may send ahead of what was read here."""


CHANNELS: Final = (
    Channel(CONSENSUS_CHANNEL, CONSENSUS_MESSAGE_BYTES_MAX, urgent=True),
    Channel(BLOCK_CHANNEL, FRAME_BYTES_MAX, window_bytes=1 * MIB),
    Channel(TX_CHANNEL, TX_BATCH_BYTES_MAX),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what peers may cost. Times are seconds."""

    peers_max: int = 64
    peers_high: int = 48
    """From here on only protected and known peers are taken, up to `peers_max`."""
    pending_max: int = 64
    """Connections that have not said hello yet; one more pushes the oldest out."""
    inbound_streams_max: int = 16
    requests_per_peer: int = 4
    """Requests of one peer served at a time; more wait."""
    requests_to_peer: int = 8
    """Requests to one peer under way at a time; more wait. Below a peer's `inbound_streams_max` less its channels."""
    dial_timeout_s: float = 3.0
    upgrade_timeout_s: float = 3.0
    hello_timeout_s: float = 5.0
    negotiate_timeout_s: float = 3.0
    ping_interval_s: float = 3.0
    silence_s_max: float = 10.0
    frame_timeout_s: float = 10.0
    write_stall_s_max: float = 30.0
    serve_timeout_s: float = 30.0
    yield_s: float = 0.15
    """Before its first dial the larger PeerId waits so long for the smaller one's."""
    redial_s_first: float = 0.25
    redial_s_max: float = 5.0
    ban_s_first: float = 60.0


@dataclass(frozen=True, slots=True)
class HostConfig:
    """`seed` is 32 secret bytes; `listen` holds multiaddrs without, `known_peers` with a PeerId."""

    seed: bytes = field(repr=False)
    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    known_peers: tuple[str, ...] = ()
    key_type: KeyType = "ed25519"
    channels: tuple[Channel, ...] = CHANNELS
    limits: Limits = Limits()

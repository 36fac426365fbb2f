"""The host: what the node sees of the network. Peers, channels, requests; bytes in, bytes out.

Nothing that a peer sends raises anything out of `Host.run`. It ends with its cancellation, with a LocalError at start (a port
in use), or with a FatalError of the node's own callbacks.
"""

import random
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import trio

from genesis.errors import LocalError, PeerFault
from genesis.limits import MIB, SYNC_REQUEST_BYTES_MAX
from p2p import requests
from p2p.accepting import accept_forever
from p2p.address import parse_peer_address
from p2p.config import HostConfig
from p2p.dialer import RandomSource, keep_dialing
from p2p.faults import ConnectionLost, weight_of
from p2p.hello import INSTANCE_BYTES
from p2p.identity import identity_of
from p2p.info import Inbound, PeerInfo
from p2p.listener import open_listeners
from p2p.resolver import resolve_apart
from p2p.supervision import simplest

_RESPONSE_BYTES_MAX = 16 * MIB
_SPARE_PLACES = 16
"""Beyond peers and pending ones: for who pushes the oldest pending one out, until that is gone."""


class Host:
    """One identity on the network, for one run. Methods are called from the trio loop that runs `run`.

    The first Host of a process imports libp2p, more than a second; a process that forks its nodes imports `p2p.switch` first.
    """

    def __init__(
        self,
        config: HostConfig,
        *,
        hello: Callable[[], bytes],
        check_hello: Callable[[str, bytes], bytes],
        rng: RandomSource | None = None,
        on_peer_up: Callable[[PeerInfo], None] | None = None,
        on_peer_down: Callable[[str], None] | None = None,
    ) -> None:
        """`hello()` gives the bytes said to every peer (at most HANDSHAKE_BYTES_MAX); `check_hello(peer_id, bytes)` returns
        what the node knows the peer by, or raises PeerFault (or any OpenLedgerError) to refuse it, and the reason is told to
        the peer. The callbacks must not block. `rng` gives the jitter, and the number by which peers tell a restarted host
        from its former self, so its numbers should differ from start to start.

        Raises LocalError for a bad seed or address.
        """
        from p2p.switch import Switch  # brings in libp2p, which takes more than a second

        self._config = config
        self._rng: RandomSource = rng or random.SystemRandom()
        self._identity = identity_of(config.seed, config.key_type)
        self._channels = {channel.name: channel for channel in config.channels}
        send, self._inbox = trio.open_memory_channel[Inbound](0)
        self._inboxes = dict.fromkeys(self._channels, send)
        instance = self._rng.randbytes(INSTANCE_BYTES)
        self._switch = Switch(
            config, self._identity, instance, hello, check_hello, self._inboxes, on_peer_up, on_peer_down
        )
        self._nursery: trio.Nursery | None = None
        self._addresses: tuple[str, ...] = ()
        for text in config.known_peers:
            self.add_known_peer(text)

    @property
    def peer_id(self) -> str:
        """This host's PeerId in text."""
        return self._identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this host listens, with the real ports and its PeerId; empty before `run` has started."""
        return self._addresses

    async def run(self, *, task_status: trio.TaskStatus[tuple[str, ...]] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial, redial until cancelled; reports `addresses` as started. Raises LocalError, FatalError."""
        resolve_apart()
        listeners, self._addresses = await open_listeners(self._config.listen, self.peer_id)
        try:
            async with trio.open_nursery() as self._nursery:
                for peer_id in self._switch.known:
                    self._nursery.start_soon(keep_dialing, self._switch, peer_id, self._rng)
                limits = self._config.limits
                places = limits.peers_max + limits.pending_max + _SPARE_PLACES
                accept = partial(accept_forever, places=places, what="p2p")
                self._nursery.start_soon(accept, listeners, self._switch.run_inbound)
                task_status.started(self._addresses)
        except Exception as error:
            cause = simplest(error)
            raise cause from (None if cause is error else error)
        finally:
            self._nursery = None
            for listener in listeners:
                listener.socket.close()
            for send in self._inboxes.values():
                send.close()

    # ------------------------------------------------------------ peers

    def peers(self) -> Sequence[PeerInfo]:
        """The settled peers."""
        return [self._switch.info(peer) for peer in self._switch.table.peers.values()]

    def add_known_peer(self, address: str) -> None:
        """Dial this peer now and whenever it is lost. A new address for a known PeerId replaces the old one.

        Raises LocalError for a malformed address. The host's own address is ignored.
        """
        parsed = parse_peer_address(address)
        if parsed.peer_id is None or parsed.peer_id == self.peer_id:
            return
        is_new = parsed.peer_id not in self._switch.known
        self._switch.known[parsed.peer_id] = parsed
        self._switch.table.known.add(parsed.peer_id)
        if is_new and self._nursery is not None:
            self._nursery.start_soon(keep_dialing, self._switch, parsed.peer_id, self._rng)

    def protect(self, peer_id: str) -> None:
        """Never trim this peer (a validator's); there is a place for it even when there is none for others."""
        self._switch.table.protected.add(peer_id)

    def unprotect(self, peer_id: str) -> None:
        """Take the protection back."""
        self._switch.table.protected.discard(peer_id)

    def disconnect(self, peer_id: str) -> None:
        """Close the connection to a peer, if there is one. A known peer is dialed again."""
        if (peer := self._switch.table.peers.get(peer_id)) is not None:
            peer.connection.close()

    def report_fault(self, peer_id: str, fault: Exception, weight: float) -> None:
        """Count a fault against a peer: 100 points are a ban, a point fades each second. The banned are disconnected."""
        self._switch.report_fault(peer_id, fault, weight)

    # ------------------------------------------------------------ channels

    @property
    def inbox(self) -> trio.MemoryReceiveChannel[Inbound]:
        """Messages of every channel that has no inbox of its own. Who does not read it slows the peers down."""
        return self._inbox

    def open_inbox(self, channel: str) -> trio.MemoryReceiveChannel[Inbound]:
        """An inbox for one channel alone, so that reading it slowly delays no other channel. Call it before `run`."""
        self._check_channel(channel)
        send, receive = trio.open_memory_channel[Inbound](0)
        self._inboxes[channel] = send
        return receive

    def broadcast(
        self,
        channel: str,
        payload: bytes,
        *,
        priority: int = 0,
        drop_key: Hashable | None = None,
        exclude: str | None = None,
    ) -> None:
        """Queue a message to every peer but `exclude`. Never blocks. Raises LocalError for a payload over the cap."""
        self._check_payload(channel, payload)
        for peer in self._switch.table.peers.values():
            if peer.peer_id != exclude:
                peer.put(channel, payload, priority, drop_key)

    def send(
        self, peer_id: str, channel: str, payload: bytes, *, priority: int = 0, drop_key: Hashable | None = None
    ) -> bool:
        """Queue a message to one peer; False if it is not connected or its queue is full of better ones. Never blocks."""
        self._check_payload(channel, payload)
        peer = self._switch.table.peers.get(peer_id)
        return peer is not None and peer.put(channel, payload, priority, drop_key)

    def _check_channel(self, channel: str) -> None:
        if channel not in self._channels:
            raise LocalError(f"there is no channel {channel}; the host was configured with {', '.join(self._channels)}")

    def _check_payload(self, channel: str, payload: bytes) -> None:
        self._check_channel(channel)
        size_max = self._channels[channel].frame_bytes_max
        if not 1 <= len(payload) <= size_max:
            raise LocalError(f"a message of {len(payload)} bytes on {channel}; 1 to {size_max} are allowed")

    # ------------------------------------------------------------ requests

    async def request(
        self,
        peer_id: str,
        protocol: str,
        payload: bytes,
        *,
        response_bytes_max: int,
        timeout_s: float,
        request_bytes_max: int = SYNC_REQUEST_BYTES_MAX,
    ) -> bytes:
        """Ask one peer, on a stream of its own.

        Raises PeerFault if the peer is not connected, refuses, is too slow, or answers with more than
        `response_bytes_max`; what breaks the protocol also counts against it. Raises LocalError for a request over its cap.
        """
        if len(payload) > request_bytes_max:
            raise LocalError(f"a request of {len(payload)} bytes; at most {request_bytes_max} are allowed")
        peer = self._switch.table.peers.get(peer_id)
        if peer is None:
            raise ConnectionLost(f"{peer_id} is not connected")
        try:
            return await requests.ask(
                peer,
                protocol,
                payload,
                request_bytes_max=request_bytes_max,
                response_bytes_max=response_bytes_max,
                timeout_s=timeout_s,
            )
        except PeerFault as fault:
            self.report_fault(peer_id, fault, weight_of(fault))
            raise

    def register_server(
        self,
        protocol: str,
        handler: requests.Handler,
        *,
        request_bytes_max: int = SYNC_REQUEST_BYTES_MAX,
        response_bytes_max: int = _RESPONSE_BYTES_MAX,
    ) -> None:
        """Answer a request protocol with `await handler(peer_id, payload)`.

        An OpenLedgerError of the handler is told to the peer as a refusal; PeerFault and WireError also count against it.
        A few requests of one peer run at a time, the rest wait; each has a time-out.
        """
        self._switch.servers[protocol] = requests.Server(handler, request_bytes_max, response_bytes_max)

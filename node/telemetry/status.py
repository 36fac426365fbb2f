"""How the node is, for JSON-RPC and metrics."""

from collections.abc import Sequence

from genesis.primitives import Address
from node.interfaces import PeerStatus, SyncStatus
from node.net.network import Network
from node.net.sync import BlockSync
from node.telemetry.version import client_version
from p2p.host import Host


class LiveStatus:
    """Implements NodeStatus from the running parts."""

    def __init__(self, host: Host, network: Network, sync: BlockSync, validator: Address | None) -> None:
        self._host = host
        self._network = network
        self._sync = sync
        self._validator = validator

    def peer_count(self) -> int:
        return len(self._host.peers())

    def peers(self) -> Sequence[PeerStatus]:
        return self._network.peers()

    def add_peer(self, address: str) -> None:
        self._host.add_known_peer(address)

    def syncing(self) -> SyncStatus | None:
        return self._sync.status()

    def client_version(self) -> str:
        return client_version()

    @property
    def is_validator(self) -> bool:
        return self._validator is not None

    @property
    def validator_address(self) -> Address | None:
        return self._validator

    def p2p_address(self) -> str | None:
        addresses = self._host.addresses
        return addresses[0] if addresses else None

    def listening(self) -> bool:
        return bool(self._host.addresses)

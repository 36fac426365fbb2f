"""Addresses as multiaddrs: `/ip4/<address>/tcp/<port>/p2p/<PeerId>`; `/ip6` and `/dns4` work as well."""

import ipaddress
from dataclasses import dataclass
from typing import Final

from multiaddr import Multiaddr

from genesis.errors import LocalError

_HOSTS: Final = ("ip4", "ip6", "dns4", "dns6", "dns")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer listens, and who it must prove to be (`peer_id` is None in an address to listen on)."""

    kind: str
    host: str
    port: int
    peer_id: str | None

    def __str__(self) -> str:
        suffix = f"/p2p/{self.peer_id}" if self.peer_id else ""
        return f"/{self.kind}/{self.host}/tcp/{self.port}{suffix}"


def parse_address(text: str) -> Address:
    """Read a multiaddr with or without a PeerId. Raises LocalError that says what is expected."""
    try:
        names = [protocol.name for protocol in Multiaddr(text).protocols()]
    except (ValueError, LookupError) as error:
        raise LocalError(f"{text!r} is not a multiaddr: {error}") from None
    parts = text.strip("/").split("/")
    shape_ok = len(names) in (2, 3) and names[0] in _HOSTS and names[1] == "tcp" and names[2:] in ([], ["p2p"])
    if not shape_ok or len(parts) != 2 * len(names):
        raise LocalError(f"{text!r}: an address looks like /ip4/127.0.0.1/tcp/30303/p2p/12D3…; only TCP is spoken")
    return Address(names[0], parts[1], int(parts[3]), parts[5] if len(parts) == 6 else None)


def parse_peer_address(text: str) -> Address:
    """Read the address of a peer: the PeerId is needed, or anybody could answer there. Raises LocalError."""
    address = parse_address(text)
    if address.peer_id is None:
        raise LocalError(f"{text!r} has no /p2p/<PeerId> at its end; ask the peer's operator for the full address")
    return address


def address_of_socket(host: str, port: int, peer_id: str | None) -> Address:
    return Address(kind_of(host), host, port, peer_id)


def kind_of(host: str) -> str:
    """The part of a multiaddr that says what kind of address `host` is: ip4, ip6, or a name."""
    try:
        return f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        return "dns"

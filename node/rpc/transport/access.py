"""Who may ask: host names (against DNS rebinding) and web origins (CORS, WebSocket). Pure functions over header values."""

import functools
import hmac
import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

HOSTS_REMEMBERED: Final = 256


def host_allowed(host: str | None, vhosts: Sequence[str]) -> bool:
    """True if a `Host` header may be served: none at all, an IP address, or a name on the list (`*` is any)."""
    if host is None or "*" in vhosts:
        return True
    name, is_ip = _host_name(host)
    return name is not None and (is_ip or name in {vhost.lower() for vhost in vhosts})


def origin_allowed(origin: str, allowed: Sequence[str]) -> bool:
    """True if a web origin such as `http://localhost:3000` matches an entry: `*`, or scheme, host and port as far as given."""
    if "*" in allowed:
        return True
    asked = _origin_parts(origin)
    if asked is None:
        return False
    for entry in allowed:
        wanted = _origin_parts(entry if "://" in entry else f"//{entry}")
        if wanted is not None and all(w in (None, a) for w, a in zip(wanted, asked, strict=True)):
            return True
    return False


def is_authorized(header: str | None, token: str | None, peer: str) -> bool:
    """True for the operator: who sends `Bearer <token>`, or who connects from loopback where no token is set."""
    if token is None:
        return _is_loopback(peer)
    scheme, _, given = (header or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


@functools.lru_cache(maxsize=HOSTS_REMEMBERED)
def _host_name(host: str) -> tuple[str | None, bool]:
    """The name without its port, and whether it is an IP address. Remembered: a client sends the same one each time."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None, False
    return name, name is not None and _is_ip(name)


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _origin_parts(origin: str) -> tuple[str | None, str, int | None] | None:
    """(scheme, host, port); None if it is no origin (`null`, a file, garbage)."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.scheme or None, parts.hostname, port

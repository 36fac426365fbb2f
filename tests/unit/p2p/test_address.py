"""Addresses and identities: what is read, what is refused, what stays the same for ever."""

import pytest

from genesis.errors import LocalError
from p2p.address import Address, parse_address, parse_peer_address
from p2p.identity import peer_id_of

PEER_ID = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"


@pytest.mark.parametrize(
    "text",
    [
        f"/ip4/127.0.0.1/tcp/30303/p2p/{PEER_ID}",
        f"/ip6/::1/tcp/30303/p2p/{PEER_ID}",
        f"/dns4/seed.example.org/tcp/1/p2p/{PEER_ID}",
    ],
)
def test_an_address_reads_and_writes_the_same(text: str) -> None:
    address = parse_peer_address(text)
    assert str(address) == text
    assert address.peer_id == PEER_ID


def test_an_address_to_listen_on_needs_no_peer_id() -> None:
    assert parse_address("/ip4/0.0.0.0/tcp/0") == Address("ip4", "0.0.0.0", 0, None)
    with pytest.raises(LocalError, match="no /p2p/<PeerId>"):
        parse_peer_address("/ip4/127.0.0.1/tcp/1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "127.0.0.1:30303",
        "/ip4/127.0.0.1",
        "/ip4/300.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/70000",
        "/ip4/127.0.0.1/tcp/x",
        "/ip4/127.0.0.1/udp/1/quic-v1",
        "/ip4/127.0.0.1/tcp/1/ws",
        "/ip4/127.0.0.1/tcp/1/p2p/nonsense",
        f"/p2p/{PEER_ID}",
        f"/ip4/127.0.0.1/tcp/1/p2p/{PEER_ID}/tcp/2",
        "/unix/tmp/socket",
        "enode://abc@127.0.0.1:30303",
        "\x00\xff",
    ],
)
def test_anything_else_is_a_local_error(text: str) -> None:
    with pytest.raises(LocalError):
        parse_peer_address(text)


def test_the_same_seed_has_the_same_peer_id_for_ever() -> None:
    assert peer_id_of(bytes([1]) * 32) == PEER_ID
    assert peer_id_of(bytes([1]) * 32, "secp256k1").startswith("16Uiu2HA")
    with pytest.raises(LocalError, match="32 secret bytes"):
        peer_id_of(bytes(31))
    with pytest.raises(LocalError, match="no secp256k1 key"):
        peer_id_of(bytes(32), "secp256k1")

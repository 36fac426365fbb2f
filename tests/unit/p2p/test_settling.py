"""Which connection is kept: both sides must come to the same answer, whatever order they see things in."""

import contextlib
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest

from p2p.config import Limits
from p2p.faults import NotKept
from p2p.settling import PeerTable


def table(own: str, **limits: int) -> PeerTable:
    return PeerTable(own, replace(Limits(), **limits), score=lambda _peer_id: 0.0)


def peer(peer_id: str, direction: str = "inbound", instance: bytes = b"1"):
    connection = SimpleNamespace(direction=direction)
    return SimpleNamespace(peer_id=peer_id, connection=connection, greeting=SimpleNamespace(instance=instance))


def settle_all(own: str, connections: list[object]) -> object:
    """The connection that is left after these, in this order."""
    peers = table(own)
    for connection in connections:
        with contextlib.suppress(NotKept):
            peers.settle(connection)
    [left] = peers.peers.values()
    return left


def test_two_connections_in_different_directions_settle_alike_on_both_sides_in_any_order() -> None:
    for order_a, order_b in itertools.product(itertools.permutations(range(2)), repeat=2):
        # connection 0 was dialed by A, connection 1 by B
        at_a = [peer("B", "outbound"), peer("B", "inbound")]
        at_b = [peer("A", "inbound"), peer("A", "outbound")]
        left_at_a = settle_all("A", [at_a[index] for index in order_a])
        left_at_b = settle_all("B", [at_b[index] for index in order_b])
        assert at_a.index(left_at_a) == at_b.index(left_at_b) == 0  # the smaller PeerId's


def test_a_restarted_peer_replaces_its_former_self_in_either_direction() -> None:
    for old, new in itertools.product(("inbound", "outbound"), repeat=2):
        peers = table("A")
        former = peer("B", old, b"first run")
        assert peers.settle(former) is None
        assert peers.settle(peer("B", new, b"second run")) is former


def test_the_newer_of_the_same_direction_is_kept() -> None:
    peers = table("A")
    old, new = peer("B"), peer("B")
    peers.settle(old)
    assert peers.settle(new) is old
    assert not peers.remove(old)
    assert peers.remove(new)


def test_places_are_limited_and_kept_for_the_protected_and_the_known() -> None:
    peers = table("A", peers_high=2, peers_max=3)
    for name in ("B", "C"):
        peers.settle(peer(name))
    with pytest.raises(NotKept, match="no place"):
        peers.settle(peer("D"))
    peers.protected |= {"E", "F", "H"}
    peers.known.add("G")
    assert peers.settle(peer("E")) is None
    assert {peers.settle(peer("F")).peer_id, peers.settle(peer("G")).peer_id} == {"B", "C"}
    assert set(peers.peers) == {"E", "F", "G"}
    with pytest.raises(NotKept, match="no place"):
        peers.settle(peer("H"))


def test_who_has_the_worst_score_goes_first() -> None:
    peers = PeerTable(
        "A", replace(Limits(), peers_high=3, peers_max=3), score={"B": 5.0, "C": 50.0, "D": 0.0}.__getitem__
    )
    for name in ("B", "C", "D"):
        peers.settle(peer(name))
    peers.protected.add("E")
    assert peers.settle(peer("E")).peer_id == "C"

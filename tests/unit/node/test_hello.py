"""The hello: who is let in, and who can't pose as somebody else."""

from dataclasses import replace
from typing import Any

import pytest

from genesis.codec import decode, encode
from genesis.crypto import sign
from genesis.errors import PeerFault
from genesis.limits import HANDSHAKE_BYTES_MAX
from genesis.primitives import Hash32
from genesis.types import ChainIdentity
from node.net.hello import Hello, check_hello, hello_digest, make_hello
from tests.unit.node.local_chain import ADDRESSES, KEYS

CHAIN = ChainIdentity(1, Hash32(b"\x01" * 32))
PEER = "12D3KooWPeer"


def signed_hello(key: int = 0, chain: ChainIdentity = CHAIN, peer: str = PEER) -> bytes:
    return make_hello(chain, peer, ADDRESSES[key], lambda digest: sign(KEYS[key], digest))


def changed(**changes: Any) -> bytes:
    return encode(replace(decode(Hello, signed_hello(), size_max=HANDSHAKE_BYTES_MAX), **changes))


def test_a_validator_and_a_full_node_are_recognised() -> None:
    assert check_hello(CHAIN, PEER, signed_hello()) == ADDRESSES[0]
    assert check_hello(CHAIN, PEER, make_hello(CHAIN, PEER, None, None)) == b""


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        (b"", "not a hello"),
        (signed_hello() + b"\x00", "not a hello"),
        (changed(protocol_version=2), "protocol version 2"),
        (changed(chain_id=2), "chain id 2"),
        (changed(genesis_hash=Hash32(bytes(32))), "genesis 0000"),
        (changed(peer_id="12D3KooWOther"), "another peer's"),
        (changed(validator=ADDRESSES[1]), "somebody else's"),
        (changed(signature=bytes(64) + b"\x05"), "signature is bad"),
        (signed_hello(peer="12D3KooWOther"), "another peer's"),
    ],
)
def test_others_are_refused_with_the_reason(hello: bytes, message: str) -> None:
    with pytest.raises(PeerFault, match=message):
        check_hello(CHAIN, PEER, hello)


def test_a_hello_cannot_be_replayed_by_another_peer_or_on_another_chain() -> None:
    other_chain = ChainIdentity(1, Hash32(b"\x02" * 32))
    assert hello_digest(CHAIN, PEER) != hello_digest(CHAIN, PEER + "2")
    assert hello_digest(CHAIN, PEER) != hello_digest(other_chain, PEER)
    stolen = replace(decode(Hello, signed_hello(), size_max=HANDSHAKE_BYTES_MAX), peer_id="thief")
    with pytest.raises(PeerFault, match="somebody else's"):
        check_hello(CHAIN, "thief", encode(stolen))

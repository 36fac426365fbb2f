"""The node's hello: same protocol, same chain, and who stands behind the connection.

p2p proves that the other side holds the key of its PeerId. The hello adds, signed by a validator's consensus key, that this
PeerId is the validator's. The signature covers the PeerId, so it is of no use to anybody else, and the chain, so not elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from genesis.codec import decode, encode
from genesis.crypto import recover
from genesis.errors import PeerFault, WireError
from genesis.limits import HANDSHAKE_BYTES_MAX
from genesis.primitives import Address, Hash32, Signature, abi_words, keccak256
from genesis.types import ChainIdentity

PROTOCOL_VERSION: Final = 1
_DOMAIN: Final = keccak256(b"OpenLedger hello v1")


@dataclass(frozen=True, slots=True)
class Hello:
    """What each side says first. `validator` and `signature` are there together or not at all."""

    protocol_version: int
    chain_id: int
    genesis_hash: Hash32
    peer_id: str
    validator: Address | None
    signature: Signature | None

    def __post_init__(self) -> None:
        if (self.validator is None) is not (self.signature is None):
            raise ValueError("a validator's address and its signature go together")


def hello_digest(identity: ChainIdentity, peer_id: str) -> Hash32:
    """What the consensus key signs: keccak(abi.encode(domain, version, chain id, genesis hash, keccak(peer id)))."""
    words = abi_words(
        _DOMAIN, PROTOCOL_VERSION, identity.chain_id, identity.genesis_hash, keccak256(peer_id.encode("utf-8"))
    )
    return keccak256(words)


def make_hello(
    identity: ChainIdentity,
    peer_id: str,
    validator: Address | None,
    sign_hash: Callable[[Hash32], Signature] | None,
) -> bytes:
    """This node's hello."""
    signature = sign_hash(hello_digest(identity, peer_id)) if validator is not None and sign_hash is not None else None
    return encode(
        Hello(
            PROTOCOL_VERSION,
            identity.chain_id,
            identity.genesis_hash,
            peer_id,
            validator if signature is not None else None,
            signature,
        )
    )


def check_hello(identity: ChainIdentity, peer_id: str, data: bytes) -> bytes:
    """The peer's validator address, or empty bytes for a node without one. Raises PeerFault to refuse the peer."""
    try:
        hello = decode(Hello, data, size_max=HANDSHAKE_BYTES_MAX)
    except WireError as error:
        raise PeerFault(f"not a hello of this protocol: {error}") from None
    if hello.protocol_version != PROTOCOL_VERSION:
        raise PeerFault(f"protocol version {hello.protocol_version}, this node speaks {PROTOCOL_VERSION}")
    if hello.chain_id != identity.chain_id:
        raise PeerFault(f"chain id {hello.chain_id}, this node is on {identity.chain_id}")
    if hello.genesis_hash != identity.genesis_hash:
        raise PeerFault(f"genesis {hello.genesis_hash.hex()}, this node's is {identity.genesis_hash.hex()}")
    if hello.peer_id != peer_id:
        raise PeerFault("the hello is another peer's")
    if hello.validator is None or hello.signature is None:
        return b""
    try:
        signer = recover(hello_digest(identity, peer_id), hello.signature)
    except WireError as error:
        raise PeerFault(f"the validator's signature is bad: {error}") from None
    if signer != hello.validator:
        raise PeerFault("the validator's signature is somebody else's")
    return bytes(signer)

"""The host's identity: a libp2p key from 32 seed bytes, and the PeerId that everybody else knows it by."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from genesis.errors import LocalError

if TYPE_CHECKING:
    from p2p.libp2p_parts import ID, KeyPair

KeyType = Literal["ed25519", "secp256k1"]
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair and its PeerId in text form (base58)."""

    key_pair: "KeyPair"
    peer_id: str


def identity_of(seed: bytes, key_type: KeyType = "ed25519") -> Identity:
    """The identity of 32 secret bytes; the same seed gives the same PeerId for ever. Raises LocalError."""
    from p2p.libp2p_parts import ID, ed25519, secp256k1

    if len(seed) != SEED_BYTES:
        raise LocalError(f"a p2p identity is {SEED_BYTES} secret bytes, not {len(seed)}")
    try:
        key_pair = (ed25519 if key_type == "ed25519" else secp256k1).create_new_key_pair(seed)
    except ValueError as error:
        raise LocalError(f"these bytes are no {key_type} key: {error}; make new ones") from None
    return Identity(key_pair, text_of_id(ID.from_pubkey(key_pair.public_key)))


def peer_id_of(seed: bytes, key_type: KeyType = "ed25519") -> str:
    """The PeerId of 32 secret bytes. Raises LocalError."""
    return identity_of(seed, key_type).peer_id


def libp2p_id(peer_id: str) -> "ID":
    """libp2p's form of a PeerId in text."""
    from p2p.libp2p_parts import ID

    return ID.from_base58(peer_id)


def text_of_id(identifier: "ID") -> str:
    return identifier.to_base58()

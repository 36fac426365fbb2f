"""A validator's key, from its keystore to a thing that signs."""

import os
from dataclasses import dataclass

import click

from genesis.crypto import address_of_private_key, sign
from genesis.errors import LocalError
from genesis.primitives import Address, Hash32, Signature
from node.home import keystore
from node.home.config import NodeConfig


@dataclass(frozen=True, slots=True)
class ConsensusKey:
    """A validator's key, opened."""

    address: Address
    private_key: bytes

    def sign_hash(self, digest: Hash32) -> Signature:
        return sign(self.private_key, digest)

    def __repr__(self) -> str:
        return f"ConsensusKey(0x{self.address.hex()})"


def consensus_key(private_key: bytes) -> ConsensusKey:
    return ConsensusKey(address_of_private_key(private_key), private_key)


def open_consensus_key(settings: NodeConfig) -> ConsensusKey | None:
    """The key that the settings name, opened with its password; None for a full node. Raises LocalError."""
    path = settings.path("validator.keystore")
    if path is None:
        return None
    if settings["validator.signer_socket"]:
        raise LocalError(
            "validator.keystore and validator.signer_socket are both set: the key is either here or with the signer; unset one"
        )
    password_file = settings.path("validator.password_file")
    if password_file is not None:
        password = keystore.read_password(password_file)
    elif os.isatty(0):
        password = str(click.prompt(f"Password for {path}", hide_input=True, err=True))
    else:
        raise LocalError(f"{path} needs a password: set validator.password_file, or start at a terminal")
    return consensus_key(keystore.decrypt(path, password))

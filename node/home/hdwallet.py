"""Keys from a mnemonic: BIP-39's seed and BIP-32's derivation, as every Ethereum wallet does them.

For the devnet's accounts only: they have to be the ones that Foundry and Hardhat know by heart. Mnemonics are taken as they
are (no word list, no checksum).
"""

import hashlib
import hmac
from typing import Final

from coincurve import PrivateKey

from genesis.crypto import SECP256K1_N

DEVNET_MNEMONIC: Final = "test test test test test test test test test test test junk"
ETHEREUM_PATH: Final = "m/44'/60'/0'/0"
_HARDENED: Final = 1 << 31


def seed_of(mnemonic: str, passphrase: str = "") -> bytes:
    """BIP-39: 64 bytes from a mnemonic (ASCII, so that no Unicode normalisation is needed)."""
    return hashlib.pbkdf2_hmac("sha512", mnemonic.encode("ascii"), b"mnemonic" + passphrase.encode("ascii"), 2048)


def derive(seed: bytes, path: str) -> bytes:
    """BIP-32: the 32-byte private key at a path such as `m/44'/60'/0'/0/7`. Raises ValueError for a malformed path."""
    root, *steps = path.split("/")
    if root != "m":
        raise ValueError(f"a derivation path starts with m, not {root!r}")
    node = hmac.digest(b"Bitcoin seed", seed, "sha512")
    for step in steps:
        node = _child(node[:32], node[32:], step)
    return node[:32]


def _child(key: bytes, chain_code: bytes, step: str) -> bytes:
    index = int(step.removesuffix("'")) + (_HARDENED if step.endswith("'") else 0)
    head = bytes(1) + key if index >= _HARDENED else PrivateKey(key).public_key.format(compressed=True)
    digest = hmac.digest(chain_code, head + index.to_bytes(4, "big"), "sha512")
    child = (int.from_bytes(digest[:32], "big") + int.from_bytes(key, "big")) % SECP256K1_N
    return child.to_bytes(32, "big") + digest[32:]


def ethereum_keys(mnemonic: str, count: int, path: str = ETHEREUM_PATH) -> list[bytes]:
    """The first `count` private keys under `path`."""
    seed = seed_of(mnemonic)
    return [derive(seed, f"{path}/{index}") for index in range(count)]

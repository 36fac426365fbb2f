"""secp256k1 as the chain uses it: recoverable, low-s, 65-byte signatures (r ‖ s ‖ v, v in {0, 1}) through libsecp256k1."""

from typing import Final

import coincurve

from genesis.errors import WireError
from genesis.primitives import Address, Hash32, Signature, keccak256

SECP256K1_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECP256K1_HALF_N: Final = SECP256K1_N // 2


def address_of_public_key(public_key: coincurve.PublicKey) -> Address:
    """The Ethereum address of a key: the last 20 bytes of keccak(x ‖ y)."""
    return Address(keccak256(public_key.format(compressed=False)[1:])[12:])


def address_of_private_key(private_key: bytes) -> Address:
    """The address of a 32-byte private key. Raises ValueError if it has another length or is not in 1 .. n-1."""
    if len(private_key) != 32:
        raise ValueError(f"a private key has 32 bytes, not {len(private_key)}")  # coincurve would pad it in silence
    return address_of_public_key(coincurve.PrivateKey(private_key).public_key)


def sign(private_key: bytes, digest: Hash32) -> Signature:
    """Sign 32 bytes (RFC 6979 nonce, low s)."""
    return Signature(coincurve.PrivateKey(private_key).sign_recoverable(digest, hasher=None))


def recover(digest: Hash32, signature: bytes) -> Address:
    """The address that signed `digest`. Raises WireError for a signature that is malformed or not canonical."""
    if len(signature) != 65 or signature[64] > 1:
        raise WireError("a signature has 65 bytes and a recovery id of 0 or 1")
    if int.from_bytes(signature[32:64], "big") > SECP256K1_HALF_N:
        raise WireError("the signature's s is not in the lower half")
    try:
        return address_of_public_key(coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None))
    except Exception as error:  # coincurve raises bare Exception for an unrecoverable signature
        raise WireError(f"the signature does not recover: {error}") from None

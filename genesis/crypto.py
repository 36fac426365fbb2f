"""secp256k1 as the chain uses it: recoverable, low-s, 65-byte signatures (r ‖ s ‖ v, v in {0, 1}) through libsecp256k1.

Recovery calls the C functions under coincurve, whose objects would add a tenth to the time that the curve takes
(`python -m tests.bench admission`). Each of them releases the interpreter's lock, so threads recover side by side.
"""

from typing import Final

import coincurve
from coincurve._libsecp256k1 import ffi, lib  # type: ignore[import-not-found]  # a C extension without stubs
from coincurve.context import GLOBAL_CONTEXT

from genesis.errors import WireError
from genesis.primitives import Address, Hash32, Signature, keccak256

SECP256K1_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECP256K1_HALF_N: Final = SECP256K1_N // 2

_CONTEXT: Final = GLOBAL_CONTEXT.ctx
_UNCOMPRESSED: Final = 2
"""SECP256K1_EC_UNCOMPRESSED."""


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
    signer = recover_any(digest, signature, signature[64])
    if signer is None:
        raise WireError("the signature does not recover")
    return signer


def recover_any(digest: bytes, r_s: bytes, y_parity: int) -> Address | None:
    """The address that signed the 32 bytes `digest` (`r_s` begins with r ‖ s), high s allowed; None if no key is recovered.

    (SEC 1, 4.1.6; `y_parity` is 0 or 1.) One recovery is some 26 us of C; nothing is shared between calls.
    """
    if len(digest) != 32 or len(r_s) < 64:
        raise ValueError("a digest has 32 bytes, r and s have 64 together")  # C would read beyond them
    parsed = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    key = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CONTEXT, parsed, r_s, y_parity):
        return None  # r or s is no scalar
    if not lib.secp256k1_ecdsa_recover(_CONTEXT, key, parsed, digest):
        return None
    point = ffi.new("unsigned char[65]")
    lib.secp256k1_ec_pubkey_serialize(_CONTEXT, point, ffi.new("size_t *", 65), key, _UNCOMPRESSED)
    return Address(keccak256(ffi.buffer(point)[1:65])[12:])

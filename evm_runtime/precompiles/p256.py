"""0x0100, P256VERIFY (EIP-7951): ECDSA over secp256r1, the curve of passkeys and secure enclaves, on OpenSSL. From Osaka on."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth.abc import ComputationAPI

P256VERIFY_GAS: Final = 6_900
SECP256R1_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SECP256R1_P: Final = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_VALID: Final = (1).to_bytes(32, "big")
_CURVE: Final = SECP256R1()
_DIGEST: Final = ECDSA(Prehashed(SHA256()))


def p256verify(computation: ComputationAPI) -> ComputationAPI:
    """Input: digest ‖ r ‖ s ‖ x ‖ y, 160 bytes. Output: 1 as 32 bytes for a valid signature, else nothing; it never fails."""
    computation.consume_gas(P256VERIFY_GAS, reason="p256verify")
    data = computation.msg.data_as_bytes
    if len(data) == 160 and _is_valid(data):
        computation.output = _VALID
    return computation


def _is_valid(data: bytes) -> bool:
    r, s, x, y = (int.from_bytes(data[at : at + 32], "big") for at in (32, 64, 96, 128))
    if not 0 < r < SECP256R1_N or not 0 < s < SECP256R1_N or x >= SECP256R1_P or y >= SECP256R1_P:
        return False
    try:
        key = EllipticCurvePublicNumbers(x, y, _CURVE).public_key()
    except ValueError:  # (0, 0), or a point that is not on the curve
        return False
    try:
        key.verify(encode_dss_signature(r, s), data[:32], _DIGEST)
    except InvalidSignature:
        return False
    return True

"""0x0a, KZG point evaluation (EIP-4844), on arkworks.

py-evm checks the proof in an `assert`, which `python -O` removes, and reads the trusted set-up on every call. Checking a
proof needs one point of the set-up only, [τ]₂, so it stands here and there is nothing to load:

    p(z) = y  <=>  e(commitment - [y]₁, -[1]₂) · e(proof, [τ]₂ - [z]₂) = 1
"""

import hashlib
from typing import Final

from eth.abc import ComputationAPI
from eth.exceptions import VMError
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

POINT_EVALUATION_GAS: Final = 50_000
_BLS_MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_POINT_EVALUATION_OUTPUT: Final = (4_096).to_bytes(32, "big") + _BLS_MODULUS.to_bytes(32, "big")
TAU_G2: Final = bytes.fromhex(
    "b5bfd7dd8cdeb128843bc287230af38926187075cbfbefa81009a2ce615ac53d2914e5870cb452d2afaaab24f3499f72"
    "185cbfee53492714734429b7b38608e23926c911cceceac9a36851477ba4c60b087041de621000edc98edada20c1def2"
)
"""[τ]₂ of Ethereum's KZG ceremony, compressed: the second of the set-up's G2 points."""


def point_evaluation(computation: ComputationAPI) -> ComputationAPI:
    """EIP-4844: check p(z) = y for a KZG commitment. Input: versioned hash ‖ z ‖ y ‖ commitment ‖ proof, 192 bytes."""
    computation.consume_gas(POINT_EVALUATION_GAS, reason="point evaluation")
    data = computation.msg.data_as_bytes
    if len(data) != 192:
        raise VMError("point evaluation: the input is not 192 bytes")
    versioned_hash, z, y, commitment, proof = data[:32], data[32:64], data[64:96], data[96:144], data[144:]
    if b"\x01" + hashlib.sha256(commitment).digest()[1:] != versioned_hash:
        raise VMError("point evaluation: the commitment does not match the versioned hash")
    try:
        proven = verify_kzg_proof(commitment, z, y, proof)
    except ValueError as error:
        raise VMError(f"point evaluation: {error}") from None
    if not proven:
        raise VMError("point evaluation: the proof does not hold")
    computation.output = _POINT_EVALUATION_OUTPUT
    return computation


def verify_kzg_proof(commitment: bytes, z: bytes, y: bytes, proof: bytes) -> bool:
    """Whether the committed polynomial is `y` at `z` (32 bytes each, big-endian; points compressed, 48 bytes).

    Raises ValueError for a scalar that is not below the group's order and for bytes that are no canonical point of the group.
    """
    at, value = Scalar.from_be_bytes(z), Scalar.from_be_bytes(y)
    claimed = _point(commitment) - G1Point() * value
    divisor = G2Point.from_compressed_bytes(TAU_G2) - G2Point() * at
    return bool(GT.pairing_check([claimed, _point(proof)], [-G2Point(), divisor]))


def _point(data: bytes) -> G1Point:
    """A point of G1 by its canonical encoding: arkworks would read infinity from many."""
    point = G1Point.from_compressed_bytes(data)
    if point.to_compressed_bytes() != data:
        raise ValueError("a point is not in canonical form")
    return point

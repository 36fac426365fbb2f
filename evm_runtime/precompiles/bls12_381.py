"""0x0b-0x11: the curve BLS12-381 (EIP-2537), on arkworks.

A field element takes 64 bytes, the first 16 of them zero; a point of G1 128 bytes, of G2 256 (each coordinate c0 ‖ c1);
infinity is all zeros. Every point must be on its curve; for multiplications and pairings also in the subgroup, but not for
additions. An input that breaks a rule fails the call.
"""

from typing import Final

from eth.abc import ComputationAPI
from eth.exceptions import VMError
from eth.precompiles.bls12_381.constants import G1_MSM_DISCOUNTS, G2_MSM_DISCOUNTS
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

G1_ADD_GAS: Final = 375
G1_MUL_GAS: Final = 12_000
G2_ADD_GAS: Final = 600
G2_MUL_GAS: Final = 22_500
PAIRING_GAS: Final = 37_700
PAIRING_PAIR_GAS: Final = 32_600
MAP_FP_TO_G1_GAS: Final = 5_500
MAP_FP2_TO_G2_GAS: Final = 23_800
_DISCOUNT_MULTIPLIER: Final = 1_000

_G1_BYTES: Final = 128
_G2_BYTES: Final = 256
_SCALAR_BYTES: Final = 32
_PADDING: Final = bytes(16)


def g1_add(computation: ComputationAPI) -> ComputationAPI:
    """The sum of two points of G1's curve."""
    data = _whole(computation, 2 * _G1_BYTES)
    computation.consume_gas(G1_ADD_GAS, reason="bls12-381 G1 add")
    computation.output = _g1_bytes(_g1(data[:_G1_BYTES], member=False) + _g1(data[_G1_BYTES:], member=False))
    return computation


def g2_add(computation: ComputationAPI) -> ComputationAPI:
    """The sum of two points of G2's curve."""
    data = _whole(computation, 2 * _G2_BYTES)
    computation.consume_gas(G2_ADD_GAS, reason="bls12-381 G2 add")
    computation.output = _g2_bytes(_g2(data[:_G2_BYTES], member=False) + _g2(data[_G2_BYTES:], member=False))
    return computation


def g1_msm(computation: ComputationAPI) -> ComputationAPI:
    """The sum of scalar * point over all (point of G1, scalar) pairs; at least one."""
    items = _items(computation, _G1_BYTES + _SCALAR_BYTES)
    computation.consume_gas(_msm_gas(len(items), G1_MUL_GAS, G1_MSM_DISCOUNTS), reason="bls12-381 G1 MSM")
    points = [_g1(item[:_G1_BYTES]) for item in items]
    computation.output = _g1_bytes(G1Point.multiexp_unchecked(points, _scalars(items)))
    return computation


def g2_msm(computation: ComputationAPI) -> ComputationAPI:
    """The sum of scalar * point over all (point of G2, scalar) pairs; at least one."""
    items = _items(computation, _G2_BYTES + _SCALAR_BYTES)
    computation.consume_gas(_msm_gas(len(items), G2_MUL_GAS, G2_MSM_DISCOUNTS), reason="bls12-381 G2 MSM")
    points = [_g2(item[:_G2_BYTES]) for item in items]
    computation.output = _g2_bytes(G2Point.multiexp_unchecked(points, _scalars(items)))
    return computation


def pairing(computation: ComputationAPI) -> ComputationAPI:
    """1 if the product of the pairings of all (G1, G2) pairs is one, else 0; at least one pair."""
    items = _items(computation, _G1_BYTES + _G2_BYTES)
    computation.consume_gas(PAIRING_GAS + len(items) * PAIRING_PAIR_GAS, reason="bls12-381 pairing")
    lefts = [_g1(item[:_G1_BYTES]) for item in items]
    rights = [_g2(item[_G1_BYTES:]) for item in items]
    computation.output = int(GT.pairing_check(lefts, rights)).to_bytes(32, "big")
    return computation


def map_fp_to_g1(computation: ComputationAPI) -> ComputationAPI:
    """A field element mapped to a point of G1 (RFC 9380's SSWU, cofactor cleared)."""
    data = _whole(computation, 64)
    computation.consume_gas(MAP_FP_TO_G1_GAS, reason="bls12-381 map to G1")
    try:
        computation.output = _g1_bytes(G1Point.map_from_fp_be(_unpad(data)))
    except ValueError as error:
        raise VMError(f"bls12-381: {error}") from None
    return computation


def map_fp2_to_g2(computation: ComputationAPI) -> ComputationAPI:
    """An element c0 ‖ c1 of the quadratic extension mapped to a point of G2 (RFC 9380's SSWU, cofactor cleared)."""
    data = _whole(computation, 128)
    computation.consume_gas(MAP_FP2_TO_G2_GAS, reason="bls12-381 map to G2")
    try:
        computation.output = _g2_bytes(G2Point.map_from_fp2_be(_unpad(data)))
    except ValueError as error:
        raise VMError(f"bls12-381: {error}") from None
    return computation


def _whole(computation: ComputationAPI, size: int) -> bytes:
    data = computation.msg.data_as_bytes
    if len(data) != size:
        raise VMError(f"bls12-381: the input has {len(data)} bytes, expected {size}")
    return data


def _items(computation: ComputationAPI, size: int) -> list[bytes]:
    data = computation.msg.data_as_bytes
    if not data or len(data) % size:
        raise VMError(f"bls12-381: the input has {len(data)} bytes, expected a positive multiple of {size}")
    return [data[at : at + size] for at in range(0, len(data), size)]


def _msm_gas(count: int, gas: int, discounts: list[int]) -> int:
    """EIP-2537's price of a multi-scalar multiplication; from 128 pairs on the discount stays the same."""
    return count * gas * discounts[min(count, len(discounts)) - 1] // _DISCOUNT_MULTIPLIER


def _unpad(data: bytes) -> bytes:
    """Field elements of 64 bytes as ones of 48. (That they are below the modulus is for arkworks to check.)"""
    numbers = []
    for at in range(0, len(data), 64):
        if data[at : at + 16] != _PADDING:
            raise VMError("bls12-381: a field element does not begin with 16 zero bytes")
        numbers.append(data[at + 16 : at + 64])
    return b"".join(numbers)


def _pad(numbers: bytes) -> bytes:
    return b"".join(_PADDING + numbers[at : at + 48] for at in range(0, len(numbers), 48))


def _g1(data: bytes, *, member: bool = True) -> G1Point:
    """A point on G1's curve, and in the subgroup if `member`."""
    read = G1Point.from_xy_bytes_be if member else G1Point.from_xy_bytes_unchecked_be
    try:
        return read(_unpad(data))
    except ValueError as error:
        raise VMError(f"bls12-381: {error}") from None


def _g2(data: bytes, *, member: bool = True) -> G2Point:
    """A point on G2's curve, and in the subgroup if `member`."""
    read = G2Point.from_xy_bytes_be if member else G2Point.from_xy_bytes_unchecked_be
    try:
        return read(_unpad(data))
    except ValueError as error:
        raise VMError(f"bls12-381: {error}") from None


def _g1_bytes(point: G1Point) -> bytes:
    return _pad(bytes(point.to_xy_bytes_be()))


def _g2_bytes(point: G2Point) -> bytes:
    return _pad(bytes(point.to_xy_bytes_be()))


def _scalars(items: list[bytes]) -> list[Scalar]:
    """Scalars need not be below the group's order."""
    return [Scalar.from_be_bytes_mod_order(item[-_SCALAR_BYTES:]) for item in items]

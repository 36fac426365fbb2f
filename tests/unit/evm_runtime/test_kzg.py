"""KZG proofs, checked with one point of the set-up, against ckzg with the whole of it."""

import random

import pytest
from ckzg import blob_to_kzg_commitment, compute_kzg_proof, load_trusted_setup
from eth.precompiles.point_evaluation import TRUSTED_SETUP_PATH

from evm_runtime.precompiles.kzg import TAU_G2, verify_kzg_proof

MODULUS = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
INFINITY = b"\xc0" + bytes(47)


@pytest.fixture(scope="module")
def proven() -> tuple[bytes, bytes, bytes, bytes]:
    """(commitment, z, y, proof) of a random polynomial, by ckzg."""
    setup = load_trusted_setup(TRUSTED_SETUP_PATH, 0)
    generator = random.Random(44)
    blob = b"".join(generator.randrange(MODULUS).to_bytes(32, "big") for _ in range(4_096))
    z = generator.randrange(MODULUS).to_bytes(32, "big")
    proof, y = compute_kzg_proof(blob, z, setup)
    return blob_to_kzg_commitment(blob, setup), z, y, proof


def test_the_point_is_that_of_the_ceremony() -> None:
    with open(TRUSTED_SETUP_PATH) as file:  # noqa: PTH123 - a path that a library gives as text
        lines = file.read().split()
    assert bytes.fromhex(lines[2 + int(lines[0]) + 1]) == TAU_G2


def test_true_proofs_hold_and_others_do_not(proven: tuple[bytes, bytes, bytes, bytes]) -> None:
    commitment, z, y, proof = proven
    assert verify_kzg_proof(commitment, z, y, proof)
    other = (int.from_bytes(y, "big") ^ 1).to_bytes(32, "big")
    assert not verify_kzg_proof(commitment, z, other, proof)
    assert not verify_kzg_proof(commitment, other, y, proof)
    assert not verify_kzg_proof(proof, z, y, commitment)
    assert not verify_kzg_proof(commitment, z, y, INFINITY)


def test_the_constant_polynomial_has_the_proof_at_infinity() -> None:
    zero = bytes(32)
    assert verify_kzg_proof(INFINITY, (5).to_bytes(32, "big"), zero, INFINITY)
    assert not verify_kzg_proof(INFINITY, zero, (1).to_bytes(32, "big"), INFINITY)


def test_only_canonical_scalars_and_points_are_read(proven: tuple[bytes, bytes, bytes, bytes]) -> None:
    commitment, z, y, proof = proven
    order = MODULUS.to_bytes(32, "big")
    for bad in [
        (commitment, order, y, proof),
        (commitment, z, b"\xff" * 32, proof),
        (b"\xff" * 48, z, y, proof),  # infinity, spelled differently
        (bytes(48), z, y, proof),
        (commitment, z, y, b"\xc0" + bytes(46) + b"\x01"),
        (commitment, z, y, b"\x80" + bytes(46) + b"\x04"),  # on no curve, or in no subgroup
        (commitment[:47], z, y, proof),
    ]:
        with pytest.raises(ValueError, match=r"."):
            verify_kzg_proof(*bad)

"""0x0a, KZG point evaluation (EIP-4844), on ckzg.

py-evm's checks the proof in an `assert`, which `python -O` removes, and reloads the trusted set-up from disk on every call.
"""

import hashlib
from functools import lru_cache
from typing import Any, Final

from ckzg import load_trusted_setup, verify_kzg_proof
from eth.abc import ComputationAPI
from eth.exceptions import VMError
from eth.precompiles.point_evaluation import TRUSTED_SETUP_PATH

POINT_EVALUATION_GAS: Final = 50_000
_BLS_MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_POINT_EVALUATION_OUTPUT: Final = (4_096).to_bytes(32, "big") + _BLS_MODULUS.to_bytes(32, "big")


@lru_cache(maxsize=1)
def load_kzg_setup() -> Any:
    """Read the trusted set-up, once. It takes seconds (without holding the interpreter's lock), so a node calls this in a
    thread of its own when it starts, rather than in the first block that evaluates a point."""
    return load_trusted_setup(TRUSTED_SETUP_PATH, 0)


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
        proven = verify_kzg_proof(commitment, z, y, proof, load_kzg_setup())
    except (RuntimeError, ValueError) as error:
        raise VMError(f"point evaluation: {error}") from None
    if not proven:
        raise VMError("point evaluation: the proof does not hold")
    computation.output = _POINT_EVALUATION_OUTPUT
    return computation

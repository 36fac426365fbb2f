"""The precompiled contracts of Prague: py-evm's, but for those where it would be wrong or depend on how Python is run.

- 0x05 MODEXP: py-evm answers 0 for an empty base even when the exponent is 0, where the result is 1 mod m; its gas goes
  through floating point.
- 0x0a point evaluation: py-evm checks the proof in an `assert`, which `python -O` removes, and reloads the trusted set-up
  from disk on every call.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from ckzg import load_trusted_setup, verify_kzg_proof
from eth.abc import ComputationAPI
from eth.exceptions import VMError
from eth.precompiles.point_evaluation import TRUSTED_SETUP_PATH
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES

from genesis.primitives import Address

Precompile = Callable[[ComputationAPI], Any]

MODEXP_ADDRESS: Final = Address(bytes(19) + b"\x05")
POINT_EVALUATION_ADDRESS: Final = Address(bytes(19) + b"\x0a")
POINT_EVALUATION_GAS: Final = 50_000
_BLS_MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_POINT_EVALUATION_OUTPUT: Final = (4_096).to_bytes(32, "big") + _BLS_MODULUS.to_bytes(32, "big")
_MODEXP_GAS_MIN: Final = 200


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


def modexp(computation: ComputationAPI) -> ComputationAPI:
    """EIP-198 with the prices of EIP-2565: base ** exponent % modulus, lengths first, missing input read as zeros."""
    data = computation.msg.data_as_bytes
    base_size, exponent_size, modulus_size = (
        int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big") for at in (0, 32, 64)
    )
    head = _read_int(data, 96 + base_size, min(exponent_size, 32))
    computation.consume_gas(modexp_gas(base_size, exponent_size, modulus_size, head), reason="modexp")
    if modulus_size == 0:
        computation.output = b""
        return computation
    modulus = _read_int(data, 96 + base_size + exponent_size, modulus_size)
    result = 0
    if modulus > 1:
        base = _read_int(data, 96, base_size)
        result = pow(base, _read_int(data, 96 + base_size, exponent_size), modulus)
    computation.output = result.to_bytes(modulus_size, "big")
    return computation


def modexp_gas(base_size: int, exponent_size: int, modulus_size: int, exponent_head: int) -> int:
    """EIP-2565; `exponent_head` is the number in the exponent's first 32 bytes."""
    words = (max(base_size, modulus_size) + 7) // 8
    bits = max(exponent_head.bit_length() - 1, 0)
    iterations = max(bits if exponent_size <= 32 else bits + 8 * (exponent_size - 32), 1)
    return max(_MODEXP_GAS_MIN, words * words * iterations // 3)


def _read_int(data: bytes, start: int, size: int) -> int:
    piece = data[start : start + size]
    return int.from_bytes(piece, "big") << 8 * (size - len(piece)) if piece else 0


PRECOMPILES: Final[dict[Address, Precompile]] = {
    **{Address(bytes(address)): function for address, function in PRAGUE_PRECOMPILES.items()},
    MODEXP_ADDRESS: modexp,
    POINT_EVALUATION_ADDRESS: point_evaluation,
}

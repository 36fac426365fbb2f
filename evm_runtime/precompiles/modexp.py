"""0x05, MODEXP: base ** exponent % modulus (EIP-198), on GMP.

Two price lists: EIP-2565 up to Prague; EIP-7883 from Osaka on, where EIP-7823 also limits each operand to 1024 bytes.
(py-evm's own answers 0 for an empty base even when the exponent is 0, where the result is 1 mod m; its gas goes through
floating point.)
"""

from typing import Final

import gmpy2
from eth.abc import ComputationAPI
from eth.exceptions import VMError

OPERAND_BYTES_MAX: Final = 1_024
"""EIP-7823."""
_GAS_MIN_PRAGUE: Final = 200
_GAS_MIN_OSAKA: Final = 500


def modexp_prague(computation: ComputationAPI) -> ComputationAPI:
    """EIP-198 with the prices of EIP-2565: lengths first, missing input read as zeros."""
    return _modexp(computation, *_lengths(computation.msg.data_as_bytes), osaka=False)


def modexp_osaka(computation: ComputationAPI) -> ComputationAPI:
    """The same with the prices of EIP-7883. An operand above 1024 bytes fails the call (EIP-7823)."""
    lengths = _lengths(computation.msg.data_as_bytes)
    if max(lengths) > OPERAND_BYTES_MAX:
        raise VMError(f"modexp: an operand of {max(lengths)} bytes, at most {OPERAND_BYTES_MAX} are allowed")
    return _modexp(computation, *lengths, osaka=True)


def gas_prague(base_size: int, exponent_size: int, modulus_size: int, exponent_head: int) -> int:
    """EIP-2565; `exponent_head` is the number in the exponent's first 32 bytes."""
    words = (max(base_size, modulus_size) + 7) // 8
    iterations = _iterations(exponent_size, exponent_head, 8)
    return max(_GAS_MIN_PRAGUE, words * words * iterations // 3)


def gas_osaka(base_size: int, exponent_size: int, modulus_size: int, exponent_head: int) -> int:
    """EIP-7883."""
    size = max(base_size, modulus_size)
    words = (size + 7) // 8
    multiplication = 2 * words * words if size > 32 else 16
    return max(_GAS_MIN_OSAKA, multiplication * _iterations(exponent_size, exponent_head, 16))


def _iterations(exponent_size: int, exponent_head: int, per_byte: int) -> int:
    bits = max(exponent_head.bit_length() - 1, 0)
    return max(bits + per_byte * max(exponent_size - 32, 0), 1)


def _lengths(data: bytes) -> tuple[int, int, int]:
    """The sizes in bytes of base, exponent and modulus."""
    base, exponent, modulus = (int.from_bytes(data[at : at + 32].ljust(32, b"\0"), "big") for at in (0, 32, 64))
    return base, exponent, modulus


def _modexp(
    computation: ComputationAPI, base_size: int, exponent_size: int, modulus_size: int, *, osaka: bool
) -> ComputationAPI:
    data = computation.msg.data_as_bytes
    price = gas_osaka if osaka else gas_prague
    head = _read_int(data, 96 + base_size, min(exponent_size, 32))
    computation.consume_gas(price(base_size, exponent_size, modulus_size, head), reason="modexp")
    if modulus_size == 0:
        computation.output = b""
        return computation
    modulus = _read_int(data, 96 + base_size + exponent_size, modulus_size)
    result = 0
    if modulus > 1:
        base = _read_int(data, 96, base_size)
        exponent = _read_int(data, 96 + base_size, exponent_size)
        result = int(gmpy2.powmod(base, exponent, modulus))
    computation.output = result.to_bytes(modulus_size, "big")
    return computation


def _read_int(data: bytes, start: int, size: int) -> int:
    piece = data[start : start + size]
    return int.from_bytes(piece, "big") << 8 * (size - len(piece)) if piece else 0

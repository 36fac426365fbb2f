"""0x06-0x08 (the curve bn128: EIP-196, EIP-197, prices of EIP-1108) and 0x09 BLAKE2 compression (EIP-152), in Rust.

Revm's precompiles are reached through pyrevm: an empty EVM sends one message to the precompile and returns what it returned.
Nothing else of that EVM matters. Its fork is fixed, its gas is unlimited (the price is charged here), and because its journal
grows by some hundred bytes a message, it is thrown away after a few thousand.

Sizes, ranges and curve and subgroup membership are checked by revm. An input that it refuses is a VMError, which takes all
gas of the call; whatever else goes wrong is this machine's fault and stops the node (InvariantError).
"""

from typing import Final

from eth.abc import ComputationAPI
from eth.exceptions import VMError
from pyrevm import EVM

from genesis.errors import InvariantError

BN128_ADD_GAS: Final = 150
BN128_MUL_GAS: Final = 6_000
BN128_PAIRING_GAS: Final = 45_000
BN128_PAIRING_PAIR_GAS: Final = 34_000
BN128_PAIR_BYTES: Final = 192
BLAKE2_INPUT_BYTES: Final = 213

_ENGINE_FORK: Final = "Cancun"
_ENGINE_GAS: Final = 1 << 62
_ENGINE_CALLS_MAX: Final = 4_096
_CALLER: Final = "0x" + "11" * 20
_REFUSED: Final = "PrecompileError"


class Engine:
    """Runs precompiles of revm, one message at a time; see `run` for the way several threads share engines."""

    def __init__(self) -> None:
        self._evm = EVM(spec_id=_ENGINE_FORK)
        self.calls = 0

    def run(self, number: int, data: bytes) -> bytes:
        """The output of precompile `number`. Raises VMError if it refuses the input."""
        self.calls += 1
        try:
            return bytes(self._evm.message_call(_CALLER, f"0x{number:040x}", calldata=data, gas=_ENGINE_GAS))
        except RuntimeError as error:
            if _REFUSED in str(error):
                raise VMError(f"precompile {number:#04x} refuses its input") from None
            raise InvariantError(f"precompile {number:#04x} failed on this machine: {error}") from error


_idle: Final[list[Engine]] = []
"""Engines that nobody uses. Taking one out and putting it back are atomic, so no two threads ever hold the same."""


def _run(number: int, data: bytes) -> bytes:
    try:
        engine = _idle.pop()
    except IndexError:
        engine = Engine()
    try:
        return engine.run(number, data)
    finally:
        if engine.calls < _ENGINE_CALLS_MAX:
            _idle.append(engine)


def bn128_add(computation: ComputationAPI) -> ComputationAPI:
    """EIP-196: the sum of two points of G1, 64 bytes each, missing input read as zeros."""
    computation.consume_gas(BN128_ADD_GAS, reason="bn128 add")
    computation.output = _run(6, computation.msg.data_as_bytes[:128])
    return computation


def bn128_mul(computation: ComputationAPI) -> ComputationAPI:
    """EIP-196: a point of G1 times a scalar of 32 bytes, missing input read as zeros."""
    computation.consume_gas(BN128_MUL_GAS, reason="bn128 mul")
    computation.output = _run(7, computation.msg.data_as_bytes[:96])
    return computation


def bn128_pairing(computation: ComputationAPI) -> ComputationAPI:
    """EIP-197: 1 if the product of the pairings of all (G1, G2) pairs of 192 bytes is one, else 0."""
    data = computation.msg.data_as_bytes
    if len(data) % BN128_PAIR_BYTES:
        raise VMError(f"bn128 pairing: {len(data)} bytes are no whole number of pairs")
    computation.consume_gas(
        BN128_PAIRING_GAS + len(data) // BN128_PAIR_BYTES * BN128_PAIRING_PAIR_GAS, reason="bn128 pairing"
    )
    computation.output = _run(8, data)
    return computation


def blake2f(computation: ComputationAPI) -> ComputationAPI:
    """EIP-152: BLAKE2b's compression. Input: rounds (4 bytes) ‖ h ‖ m ‖ t ‖ final flag; one gas per round."""
    data = computation.msg.data_as_bytes
    if len(data) != BLAKE2_INPUT_BYTES or data[-1] > 1:
        raise VMError("blake2f: the input is not 213 bytes with a final flag of 0 or 1")
    computation.consume_gas(int.from_bytes(data[:4], "big"), reason="blake2f")
    computation.output = _run(9, data)
    return computation

"""What compiled code calls: arithmetic, copies, and the ways out; what all tiers share is in `opcode_effects.py`.

Each helper does what py-evm's opcode of that name does, gas included, on plain ints, by the rules that stand there.
"""

from typing import Any, Final, NamedTuple

from eth.exceptions import OutOfBoundsRead, OutOfGas, Revert
from eth.vm.stack import to_int
from sha3 import keccak_256

from evm_runtime.opcode_effects import grow, keccak, log, sload, sstore, tload, tstore

WORD: Final = (1 << 256) - 1
_CEILING: Final = 1 << 256
_SIGN: Final = 1 << 255

_COPY_WORD_GAS: Final = 3
_EXPONENT_BYTE_GAS: Final = 50

Exit = tuple[int, tuple[int, ...]]
"""Where a compiled unit leaves to: (program counter, stack); the gas is in the meter by then."""


class Retreat(NamedTuple):
    """A place where the reference loop can take over: what was charged too early, and where each stack item is found."""

    pc: int
    gas: int
    stack: tuple[str | int, ...]
    """Names of local variables of the unit, or constants."""


class Retreated:
    """The type of `RETREATED`, what a unit returns when the reference loop must finish the frame."""


RETREATED: Final = Retreated()


def retreat(names: dict[str, Any], place: Retreat) -> Retreated:
    """Put pc, stack and gas of a frame where py-evm's loop expects them. `names` are the local variables of the unit."""
    computation = names["computation"]
    stack = [item if isinstance(item, int) else int(names[item]) for item in place.stack]
    computation._stack.values.extend(stack)
    computation._gas_meter.gas_remaining = names["gas"] + place.gas
    computation.code.program_counter = place.pc
    return RETREATED


# ---------------------------------------------------------------- arithmetic


def signed(value: int) -> int:
    return value - _CEILING if value >= _SIGN else value


def sdiv(left: int, right: int) -> int:
    """Truncates towards zero."""
    if right == 0:
        return 0
    quotient = abs(signed(left)) // abs(signed(right))
    return -quotient & WORD if (left >= _SIGN) != (right >= _SIGN) else quotient


def smod(left: int, right: int) -> int:
    """Takes the sign of `left`."""
    if right == 0:
        return 0
    rest = abs(signed(left)) % abs(signed(right))
    return -rest & WORD if left >= _SIGN else rest


def signextend(place: int, value: int) -> int:
    if place > 30:
        return value
    sign = 1 << 8 * place + 7
    return value | (_CEILING - sign) if value & sign else value & (sign - 1)


def byte(place: int, value: int) -> int:
    return value >> 248 - 8 * place & 255 if place < 32 else 0


def sar(shift: int, value: int) -> int:
    return signed(value) >> min(shift, 256) & WORD


def exp(base: int, exponent: int, gas: int) -> tuple[int, int]:
    """(result, gas left)"""
    gas -= _EXPONENT_BYTE_GAS * ((exponent.bit_length() + 7) // 8)
    if gas < 0:
        raise OutOfGas("EXP")
    return pow(base, exponent, _CEILING), gas


# ---------------------------------------------------------------- memory


def copy(
    computation: Any, memory: bytearray, data: bytes, place: tuple[int, int, int], gas: int
) -> tuple[int, bytearray, int]:
    """CALLDATACOPY and CODECOPY: `place` is (offset in memory, offset in data, size); zeros past the data's end."""
    offset, start, size = place
    gas, memory, length = grow(computation, memory, offset, size, gas)
    gas -= _COPY_WORD_GAS * ((size + 31) >> 5)
    if gas < 0:
        raise OutOfGas("copy")
    if size:
        memory[offset : offset + size] = data[start : start + size].ljust(size, b"\0")
    return gas, memory, length


def copy_returned(
    computation: Any, memory: bytearray, place: tuple[int, int, int], gas: int
) -> tuple[int, bytearray, int]:
    """RETURNDATACOPY, which must not read past the end (EIP-211)."""
    if place[1] + place[2] > len(computation.return_data):
        raise OutOfBoundsRead(f"{place[2]} bytes of return data from {place[1]} on: there are not so many")
    return copy(computation, memory, computation.return_data, place, gas)


def copy_within(
    computation: Any, memory: bytearray, place: tuple[int, int, int], gas: int
) -> tuple[int, bytearray, int]:
    """MCOPY (EIP-5656)."""
    target, source, size = place
    gas, memory, length = grow(computation, memory, max(target, source), size, gas)
    gas -= _COPY_WORD_GAS * ((size + 31) >> 5)
    if gas < 0:
        raise OutOfGas("MCOPY")
    if size:
        memory[target : target + size] = memory[source : source + size]
    return gas, memory, length


# ---------------------------------------------------------------- ends


def finish(computation: Any, memory: bytearray, offset: int, size: int, gas: int) -> None:
    """RETURN."""
    gas, memory, _ = grow(computation, memory, offset, size, gas)
    computation._output = bytes(memory[offset : offset + size])
    computation._gas_meter.gas_remaining = gas


def revert(computation: Any, memory: bytearray, offset: int, size: int, gas: int) -> None:
    """REVERT: what is left of the gas goes back to the caller."""
    finish(computation, memory, offset, size, gas)
    raise Revert(computation._output)


HELPERS: Final[dict[str, Any]] = {
    "WORD": WORD,
    "OutOfGas": OutOfGas,
    "integer": int.from_bytes,
    "keccak_256": keccak_256,
    **{
        function.__name__: function
        for function in (
            byte, copy, copy_returned, copy_within, exp, finish, grow, keccak, log, retreat, revert, sar, sdiv,
            signed, signextend, sload, smod, sstore, tload, to_int, tstore,
        )
    },
}  # fmt: skip
"""The names that every unit sees."""

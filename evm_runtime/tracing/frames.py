"""Messages as geth tells of them, and those that are refused before they begin."""

from dataclasses import dataclass
from typing import Any, Final, cast

from eth.exceptions import (
    ContractCreationCollision,
    FullStack,
    InsufficientFunds,
    InsufficientStack,
    OutOfGas,
    StackDepthLimit,
    VMError,
)

from evm_runtime.computation import CALL_DEPTH_MAX, Computation
from genesis.primitives import Address

CALL_KINDS: Final = {
    0xF0: "CREATE",
    0xF1: "CALL",
    0xF2: "CALLCODE",
    0xF4: "DELEGATECALL",
    0xF5: "CREATE2",
    0xFA: "STATICCALL",
}
FAULTS: Final = (OutOfGas, InsufficientStack, FullStack)
"""Errors that geth meets before it runs the opcode: it shows them on the step, and tracers see nothing of the opcode."""
_CREATE2: Final = 0xF5
_CREATIONS: Final = (0xF0, _CREATE2)
_WITH_VALUE: Final = (0xF1, 0xF2)
_STIPEND: Final = 2_300
_CREATE_GAS: Final = 32_000
_INITCODE_WORD_GAS: Final = 2
_HASH_WORD_GAS: Final = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """A message that begins. `value` is None for STATICCALL; `sender` and `to` are as geth names them."""

    kind: str
    sender: Address
    to: Address
    value: int | None
    gas: int
    data: bytes
    given_back: bool = False
    """It was refused before it began, and the gas handed on is back already."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a frame ended; `output` is what a revert said, too."""

    gas_used: int
    output: bytes
    error: Exception | None


class Attempt:
    """A call or creation whose opcode is about to run: what is needed to tell of it should no message come of it."""

    def __init__(self, computation: Computation, opcode: int) -> None:
        self._opcode = opcode
        self._gas = computation.get_gas_remaining()
        self._stack = stack_of(computation)[-7:]
        self._memory_words = len(cast(Any, computation)._memory) // 32
        self._balance = computation.state.account_db.get_balance(computation.msg.storage_address)

    def refused(self, computation: Computation) -> tuple[Frame, Ending]:
        """The message that never began, and how it ended; `computation` stands at the opcode after it."""
        kind, own = CALL_KINDS[self._opcode], Address(computation.msg.storage_address)
        words = self._stack[::-1]
        memory = memory_of(computation)
        if self._opcode in _CREATIONS:
            value, offset, size = words[:3]
            error = self._error(computation, value)
            taken = isinstance(error, ContractCreationCollision)
            gas = self._handed_to_creation(computation, size, given_back=not taken)
            frame = Frame(kind, own, own, value, gas, memory[offset : offset + size], not taken)
            return frame, Ending(gas if taken else 0, b"", error)
        has_value = self._opcode in _WITH_VALUE
        value = words[2] if has_value else 0
        offset, size = words[3:5] if has_value else words[2:4]
        stipend = _STIPEND if value else 0
        left = computation.get_gas_remaining() - stipend
        gas = min(words[0], left - left // 64) + stipend
        shown = value if has_value else computation.msg.value if kind == "DELEGATECALL" else None
        frame = Frame(kind, own, address_of_word(words[1]), shown, gas, memory[offset : offset + size], True)
        return frame, Ending(0, b"", self._error(computation, value))

    def _error(self, computation: Computation, value: int) -> VMError:
        if computation.msg.depth + 1 > CALL_DEPTH_MAX:
            return StackDepthLimit("too deep")
        if value > self._balance:
            return InsufficientFunds("no funds")
        return ContractCreationCollision("taken")

    def _handed_to_creation(self, computation: Computation, size: int, *, given_back: bool) -> int:
        """All but a 64th of what was left when the creation itself had been paid."""
        if given_back:
            left = computation.get_gas_remaining()
        else:
            words = (size + 31) // 32
            word_gas = _INITCODE_WORD_GAS + (_HASH_WORD_GAS if self._opcode == _CREATE2 else 0)
            grown = _memory_gas(len(cast(Any, computation)._memory) // 32) - _memory_gas(self._memory_words)
            left = self._gas - _CREATE_GAS - word_gas * words - grown
        return left - left // 64


def _memory_gas(words: int) -> int:
    return 3 * words + words * words // 512


def stack_of(computation: Computation) -> list[int]:
    """The stack's words, the top last."""
    return [
        item if isinstance(item, int) else int.from_bytes(item, "big") for item in cast(Any, computation)._stack.values
    ]


def memory_of(computation: Computation) -> bytes:
    """All of the frame's memory."""
    return bytes(cast(Any, computation)._memory._bytes)


def address_of_word(word: int) -> Address:
    return Address((word & (1 << 160) - 1).to_bytes(20, "big"))

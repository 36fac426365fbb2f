"""Why a message failed, in geth's words: py-evm's errors, and a few of ours where it has one word for three."""

import re
from typing import Final

from eth.exceptions import (
    ContractCreationCollision,
    FullStack,
    InsufficientFunds,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    ReservedBytesInCode,
    Revert,
    StackDepthLimit,
    WriteProtection,
)

_INVALID: Final = 0xFE
_OPCODE: Final = re.compile(r"Invalid opcode (0x[0-9a-f]+) ")


class CodeDepositOutOfGas(OutOfGas):
    """What is left does not pay for the bytes of the new contract's code."""


class CodeTooLarge(OutOfGas):
    """The new contract's code is above the limit of EIP-170."""


class InitcodeTooLarge(OutOfGas):
    """The initcode is above the limit of EIP-3860."""


class OutOfWork(OutOfGas):
    """The transaction passed its limit of work (`work.py`), which ended all of its frames."""


REFUSED_CODE: Final = (CodeDepositOutOfGas, CodeTooLarge, ReservedBytesInCode)
"""Why the code that a creation returned is not kept: nothing is wrong with the opcode that ran last."""


def is_short_of_gas(error: Exception) -> bool:
    """Whether an opcode could not be paid for. (py-evm calls other limits that take all gas by the same name.)"""
    others = (CodeDepositOutOfGas, CodeTooLarge, InitcodeTooLarge, OutOfWork)
    return isinstance(error, OutOfGas) and not isinstance(error, others)


_TEXTS: Final[dict[type[Exception], str]] = {
    Revert: "execution reverted",
    CodeDepositOutOfGas: "contract creation code storage out of gas",
    CodeTooLarge: "max code size exceeded",
    InitcodeTooLarge: "max initcode size exceeded",
    OutOfWork: "out of gas: work limit reached",
    OutOfGas: "out of gas",
    InvalidJumpDestination: "invalid jump destination",
    InsufficientStack: "stack underflow",
    FullStack: "stack limit reached 1024 (1023)",
    WriteProtection: "write protection",
    OutOfBoundsRead: "return data out of bounds",
    ContractCreationCollision: "contract address collision",
    ReservedBytesInCode: "invalid code: must not begin with 0xef",
    InsufficientFunds: "insufficient balance for transfer",
    StackDepthLimit: "max call depth exceeded",
}
"""In this order: a kind stands before the kinds that it is one of."""


def error_text(error: Exception) -> str:
    """A VM error as geth words it."""
    if isinstance(error, InvalidInstruction):
        found = _OPCODE.match(str(error))
        if found is None:  # a jump into the middle of something
            return "invalid jump destination"
        opcode = int(found[1], 16)
        return "invalid opcode: " + ("INVALID" if opcode == _INVALID else f"opcode {opcode:#x} not defined")
    for kind, text in _TEXTS.items():
        if isinstance(error, kind):
            return text
    return str(error) or type(error).__name__

"""Where things stand in a frame's buffer, which native code and Python share, and why native code leaves to Python.

    0       fields, 8 bytes each, little-endian, signed
    512     a scratch area for words that lie across the end of call data
    640     words of the environment, 32 bytes each, big-endian
    1280    the stack: 1,024 words of 32 bytes, little-endian, growing upwards

Offsets are in bytes from the buffer's beginning. `SP` holds the offset of the first free stack slot.
"""

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Offsets: TypeAlias = npt.NDArray[np.int64]
"""Where pieces of a buffer begin or end."""

WORD_BYTES: Final = 32
STACK_WORDS: Final = 1_024
DIGEST_BYTES: Final = 16
"""The size of the BLAKE2b digests that native code makes for others (`blake2.py`)."""


class Field:
    """Places of the fields, by number; times 8 their offsets. (No Enum: Python looks up a few of them for each exit.)"""

    PC: Final = 0
    SP: Final = 1
    GAS: Final = 2
    """What this run may use."""
    RESERVE: Final = 3
    """What the frame has besides."""
    TABLE: Final = 4
    """Address of the fork's table of handlers."""
    CODE: Final = 5
    CODE_SIZE: Final = 6
    JUMPS: Final = 7
    """Address of the bitmap of jump destinations, one bit for each byte of code."""
    DATA: Final = 8
    DATA_SIZE: Final = 9
    RETURNED: Final = 10
    RETURNED_SIZE: Final = 11
    MEMORY: Final = 12
    MEMORY_SIZE: Final = 13
    """What the EVM takes memory's size to be; what lies between it and the capacity is zero."""
    MEMORY_CAPACITY: Final = 14
    REACH: Final = 15
    """The size that memory must grow to, written before leaving by GROW."""
    OFFSET: Final = 16
    SIZE: Final = 17
    """Where in memory the output lies, written before leaving by RETURN and REVERT."""
    BALANCE_KNOWN: Final = 18
    BLOBS: Final = 19
    """How many blobs the transaction carries."""
    WORK: Final = 20
    """Work (`evm_runtime/work.py`) that native code has done and Python has not counted yet."""


FIELDS: Final = 21
SCRATCH: Final = 512
ENVIRONMENT: Final = 640
STACK: Final = 1_280
STACK_END: Final = STACK + STACK_WORDS * WORD_BYTES
FRAME_BYTES: Final = STACK_END

FRAME_WORDS: Final = (0x30, 0x33, 0x34)
"""ADDRESS, CALLER, CALLVALUE."""
TRANSACTION_WORDS: Final = (0x32, 0x3A)
"""ORIGIN, GASPRICE."""
BLOCK_WORDS: Final = (0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x48, 0x4A)
"""COINBASE, TIMESTAMP, NUMBER, PREVRANDAO, GASLIMIT, CHAINID, BASEFEE, BLOBBASEFEE."""
SELFBALANCE: Final = 0x47

ENVIRONMENT_OFFSETS: Final = {
    op: ENVIRONMENT + WORD_BYTES * place
    for place, op in enumerate((*FRAME_WORDS, *TRANSACTION_WORDS, *BLOCK_WORDS, SELFBALANCE))
}
"""Where the word that an opcode of the environment pushes is kept."""


class Leave(IntEnum):
    """Why native code returned. Less than 256: at an opcode that Python runs, which is the number."""

    STOP = 256
    RETURN = 257
    REVERT = 258
    RETREAT = 259
    """The next instruction fails, or only py-evm knows what it does."""
    OUT_OF_GAS = 260
    """`GAS` does not suffice for the next instruction; with the reserve it may."""
    GROW = 261
    """Memory's capacity does not suffice for the next instruction, whose gas does."""

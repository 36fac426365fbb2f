"""Contract code as the opcode loop reads it, with the valid jump destinations found once per code.

py-evm's own look-back is recursive and starts anew for each call; here one pass of a regular expression, which steps over the
data of PUSH opcodes, finds every JUMPDEST, and the result is kept by code.
"""

import re
from collections.abc import Container
from functools import lru_cache
from typing import Final

from eth.vm.code_stream import CodeStream

# A PUSHn with its n bytes (fewer at the end of the code), or a JUMPDEST: whatever matches first is consumed whole.
_INSTRUCTION: Final = re.compile(
    b"|".join(re.escape(bytes([0x5F + n])) + b"[\\x00-\\xff]{0,%d}" % n for n in range(1, 33)) + b"|(\\x5b)"
)
_SPARSE: Final = 16
"""Compilers write a JUMPDEST every thirty bytes or so."""


class _DenseDestinations:
    """Positions as one byte for each byte of the code: what a set takes a hundred bytes for, each."""

    __slots__ = ("_marks",)

    def __init__(self, size: int, positions: frozenset[int]) -> None:
        marks = bytearray(size)
        for position in positions:
            marks[position] = 1
        self._marks = bytes(marks)

    def __contains__(self, position: object) -> bool:
        return isinstance(position, int) and 0 <= position < len(self._marks) and self._marks[position] == 1


@lru_cache(maxsize=256)
def jump_destinations(code: bytes) -> Container[int]:
    """Positions of the JUMPDEST opcodes that are not data of a PUSH.

    Kept by code, in no more than a few times the code's size: of a code full of JUMPDEST, which only somebody who wants to fill
    memory writes, a set would take 3 MB.
    """
    found = frozenset(match.start() for match in _INSTRUCTION.finditer(code) if match.lastindex)
    return found if len(found) <= max(64, len(code) // _SPARSE) else _DenseDestinations(len(code), found)


class Code(CodeStream):
    """py-evm's code stream without its per-call analysis."""

    __slots__ = ("jump_bitmap",)

    def __init__(self, code_bytes: bytes) -> None:
        self.jump_bitmap: bytearray | None = None
        """One bit for each byte, from who has looked already; to look here takes a hundred times as long."""
        self.program_counter = 0
        self._raw_code_bytes = code_bytes
        self._length_cache = len(code_bytes)

    def is_valid_opcode(self, position: int) -> bool:
        """Asked by JUMP and JUMPI for positions that hold the byte 0x5b."""
        if self.jump_bitmap is not None:
            return bool(self.jump_bitmap[position >> 3] >> (position & 7) & 1)
        return position in jump_destinations(self._raw_code_bytes)

"""Contract code as the opcode loop reads it, with the valid jump destinations found once per code.

py-evm's own look-back is recursive and starts anew for each call; here one pass of a regular expression, which steps over the
data of PUSH opcodes, finds every JUMPDEST, and the result is kept by code.
"""

import re
from functools import lru_cache
from typing import Final

from eth.vm.code_stream import CodeStream

# A PUSHn with its n bytes (fewer at the end of the code), or a JUMPDEST: whatever matches first is consumed whole.
_INSTRUCTION: Final = re.compile(
    b"|".join(re.escape(bytes([0x5F + n])) + b"[\\x00-\\xff]{0,%d}" % n for n in range(1, 33)) + b"|(\\x5b)"
)


@lru_cache(maxsize=1_024)
def jump_destinations(code: bytes) -> frozenset[int]:
    """Positions of the JUMPDEST opcodes that are not data of a PUSH."""
    return frozenset(match.start() for match in _INSTRUCTION.finditer(code) if match.lastindex)


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

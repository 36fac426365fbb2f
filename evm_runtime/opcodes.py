"""Opcodes by number, and what each takes from the stack and puts on it (Yellow Paper, appendix H; later EIPs)."""

from collections.abc import Mapping
from typing import Final

JUMP: Final = 0x56
JUMPI: Final = 0x57
JUMPDEST: Final = 0x5B
STOP: Final = 0x00
PUSH0: Final = 0x5F
PUSH32: Final = 0x7F
DUP1: Final = 0x80
SWAP1: Final = 0x90

STACK_HEIGHT_MAX: Final = 1_024

_EFFECTS_BY_COUNT: Final = {
    (0, 0): (STOP, JUMPDEST),
    (0, 1): (0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, *range(0x41, 0x49), 0x4A, 0x58, 0x59, 0x5A),
    (1, 0): (JUMP, 0x50, 0xFF),
    (1, 1): (0x15, 0x19, 0x1E, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x51, 0x54, 0x5C),
    (2, 0): (JUMPI, 0x52, 0x53, 0x55, 0x5D, 0xA0, 0xF3, 0xFD),
    (2, 1): (*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15), 0x16, 0x17, 0x18, *range(0x1A, 0x1E), 0x20),
    (3, 0): (0x37, 0x39, 0x3E, 0x5E, 0xA1),
    (3, 1): (0x08, 0x09, 0xF0),
    (4, 0): (0x3C, 0xA2),
    (4, 1): (0xF5,),
    (5, 0): (0xA3,),
    (6, 0): (0xA4,),
    (6, 1): (0xF4, 0xFA),
    (7, 1): (0xF1, 0xF2),
}
STACK_EFFECT: Final[Mapping[int, tuple[int, int]]] = {
    **{op: effect for effect, ops in _EFFECTS_BY_COUNT.items() for op in ops},
    **dict.fromkeys(range(PUSH0, PUSH32 + 1), (0, 1)),
    **{DUP1 + place: (place + 1, place + 2) for place in range(16)},
    **{SWAP1 + place: (place + 2, place + 2) for place in range(16)},
}
"""Items taken from the stack and items put on it. An opcode that is not here is unknown to the tier; one that
a fork does not have is left to the reference loop, which says so."""

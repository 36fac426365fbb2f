"""What a piece of code is made of: instructions, basic blocks, the stack that they need and leave, and their static gas.

A *block* is a straight run of instructions: it begins at a JUMPDEST, after a JUMPI or at the start, and ends with a jump, an
end, or before the next JUMPDEST (or where it grows too long). A *node* is a block together with the height of the stack at
its entry: the same block reached with another height is another node. A *segment* is a run of instructions of one block whose
static gas is charged at once; it ends after each instruction that observes the gas or may fail otherwise than for want of gas.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from evm_runtime.code import jump_destinations
from evm_runtime.opcodes import (
    DUP1,
    JUMP,
    JUMPDEST,
    JUMPI,
    PUSH0,
    PUSH32,
    STACK_EFFECT,
    STACK_HEIGHT_MAX,
    STOP,
    SWAP1,
)

Node = tuple[int, int]
"""(program counter of the block, height of the stack at its entry)."""

_ENDS: Final = frozenset({STOP, JUMP, JUMPI, 0xF3, 0xFD, 0xFF})
"""What ends a block, besides instructions that nobody knows: STOP, the jumps, RETURN, REVERT, SELFDESTRUCT."""

_LINES: Final[Mapping[int, int]] = {
    **dict.fromkeys((JUMPDEST, 0x50, *range(PUSH0, SWAP1 + 16)), 1),
    **dict.fromkeys((0x20, 0x51, 0x52, 0x53, 0x55, 0x5A, 0x5D, *range(0xA0, 0xA5)), 8),
    **dict.fromkeys((0x31, 0x3B, 0x3C, 0x3F, 0x40, 0x49, 0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA, JUMPI), 20),
    **dict.fromkeys(range(0x10, 0x15), 1),
}
"""About how many half lines of Python an instruction becomes, where it is not two; what becomes none has to be read."""

COST_MAX: Final = 3_000
"""The cost of one plan, in lines; what lies beyond is reached through the trampoline."""
_BLOCK_INSTRUCTIONS_MAX: Final = 256
"""Longer straight code is cut, so that nothing has to be compiled in one piece."""


class Instruction(NamedTuple):
    pc: int
    op: int
    argument: int
    """What a PUSH pushes; 0 for others."""


@dataclass(frozen=True, slots=True)
class Block:
    """`needs` items must be on the stack at its entry; it rises to at most `grows` above them, and leaves `delta` more."""

    start: int
    instructions: tuple[Instruction, ...]
    needs: int
    grows: int
    delta: int
    target: int | None
    """Where its jump goes, if the block itself pushes that."""
    next_start: int | None
    """Where it goes on without a jump; None if it never does."""
    cost: int
    """About how many lines of Python it becomes."""

    def fits(self, height: int) -> bool:
        """Whether it neither underflows nor overflows a stack of this height."""
        return height >= self.needs and height + self.grows <= STACK_HEIGHT_MAX


class Program:
    """Code as blocks, each read when it is first asked for."""

    def __init__(self, code: bytes) -> None:
        self.code: Final = code
        self._blocks: dict[int, Block] = {}

    @cached_property
    def destinations(self) -> Container[int]:
        """Found when first asked for: most codes are never compiled."""
        return jump_destinations(self.code)

    def block(self, start: int) -> Block:
        """The block that begins at `start`: any instruction of the code, or its end, where there is a STOP."""
        found = self._blocks.get(start)
        if found is None:
            found = self._blocks[start] = _read_block(self.code, self.destinations, start)
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What one unit compiles: its nodes, from how many places each is reached, and about how many lines that will be."""

    entry: Node
    arrivals: Mapping[Node, int]
    cost: int


def make_plan(program: Program, entry: Node, height_max: int) -> Plan:
    """Follow the jumps that are plain to see from `entry` on, until the plan costs enough."""
    arrivals: dict[Node, int] = {entry: 1}
    pending = [entry]
    cost = 0
    while pending and cost < COST_MAX:
        start, height = pending.pop()
        block = program.block(start)
        successors = _successors(program, block, height)
        # An edge may have to move the whole stack.
        cost += block.cost + len(successors) * height // 8
        for successor in successors:
            if successor in arrivals:
                arrivals[successor] += 1
            elif successor[1] <= height_max:
                arrivals[successor] = 1
                pending.append(successor)
    return Plan(entry, arrivals, cost)


def segments(
    block: Block, static_gas: Mapping[int, int], by_reference: frozenset[int], ends: frozenset[int]
) -> dict[int, int]:
    """The static gas of each segment, by the index of its first instruction.

    Instructions `by_reference` charge for themselves and belong to no segment; those in `ends` are the last of theirs.
    """
    found: dict[int, int] = {}
    first = gas = 0
    for index, instruction in enumerate(block.instructions):
        if instruction.op not in by_reference:
            gas += static_gas.get(instruction.op, 0)
            if instruction.op not in ends:
                continue
        found[first] = gas
        first, gas = index + 1, 0
    found[first] = gas
    return found


def _read_block(code: bytes, destinations: Container[int], start: int) -> Block:
    instructions: list[Instruction] = []
    pc = start
    while True:
        op = code[pc] if pc < len(code) else STOP
        count = op - PUSH0 if PUSH0 <= op <= PUSH32 else 0
        data = code[pc + 1 : pc + 1 + count]
        instructions.append(Instruction(pc, op, int.from_bytes(data, "big") << 8 * (count - len(data))))
        pc += 1 + count
        if op in _ENDS or op not in STACK_EFFECT:
            return _close(instructions, pc if op == JUMPI else None)
        if pc in destinations or len(instructions) == _BLOCK_INSTRUCTIONS_MAX:
            return _close(instructions, pc)


def _close(instructions: list[Instruction], next_start: int | None) -> Block:
    low = high = height = cost = 0
    for _, op, _ in instructions:
        pops, pushes = STACK_EFFECT.get(op, (0, 0))
        low = min(low, height - pops)
        height += pushes - pops
        high = max(high, height)
        cost += _LINES.get(op, 2)
    target = _target(instructions, -low) if instructions[-1].op in (JUMP, JUMPI) else None
    return Block(instructions[0].pc, tuple(instructions), -low, high, height, target, next_start, cost // 2 + 4)


def _target(instructions: list[Instruction], needs: int) -> int | None:
    """The constant on top of the stack before the jump that ends a block."""
    stack: list[int | None] = [None] * needs
    for _, op, argument in instructions[:-1]:
        if PUSH0 <= op <= PUSH32:
            stack.append(argument)
        elif DUP1 <= op < SWAP1:
            stack.append(stack[DUP1 - 1 - op])
        elif SWAP1 <= op < SWAP1 + 16:
            other = SWAP1 - 2 - op
            stack[-1], stack[other] = stack[other], stack[-1]
        else:
            pops, pushes = STACK_EFFECT[op]
            del stack[len(stack) - pops :]
            stack += [None] * pushes
    return stack[-1]


def _successors(program: Program, block: Block, height: int) -> list[Node]:
    if not block.fits(height):
        return []
    found: list[Node] = []
    if block.target is not None and block.target in program.destinations:
        found.append((block.target, height + block.delta))
    if block.next_start is not None:
        found.append((block.next_start, height + block.delta))
    return found

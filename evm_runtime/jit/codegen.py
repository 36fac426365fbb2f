"""One unit: from a plan of basic blocks to the source of one Python function.

    def unit(computation, s0, s1): -> None, an Exit, or RETREATED

The stack at its entry comes as arguments. Inside a unit the stack does not exist: its items are Python variables and
constants. A block that is reached from one place only is written where that place is; any other becomes a *head*, a numbered
branch of one loop, at whose entry stack item i is the variable `s{i}`. Jumps go to heads by `at = number`, or leave the unit:
to the trampoline with (pc, stack) if the target is compiled elsewhere, or is only known when running.

Static gas is charged per segment. Where it does not suffice, and where only py-evm knows how to go on, the unit retreats: the
reference loop takes over at an exact (pc, stack, gas).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evm_runtime.jit import analysis
from evm_runtime.jit.analysis import Block, Instruction, Plan, Program
from evm_runtime.jit.templates import BY_REFERENCE, SEGMENT_ENDS
from evm_runtime.jit.writer import InstructionWriter, Path, Value
from evm_runtime.opcodes import JUMP, JUMPI

HEIGHT_MAX: Final = 96
"""The height of the stack at the entry of a unit or head: deeper code is left to the reference loop."""
_INDENT_MAX: Final = 60
_SMALL: Final = 14
"""A block of so few instructions that ends the frame is written out wherever it is reached."""

_LOCALS: Final = {
    "meter": "computation._gas_meter",
    "gas": "meter.gas_remaining",
    "memory": "computation._memory._bytes",
    "size": "len(memory)",
    "message": "computation.msg",
    "data": "computation.msg.data_as_bytes",
    "state": "computation.state",
    "stack": "computation._stack.values",
    "poll": "computation.state.poll",
    "do_work": "computation.state.account_db.do_work",
}


@dataclass(frozen=True, slots=True)
class UnitSource:
    """`names` are the constants and places that `text` refers to."""

    text: str
    names: Mapping[str, object]
    written: int
    """How many lines it has, long ones counted more than once: what compiling it costs."""


def generate(program: Program, plan: Plan, static_gas: Mapping[int, int]) -> UnitSource:
    """The source of the unit that `plan` describes. `static_gas` has the fixed cost of each opcode of the fork."""
    return _Unit(program, plan, static_gas).generate()


class _Unit(InstructionWriter):
    def __init__(self, program: Program, plan: Plan, static_gas: Mapping[int, int]) -> None:
        super().__init__({"DESTINATIONS": program.destinations})
        self._program = program
        self._plan = plan
        self._static_gas = static_gas
        self._heads: dict[analysis.Node, list[str]] = {}
        self._numbers: dict[analysis.Node, int] = {}
        self._pending: list[analysis.Node] = []
        self._head: analysis.Node = plan.entry
        # Constants that reach a jump through several blocks may let the same block be written again: not more than twice.
        self._written_max = min(2 * plan.cost + 2 * _SMALL, analysis.COST_MAX)

    # ------------------------------------------------------------ the function

    def generate(self) -> UnitSource:
        self._number(self._plan.entry)
        while self._pending:
            node = self._pending.pop()
            self._head, self._lines = node, []
            if self._written < self._written_max:
                self._region(node)
            else:
                self._leave(_entry_path(node), str(node[0]), _entry_path(node).stack)
            self._heads[node] = self._lines
        parameters = "".join(f", s{place}" for place in range(self._plan.entry[1]))
        self._lines = [f"def unit(computation{parameters}):"]
        bodies = [self._heads[node] for node in self._numbers]
        text = "\n".join(line for body in bodies for line in body)
        for name, expression in _LOCALS.items():
            if name in ("meter", "gas", "memory", "size") or name in text:
                self._add(1, f"{name} = {expression}")
        if len(bodies) > 1:
            self._add(1, "at = 0")
            self._add(1, "while True:")
        self._dispatch(bodies, 0, 2 if len(bodies) > 1 else 1)
        return UnitSource("\n".join(self._lines) + "\n", self._names, self._written)

    def _number(self, node: analysis.Node) -> int:
        """The number of a head, which will be written if it is new."""
        if node not in self._numbers:
            self._numbers[node] = len(self._numbers)
            self._pending.append(node)
        return self._numbers[node]

    def _dispatch(self, bodies: list[list[str]], first: int, indent: int) -> None:
        """A binary tree of branches on `at`, one loop per head: `continue` is a jump to itself, `break` one to another."""
        if len(bodies) == 1:
            self._add(indent, "while True:")
            self._lines += [" " * (indent + 1) + line for line in bodies[0]]
            return
        middle = len(bodies) // 2
        self._add(indent, f"if at < {first + middle}:")
        self._dispatch(bodies[:middle], first, indent + 1)
        self._add(indent, "else:")
        self._dispatch(bodies[middle:], first + middle, indent + 1)

    def _region(self, node: analysis.Node) -> None:
        """A head and everything that is written inside it."""
        path = _entry_path(node)
        following: int | None = node[0]
        while following is not None:
            following = self._block(self._program.block(following), path)

    # ------------------------------------------------------------ blocks

    def _block(self, block: Block, path: Path) -> int | None:
        """Write one block; returns the block that follows at the same place, if one does."""
        if not block.fits(len(path.stack)):
            self._retreat(path, block.start, 0)
            return None
        self._written += len(block.instructions) // 4
        charges = analysis.segments(block, self._static_gas, BY_REFERENCE, SEGMENT_ENDS)
        for index, instruction in enumerate(block.instructions):
            if charges.get(index):
                self._charge(path, instruction.pc, charges[index])
            if instruction.op not in self._static_gas:
                self._retreat(path, instruction.pc, 0)
                return None
            if instruction.op == JUMP:
                return self._jump(instruction, path)
            if instruction.op == JUMPI:
                self._jump_if(instruction, path)
            elif not self._instruction(instruction, path):
                return None
        if block.next_start is None:
            return None
        return self._edge(block.next_start, path, block.instructions[-1].pc)

    def _charge(self, path: Path, pc: int, gas: int) -> None:
        self._add(path.indent, f"gas -= {gas}")
        self._add(path.indent, "if gas < 0:")
        path.indent += 1
        self._retreat(path, pc, gas)
        path.indent -= 1

    # ------------------------------------------------------------ jumps

    def _jump(self, instruction: Instruction, path: Path) -> int | None:
        target = path.stack[-1]
        if target.constant is not None:
            if target.constant not in self._program.destinations:
                self._retreat(path, instruction.pc, self._static_gas[JUMP])
                return None
            path.stack.pop()
            return self._edge(target.constant, path, instruction.pc)
        self._dynamic_jump(path, instruction.pc, self._static_gas[JUMP], path.stack[:-1])
        return None

    def _jump_if(self, instruction: Instruction, path: Path) -> None:
        """The branch that jumps; the other goes on in `_block`."""
        target, test = path.stack[-1], path.stack[-2]
        self._add(path.indent, f"if {test.condition or test.text}:")
        taken = path.branch()
        cost = self._static_gas[JUMPI]
        if target.constant is None:
            self._dynamic_jump(taken, instruction.pc, cost, taken.stack[:-2])
        elif target.constant not in self._program.destinations:
            self._retreat(taken, instruction.pc, cost)
        else:
            del taken.stack[-2:]
            following = self._edge(target.constant, taken, instruction.pc)
            while following is not None:
                following = self._block(self._program.block(following), taken)
        del path.stack[-2:]

    def _dynamic_jump(self, path: Path, pc: int, charged: int, rest: list[Value]) -> None:
        target = self._text(path, len(path.stack) - 1)
        self._add(path.indent, f"if {target} not in DESTINATIONS:")
        path.indent += 1
        self._retreat(path, pc, charged)
        path.indent -= 1
        self._leave(path, target, rest)

    def _leave(self, path: Path, target: str, rest: list[Value]) -> None:
        """To the trampoline."""
        stack = "".join(f"{_number_text(value)}, " for value in rest)
        self._add(path.indent, "meter.gas_remaining = gas")
        self._add(path.indent, f"return {target}, ({stack})")

    def _edge(self, start: int, path: Path, origin: int) -> int | None:
        """Go on at `start`: returns it if its block is to be written right here, else writes the jump."""
        node = (start, len(path.stack))
        block = self._program.block(start)
        if start <= origin:
            self._add(path.indent, "if poll: poll()")
        room = self._written < self._written_max
        arrives_once = self._plan.arrivals.get(node) == 1 or _is_small_end(block)
        if node not in self._numbers and arrives_once and room and path.indent < _INDENT_MAX:
            return start
        if node not in self._numbers and (not room or node[1] > HEIGHT_MAX):
            self._leave(path, str(start), path.stack)
            return None
        moves = [
            (f"s{place}", _number_text(value)) for place, value in enumerate(path.stack) if value.text != f"s{place}"
        ]
        if moves:
            names, values = zip(*moves, strict=True)
            self._add(path.indent, f"{', '.join(names)} = {', '.join(values)}")
        if node == self._head:
            self._add(path.indent, "continue")
        else:
            self._add(path.indent, f"at = {self._number(node)}; break")
        return None


def _entry_path(node: analysis.Node) -> Path:
    return Path([Value(f"s{place}") for place in range(node[1])], 0)


def _is_small_end(block: Block) -> bool:
    return block.next_start is None and block.instructions[-1].op != JUMP and len(block.instructions) <= _SMALL


def _number_text(value: Value) -> str:
    return f"(1 if {value.condition} else 0)" if value.condition else value.text

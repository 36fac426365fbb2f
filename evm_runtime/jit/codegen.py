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
from dataclasses import dataclass, replace
from typing import Final

from evm_runtime.jit import analysis
from evm_runtime.jit.analysis import (
    DUP1,
    JUMP,
    JUMPDEST,
    JUMPI,
    PUSH0,
    PUSH32,
    STOP,
    SWAP1,
    Block,
    Instruction,
    Plan,
    Program,
)
from evm_runtime.jit.opcodes import (
    BY_REFERENCE,
    CONDITIONS,
    CONTEXT,
    FINISHES,
    PURE,
    RESULTS,
    SEGMENT_ENDS,
    SELFDESTRUCT,
    SIZE_LIMIT,
    STATEMENTS,
)
from evm_runtime.jit.runtime import WORD, Retreat

HEIGHT_MAX: Final = 96
"""Of the stack at the entry of a unit or head: deeper code is left to the reference loop."""
_INDENT_MAX: Final = 60
_SMALL: Final = 14
"""A block of so few instructions that ends the frame is written out wherever it is reached."""
_AND: Final = 0x16
_LINE_LENGTH: Final = 80
_MEMORY_OFFSET_MAX: Final = 1 << 40

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
}


@dataclass(frozen=True, slots=True)
class Value:
    """A stack item: a name or literal, or a condition that is 1 or 0; its constant if known; an upper bound."""

    text: str = ""
    constant: int | None = None
    condition: str = ""
    limit: int = WORD


@dataclass(slots=True)
class _Path:
    """One way through the code being written: the stack, how deep the lines are, and how far memory surely reaches."""

    stack: list[Value]
    indent: int
    memory: int = 0

    def branch(self) -> "_Path":
        return replace(self, stack=list(self.stack), indent=self.indent + 1)


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


class _Unit:
    def __init__(self, program: Program, plan: Plan, static_gas: Mapping[int, int]) -> None:
        self._program = program
        self._plan = plan
        self._static_gas = static_gas
        self._names: dict[str, object] = {"DESTINATIONS": program.destinations}
        self._heads: dict[analysis.Node, list[str]] = {}
        self._numbers: dict[analysis.Node, int] = {}
        self._pending: list[analysis.Node] = []
        self._head: analysis.Node = plan.entry
        self._lines: list[str] = []
        self._temporaries = 0
        self._written = 0
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

    def _block(self, block: Block, path: _Path) -> int | None:
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

    def _charge(self, path: _Path, pc: int, gas: int) -> None:
        self._add(path.indent, f"gas -= {gas}")
        self._add(path.indent, "if gas < 0:")
        path.indent += 1
        self._retreat(path, pc, gas)
        path.indent -= 1

    def _retreat(self, path: _Path, pc: int, charged: int) -> None:
        """Hand over to the reference loop at `pc`, with what was charged since then given back."""
        stack: list[str | int] = []
        for place, value in enumerate(path.stack):
            if value.condition:
                self._add(path.indent, f"c{place} = {value.condition}")
                stack.append(f"c{place}")
            else:
                stack.append(value.text if value.constant is None else value.constant)
        name = self._name("P", Retreat(pc, charged, tuple(stack)))
        self._add(path.indent, f"return retreat(locals(), {name})")

    # ------------------------------------------------------------ jumps

    def _jump(self, instruction: Instruction, path: _Path) -> int | None:
        target = path.stack[-1]
        if target.constant is not None:
            if target.constant not in self._program.destinations:
                self._retreat(path, instruction.pc, self._static_gas[JUMP])
                return None
            path.stack.pop()
            return self._edge(target.constant, path, instruction.pc)
        self._dynamic_jump(path, instruction.pc, self._static_gas[JUMP], path.stack[:-1])
        return None

    def _jump_if(self, instruction: Instruction, path: _Path) -> None:
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

    def _dynamic_jump(self, path: _Path, pc: int, charged: int, rest: list[Value]) -> None:
        target = self._text(path, len(path.stack) - 1)
        self._add(path.indent, f"if {target} not in DESTINATIONS:")
        path.indent += 1
        self._retreat(path, pc, charged)
        path.indent -= 1
        self._leave(path, target, rest)

    def _leave(self, path: _Path, target: str, rest: list[Value]) -> None:
        """To the trampoline."""
        stack = "".join(f"{_number_text(value)}, " for value in rest)
        self._add(path.indent, "meter.gas_remaining = gas")
        self._add(path.indent, f"return {target}, ({stack})")

    def _edge(self, start: int, path: _Path, origin: int) -> int | None:
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

    # ------------------------------------------------------------ instructions

    def _instruction(self, instruction: Instruction, path: _Path) -> bool:
        """Write one instruction that is no jump. False if the frame ends here."""
        pc, op, argument = instruction
        stack = path.stack
        if PUSH0 <= op <= PUSH32:
            stack.append(self._constant(argument))
        elif DUP1 <= op < SWAP1:
            place = len(stack) + DUP1 - 1 - op
            self._text(path, place)
            stack.append(stack[place])
        elif SWAP1 <= op < SWAP1 + 16:
            other = SWAP1 - 2 - op
            stack[-1], stack[other] = stack[other], stack[-1]
        elif op == JUMPDEST:
            pass
        elif op == 0x50:  # POP
            stack.pop()
        elif op == 0x58:  # PC
            stack.append(self._constant(pc))
        elif op == 0x5A:  # GAS
            self._assign(path, "gas", SIZE_LIMIT)
        elif op in _ARITHMETIC:
            _ARITHMETIC[op](self, path)
        elif op in PURE:
            self._pure(path, op)
        elif op in CONDITIONS:
            self._compare(path, op)
        elif op in CONTEXT:
            self._assign(path, *CONTEXT[op])
        elif op in _MEMORY:
            _MEMORY[op](self, path)
        elif op in STATEMENTS:
            count, template = STATEMENTS[op]
            self._add(path.indent, template.format(*self._pop(path, count)))
        elif op in RESULTS:
            count, template = RESULTS[op]
            result = self._temporary()
            self._add(path.indent, template.format(*self._pop(path, count), result=result))
            stack.append(Value(result))
        elif op in BY_REFERENCE:
            return self._by_reference(path, op)
        else:
            self._finish(path, pc, op)
            return False
        return True

    def _finish(self, path: _Path, pc: int, op: int) -> None:
        if op == STOP:
            self._add(path.indent, "meter.gas_remaining = gas")
            self._add(path.indent, "return None")
        elif op in FINISHES:
            self._add(path.indent, FINISHES[op].format(*self._pop(path, 2)))
        else:
            self._retreat(path, pc, 0)

    def _by_reference(self, path: _Path, op: int) -> bool:
        """Let py-evm's own function run on the real stack and gas meter."""
        pops, pushes = analysis.STACK_EFFECT[op]
        arguments = self._pop(path, pops)
        self._add(path.indent, "meter.gas_remaining = gas")
        self._add(path.indent, f"stack.extend(({''.join(f'{text}, ' for text in reversed(arguments))}))")
        self._add(path.indent, f"opcode_{op:02x}(computation=computation)")
        if op == SELFDESTRUCT:
            return False
        self._add(path.indent, "gas = meter.gas_remaining")
        self._add(path.indent, "memory = computation._memory._bytes")
        self._add(path.indent, "size = len(memory)")
        if pushes:
            self._assign(path, "to_int(stack.pop())", WORD)
        return True

    # ------------------------------------------------------------ arithmetic

    def _sum(self, path: _Path) -> None:
        left, right = path.stack[-1], path.stack[-2]
        if left.constant is not None and right.constant is not None:
            self._replace(path, 2, self._constant(left.constant + right.constant & WORD))
            return
        limit = left.limit + right.limit
        result = self._assign(path, "{} + {}".format(*self._pop(path, 2)), min(limit, WORD))
        if limit > WORD:
            self._add(path.indent, f"if {result} > WORD: {result} &= WORD")

    def _subtract(self, path: _Path) -> None:
        left, right = path.stack[-1], path.stack[-2]
        if left.constant is not None and right.constant is not None:
            self._replace(path, 2, self._constant(left.constant - right.constant & WORD))
            return
        result = self._assign(path, "{} - {}".format(*self._pop(path, 2)), WORD)
        self._add(path.indent, f"if {result} < 0: {result} &= WORD")

    def _multiply(self, path: _Path) -> None:
        left, right = path.stack[-1], path.stack[-2]
        if left.constant is not None and right.constant is not None:
            self._replace(path, 2, self._constant(left.constant * right.constant & WORD))
            return
        limit = left.limit * right.limit
        template = "{} * {}" if limit <= WORD else "{} * {} & WORD"
        self._assign(path, template.format(*self._pop(path, 2)), min(limit, WORD))

    def _is_zero(self, path: _Path) -> None:
        value = path.stack[-1]
        if value.constant is not None:
            self._replace(path, 1, self._constant(int(value.constant == 0)))
        elif value.condition.startswith("not ("):
            self._replace(path, 1, Value(condition=value.condition[5:-1], limit=1))
        elif value.condition:
            self._replace(path, 1, Value(condition=f"not ({value.condition})", limit=1))
        else:
            self._replace(path, 1, Value(condition=f"{value.text} == 0", limit=1))

    def _pure(self, path: _Path, op: int) -> None:
        rule = PURE[op]
        values = path.stack[: -rule.arguments - 1 : -1]
        constants = [value.constant for value in values if value.constant is not None]
        if len(constants) == rule.arguments:
            self._replace(path, rule.arguments, self._constant(rule.value(*constants)))
            return
        template, limit = rule.template, rule.limit(*[value.limit for value in values])
        if op == _AND and self._masks_nothing(path, values):
            return
        if values[0].constant is not None and op in (0x1B, 0x1C):
            shift = values[0].constant
            if shift >= 256:
                self._replace(path, 2, self._constant(0))
                return
            shifted = values[1].limit
            limit = min(shifted << shift, WORD) if op == 0x1B else shifted >> shift
            mask = " & WORD" if op == 0x1B and shifted << shift > WORD else ""
            template = ("{1} << {0}" if op == 0x1B else "{1} >> {0}") + mask
        elif op in (0x04, 0x06) and values[1].constant:
            template = template.split(" if ", maxsplit=1)[0]
        self._assign(path, template.format(*self._pop(path, rule.arguments)), limit)

    def _masks_nothing(self, path: _Path, values: list[Value]) -> bool:
        """Leave the AND of a value with a mask that it can't exceed, such as an address with 2**160 - 1, as it is."""
        for mask, value in (values, values[::-1]):
            if mask.constant is not None and mask.constant & mask.constant + 1 == 0 and value.limit <= mask.constant:
                self._replace(path, 2, value)
                return True
        return False

    def _compare(self, path: _Path, op: int) -> None:
        template, function = CONDITIONS[op]
        left, right = path.stack[-1].constant, path.stack[-2].constant
        if left is not None and right is not None:
            self._replace(path, 2, self._constant(int(function(left, right))))
            return
        texts = self._pop(path, 2)
        path.stack.append(Value(condition=template.format(*texts), limit=1))

    # ------------------------------------------------------------ memory

    def _reach(self, path: _Path, offset: Value, text: str, count: int) -> str:
        """Make memory reach `count` bytes beyond an offset; returns the end as text."""
        if offset.constant is not None and offset.constant < _MEMORY_OFFSET_MAX:
            end = offset.constant + count
            if end > path.memory:
                self._grow(path, f"{end}", text, f"{count}")
                path.memory = end
            return str(end)
        end_text = self._temporary()
        self._add(path.indent, f"{end_text} = {text} + {count}")
        self._grow(path, end_text, text, f"{count}")
        return end_text

    def _grow(self, path: _Path, end: str, offset: str, count: str) -> None:
        call = f"gas, memory, size = grow(computation, memory, {offset}, {count}, gas)"
        self._add(path.indent, f"if {end} > size: {call}")

    def _load(self, path: _Path) -> None:
        offset = path.stack[-1]
        (text,) = self._pop(path, 1)
        end = self._reach(path, offset, text, 32)
        self._assign(path, f"integer(memory[{text}:{end}], 'big')", WORD)

    def _store(self, path: _Path) -> None:
        offset, value = path.stack[-1], path.stack[-2]
        text, value_text = self._pop(path, 2)
        end = self._reach(path, offset, text, 32)
        if value.constant is not None:
            word = self._name("B", value.constant.to_bytes(32, "big"))
            self._add(path.indent, f"memory[{text}:{end}] = {word}")
        else:
            self._add(path.indent, f"memory[{text}:{end}] = {value_text}.to_bytes(32, 'big')")

    def _store_byte(self, path: _Path) -> None:
        offset = path.stack[-1]
        text, value_text = self._pop(path, 2)
        self._reach(path, offset, text, 1)
        self._add(path.indent, f"memory[{text}] = {value_text} & 255")

    def _keccak(self, path: _Path) -> None:
        offset, count = path.stack[-1], path.stack[-2]
        text, count_text = self._pop(path, 2)
        result = self._temporary()
        if count.constant is not None and 0 < count.constant < _MEMORY_OFFSET_MAX:
            self._add(path.indent, f"gas -= {6 * ((count.constant + 31) // 32)}")
            self._add(path.indent, "if gas < 0: raise OutOfGas('KECCAK256')")
            end = self._reach(path, offset, text, count.constant)
            self._add(path.indent, f"{result} = integer(keccak_256(memory[{text}:{end}]).digest(), 'big')")
        else:
            call = f"keccak(computation, memory, {text}, {count_text}, gas)"
            self._add(path.indent, f"{result}, gas, memory, size = {call}")
        path.stack.append(Value(result))

    # ------------------------------------------------------------ lines and values

    def _add(self, indent: int, line: str) -> None:
        self._written += 1 + len(line) // _LINE_LENGTH
        self._lines.append(" " * indent + line)

    def _pop(self, path: _Path, count: int) -> list[str]:
        """Take items off the stack as text, the top first; conditions become numbers before."""
        texts = [self._text(path, len(path.stack) - 1 - place) for place in range(count)]
        del path.stack[len(path.stack) - count :]
        return texts

    def _text(self, path: _Path, place: int) -> str:
        value = path.stack[place]
        if value.condition:
            name = self._temporary()
            self._add(path.indent, f"{name} = 1 if {value.condition} else 0")
            value = path.stack[place] = Value(name, limit=1)
        return value.text

    def _assign(self, path: _Path, expression: str, limit: int) -> str:
        name = self._temporary()
        self._add(path.indent, f"{name} = {expression}")
        path.stack.append(Value(name, limit=limit))
        return name

    def _replace(self, path: _Path, count: int, value: Value) -> None:
        path.stack[len(path.stack) - count :] = [value]

    def _constant(self, value: int) -> Value:
        return Value(str(value) if value < 10**6 else hex(value), value, limit=value)

    def _temporary(self) -> str:
        self._temporaries += 1
        return f"t{self._temporaries}"

    def _name(self, prefix: str, value: object) -> str:
        name = f"{prefix}{len(self._names)}"
        self._names[name] = value
        return name


def _entry_path(node: analysis.Node) -> _Path:
    return _Path([Value(f"s{place}") for place in range(node[1])], 0)


def _is_small_end(block: Block) -> bool:
    return block.next_start is None and block.instructions[-1].op != JUMP and len(block.instructions) <= _SMALL


def _number_text(value: Value) -> str:
    return f"(1 if {value.condition} else 0)" if value.condition else value.text


_ARITHMETIC: Final = {0x01: _Unit._sum, 0x02: _Unit._multiply, 0x03: _Unit._subtract, 0x15: _Unit._is_zero}
_MEMORY: Final = {0x20: _Unit._keccak, 0x51: _Unit._load, 0x52: _Unit._store, 0x53: _Unit._store_byte}

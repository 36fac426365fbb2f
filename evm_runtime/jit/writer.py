"""How single instructions become lines of Python, on one path through a unit; `codegen.py` does blocks and jumps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from evm_runtime.jit.analysis import Instruction
from evm_runtime.jit.runtime import WORD, Retreat
from evm_runtime.jit.templates import (
    BY_REFERENCE,
    CONDITIONS,
    CONTEXT,
    FINISHES,
    PURE,
    RESULTS,
    SELFDESTRUCT,
    SIZE_LIMIT,
    STATEMENTS,
)
from evm_runtime.opcodes import DUP1, JUMPDEST, PUSH0, PUSH32, STACK_EFFECT, STOP, SWAP1
from evm_runtime.work import KECCAK256, opcode_work

_AND: Final = 0x16
_LINE_LENGTH: Final = 80
_MEMORY_OFFSET_MAX: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Value:
    """A stack item: a name or literal, or a condition that is 1 or 0; its constant if known; an upper bound."""

    text: str = ""
    constant: int | None = None
    condition: str = ""
    limit: int = WORD


@dataclass(slots=True)
class Path:
    """One way through the code being written: the stack, how deep the lines are, and how far memory surely reaches."""

    stack: list[Value]
    indent: int
    memory: int = 0

    def branch(self) -> "Path":
        return replace(self, stack=list(self.stack), indent=self.indent + 1)


class InstructionWriter:
    """Collects the lines of what is being written, and the constants and places that they refer to by name."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names: dict[str, object] = dict(names)
        self._lines: list[str] = []
        self._temporaries = 0
        self._written = 0

    # ------------------------------------------------------------ instructions

    def _instruction(self, instruction: Instruction, path: Path) -> bool:
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

    def _finish(self, path: Path, pc: int, op: int) -> None:
        if op == STOP:
            self._add(path.indent, "meter.gas_remaining = gas")
            self._add(path.indent, "return None")
        elif op in FINISHES:
            self._add(path.indent, FINISHES[op].format(*self._pop(path, 2)))
        else:
            self._retreat(path, pc, 0)

    def _by_reference(self, path: Path, op: int) -> bool:
        """Let py-evm's own function run on the real stack and gas meter."""
        pops, pushes = STACK_EFFECT[op]
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

    def _sum(self, path: Path) -> None:
        left, right = path.stack[-1], path.stack[-2]
        if left.constant is not None and right.constant is not None:
            self._replace(path, 2, self._constant(left.constant + right.constant & WORD))
            return
        limit = left.limit + right.limit
        result = self._assign(path, "{} + {}".format(*self._pop(path, 2)), min(limit, WORD))
        if limit > WORD:
            self._add(path.indent, f"if {result} > WORD: {result} &= WORD")

    def _subtract(self, path: Path) -> None:
        left, right = path.stack[-1], path.stack[-2]
        if left.constant is not None and right.constant is not None:
            self._replace(path, 2, self._constant(left.constant - right.constant & WORD))
            return
        result = self._assign(path, "{} - {}".format(*self._pop(path, 2)), WORD)
        self._add(path.indent, f"if {result} < 0: {result} &= WORD")

    def _multiply(self, path: Path) -> None:
        left, right = path.stack[-1], path.stack[-2]
        if left.constant is not None and right.constant is not None:
            self._replace(path, 2, self._constant(left.constant * right.constant & WORD))
            return
        limit = left.limit * right.limit
        template = "{} * {}" if limit <= WORD else "{} * {} & WORD"
        self._assign(path, template.format(*self._pop(path, 2)), min(limit, WORD))

    def _is_zero(self, path: Path) -> None:
        value = path.stack[-1]
        if value.constant is not None:
            self._replace(path, 1, self._constant(int(value.constant == 0)))
        elif value.condition.startswith("not ("):
            self._replace(path, 1, Value(condition=value.condition[5:-1], limit=1))
        elif value.condition:
            self._replace(path, 1, Value(condition=f"not ({value.condition})", limit=1))
        else:
            self._replace(path, 1, Value(condition=f"{value.text} == 0", limit=1))

    def _pure(self, path: Path, op: int) -> None:
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

    def _masks_nothing(self, path: Path, values: list[Value]) -> bool:
        """Leave the AND of a value with a mask that it can't exceed, such as an address with 2**160 - 1, as it is."""
        for mask, value in (values, values[::-1]):
            if mask.constant is not None and mask.constant & mask.constant + 1 == 0 and value.limit <= mask.constant:
                self._replace(path, 2, value)
                return True
        return False

    def _compare(self, path: Path, op: int) -> None:
        template, function = CONDITIONS[op]
        left, right = path.stack[-1].constant, path.stack[-2].constant
        if left is not None and right is not None:
            self._replace(path, 2, self._constant(int(function(left, right))))
            return
        texts = self._pop(path, 2)
        path.stack.append(Value(condition=template.format(*texts), limit=1))

    # ------------------------------------------------------------ memory

    def _reach(self, path: Path, offset: Value, text: str, count: int) -> str:
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

    def _grow(self, path: Path, end: str, offset: str, count: str) -> None:
        call = f"gas, memory, size = grow(computation, memory, {offset}, {count}, gas)"
        self._add(path.indent, f"if {end} > size: {call}")

    def _load(self, path: Path) -> None:
        offset = path.stack[-1]
        (text,) = self._pop(path, 1)
        end = self._reach(path, offset, text, 32)
        self._assign(path, f"integer(memory[{text}:{end}], 'big')", WORD)

    def _store(self, path: Path) -> None:
        offset, value = path.stack[-1], path.stack[-2]
        text, value_text = self._pop(path, 2)
        end = self._reach(path, offset, text, 32)
        if value.constant is not None:
            word = self._name("B", value.constant.to_bytes(32, "big"))
            self._add(path.indent, f"memory[{text}:{end}] = {word}")
        else:
            self._add(path.indent, f"memory[{text}:{end}] = {value_text}.to_bytes(32, 'big')")

    def _store_byte(self, path: Path) -> None:
        offset = path.stack[-1]
        text, value_text = self._pop(path, 2)
        self._reach(path, offset, text, 1)
        self._add(path.indent, f"memory[{text}] = {value_text} & 255")

    def _keccak(self, path: Path) -> None:
        offset, count = path.stack[-1], path.stack[-2]
        text, count_text = self._pop(path, 2)
        result = self._temporary()
        if count.constant is not None and 0 < count.constant < _MEMORY_OFFSET_MAX:
            self._add(path.indent, f"gas -= {6 * ((count.constant + 31) // 32)}")
            self._add(path.indent, "if gas < 0: raise OutOfGas('KECCAK256')")
            end = self._reach(path, offset, text, count.constant)
            self._add(path.indent, f"do_work({opcode_work(KECCAK256, 0, count.constant)})")
            self._add(path.indent, f"{result} = integer(keccak_256(memory[{text}:{end}]).digest(), 'big')")
        else:
            call = f"keccak(computation, memory, {text}, {count_text}, gas)"
            self._add(path.indent, f"{result}, gas, memory, size = {call}")
        path.stack.append(Value(result))

    # ------------------------------------------------------------ lines and values

    def _add(self, indent: int, line: str) -> None:
        self._written += 1 + len(line) // _LINE_LENGTH
        self._lines.append(" " * indent + line)

    def _pop(self, path: Path, count: int) -> list[str]:
        """Take items off the stack as text, the top first; conditions become numbers before."""
        texts = [self._text(path, len(path.stack) - 1 - place) for place in range(count)]
        del path.stack[len(path.stack) - count :]
        return texts

    def _text(self, path: Path, place: int) -> str:
        value = path.stack[place]
        if value.condition:
            name = self._temporary()
            self._add(path.indent, f"{name} = 1 if {value.condition} else 0")
            value = path.stack[place] = Value(name, limit=1)
        return value.text

    def _assign(self, path: Path, expression: str, limit: int) -> str:
        name = self._temporary()
        self._add(path.indent, f"{name} = {expression}")
        path.stack.append(Value(name, limit=limit))
        return name

    def _replace(self, path: Path, count: int, value: Value) -> None:
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

    def _retreat(self, path: Path, pc: int, charged: int) -> None:
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


_ARITHMETIC: Final = {
    0x01: InstructionWriter._sum,
    0x02: InstructionWriter._multiply,
    0x03: InstructionWriter._subtract,
    0x15: InstructionWriter._is_zero,
}
_MEMORY: Final = {
    0x20: InstructionWriter._keccak,
    0x51: InstructionWriter._load,
    0x52: InstructionWriter._store,
    0x53: InstructionWriter._store_byte,
}

"""The ground that the handlers are written on: types, the module, and `Handler`, one opcode's function while it is emitted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from llvmlite import ir

from evm_runtime.llvm.layout import STACK, STACK_END, WORD_BYTES, Field, Leave

Value = Any
"""An LLVM value."""

BIT: Final = ir.IntType(1)
BYTE: Final = ir.IntType(8)
LIMB: Final = ir.IntType(64)
DOUBLE: Final = ir.IntType(128)
WORD: Final = ir.IntType(256)
POINTER: Final = ir.PointerType()
VOID: Final = ir.VoidType()

HANDLER: Final = ir.FunctionType(LIMB, [POINTER, POINTER, POINTER, LIMB, POINTER])
"""(frame, instruction, first free stack slot, gas, table of handlers) -> a `Leave` or an opcode."""
CONVENTION: Final = "preserve_nonecc"
"""All five arguments stay in registers from handler to handler, and none has to be saved."""

OFFSET_MAX: Final = 1 << 36
"""Offsets and sizes from here on are left to py-evm, which runs out of gas on them: the cost of so much memory, 2^53, does
not overflow 64 bits."""


def limb(value: int) -> Value:
    return ir.Constant(LIMB, value)


def word(value: int) -> Value:
    return ir.Constant(WORD, value)


class Emitter:
    """A builder inside one function, with the idioms that all of ours use."""

    def __init__(self, function: Any) -> None:
        self.function: Final = function
        self.builder: Final = ir.IRBuilder(function.append_basic_block("entry"))

    def limb_at(self, base: Value, number: int) -> Value:
        return self.load(LIMB, self.at(base, 8 * number))

    def at(self, base: Value, offset: int | Value) -> Value:
        """The address `offset` bytes above `base`."""
        return self.builder.gep(base, [limb(offset) if isinstance(offset, int) else offset], source_etype=BYTE)

    def load(self, kind: Any, address: Value) -> Value:
        """From a place of ours: words and limbs are aligned to 8 bytes there."""
        return self.builder.load(address, typ=kind, align=1 if kind is BYTE else 8)

    def load_unaligned(self, kind: Any, address: Value) -> Value:
        return self.builder.load(address, typ=kind, align=1)

    def store(self, value: Value, address: Value, align: int = 8) -> None:
        self.builder.store(value, address, align=align)

    def call_intrinsic(self, name: str, result: Any, *arguments: Value) -> Value:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        module = self.function.module
        function = module.globals.get(name) or ir.Function(module, kind, name)
        return self.builder.call(function, list(arguments))

    def swap_bytes(self, value: Value) -> Value:
        return self.call_intrinsic(f"llvm.bswap.i{value.type.width}", value.type, value)

    def minimum(self, left: Value, right: Value) -> Value:
        return self.builder.select(self.builder.icmp_unsigned("<", left, right), left, right)

    def maximum(self, left: Value, right: Value) -> Value:
        return self.builder.select(self.builder.icmp_unsigned(">", left, right), left, right)

    def copy(self, target: Value, source: Value, size: Value) -> None:
        """The two may overlap."""
        self.call_intrinsic("llvm.memmove.p0.p0.i64", VOID, target, source, size, ir.Constant(BIT, 0))

    def clear(self, target: Value, size: Value) -> None:
        self.call_intrinsic("llvm.memset.p0.i64", VOID, target, ir.Constant(BYTE, 0), size, ir.Constant(BIT, 0))

    def handler_at(self, table: Value, ip: Value) -> Value:
        """The function that a table holds for the opcode at an address."""
        op = self.builder.zext(self.load(BYTE, ip), LIMB)
        return self.load(HANDLER.as_pointer(), self.builder.gep(table, [op], source_etype=POINTER))

    def block(self, name: str) -> Any:
        return self.function.append_basic_block(name)

    @contextmanager
    def within(self, block: Any) -> Iterator[None]:
        """Write into another block meanwhile."""
        with self.builder.goto_block(block):
            yield

    def loop(self, start: Sequence[Value], body: Callable[..., tuple[Value, Sequence[Value]]]) -> list[Value]:
        """Run `body` at least once on loop-carried values: it returns (whether to go on, the next values). The last ones."""
        before, head, after = self.builder.block, self.block("loop"), self.block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        carried = [self.builder.phi(value.type) for value in start]
        for phi, value in zip(carried, start, strict=True):
            phi.add_incoming(value, before)
        go_on, following = body(*carried)
        for phi, value in zip(carried, following, strict=True):
            phi.add_incoming(value, self.builder.block)
        self.builder.cbranch(go_on, head, after)
        self.builder.position_at_end(after)
        return list(following)


GROW: Final = "grow"
"""The name of the function that makes memory grow (`memory.py`)."""


def leave_function(module: Any, leave: Leave | None) -> Any:
    """The function that returns to Python so (`control.py`)."""
    return module.get_global(leave_name(leave))


def leave_name(leave: Leave | None) -> str:
    return "leave_by_python" if leave is None else f"leave_{leave.name.lower()}"


class Handler(Emitter):
    """The function of one opcode, from checks to the jump into the next opcode's.

    What it holds is the frame *before* the instruction until `go_on`: so every way out that is not `go_on` leaves with the
    program counter, stack and gas at which py-evm's loop, or the same handler, can begin the instruction anew.
    """

    def __init__(self, module: Any, name: str) -> None:
        function = ir.Function(module, HANDLER, name)
        function.calling_convention = CONVENTION
        function.linkage = "internal"
        super().__init__(function)
        self.frame, self.ip, self.sp, self.gas, self.table = function.args
        self._start: Final = self.ip, self.sp, self.gas
        self._ways_out: dict[str, Any] = {}

    # ------------------------------------------------------------ ways out

    def leave(self, leave: Leave | None) -> None:
        """End the block: return to Python, before the instruction. None: it is an opcode that Python runs."""
        self._call_last(leave_function(self.function.module, leave), *self._start)

    def end(self, leave: Leave) -> None:
        """End the block and the frame, by an instruction that was paid for."""
        self._call_last(leave_function(self.function.module, leave), self.ip, self.sp, self.gas)

    def _call_last(self, function: Any, ip: Value, sp: Value, gas: Value) -> None:
        """A call that is a jump."""
        arguments = [self.frame, ip, sp, gas, self.table]
        self.builder.ret(self.builder.call(function, arguments, cconv=CONVENTION, tail="musttail"))

    def way_out(self, leave: Leave) -> Any:
        """A block that leaves so."""
        found = self._ways_out.get(leave.name)
        if found is None:
            found = self._ways_out[leave.name] = self.block(leave.name.lower())
            with self.within(found):
                self.leave(leave)
        return found

    def leave_if(self, condition: Value, leave: Leave) -> None:
        self.branch_unlikely(condition, self.way_out(leave))

    def ask_python_if(self, condition: Value) -> None:
        """Leave for Python to run this opcode."""
        asks = self.block("asks")
        with self.within(asks):
            self.leave(None)
        self.branch_unlikely(condition, asks)

    def branch_unlikely(self, condition: Value, block: Any) -> None:
        following = self.block("on")
        self.builder.cbranch(condition, block, following).set_weights([1, 1_000_000])
        self.builder.position_at_end(following)

    # ------------------------------------------------------------ checks

    def charge(self, amount: int | Value) -> None:
        """Take gas, or leave if there is too little. Amounts must be below 2^62."""
        if isinstance(amount, int):
            if amount == 0:
                return
            amount = limb(amount)
        self.gas = self.builder.sub(self.gas, amount)
        self.leave_if(self.builder.icmp_signed("<", self.gas, limb(0)), Leave.OUT_OF_GAS)

    def check_stack(self, pops: int, pushes: int) -> None:
        """Leave if fewer than `pops` items are there, or no room for what there will be more afterwards."""
        if pops:
            lowest = self.at(self.frame, STACK + WORD_BYTES * pops)
            self.leave_if(self.builder.icmp_unsigned("<", self.sp, lowest), Leave.RETREAT)
        if pushes > pops:
            highest = self.at(self.frame, STACK_END - WORD_BYTES * (pushes - pops))
            self.leave_if(self.builder.icmp_unsigned(">", self.sp, highest), Leave.RETREAT)

    # ------------------------------------------------------------ the stack

    def slot(self, place: int) -> Value:
        """Address of the item `place` below the top (0 is the top itself)."""
        return self.at(self.sp, -WORD_BYTES * (place + 1))

    def item(self, place: int) -> Value:
        return self.load(WORD, self.slot(place))

    def limbs(self, place: int) -> list[Value]:
        return [self.limb_at(self.slot(place), number) for number in range(4)]

    def put(self, place: int, value: Value) -> None:
        self.store(value, self.slot(place))

    def small(self, place: int, bound: int = OFFSET_MAX) -> tuple[Value, Value]:
        """(whether an item is below `bound`, a power of two up to 2^63; its low 64 bits)"""
        low, *high = self.limbs(place)
        rest = self.builder.lshr(low, limb(bound.bit_length() - 1))
        for value in high:
            rest = self.builder.or_(rest, value)
        return self.builder.icmp_unsigned("==", rest, limb(0)), low

    # ------------------------------------------------------------ fields

    def field(self, field: int) -> Value:
        return self.load(LIMB, self.at(self.frame, 8 * field))

    def pointer(self, field: int) -> Value:
        return self.load(POINTER, self.at(self.frame, 8 * field))

    def set_field(self, field: int, value: Value) -> None:
        self.store(value, self.at(self.frame, 8 * field))

    # ------------------------------------------------------------ memory

    def reach(self, end: Value) -> None:
        """Go on if memory reaches to `end` (below 2^38); else have it grown, and the instruction begun anew."""
        grow, on = self.block("grow"), self.block("reached")
        inside = self.builder.icmp_unsigned("<=", end, self.field(Field.MEMORY_SIZE))
        self.builder.cbranch(inside, on, grow).set_weights([1_000_000, 1])
        with self.within(grow):
            self.set_field(Field.REACH, end)
            self._call_last(self.function.module.get_global(GROW), *self._start)
        self.builder.position_at_end(on)

    # ------------------------------------------------------------ the next instruction

    def go_on(self, pops: int, pushes: int, step: int | Value = 1) -> None:
        """To the instruction `step` bytes on."""
        self.ip = self.at(self.ip, step)
        if pops != pushes:
            self.sp = self.at(self.sp, WORD_BYTES * (pushes - pops))
        self.dispatch()

    def dispatch(self) -> None:
        """Jump into the handler of the instruction at `ip`."""
        self._call_last(self.handler_at(self.table, self.ip), self.ip, self.sp, self.gas)

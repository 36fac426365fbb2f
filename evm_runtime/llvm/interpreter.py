"""The interpreter as one LLVM module: a handler for each opcode that runs natively, and what Python calls.

A handler is a function that ends by jumping into the next one's (a tail call through the fork's table), so there is no loop
and each opcode has a jump of its own for the processor to predict.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from llvmlite import ir

from evm_runtime.llvm import control, division, functions, keccak, memory, words
from evm_runtime.llvm.emit import BYTE, CONVENTION, LIMB, POINTER, VOID, Emitter, Handler, leave_name, limb
from evm_runtime.llvm.layout import ENVIRONMENT_OFFSETS, Field, Leave
from evm_runtime.opcodes import DUP1, JUMP, JUMPDEST, JUMPI, PUSH0, PUSH32, STACK_EFFECT, STOP, SWAP1

Emit = Callable[[Handler, int], None]
"""Writes a handler for an opcode of so much static gas."""


class Interpreter:
    """The module's source, for forks that are given by their tables of opcodes; their prices may differ."""

    def __init__(self, forks: list[Mapping[int, Any]]) -> None:
        self._module: Final = ir.Module("evm")
        for leave in (None, *Leave):
            control.emit_leave(self._module, leave_name(leave), leave)
        memory.emit_grow(self._module)
        emits = _emits(self._module)
        self._native: Final = frozenset(emits)
        for op, emit in emits.items():
            for gas in sorted({int(opcodes[op].gas_cost) for opcodes in forks if opcodes[op].mnemonic != "INVALID"}):
                emit(Handler(self._module, _handler_name(op, gas)), gas)
        control.emit_invalid(Handler(self._module, _INVALID))
        for pops in range(max(pops for pops, _ in STACK_EFFECT.values()) + 1):
            control.emit_by_python(Handler(self._module, _by_python_name(pops)), pops)
        _emit_resume(self._module)
        _emit_scan(self._module)

    def text(self) -> str:
        """The module in LLVM's language."""
        return str(self._module)

    def handlers(self, opcodes: Mapping[int, Any]) -> list[str]:
        """The name of the function that handles each of a fork's 256 opcodes."""
        return [self._handler(op, opcodes[op]) for op in range(256)]

    def _handler(self, op: int, opcode: Any) -> str:
        if opcode.mnemonic == "INVALID" or op not in STACK_EFFECT:
            return _INVALID
        return _handler_name(op, int(opcode.gas_cost)) if op in self._native else _by_python_name(STACK_EFFECT[op][0])


def _handler_name(op: int, gas: int) -> str:
    return f"op_{op:02x}_{gas}"


_INVALID: Final = "invalid"


def _by_python_name(pops: int) -> str:
    return f"by_python_{pops}"


def _emits(module: Any) -> dict[int, Emit]:
    """What writes the handler of each opcode that runs natively."""
    emits: dict[int, Emit] = {
        STOP: control.emit_stop,
        0x20: _keccak(module),
        0x35: memory.emit_load_data,
        0x37: partial(memory.emit_copy, source=Field.DATA, source_size=Field.DATA_SIZE),
        0x39: partial(memory.emit_copy, source=Field.CODE, source_size=Field.CODE_SIZE),
        0x3E: memory.emit_copy_returned,
        0x49: control.emit_blob_hash,
        0x50: control.emit_pop,
        0x51: memory.emit_load,
        0x52: memory.emit_store,
        0x53: memory.emit_store_byte,
        JUMP: control.emit_jump,
        JUMPI: control.emit_jump_if,
        JUMPDEST: control.emit_jumpdest,
        0x5E: memory.emit_copy_within,
        0xF3: partial(control.emit_end, leave=Leave.RETURN),
        0xFD: partial(control.emit_end, leave=Leave.REVERT),
    }
    for op, (arguments, operation) in words.OPERATIONS.items():
        emits[op] = partial(words.emit_operation, arguments=arguments, operation=operation)
    emits |= _calls(module)
    for op, value in _LIMBS.items():
        emits[op] = partial(control.emit_push_limb, value_of=value)
    for op in ENVIRONMENT_OFFSETS:
        emits[op] = partial(control.emit_environment, op=op)
    for op in range(PUSH0, PUSH32 + 1):
        emits[op] = partial(control.emit_push, size=op - PUSH0)
    for place in range(16):
        emits[DUP1 + place] = partial(control.emit_dup, place=place)
        emits[SWAP1 + place] = partial(control.emit_swap, place=place + 1)
    return emits


_LIMBS: Final[dict[int, Callable[[Handler], Any]]] = {
    0x36: lambda h: h.field(Field.DATA_SIZE),
    0x38: lambda h: h.field(Field.CODE_SIZE),
    0x3D: lambda h: h.field(Field.RETURNED_SIZE),
    0x58: control.program_counter,
    0x59: lambda h: h.field(Field.MEMORY_SIZE),
    0x5A: control.gas_left,
}
"""CALLDATASIZE, CODESIZE, RETURNDATASIZE, PC, MSIZE, GAS."""


def _calls(module: Any) -> dict[int, Emit]:
    """Opcodes whose handlers call a function."""
    divide = division.emit_divide(module)
    with_functions = {
        0x04: (2, functions.emit_quotient(module, divide, "div", signed=False, rest=False)),
        0x05: (2, functions.emit_quotient(module, divide, "sdiv", signed=True, rest=False)),
        0x06: (2, functions.emit_quotient(module, divide, "mod", signed=False, rest=True)),
        0x07: (2, functions.emit_quotient(module, divide, "smod", signed=True, rest=True)),
        0x08: (3, functions.emit_add_mod(module, divide)),
        0x09: (3, functions.emit_mul_mod(module, divide)),
    }
    power = functions.emit_power(module)
    emits: dict[int, Emit] = {0x0A: partial(words.emit_power, function=power)}
    for op, (arguments, function) in with_functions.items():
        emits[op] = partial(words.emit_call, arguments=arguments, function=function)
    return emits


def _keccak(module: Any) -> Emit:
    function = keccak.emit_keccak(module, keccak.emit_permutation(module))
    return partial(memory.emit_keccak, function=function)


def _emit_resume(module: Any) -> None:
    """resume(frame) -> a `Leave` or an opcode: run the frame from where its fields say."""
    function = ir.Function(module, ir.FunctionType(LIMB, [POINTER]), "resume")
    this = Emitter(function)
    (frame,) = function.args

    def field(place: int, kind: Any = LIMB) -> Any:
        return this.load(kind, this.at(frame, 8 * place))

    ip = this.at(field(Field.CODE, POINTER), field(Field.PC))
    sp = this.at(frame, field(Field.SP))
    table = field(Field.TABLE, POINTER)
    handler = this.handler_at(table, ip)
    result = this.builder.call(handler, [frame, ip, sp, field(Field.GAS), table], cconv=CONVENTION)
    this.builder.ret(result)


def _emit_scan(module: Any) -> None:
    """scan(code, size, bitmap): set the bit of each JUMPDEST that is not in the data of a PUSH. The bitmap comes zeroed."""
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, LIMB, POINTER]), "scan")
    this = Emitter(function)
    builder = this.builder
    code, size, bitmap = function.args
    empty, some = this.block("empty"), this.block("some")
    builder.cbranch(builder.icmp_unsigned("==", size, limb(0)), empty, some)
    with this.within(empty):
        builder.ret_void()
    builder.position_at_end(some)

    def one(place: Any) -> tuple[Any, list[Any]]:
        op = this.load(BYTE, this.at(code, place))
        marks, on = this.block("marks"), this.block("goes_on")
        builder.cbranch(builder.icmp_unsigned("==", op, ir.Constant(BYTE, JUMPDEST)), marks, on)
        with this.within(marks):
            byte = this.at(bitmap, builder.lshr(place, limb(3)))
            bit = builder.shl(ir.Constant(BYTE, 1), builder.trunc(builder.and_(place, limb(7)), BYTE))
            this.store(builder.or_(this.load(BYTE, byte), bit), byte, align=1)
            builder.branch(on)
        builder.position_at_end(on)
        pushed = builder.sub(builder.zext(op, LIMB), limb(PUSH0))
        is_push = builder.icmp_unsigned("<=", pushed, limb(PUSH32 - PUSH0))
        step = builder.select(is_push, builder.add(pushed, limb(1)), limb(1))
        following = builder.add(place, step)
        return builder.icmp_unsigned("<", following, size), [following]

    this.loop([limb(0)], one)
    builder.ret_void()

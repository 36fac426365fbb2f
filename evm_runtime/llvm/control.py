"""Handlers of the opcodes that move: stack, jumps, the environment's words, ends; and the functions that leave to Python."""

from typing import Any

from llvmlite import ir

from evm_runtime.llvm.emit import BYTE, LIMB, WORD, Handler, Value, limb, word
from evm_runtime.llvm.layout import ENVIRONMENT_OFFSETS, SELFBALANCE, Field, Leave
from evm_runtime.llvm.memory import span


def emit_leave(module: Any, name: str, leave: Leave | None) -> None:
    """The function that returns to Python, with the frame written down."""
    handler = Handler(module, name)
    builder = handler.builder
    code = handler.field(Field.CODE)
    handler.set_field(Field.PC, builder.sub(builder.ptrtoint(handler.ip, LIMB), code))
    frame = builder.ptrtoint(handler.frame, LIMB)
    handler.set_field(Field.SP, builder.sub(builder.ptrtoint(handler.sp, LIMB), frame))
    handler.set_field(Field.GAS, handler.gas)
    builder.ret(builder.zext(handler.load(BYTE, handler.ip), LIMB) if leave is None else limb(leave))


def emit_by_python(handler: Handler, pops: int) -> None:
    """An opcode that Python runs, but not on a stack that is too low."""
    handler.check_stack(pops, 0)
    handler.leave(None)


def emit_stop(handler: Handler, gas: int) -> None:
    handler.charge(gas)
    handler.end(Leave.STOP)


def emit_invalid(handler: Handler) -> None:
    handler.leave(Leave.RETREAT)


def emit_end(handler: Handler, gas: int, leave: Leave) -> None:
    """RETURN and REVERT."""
    handler.charge(gas)
    handler.check_stack(2, 0)
    offset, size = span(handler, 0, 1)
    handler.set_field(Field.OFFSET, offset)
    handler.set_field(Field.SIZE, size)
    handler.end(leave)


# ---------------------------------------------------------------- the stack


def emit_pop(handler: Handler, gas: int) -> None:
    handler.charge(gas)
    handler.check_stack(1, 0)
    handler.go_on(1, 0)


def emit_push(handler: Handler, gas: int, size: int) -> None:
    """PUSH0 to PUSH32. One whose bytes the code's end cuts short is the last instruction: what it pushes, nobody sees."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(0, 1)
    if size:
        end = builder.add(handler.field(Field.CODE), handler.field(Field.CODE_SIZE))
        following = builder.ptrtoint(handler.at(handler.ip, 1 + size), LIMB)
        cut, whole = handler.block("cut"), handler.block("whole")
        builder.cbranch(builder.icmp_unsigned(">", following, end), cut, whole).set_weights([1, 1_000_000])
        with handler.within(cut):
            handler.end(Leave.STOP)
        builder.position_at_end(whole)
    for number in range(4):
        handler.store(_immediate(handler, size, number), handler.at(handler.sp, 8 * number))
    handler.go_on(0, 1, 1 + size)


def _immediate(handler: Handler, size: int, number: int) -> Value:
    """Limb `number` of the `size` bytes behind the opcode, which are all that is read."""
    builder, place = handler.builder, size - 8 * number
    if place <= 0:
        return limb(0)
    if place >= 8:
        return handler.swap_bytes(handler.load_unaligned(LIMB, handler.at(handler.ip, 1 + place - 8)))
    if size >= 8:
        raw = handler.swap_bytes(handler.load_unaligned(LIMB, handler.at(handler.ip, 1)))
        return builder.lshr(raw, limb(64 - 8 * place))
    value, offset = limb(0), 0
    for width in (4, 2, 1):
        if place & width:
            part = handler.load_unaligned(ir.IntType(8 * width), handler.at(handler.ip, 1 + offset))
            part = builder.zext(handler.swap_bytes(part) if width > 1 else part, LIMB)
            value = builder.or_(builder.shl(value, limb(8 * width)), part)
            offset += width
    return value


def emit_dup(handler: Handler, gas: int, place: int) -> None:
    """DUP1 to DUP16 as 0 to 15."""
    handler.charge(gas)
    handler.check_stack(place + 1, place + 2)
    handler.store(handler.item(place), handler.sp)
    handler.go_on(0, 1)


def emit_swap(handler: Handler, gas: int, place: int) -> None:
    """SWAP1 to SWAP16 as 1 to 16."""
    handler.charge(gas)
    handler.check_stack(place + 1, place + 1)
    top, other = handler.item(0), handler.item(place)
    handler.put(0, other)
    handler.put(place, top)
    handler.go_on(0, 0)


# ---------------------------------------------------------------- jumps


def emit_jumpdest(handler: Handler, gas: int) -> None:
    handler.charge(gas)
    handler.go_on(0, 0)


def _target(handler: Handler) -> Value:
    """The address that a jump to the top item goes to; leaves if it is no JUMPDEST."""
    builder = handler.builder
    is_small, target = handler.small(0)
    handler.leave_if(builder.not_(is_small), Leave.RETREAT)
    handler.leave_if(builder.icmp_unsigned(">=", target, handler.field(Field.CODE_SIZE)), Leave.RETREAT)
    eight = handler.load(BYTE, handler.at(handler.pointer(Field.JUMPS), builder.lshr(target, limb(3))))
    place = builder.trunc(builder.and_(target, limb(7)), BYTE)
    bit = builder.and_(builder.lshr(eight, place), ir.Constant(BYTE, 1))
    handler.leave_if(builder.icmp_unsigned("==", bit, ir.Constant(BYTE, 0)), Leave.RETREAT)
    return handler.at(handler.pointer(Field.CODE), target)


def emit_jump(handler: Handler, gas: int) -> None:
    handler.charge(gas)
    handler.check_stack(1, 0)
    handler.ip = _target(handler)
    handler.go_on(1, 0, 0)


def emit_jump_if(handler: Handler, gas: int) -> None:
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(2, 0)
    jumps, passes = handler.block("jumps"), handler.block("passes")
    builder.cbranch(builder.icmp_unsigned("!=", handler.item(1), word(0)), jumps, passes)
    before = handler.ip, handler.sp
    builder.position_at_end(jumps)
    handler.ip = _target(handler)
    handler.go_on(2, 0, 0)
    handler.ip, handler.sp = before
    builder.position_at_end(passes)
    handler.go_on(2, 0)


# ---------------------------------------------------------------- what is around the code


def emit_push_limb(handler: Handler, gas: int, value_of: Any) -> None:
    """An opcode that pushes a number of at most 64 bits."""
    handler.charge(gas)
    handler.check_stack(0, 1)
    handler.store(handler.builder.zext(value_of(handler), WORD), handler.sp)
    handler.go_on(0, 1)


def program_counter(handler: Handler) -> Value:
    return handler.builder.sub(handler.builder.ptrtoint(handler.ip, LIMB), handler.field(Field.CODE))


def gas_left(handler: Handler) -> Value:
    return handler.builder.add(handler.gas, handler.field(Field.RESERVE))


def emit_environment(handler: Handler, gas: int, op: int) -> None:
    """An opcode that pushes a word which the frame was given."""
    handler.charge(gas)
    handler.check_stack(0, 1)
    if op == SELFBALANCE:
        known = handler.field(Field.BALANCE_KNOWN)
        handler.ask_python_if(handler.builder.icmp_unsigned("==", known, limb(0)))
    handler.store(
        handler.swap_bytes(handler.load(WORD, handler.at(handler.frame, ENVIRONMENT_OFFSETS[op]))), handler.sp
    )
    handler.go_on(0, 1)


def emit_blob_hash(handler: Handler, gas: int) -> None:
    """BLOBHASH (EIP-4844): zero past the last blob; Python knows the others."""
    handler.charge(gas)
    handler.check_stack(1, 1)
    is_small, place = handler.small(0)
    is_blob = handler.builder.icmp_unsigned("<", place, handler.field(Field.BLOBS))
    handler.ask_python_if(handler.builder.and_(is_small, is_blob))
    handler.put(0, word(0))
    handler.go_on(1, 1)

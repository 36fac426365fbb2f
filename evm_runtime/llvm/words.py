"""Handlers of the opcodes that compute with words: arithmetic, comparisons, bits, and the Keccak hash of memory."""

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir

from evm_runtime.llvm.emit import BIT, BYTE, LIMB, WORD, Handler, Value, limb, word
from evm_runtime.llvm.layout import WORD_BYTES

Operation = Callable[[Handler], Value]
"""Computes an opcode's result from the handler's stack items."""


def emit_operation(handler: Handler, gas: int, arguments: int, operation: Operation) -> None:
    """An opcode that takes `arguments` words and pushes one."""
    handler.charge(gas)
    handler.check_stack(arguments, 1)
    handler.put(arguments - 1, operation(handler))
    handler.go_on(arguments, 1)


def _simple(name: str) -> Operation:
    def operation(handler: Handler) -> Value:
        return getattr(handler.builder, name)(handler.item(0), handler.item(1))

    return operation


def _compared(kind: str, sign: str) -> Operation:
    def operation(handler: Handler) -> Value:
        compare = getattr(handler.builder, f"icmp_{sign}")
        return handler.builder.zext(compare(kind, handler.item(0), handler.item(1)), WORD)

    return operation


def _is_zero(handler: Handler) -> Value:
    return handler.builder.zext(handler.builder.icmp_unsigned("==", handler.item(0), word(0)), WORD)


def _invert(handler: Handler) -> Value:
    return handler.builder.not_(handler.item(0))


def _shift(name: str) -> Operation:
    """SHL, SHR, SAR (EIP-145): 256 bits and more shift everything out."""

    def operation(handler: Handler) -> Value:
        builder, value = handler.builder, handler.item(1)
        is_small, amount = handler.small(0, 256)
        shifted = getattr(builder, name)(value, builder.zext(builder.and_(amount, limb(255)), WORD))
        emptied = builder.ashr(value, word(255)) if name == "ashr" else word(0)
        return builder.select(is_small, shifted, emptied)

    return operation


def _byte(handler: Handler) -> Value:
    """The stack holds words from their lowest byte on, BYTE counts from the highest."""
    builder = handler.builder
    is_small, place = handler.small(0, WORD_BYTES)
    where = builder.sub(limb(WORD_BYTES - 1), builder.and_(place, limb(WORD_BYTES - 1)))
    found = handler.load(BYTE, handler.at(handler.slot(1), where))
    return builder.select(is_small, builder.zext(found, WORD), word(0))


def _sign_extend(handler: Handler) -> Value:
    builder, value = handler.builder, handler.item(1)
    is_small, place = handler.small(0, WORD_BYTES)
    bits = builder.sub(limb(248), builder.shl(builder.and_(place, limb(31)), limb(3)))
    shift = builder.zext(bits, WORD)
    return builder.select(is_small, builder.ashr(builder.shl(value, shift), shift), value)


def _leading_zeros(handler: Handler) -> Value:
    """CLZ, EIP-7939."""
    return handler.call_intrinsic("llvm.ctlz.i256", WORD, handler.item(0), ir.Constant(BIT, 0))


OPERATIONS: Final[dict[int, tuple[int, Operation]]] = {
    0x01: (2, _simple("add")),
    0x02: (2, _simple("mul")),
    0x03: (2, _simple("sub")),
    0x0B: (2, _sign_extend),
    0x10: (2, _compared("<", "unsigned")),
    0x11: (2, _compared(">", "unsigned")),
    0x12: (2, _compared("<", "signed")),
    0x13: (2, _compared(">", "signed")),
    0x14: (2, _compared("==", "unsigned")),
    0x15: (1, _is_zero),
    0x16: (2, _simple("and_")),
    0x17: (2, _simple("or_")),
    0x18: (2, _simple("xor")),
    0x19: (1, _invert),
    0x1A: (2, _byte),
    0x1B: (2, _shift("shl")),
    0x1C: (2, _shift("lshr")),
    0x1D: (2, _shift("ashr")),
    0x1E: (1, _leading_zeros),
}
"""Arguments and result of each opcode that is a short piece of straight code."""

_EXPONENT_BYTE_GAS: Final = 50
"""EIP-160."""


def emit_call(handler: Handler, gas: int, arguments: int, function: Any) -> None:
    """An opcode that a function computes: it gets the addresses of its arguments and writes the result over the last."""
    handler.charge(gas)
    handler.check_stack(arguments, 1)
    handler.builder.call(function, [handler.slot(place) for place in range(arguments)])
    handler.go_on(arguments, 1)


def emit_power(handler: Handler, gas: int, function: Any) -> None:
    """EXP."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(2, 1)
    zeros = handler.call_intrinsic("llvm.ctlz.i256", WORD, handler.item(1), ir.Constant(BIT, 0))
    bits = builder.sub(limb(256), builder.trunc(zeros, LIMB))
    handler.charge(builder.mul(builder.lshr(builder.add(bits, limb(7)), limb(3)), limb(_EXPONENT_BYTE_GAS)))
    builder.call(function, [handler.slot(0), handler.slot(1)])
    handler.go_on(2, 1)

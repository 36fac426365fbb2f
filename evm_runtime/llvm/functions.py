"""The opcodes that are functions of their own: DIV, SDIV, MOD, SMOD, ADDMOD, MULMOD and EXP.

Each is called with the addresses of its arguments, the top of the stack first, and writes its result over the last.
"""

from typing import Any

from llvmlite import ir

from evm_runtime.llvm.division import ALL_ONES, PRODUCT_LIMBS
from evm_runtime.llvm.emit import BIT, BYTE, LIMB, POINTER, WORD, Value, limb, word
from evm_runtime.llvm.limbs import Arithmetic, Limbs


def emit_quotient(module: Any, divide: Any, name: str, *, signed: bool, rest: bool) -> Any:
    """DIV, SDIV, MOD or SMOD: name(numerator, divisor and result). By zero the result is zero."""
    this = Arithmetic(module, name, [POINTER, POINTER])
    builder = this.builder
    first, second = this.function.args
    left, right = this.load(WORD, first), this.load(WORD, second)
    this.finish_if(builder.icmp_unsigned("==", right, word(0)), second, word(0))
    negative = ir.Constant(BIT, 0)
    if signed:
        left, left_negative = _magnitude(this, left)
        right, right_negative = _magnitude(this, right)
        negative = left_negative if rest else builder.xor(left_negative, right_negative)
    small = builder.icmp_unsigned("<=", builder.or_(left, right), word(ALL_ONES))
    operation = builder.urem if rest else builder.udiv
    short, long = this.block("short"), this.block("long")
    builder.cbranch(small, short, long)
    builder.position_at_end(short)
    result = builder.zext(operation(builder.trunc(left, LIMB), builder.trunc(right, LIMB)), WORD)
    this.store(_negate_if(this, negative, result), second)
    builder.ret_void()
    builder.position_at_end(long)
    numerator, divisor = this.scratch(4), this.scratch(4)
    this.store(left, numerator)
    this.store(right, divisor)
    quotient, remainder = this.scratch(PRODUCT_LIMBS), this.scratch(4)
    builder.call(divide, [numerator, limb(4), divisor, quotient, remainder])
    result = this.load(WORD, remainder if rest else quotient)
    this.store(_negate_if(this, negative, result), second)
    builder.ret_void()
    return this.function


def _magnitude(this: Arithmetic, value: Value) -> tuple[Value, Value]:
    negative = this.builder.icmp_signed("<", value, word(0))
    return _negate_if(this, negative, value), negative


def _negate_if(this: Arithmetic, negative: Value, value: Value) -> Value:
    return this.builder.select(negative, this.builder.sub(word(0), value), value)


def emit_add_mod(module: Any, divide: Any) -> Any:
    """ADDMOD: add_mod(a, b, modulus and result)."""
    this = Arithmetic(module, "add_mod", [POINTER, POINTER, POINTER])
    builder = this.builder
    first, second, third = this.function.args
    a, b, modulus = (this.load(WORD, address) for address in this.function.args)
    this.finish_if(builder.icmp_unsigned("==", modulus, word(0)), third, word(0))
    total, carry = this.add(this.read(first), this.read(second))
    reduced = builder.and_(builder.icmp_unsigned("<", a, modulus), builder.icmp_unsigned("<", b, modulus))
    plain = this.join(total, WORD)
    over = builder.or_(builder.trunc(carry, BIT), builder.icmp_unsigned(">=", plain, modulus))
    this.finish_if(reduced, third, builder.sub(plain, builder.select(over, modulus, word(0))))
    numerator, quotient = this.scratch(5), this.scratch(PRODUCT_LIMBS)
    this.write([*total, carry], numerator)
    builder.call(divide, [numerator, limb(5), third, quotient, third])
    builder.ret_void()
    return this.function


def emit_mul_mod(module: Any, divide: Any) -> Any:
    """MULMOD: mul_mod(a, b, modulus and result)."""
    this = Arithmetic(module, "mul_mod", [POINTER, POINTER, POINTER])
    builder = this.builder
    first, second, third = this.function.args
    modulus = this.load(WORD, third)
    this.finish_if(builder.icmp_unsigned("==", modulus, word(0)), third, word(0))
    numerator, quotient = this.scratch(PRODUCT_LIMBS), this.scratch(PRODUCT_LIMBS)
    this.write(this.multiply(this.read(first), this.read(second)), numerator)
    builder.call(divide, [numerator, limb(PRODUCT_LIMBS), third, quotient, third])
    builder.ret_void()
    return this.function


def emit_power(module: Any) -> Any:
    """EXP: power(base, exponent and result), by squaring, from the exponent's highest bit on."""
    this = Arithmetic(module, "power", [POINTER, POINTER])
    builder = this.builder
    base_address, exponent = this.function.args
    base = this.load(WORD, base_address)
    bits = this.load(WORD, exponent)
    this.finish_if(builder.icmp_unsigned("==", bits, word(0)), exponent, word(1))
    zeros = builder.trunc(this.call_intrinsic("llvm.ctlz.i256", WORD, bits, ir.Constant(BIT, 0)), LIMB)

    def one(place: Value, result: Value) -> tuple[Value, Limbs]:
        eight = this.load(BYTE, this.at(exponent, builder.lshr(place, limb(3))))
        bit = builder.lshr(eight, builder.trunc(builder.and_(place, limb(7)), BYTE))
        square = builder.mul(result, result)
        product = builder.mul(square, base)
        result = builder.select(builder.trunc(bit, BIT), product, square)
        return builder.icmp_unsigned(">", place, limb(0)), [builder.sub(place, limb(1)), result]

    result = this.loop([builder.sub(limb(255), zeros), word(1)], one)[1]
    this.store(result, exponent)
    builder.ret_void()
    return this.function

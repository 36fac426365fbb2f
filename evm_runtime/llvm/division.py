"""Division of long numbers, and the opcodes that need it: DIV, SDIV, MOD, SMOD, ADDMOD, MULMOD; EXP too.

Knuth's algorithm D (The Art of Computer Programming 4.3.1) on limbs of 64 bits, with the quotient's digits found by
multiplying with a reciprocal (Möller and Granlund, "Improved division by invariant integers", 2011, algorithms 4 to 6 and
RECIPROCAL_WORD's definition). The processor's own division is used where it can't fault only: it is asked for
(~d : 2^64 - 1) / d with the highest bit of d set, whose quotient fits a limb.

Each function is called with addresses of words (four limbs, lowest first).
"""

from typing import Any, Final

from llvmlite import ir

from evm_runtime.llvm.emit import BIT, BYTE, DOUBLE, LIMB, POINTER, VOID, WORD, Emitter, Value, limb, word

Limbs = list[Value]
"""Lowest first."""

_PRODUCT_LIMBS: Final = 8
_ALL_ONES: Final = (1 << 64) - 1


def _double(value: int) -> Value:
    return ir.Constant(DOUBLE, value)


class Arithmetic(Emitter):
    """A function on addresses, and what one does with limbs inside."""

    def __init__(self, module: Any, name: str, parameters: list[Any]) -> None:
        function = ir.Function(module, ir.FunctionType(VOID, parameters), name)
        function.linkage = "internal"
        super().__init__(function)

    def read(self, address: Value, count: int = 4) -> Limbs:
        return [self.limb_at(address, number) for number in range(count)]

    def write(self, limbs: Limbs, address: Value) -> None:
        for number, value in enumerate(limbs):
            self.store(value, self.at(address, 8 * number))

    def scratch(self, limbs: int) -> Value:
        place = self.builder.alloca(ir.ArrayType(LIMB, limbs))
        place.type = POINTER  # llvmlite still gives it LLVM's typed pointers of old
        return place

    def finish_if(self, condition: Value, address: Value, result: Value) -> None:
        """Where `condition` holds, `result` is the word to write, and that is all."""
        done, on = self.block("done"), self.block("on")
        self.builder.cbranch(condition, done, on)
        with self.within(done):
            self.store(result, address)
            self.builder.ret_void()
        self.builder.position_at_end(on)

    def wide(self, value: Value) -> Value:
        return self.builder.zext(value, DOUBLE)

    def low(self, value: Value) -> Value:
        return self.builder.trunc(value, LIMB)

    def high(self, value: Value) -> Value:
        return self.builder.trunc(self.builder.lshr(value, _double(64)), LIMB)

    def pair(self, high: Value, low: Value) -> Value:
        return self.builder.or_(self.builder.shl(self.wide(high), _double(64)), self.wide(low))

    def product(self, left: Value, right: Value) -> Value:
        return self.builder.mul(self.wide(left), self.wide(right))

    def funnel(self, high: Value, low: Value, shift: Value) -> Value:
        """The upper limb of (high : low) << shift."""
        return self.call_intrinsic("llvm.fshl.i64", LIMB, high, low, shift)

    def multiply(self, left: Limbs, right: Limbs) -> Limbs:
        """All limbs of the product."""
        builder = self.builder
        result: Limbs = [limb(0)] * (len(left) + len(right))
        for i, factor in enumerate(left):
            carry = limb(0)
            for j, other in enumerate(right):
                sum_ = builder.add(self.product(factor, other), self.wide(result[i + j]))
                sum_ = builder.add(sum_, self.wide(carry))
                result[i + j], carry = self.low(sum_), self.high(sum_)
            result[i + len(right)] = carry
        return result

    def subtract(self, left: Limbs, right: Limbs) -> tuple[Limbs, Value]:
        """(left - right, the borrow as 0 or 1)"""
        return self._chain("sub", left, right)

    def add(self, left: Limbs, right: Limbs) -> tuple[Limbs, Value]:
        """(left + right, the carry as 0 or 1)"""
        return self._chain("add", left, right)

    def _chain(self, operation: str, left: Limbs, right: Limbs) -> tuple[Limbs, Value]:
        wide = ir.IntType(64 * len(left) + 64)
        result = getattr(self.builder, operation)(self.join(left, wide), self.join(right, wide))
        limbs = self.split(result, len(left) + 1)
        return limbs[:-1], self.builder.and_(limbs[-1], limb(1))

    def join(self, limbs: Limbs, kind: Any) -> Value:
        result = ir.Constant(kind, 0)
        for number, value in enumerate(limbs):
            shifted = self.builder.shl(self.builder.zext(value, kind), ir.Constant(kind, 64 * number))
            result = self.builder.or_(result, shifted)
        return result

    def split(self, value: Value, count: int) -> Limbs:
        kind = value.type
        return [self.low(self.builder.lshr(value, ir.Constant(kind, 64 * number))) for number in range(count)]


# ---------------------------------------------------------------- digits of the quotient


def reciprocal(this: Arithmetic, divisor: Value) -> Value:
    """floor((2^128 - 1) / divisor) - 2^64 of a limb whose highest bit is set."""
    kind = ir.FunctionType(ir.LiteralStructType([LIMB, LIMB]), [LIMB, LIMB, LIMB])
    divide = ir.InlineAsm(kind, "divq $4", "={ax},={dx},{ax},{dx},r,~{flags}")
    result = this.builder.call(divide, [limb(_ALL_ONES), this.builder.not_(divisor), divisor])
    return this.builder.extract_value(result, 0)


def reciprocal_of_two(this: Arithmetic, high: Value, low: Value) -> Value:
    """floor((2^192 - 1) / (high : low)) - 2^64, the highest bit set (algorithm 6)."""
    builder = this.builder
    value = reciprocal(this, high)
    rest = builder.add(builder.mul(high, value), low)
    over = builder.icmp_unsigned("<", rest, low)
    twice = builder.and_(over, builder.icmp_unsigned(">=", rest, high))
    value = builder.sub(builder.sub(value, builder.zext(over, LIMB)), builder.zext(twice, LIMB))
    rest = builder.sub(rest, builder.select(twice, high, limb(0)))
    rest = builder.sub(rest, builder.select(over, high, limb(0)))
    product = this.product(value, low)
    rest = builder.add(rest, this.high(product))
    over = builder.icmp_unsigned("<", rest, this.high(product))
    value = builder.sub(value, builder.zext(over, LIMB))
    reaches = builder.icmp_unsigned(">=", this.pair(rest, this.low(product)), this.pair(high, low))
    return builder.sub(value, builder.zext(builder.and_(over, reaches), LIMB))


def digit_by_one(this: Arithmetic, high: Value, low: Value, divisor: Value, inverse: Value) -> tuple[Value, Value]:
    """(high : low) divided by a limb: (quotient, remainder), for high < divisor (algorithm 4)."""
    builder = this.builder
    estimate = builder.add(this.product(inverse, high), this.pair(high, low))
    quotient = builder.add(this.high(estimate), limb(1))
    rest = builder.sub(low, builder.mul(quotient, divisor))
    too_much = builder.icmp_unsigned(">", rest, this.low(estimate))
    quotient = builder.sub(quotient, builder.zext(too_much, LIMB))
    rest = builder.add(rest, builder.select(too_much, divisor, limb(0)))
    too_little = builder.icmp_unsigned(">=", rest, divisor)
    quotient = builder.add(quotient, builder.zext(too_little, LIMB))
    return quotient, builder.sub(rest, builder.select(too_little, divisor, limb(0)))


def digit_by_two(
    this: Arithmetic, rest: Value, low: Value, divisor: tuple[Value, Value], inverse: Value
) -> tuple[Value, Value]:
    """(rest : low) divided by (high : low limb), for rest, of two limbs, < divisor: (quotient, remainder) (algorithm 5)."""
    builder = this.builder
    divisor_high, divisor_low = divisor
    both = this.pair(divisor_high, divisor_low)
    high, middle = this.high(rest), this.low(rest)
    estimate = builder.add(this.product(inverse, high), rest)
    quotient = this.high(estimate)
    upper = builder.sub(middle, builder.mul(quotient, divisor_high))
    rest = builder.sub(this.pair(upper, low), this.product(divisor_low, quotient))
    rest = builder.sub(rest, both)
    quotient = builder.add(quotient, limb(1))
    too_much = builder.icmp_unsigned(">=", this.high(rest), this.low(estimate))
    quotient = builder.sub(quotient, builder.zext(too_much, LIMB))
    rest = builder.add(rest, builder.select(too_much, both, _double(0)))
    too_little = builder.icmp_unsigned(">=", rest, both)
    quotient = builder.add(quotient, builder.zext(too_little, LIMB))
    return quotient, builder.sub(rest, builder.select(too_little, both, _double(0)))


# ---------------------------------------------------------------- long division


def emit_divide(module: Any) -> Any:
    """divide(numerator, its limbs, divisor, quotient, remainder): the divisor has 4 limbs and is not 0.

    The numerator has 4 to 8 limbs, the quotient has room for 8, the remainder for 4; all of both are written.
    """
    this = Arithmetic(module, "divide", [POINTER, LIMB, POINTER, POINTER, POINTER])
    builder = this.builder
    numerator, count, divisor, quotient, remainder = this.function.args
    shifted = this.scratch(_PRODUCT_LIMBS + 1)
    divisor_limbs = this.read(divisor)
    this.write([limb(0)] * _PRODUCT_LIMBS, quotient)
    size = _significant(this, divisor_limbs)
    length = _significant_of(this, numerator, count)
    small, large = this.block("smaller"), this.block("divides")
    builder.cbranch(builder.icmp_unsigned("<", length, size), small, large)
    with this.within(small):
        this.write(this.read(numerator), remainder)
        builder.ret_void()
    builder.position_at_end(large)
    top = this.load(LIMB, this.at(divisor, builder.shl(builder.sub(size, limb(1)), limb(3))))
    shift = this.call_intrinsic("llvm.ctlz.i64", LIMB, top, ir.Constant(BIT, 0))
    _shift_left(this, numerator, length, shift, shifted)
    cases = [this.block(f"by_{limbs}") for limbs in range(1, 5)]
    dispatch = builder.switch(size, cases[3])
    for limbs, block in enumerate(cases[:3], 1):
        dispatch.add_case(limb(limbs), block)
    for limbs, block in enumerate(cases, 1):
        builder.position_at_end(block)
        below = [limb(0), *divisor_limbs[: limbs - 1]]
        normal = [this.funnel(high, low, shift) for high, low in zip(divisor_limbs[:limbs], below, strict=True)]
        digits = {1: _by_one, 2: _by_two}.get(limbs, _by_more)
        rest = digits(this, shifted, length, normal, quotient)
        above = [*rest[1:], limb(0)]
        back = [_shift_right(this, high, low, shift) for high, low in zip(above, rest, strict=True)]
        this.write([*back, *[limb(0)] * (4 - limbs)], remainder)
        builder.ret_void()
    return this.function


def _significant(this: Arithmetic, limbs: Limbs) -> Value:
    """How many limbs there are without the zeros on top; at least 1."""
    size = limb(1)
    for number, value in enumerate(limbs[1:], 2):
        size = this.builder.select(this.builder.icmp_unsigned("!=", value, limb(0)), limb(number), size)
    return size


def _significant_of(this: Arithmetic, address: Value, count: Value) -> Value:
    builder = this.builder

    def next_lower(length: Value) -> tuple[Value, Limbs]:
        below = builder.sub(length, limb(1))
        top = this.load(LIMB, this.at(address, builder.shl(below, limb(3))))
        is_zero = builder.icmp_unsigned("==", top, limb(0))
        go_on = builder.and_(is_zero, builder.icmp_unsigned(">", below, limb(0)))
        return go_on, [builder.select(is_zero, below, length)]

    return this.loop([count], next_lower)[0]


def _shift_left(this: Arithmetic, source: Value, length: Value, shift: Value, target: Value) -> None:
    """Write source << shift, of one limb more."""
    builder = this.builder

    def one(place: Value, below: Value) -> tuple[Value, Limbs]:
        address = builder.shl(place, limb(3))
        value = this.load(LIMB, this.at(source, address))
        this.store(this.funnel(value, below, shift), this.at(target, address))
        following = builder.add(place, limb(1))
        return builder.icmp_unsigned("<", following, length), [following, value]

    _, top = this.loop([limb(0), limb(0)], one)
    this.store(this.funnel(limb(0), top, shift), this.at(target, builder.shl(length, limb(3))))


def _shift_right(this: Arithmetic, high: Value, low: Value, shift: Value) -> Value:
    return this.call_intrinsic("llvm.fshr.i64", LIMB, high, low, shift)


def _by_one(this: Arithmetic, shifted: Value, length: Value, divisor: Limbs, quotient: Value) -> Limbs:
    builder = this.builder
    inverse = reciprocal(this, divisor[0])

    def one(place: Value, rest: Value) -> tuple[Value, Limbs]:
        address = builder.shl(place, limb(3))
        digit, rest = digit_by_one(this, rest, this.load(LIMB, this.at(shifted, address)), divisor[0], inverse)
        this.store(digit, this.at(quotient, address))
        return builder.icmp_unsigned(">", place, limb(0)), [builder.sub(place, limb(1)), rest]

    top = this.load(LIMB, this.at(shifted, builder.shl(length, limb(3))))
    return this.loop([builder.sub(length, limb(1)), top], one)[1:]


def _by_two(this: Arithmetic, shifted: Value, length: Value, divisor: Limbs, quotient: Value) -> Limbs:
    builder = this.builder
    low, high = divisor
    inverse = reciprocal_of_two(this, high, low)

    def one(place: Value, rest: Value) -> tuple[Value, Limbs]:
        address = builder.shl(place, limb(3))
        following = this.load(LIMB, this.at(shifted, address))
        digit, rest = digit_by_two(this, rest, following, (high, low), inverse)
        this.store(digit, this.at(quotient, address))
        return builder.icmp_unsigned(">", place, limb(0)), [builder.sub(place, limb(1)), rest]

    address = this.at(shifted, builder.shl(length, limb(3)))
    top = this.pair(this.load(LIMB, address), this.load(LIMB, this.at(address, -8)))
    rest = this.loop([builder.sub(length, limb(2)), top], one)[1]
    return [this.low(rest), this.high(rest)]


def _by_more(this: Arithmetic, shifted: Value, length: Value, divisor: Limbs, quotient: Value) -> Limbs:
    """Three or four limbs: a digit is found from the divisor's two highest, and is at most one too great."""
    builder, count = this.builder, len(divisor)
    low, high = divisor[-2:]
    both = this.pair(high, low)
    inverse = reciprocal_of_two(this, high, low)

    def one(place: Value) -> tuple[Value, Limbs]:
        address = this.at(shifted, builder.shl(place, limb(3)))
        part = this.read(address, count + 1)
        top = this.pair(part[-1], part[-2])
        estimate, _ = digit_by_two(this, top, part[-3], (high, low), inverse)
        # (rest : next) / divisor would not fit a limb: then the digit is the greatest there is.
        digit = builder.select(builder.icmp_unsigned("==", top, both), limb(_ALL_ONES), estimate)
        part, borrow = this.subtract(part, this.multiply([digit], divisor))
        mask = builder.sub(limb(0), borrow)
        back, _ = this.add(part, [*(builder.and_(value, mask) for value in divisor), limb(0)])
        this.write(back, address)
        this.store(builder.sub(digit, borrow), this.at(quotient, builder.shl(place, limb(3))))
        return builder.icmp_unsigned(">", place, limb(0)), [builder.sub(place, limb(1))]

    this.loop([builder.sub(length, limb(count))], one)
    return this.read(shifted, count)


# ---------------------------------------------------------------- the opcodes


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
    small = builder.icmp_unsigned("<=", builder.or_(left, right), word(_ALL_ONES))
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
    quotient, remainder = this.scratch(_PRODUCT_LIMBS), this.scratch(4)
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
    numerator, quotient = this.scratch(5), this.scratch(_PRODUCT_LIMBS)
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
    numerator, quotient = this.scratch(_PRODUCT_LIMBS), this.scratch(_PRODUCT_LIMBS)
    this.write(this.multiply(this.read(first), this.read(second)), numerator)
    builder.call(divide, [numerator, limb(_PRODUCT_LIMBS), third, quotient, third])
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

"""Long division.

Knuth's algorithm D (The Art of Computer Programming 4.3.1) on limbs of 64 bits, with the quotient's digits found by
multiplying with a reciprocal (Möller and Granlund, "Improved division by invariant integers", 2011, algorithms 4 to 6 and
RECIPROCAL_WORD's definition). The processor's own division is used where it can't fault only: it is asked for
(~d : 2^64 - 1) / d with the highest bit of d set, whose quotient fits a limb.
"""

from typing import Any, Final

from llvmlite import ir

from evm_runtime.llvm.emit import BIT, LIMB, POINTER, Value, limb
from evm_runtime.llvm.limbs import Arithmetic, Limbs, double

PRODUCT_LIMBS: Final = 8
"""The size of the product of two words, the longest numerator."""
ALL_ONES: Final = (1 << 64) - 1


# ---------------------------------------------------------------- digits of the quotient


def reciprocal(this: Arithmetic, divisor: Value) -> Value:
    """floor((2^128 - 1) / divisor) - 2^64 of a limb whose highest bit is set."""
    kind = ir.FunctionType(ir.LiteralStructType([LIMB, LIMB]), [LIMB, LIMB, LIMB])
    divide = ir.InlineAsm(kind, "divq $4", "={ax},={dx},{ax},{dx},r,~{flags}")
    result = this.builder.call(divide, [limb(ALL_ONES), this.builder.not_(divisor), divisor])
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
    rest = builder.add(rest, builder.select(too_much, both, double(0)))
    too_little = builder.icmp_unsigned(">=", rest, both)
    quotient = builder.add(quotient, builder.zext(too_little, LIMB))
    return quotient, builder.sub(rest, builder.select(too_little, both, double(0)))


# ---------------------------------------------------------------- long division


def emit_divide(module: Any) -> Any:
    """divide(numerator, its limbs, divisor, quotient, remainder): the divisor has 4 limbs and is not 0.

    The numerator has 4 to 8 limbs, the quotient has room for 8, the remainder for 4; all of both are written.
    """
    this = Arithmetic(module, "divide", [POINTER, LIMB, POINTER, POINTER, POINTER])
    builder = this.builder
    numerator, count, divisor, quotient, remainder = this.function.args
    shifted = this.scratch(PRODUCT_LIMBS + 1)
    divisor_limbs = this.read(divisor)
    this.write([limb(0)] * PRODUCT_LIMBS, quotient)
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
        digit = builder.select(builder.icmp_unsigned("==", top, both), limb(ALL_ONES), estimate)
        part, borrow = this.subtract(part, this.multiply([digit], divisor))
        mask = builder.sub(limb(0), borrow)
        back, _ = this.add(part, [*(builder.and_(value, mask) for value in divisor), limb(0)])
        this.write(back, address)
        this.store(builder.sub(digit, borrow), this.at(quotient, builder.shl(place, limb(3))))
        return builder.icmp_unsigned(">", place, limb(0)), [builder.sub(place, limb(1))]

    this.loop([builder.sub(length, limb(count))], one)
    return this.read(shifted, count)

"""Keccak-256 as Ethereum has it: the sponge of the Keccak team's submission (rate 136 bytes, padding 0x01), not FIPS 202's."""

from typing import Any, Final

from llvmlite import ir

from evm_runtime.llvm.emit import BYTE, LIMB, POINTER, Value, limb
from evm_runtime.llvm.limbs import Arithmetic, Limbs

_ROUNDS: Final = 24
_LANES: Final = 25
_RATE_BYTES: Final = 136
_RATE_LANES: Final = _RATE_BYTES // 8
_LIMB_MASK: Final = (1 << 64) - 1


def round_constants() -> list[int]:
    """By the linear feedback shift register of the reference: bit 2^j - 1 of each constant is one of its outputs."""
    constants, state = [], 1
    for _ in range(_ROUNDS):
        constant = 0
        for exponent in range(7):
            constant |= (state & 1) << (1 << exponent) - 1
            state = state << 1 ^ (0x171 if state & 0x80 else 0)
        constants.append(constant)
    return constants


def rotations() -> list[int]:
    """The rotation of lane x + 5 y, by the walk of the reference."""
    offsets, x, y = [0] * _LANES, 1, 0
    for step in range(_LANES - 1):
        offsets[x + 5 * y] = (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return offsets


def emit_permutation(module: Any) -> Any:
    """keccak_f(state of 25 limbs)."""
    table = ir.GlobalVariable(module, ir.ArrayType(LIMB, _ROUNDS), "round_constants")
    table.initializer = ir.Constant(ir.ArrayType(LIMB, _ROUNDS), round_constants())
    table.global_constant, table.linkage, table.type = True, "internal", POINTER
    this = Arithmetic(module, "keccak_f", [POINTER])
    builder, (state,) = this.builder, this.function.args

    def one(number: Value, *lanes: Value) -> tuple[Value, Limbs]:
        constant = this.load(LIMB, this.at(table, builder.shl(number, limb(3))))
        following = builder.add(number, limb(1))
        after = _round(this, list(lanes), constant)
        return builder.icmp_unsigned("<", following, limb(_ROUNDS)), [following, *after]

    _, *lanes = this.loop([limb(0), *this.read(state, _LANES)], one)
    this.write(lanes, state)
    builder.ret_void()
    return this.function


def _round(this: Arithmetic, lanes: Limbs, constant: Value) -> Limbs:
    """Theta, rho, pi, chi, iota."""
    builder = this.builder

    def xor(first: Value, *others: Value) -> Value:
        for other in others:
            first = builder.xor(first, other)
        return first

    def rotate(value: Value, count: int) -> Value:
        return this.funnel(value, value, limb(count)) if count else value

    columns = [xor(*lanes[x::5]) for x in range(5)]
    parities = [xor(columns[x - 1], rotate(columns[(x + 1) % 5], 1)) for x in range(5)]
    turned: Limbs = [limb(0)] * _LANES
    for place, count in enumerate(rotations()):
        x, y = place % 5, place // 5
        turned[y + 5 * ((2 * x + 3 * y) % 5)] = rotate(xor(lanes[place], parities[x]), count)
    after = []
    for place in range(_LANES):
        row = place - place % 5
        following, next_but_one = turned[row + (place + 1) % 5], turned[row + (place + 2) % 5]
        after.append(xor(turned[place], builder.and_(builder.not_(following), next_but_one)))
    after[0] = xor(after[0], constant)
    return after


def emit_keccak(module: Any, permutation: Any) -> Any:
    """keccak(data, size, result): the hash as a word of the stack."""
    this = Arithmetic(module, "keccak", [POINTER, LIMB, POINTER])
    builder = this.builder
    data, size, result = this.function.args
    state, last = this.scratch(_LANES), this.scratch(_RATE_LANES)
    this.write([limb(0)] * _LANES, state)
    head, absorbs, pads = this.block("head"), this.block("absorbs"), this.block("pads")
    before = builder.block
    builder.branch(head)
    builder.position_at_end(head)
    at, left = builder.phi(data.type), builder.phi(LIMB)
    builder.cbranch(builder.icmp_unsigned(">=", left, limb(_RATE_BYTES)), absorbs, pads)
    builder.position_at_end(absorbs)
    _absorb(this, state, at, permutation)
    for phi, start, following in (
        (at, data, this.at(at, _RATE_BYTES)),
        (left, size, builder.sub(left, limb(_RATE_BYTES))),
    ):
        phi.add_incoming(start, before)
        phi.add_incoming(following, absorbs)
    builder.branch(head)
    builder.position_at_end(pads)
    this.write([limb(0)] * _RATE_LANES, last)
    this.copy(last, at, left)
    this.store(ir.Constant(BYTE, 1), this.at(last, left), align=1)
    end = this.at(last, _RATE_BYTES - 1)
    this.store(builder.xor(this.load(BYTE, end), ir.Constant(BYTE, 0x80)), end, align=1)
    _absorb(this, state, last, permutation)
    this.write([this.swap_bytes(lane) for lane in reversed(this.read(state))], result)
    builder.ret_void()
    return this.function


def _absorb(this: Arithmetic, state: Value, source: Value, permutation: Any) -> None:
    for number in range(_RATE_LANES):
        place = this.at(state, 8 * number)
        lane = this.load_unaligned(LIMB, this.at(source, 8 * number))
        this.store(this.builder.xor(this.load(LIMB, place), lane), place)
    this.builder.call(permutation, [state])

"""Functions on words as four limbs of 64 bits, and what they do with limbs: the ground under division, EXP and Keccak."""

from typing import Any

from llvmlite import ir

from evm_runtime.llvm.emit import DOUBLE, LIMB, POINTER, VOID, Emitter, Value, limb

Limbs = list[Value]
"""Lowest first."""


def double(value: int) -> Value:
    """A constant of two limbs."""
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
        with self.builder.goto_entry_block():
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
        return self.builder.trunc(self.builder.lshr(value, double(64)), LIMB)

    def pair(self, high: Value, low: Value) -> Value:
        return self.builder.or_(self.builder.shl(self.wide(high), double(64)), self.wide(low))

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

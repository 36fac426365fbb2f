"""BLAKE2b-128 without a key (RFC 7693), of many slices of one buffer in one call: what attribution names windows by.

Four slices are hashed side by side, one in each lane of a vector. It is a module of its own, since vectors are off in the
interpreter's.
"""

from math import isqrt
from typing import Final

from llvmlite import ir

from evm_runtime.llvm.emit import LIMB, POINTER, Value, limb
from evm_runtime.llvm.layout import DIGEST_BYTES
from evm_runtime.llvm.limbs import Arithmetic, Limbs

_BLOCK_BYTES: Final = 128
_BLOCK_LIMBS: Final = _BLOCK_BYTES // 8
_LIMB_MASK: Final = (1 << 64) - 1
_ROUNDS: Final = 12
_LANES: Final = 8
_VECTOR: Final = ir.VectorType(LIMB, _LANES)
_START: Final = tuple(isqrt(prime << 128) & _LIMB_MASK for prime in (2, 3, 5, 7, 11, 13, 17, 19))
"""The first 64 bits behind the point of the square roots of the first primes."""
_PARAMETERS: Final = 0x0101_0000 | DIGEST_BYTES
"""Length of the digest, no key, no tree."""
_ROTATIONS: Final = (32, 24, 16, 63)
_ORDERS: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
"""In which a round takes the limbs of the message; they repeat."""
_QUARTERS: Final = (
    *((x, 4 + x, 8 + x, 12 + x) for x in range(4)),
    *((x, 4 + (x + 1) % 4, 8 + (x + 2) % 4, 12 + (x + 3) % 4) for x in range(4)),
)
"""The limbs that each step of a round mixes: columns, then diagonals."""


def module_text() -> str:
    """The module in LLVM's language. digests(data, starts, ends, count, results): of data[starts[i]:ends[i]] for i < count (at
    least one), one behind the other. Starts and ends are limbs.
    """
    this = _Hashing(ir.Module("digests"), "digests", [POINTER, POINTER, POINTER, LIMB, POINTER])
    this.function.linkage = "external"
    builder = this.builder
    data, starts, ends, count, results = this.function.args

    def four(first: Value) -> tuple[Value, Limbs]:
        last = builder.sub(count, limb(1))
        numbers = [this.minimum(builder.add(first, limb(lane)), last) for lane in range(_LANES)]
        places = [builder.shl(number, limb(3)) for number in numbers]
        offsets = [this.load(LIMB, this.at(starts, place)) for place in places]
        sizes = [
            builder.sub(this.load(LIMB, this.at(ends, place)), at) for place, at in zip(places, offsets, strict=True)
        ]
        chain = this.hash([this.at(data, at) for at in offsets], sizes)
        for lane, number in enumerate(numbers):
            result = this.at(results, builder.mul(number, limb(DIGEST_BYTES)))
            this.write([this.lane(value, lane) for value in chain[: DIGEST_BYTES // 8]], result)
        following = builder.add(first, limb(_LANES))
        return builder.icmp_unsigned("<", following, count), [following]

    this.loop([limb(0)], four)
    builder.ret_void()
    return str(this.function.module)


class _Hashing(Arithmetic):
    """Values are vectors here, of a limb for each lane."""

    def lane(self, value: Value, lane: int) -> Value:
        return self.builder.extract_element(value, limb(lane))

    def joined(self, lanes: Limbs) -> Value:
        value = ir.Constant(ir.VectorType(lanes[0].type, _LANES), ir.Undefined)
        for number, one in enumerate(lanes):
            value = self.builder.insert_element(value, one, limb(number))
        return value

    def hash(self, sources: list[Value], sizes: Limbs) -> list[Value]:
        """The chaining values after all blocks. A lane that has come to its end keeps what it has."""
        builder = self.builder
        blocks = [self.scratch(_BLOCK_LIMBS) for _ in range(_LANES)]
        totals = self.joined(sizes)
        start = [_every(_START[0] ^ _PARAMETERS), *map(_every, _START[1:])]

        def one(done: Value, *chain: Value) -> tuple[Value, list[Value]]:
            for source, size, block in zip(sources, sizes, blocks, strict=True):
                self.write([limb(0)] * _BLOCK_LIMBS, block)
                begin = self.minimum(done, size)
                left = builder.sub(size, begin)
                self.copy(block, self.at(source, begin), self.minimum(left, limb(_BLOCK_BYTES)))
            message = [self.joined([self.limb_at(b, place) for b in blocks]) for place in range(_BLOCK_LIMBS)]
            following = builder.add(done, limb(_BLOCK_BYTES))
            behind = self.joined([following] * _LANES)
            ends = builder.icmp_unsigned("<=", totals, behind)
            count = builder.select(ends, totals, behind)
            compressed = self.compress(list(chain), message, count, builder.sext(ends, _VECTOR))
            before = self.joined([done] * _LANES)
            live = builder.icmp_unsigned("<", before, totals)
            is_first = builder.icmp_unsigned("==", done, limb(0))  # an empty slice has one block, too
            live = builder.or_(live, self.joined([is_first] * _LANES))
            kept = [builder.select(live, new, old) for new, old in zip(compressed, chain, strict=True)]
            most = sizes[0]
            for size in sizes[1:]:
                most = self.maximum(most, size)
            return builder.icmp_unsigned("<", following, most), [following, *kept]

        return self.loop([limb(0), *start], one)[1:]

    def compress(self, chain: list[Value], message: list[Value], count: Value, is_last: Value) -> list[Value]:
        """The chaining values after one block: `count` bytes so far, `is_last` all ones for the last block."""
        builder = self.builder
        state = [*chain, *map(_every, _START)]
        state[12] = builder.xor(state[12], count)
        state[14] = builder.xor(state[14], is_last)
        for number in range(_ROUNDS):
            words = iter(_ORDERS[number % len(_ORDERS)])
            for quarter in _QUARTERS:
                self._mix(state, quarter, message[next(words)], message[next(words)])
        mixed = [builder.xor(low, high) for low, high in zip(state[:8], state[8:], strict=True)]
        return [builder.xor(old, new) for old, new in zip(chain, mixed, strict=True)]

    def _mix(self, state: list[Value], quarter: tuple[int, ...], first: Value, second: Value) -> None:
        builder = self.builder
        a, b, c, d = quarter

        def turn(to: int, other: int, count: int) -> None:
            mixed = builder.xor(state[to], state[other])
            state[to] = self.call_intrinsic("llvm.fshr.v8i64", _VECTOR, mixed, mixed, _every(count))

        for word, (one, two) in ((first, _ROTATIONS[:2]), (second, _ROTATIONS[2:])):
            state[a] = builder.add(builder.add(state[a], state[b]), word)
            turn(d, a, one)
            state[c] = builder.add(state[c], state[d])
            turn(b, c, two)


def _every(value: int) -> Value:
    """A constant in every lane."""
    return ir.Constant(_VECTOR, [value] * _LANES)

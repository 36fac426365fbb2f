"""Handlers of the opcodes that touch memory, and memory's growth.

What memory costs: 3 gas a word and words² / 512, as the yellow paper has it, paid when a word is first reached.
"""

from typing import Any, Final

from evm_runtime.llvm.emit import BYTE, GROW, WORD, Handler, Value, limb, word
from evm_runtime.llvm.layout import SCRATCH, WORD_BYTES, Field, Leave
from evm_runtime.work import KECCAK_WORD_WORK, KECCAK_WORK

_COPY_WORD_GAS: Final = 3
_KECCAK_WORD_GAS: Final = 6
_MEMORY_WORD_GAS: Final = 3
_UNCOUNTED_WORK_MAX: Final = 1_000_000
"""Nominal nanoseconds that native code may hash for before Python has counted it; what takes more is hashed by Python."""
_QUADRATIC_SHIFT: Final = 9


def emit_grow(module: Any) -> None:
    """The function that makes memory reach to `REACH`, charges for that, and begins the instruction anew."""
    handler = Handler(module, GROW)
    builder = handler.builder

    def cost(words: Value) -> Value:
        linear = builder.mul(words, limb(_MEMORY_WORD_GAS))
        return builder.add(linear, builder.lshr(builder.mul(words, words), limb(_QUADRATIC_SHIFT)))

    words = words_of(handler, handler.field(Field.REACH))
    before = builder.lshr(handler.field(Field.MEMORY_SIZE), limb(5))
    handler.charge(builder.sub(cost(words), cost(before)))
    size = builder.shl(words, limb(5))
    handler.set_field(Field.REACH, size)
    handler.leave_if(builder.icmp_unsigned(">", size, handler.field(Field.MEMORY_CAPACITY)), Leave.GROW)
    handler.set_field(Field.MEMORY_SIZE, size)
    handler.dispatch()


def words_of(handler: Handler, size: Value) -> Value:
    """The number of words that `size` bytes take."""
    return handler.builder.lshr(handler.builder.add(size, limb(WORD_BYTES - 1)), limb(5))


def _offset(handler: Handler, place: int) -> Value:
    """An item as an offset or size; leaves if it is beyond all gas."""
    is_small, value = handler.small(place)
    handler.leave_if(handler.builder.not_(is_small), Leave.RETREAT)
    return value


def span(handler: Handler, offset_place: int, size_place: int) -> tuple[Value, Value]:
    """Two items as a span of memory, which reaches there afterwards. An empty one may lie anywhere: it is put at 0."""
    builder = handler.builder
    size = _offset(handler, size_place)
    is_small, low = handler.small(offset_place)
    is_empty = builder.icmp_unsigned("==", size, limb(0))
    handler.leave_if(builder.not_(builder.or_(is_small, is_empty)), Leave.RETREAT)
    offset = builder.select(is_empty, limb(0), low)
    handler.reach(builder.add(offset, size))
    return offset, size


def _address(handler: Handler, offset: Value) -> Value:
    return handler.at(handler.pointer(Field.MEMORY), offset)


def emit_load(handler: Handler, gas: int) -> None:
    """MLOAD."""
    handler.charge(gas)
    handler.check_stack(1, 1)
    offset = _offset(handler, 0)
    handler.reach(handler.builder.add(offset, limb(WORD_BYTES)))
    handler.put(0, handler.swap_bytes(handler.load_unaligned(WORD, _address(handler, offset))))
    handler.go_on(1, 1)


def emit_store(handler: Handler, gas: int) -> None:
    """MSTORE."""
    handler.charge(gas)
    handler.check_stack(2, 0)
    offset = _offset(handler, 0)
    handler.reach(handler.builder.add(offset, limb(WORD_BYTES)))
    handler.store(handler.swap_bytes(handler.item(1)), _address(handler, offset), align=1)
    handler.go_on(2, 0)


def emit_store_byte(handler: Handler, gas: int) -> None:
    """MSTORE8."""
    handler.charge(gas)
    handler.check_stack(2, 0)
    offset = _offset(handler, 0)
    handler.reach(handler.builder.add(offset, limb(1)))
    handler.store(handler.load(BYTE, handler.slot(1)), _address(handler, offset), align=1)
    handler.go_on(2, 0)


def emit_copy_within(handler: Handler, gas: int) -> None:
    """MCOPY (EIP-5656)."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(3, 0)
    size = _offset(handler, 2)
    is_empty = builder.icmp_unsigned("==", size, limb(0))
    ends = []
    for place in (0, 1):
        is_small, low = handler.small(place)
        handler.leave_if(builder.not_(builder.or_(is_small, is_empty)), Leave.RETREAT)
        ends.append(builder.select(is_empty, limb(0), low))
    handler.charge(builder.mul(words_of(handler, size), limb(_COPY_WORD_GAS)))
    handler.reach(builder.add(handler.maximum(*ends), size))
    handler.copy(_address(handler, ends[0]), _address(handler, ends[1]), size)
    handler.go_on(3, 0)


def emit_copy(handler: Handler, gas: int, source: int, source_size: int) -> None:
    """CALLDATACOPY and CODECOPY: zeros past the source's end."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(3, 0)
    size = _offset(handler, 2)
    handler.charge(builder.mul(words_of(handler, size), limb(_COPY_WORD_GAS)))
    offset, _ = span(handler, 0, 2)
    available = handler.field(source_size)
    is_small, low = handler.small(1)
    start = builder.select(is_small, handler.minimum(low, available), available)
    copied = handler.minimum(size, builder.sub(available, start))
    target = _address(handler, offset)
    handler.copy(target, handler.at(handler.pointer(source), start), copied)
    handler.clear(handler.at(target, copied), builder.sub(size, copied))
    handler.go_on(3, 0)


def emit_copy_returned(handler: Handler, gas: int) -> None:
    """RETURNDATACOPY, which must not read past the end (EIP-211)."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(3, 0)
    size, start = _offset(handler, 2), _offset(handler, 1)
    past = builder.icmp_unsigned(">", builder.add(start, size), handler.field(Field.RETURNED_SIZE))
    handler.leave_if(past, Leave.RETREAT)
    handler.charge(builder.mul(words_of(handler, size), limb(_COPY_WORD_GAS)))
    offset, _ = span(handler, 0, 2)
    handler.copy(_address(handler, offset), handler.at(handler.pointer(Field.RETURNED), start), size)
    handler.go_on(3, 0)


def emit_load_data(handler: Handler, gas: int) -> None:
    """CALLDATALOAD."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(1, 1)
    is_small, low = handler.small(0)
    available = handler.field(Field.DATA_SIZE)
    start = builder.select(is_small, handler.minimum(low, available), available)
    left = builder.sub(available, start)
    source = handler.at(handler.pointer(Field.DATA), start)
    whole, cut, on = handler.block("whole"), handler.block("cut"), handler.block("loaded")
    builder.cbranch(builder.icmp_unsigned(">=", left, limb(WORD_BYTES)), whole, cut)
    with handler.within(cut):
        scratch = handler.at(handler.frame, SCRATCH)
        handler.store(word(0), scratch)
        handler.copy(scratch, source, left)
        from_scratch = handler.load(WORD, scratch)
        builder.branch(on)
    builder.position_at_end(whole)
    direct = handler.load_unaligned(WORD, source)
    builder.branch(on)
    builder.position_at_end(on)
    value = builder.phi(WORD)
    value.add_incoming(direct, whole)
    value.add_incoming(from_scratch, cut)
    handler.put(0, handler.swap_bytes(value))
    handler.go_on(1, 1)


def emit_keccak(handler: Handler, gas: int, function: Any) -> None:
    """KECCAK256: `function(data, size, word)`. It is the one native opcode whose gas does not cover what it takes."""
    builder = handler.builder
    handler.charge(gas)
    handler.check_stack(2, 1)
    size = _offset(handler, 1)
    words = words_of(handler, size)
    handler.charge(builder.mul(words, limb(_KECCAK_WORD_GAS)))
    offset, _ = span(handler, 0, 1)
    amount = builder.add(limb(KECCAK_WORK), builder.mul(words, limb(KECCAK_WORD_WORK)))
    done = builder.add(handler.field(Field.WORK), amount)
    handler.ask_python_if(builder.icmp_unsigned(">", done, limb(_UNCOUNTED_WORK_MAX)))
    handler.set_field(Field.WORK, done)
    builder.call(function, [_address(handler, offset), size, handler.slot(1)])
    handler.go_on(2, 1)

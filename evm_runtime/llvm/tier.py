"""The native tier: runs a frame, hot or cold, in an interpreter of machine code, and the opcodes that touch state in Python.

Exactness: native code does what py-evm's loop does for every instruction that succeeds, and only for those. Where one would
fail (gas, stack, jump, memory beyond reach, an unknown opcode) it leaves before it, and py-evm's loop finds out how.

Memory safety: no input is trusted to be in bounds.
- The program counter: a jump goes to a set bit of the code's bitmap, below the code's size. Every other step goes to the next
  instruction; a PUSH that would step over the code's end stops there, so the counter is at most the code's size, where a bytes
  object has a zero: STOP.
- The stack: each handler checks that its arguments are there and its result has room, before it touches any.
- Memory: offset and size are below 2^36 each, and their sum is at most memory's size, before a byte is touched.
- Call data, return data, code: what is read is cut to their sizes, with no arithmetic that can wrap.
- Python keeps each object whose content native code has an address of for as long as it does, and gives it the new address
  when one moves; memory is the only one that can, and only Python makes it.
"""

from typing import Final

from eth.exceptions import Revert

from evm_runtime.computation import Computation, Tier, interpret
from evm_runtime.llvm import engine
from evm_runtime.llvm.exits import Exit, make_exits
from evm_runtime.llvm.frame import Frame, Surroundings, give_back, take_frame
from evm_runtime.llvm.layout import Field, Leave

_ENDS, _OUT_OF_GAS, _GROW = int(Leave.STOP), int(Leave.OUT_OF_GAS), int(Leave.GROW)
_GAS_MAX: Final = (1 << 63) - 1
"""A frame with more gas than fits a field is left to the fallback; no transaction can pay for that much."""


class NativeTier:
    """Runs frames of any fork's code natively, once the engine is loaded; else, by `fallback` or the reference loop."""

    def __init__(self, fallback: Tier | None = None) -> None:
        self._fallback: Final = fallback
        self._exits: Final[dict[int, dict[int, Exit]]] = {}
        """By the identity of the fork's table of opcodes, which the fork keeps alive."""

    def run(self, computation: Computation) -> None:
        """Run a frame from its first instruction to its end; VM errors and Halt are raised as the opcodes raise them."""
        ready = engine.loaded()
        table = ready.table(computation.opcodes) if ready is not None else None
        if ready is None or table is None or computation._gas_meter.gas_remaining > _GAS_MAX:
            run = interpret if self._fallback is None else self._fallback.run
            run(computation)
            return
        state = computation.state
        if state.poll is not None:
            state.poll()
        surroundings = state.tier_data
        if surroundings is None:
            surroundings = state.tier_data = Surroundings(state, ready)
        exits = self._exits.get(id(computation.opcodes))
        if exits is None:
            exits = self._exits.setdefault(id(computation.opcodes), make_exits(computation.opcodes))
        frame = take_frame()
        try:
            frame.begin(computation, table, surroundings)
            _run(frame, exits, ready)
        finally:
            give_back(frame)


def _run(frame: Frame, exits: dict[int, Exit], ready: engine.Engine) -> None:
    """In and out until the frame ends. Short runs keep the interpreter's lock, which is quick; long ones let others have it."""
    address, fields, resume = frame.address, frame.fields, ready.resume
    poll = frame.computation.state.poll
    enter = resume
    while True:
        left = enter(address)
        if fields[Field.WORK]:
            frame.count_work()
        if left < _ENDS:
            if poll is not None:
                poll()  # an exit begins a slice anew: code that leaves all the time never comes to the end of one
            exits[left](frame)
            enter = resume
        elif left == _OUT_OF_GAS and fields[Field.RESERVE]:
            frame.use_reserve()
            enter = ready.resume_apart
        elif left == _GROW:
            frame.grow_memory()
        else:
            _end(frame, left)
            return


def _end(frame: Frame, left: int) -> None:
    computation = frame.computation
    if left in (Leave.RETREAT, Leave.OUT_OF_GAS):
        frame.retreat()
        interpret(computation)
        return
    computation._gas_meter.gas_remaining = frame.gas
    if left != Leave.STOP:
        computation._output = frame.output()
    if left == Leave.REVERT:
        raise Revert(computation._output)

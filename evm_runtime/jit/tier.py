"""The compiled tier: runs a frame in compiled units where there are any, in py-evm's loop where not, and changes over between.

Changes happen at block starts, where pc, stack and gas are exact in both. A frame goes back to the reference loop for good
where a unit retreats: when gas runs short within a segment, at an invalid jump or opcode, at a stack that does not fit.
"""

from typing import Any, Final

from eth.exceptions import Halt
from eth.vm.stack import to_int

from evm_runtime.computation import Computation, interpret
from evm_runtime.jit.cache import CompiledCode, JitLimits, UnitCache
from evm_runtime.jit.runtime import RETREATED, Exit
from evm_runtime.opcodes import JUMPDEST


class JitTier:
    """Runs frames of any fork's code. Gas, status, output, logs, refunds, warm sets and state are those of the reference."""

    def __init__(self, limits: JitLimits | None = None) -> None:
        self._limits: Final = limits or JitLimits()
        self._caches: Final[dict[int, UnitCache]] = {}
        """By the identity of the fork's table of opcodes, which its cache keeps alive."""

    def run(self, computation: Computation) -> None:
        """Run a frame from its first instruction to its end; VM errors and Halt are raised as the opcodes raise them."""
        message = computation.msg
        if message.is_create:
            interpret(computation)
            return
        cache = self._caches.get(id(computation.opcodes))
        if cache is None:
            cache = self._caches.setdefault(id(computation.opcodes), UnitCache(computation.opcodes, self._limits))
        compiled = cache.find(message.code)
        poll = computation.state.poll
        where: Exit = (0, ())
        while True:
            unit = cache.unit(compiled, (where[0], len(where[1])))
            if unit is None:
                where = _interpret(computation, cache, compiled, where)
                continue
            if poll is not None:
                poll()
            left: Any = unit(computation, *where[1])
            if left is None:
                return
            if left is RETREATED:
                interpret(computation)
                return
            where = left


def _interpret(computation: Computation, cache: UnitCache, compiled: CompiledCode, where: Exit) -> Exit:
    """Run the reference loop until a block that is compiled, or can be now; the frame's end comes as an exception."""
    stream, stack = computation.code, computation._stack.values  # type: ignore[attr-defined]  # py-evm's Stack
    stack.extend(where[1])
    stream.program_counter = where[0]
    opcodes, poll = computation.opcodes, computation.state.poll
    patience = cache.steps_between_looks
    steps = 0
    try:
        for opcode in stream:
            if opcode == JUMPDEST and steps >= patience:
                compiled.steps += steps
                steps = 0
                pc = stream.program_counter - 1
                if poll is not None:
                    poll()
                if cache.unit(compiled, (pc, len(stack))) is not None:
                    values = tuple(map(to_int, stack))
                    stack.clear()
                    return pc, values
            steps += 1
            opcodes[opcode].__call__(computation=computation)
    finally:
        compiled.steps += steps
    raise Halt("the code ended")

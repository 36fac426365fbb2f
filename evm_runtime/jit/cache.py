"""Which code is compiled, and when: what a node compiles is its own affair, for a unit never changes a result.

Code pays for its compilation by running: every step of the reference loop in a code counts for it, and a unit is compiled
once the steps are worth its price. So compiling costs a node at most about as much time as interpreting has cost it, whatever
an attacker deploys; and a loop that runs long is compiled while it runs. Initcode runs once and is never compiled.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from evm_runtime.jit import analysis
from evm_runtime.jit.analysis import Node, Plan, Program
from evm_runtime.jit.codegen import HEIGHT_MAX, generate
from evm_runtime.jit.runtime import HELPERS, Exit, Retreated
from evm_runtime.jit.templates import BY_REFERENCE
from evm_runtime.opcodes import STACK_EFFECT

Unit = Callable[..., Exit | Retreated | None]


@dataclass(frozen=True, slots=True)
class JitLimits:
    """The budgets of one cache."""

    steps_per_line: int = 20
    """Steps of the reference loop that pay for compiling one line of Python: about as long as it takes. 0 compiles at once."""
    steps_between_looks: int = 32
    """The reference loop looks for a unit to change over to at the first JUMPDEST after so many steps: a look costs as much
    as several JUMPDESTs."""
    codes_max: int = 512
    """Contracts in the cache; the one that was not used for longest goes first."""
    lines_max: int = 200_000
    """Compiled lines in the cache, all contracts together."""
    units_per_code_max: int = 64


@dataclass(slots=True)
class CompiledCode:
    """One code with what is compiled of it so far."""

    program: Program
    units: dict[Node, Unit] = field(default_factory=dict)
    plans: dict[Node, Plan | None] = field(default_factory=dict)
    """The plans of nodes that can't pay yet; None for those that were met once only, which nothing is planned for."""
    steps: int = 0
    """Steps of the reference loop in this code that have not paid for anything."""
    lines: int = 0


class UnitCache:
    """The compiled units of a fork's code. Threads may share one: the worst of a race is work done twice."""

    def __init__(self, opcodes: Mapping[int, Any], limits: JitLimits) -> None:
        self._limits: Final = limits
        self.steps_between_looks: Final = limits.steps_between_looks
        self._codes: OrderedDict[bytes, CompiledCode] = OrderedDict()
        self._lines = 0
        self._opcodes: Final = opcodes
        self._static_gas: Final = {
            op: int(opcodes[op].gas_cost) for op in STACK_EFFECT if opcodes[op].mnemonic != "INVALID"
        }
        self._names: Final = {**HELPERS, **{f"opcode_{op:02x}": opcodes[op].__call__ for op in BY_REFERENCE}}

    def find(self, code: bytes) -> CompiledCode:
        """The entry of a code (the code itself is the key: its hash would have to be computed, or believed)."""
        found = self._codes.get(code)
        if found is None:
            found = self._codes[code] = CompiledCode(Program(code))
            self._evict()
        elif len(self._codes) > self._limits.codes_max // 2:
            with contextlib.suppress(KeyError):  # another thread may have dropped it since
                self._codes.move_to_end(code)
        return found

    def unit(self, compiled: CompiledCode, node: Node) -> Unit | None:
        """The unit of a node, compiled now if the code can pay for it; None if the reference loop is to run it."""
        unit = compiled.units.get(node)
        if unit is not None:
            return unit
        if node[1] > HEIGHT_MAX or len(compiled.units) >= self._limits.units_per_code_max:
            return None
        price = self._limits.steps_per_line
        if price and node not in compiled.plans:
            self._keep(compiled, node, None)
            return None
        plan = compiled.plans.get(node)
        if plan is None:
            if compiled.steps < price * min(len(compiled.program.code) // 4, _PLAN_LINES):
                return None
            plan = self._plan(compiled, node)
        if compiled.steps < price * plan.cost:
            return None
        return self._compile(compiled, plan)

    def _plan(self, compiled: CompiledCode, node: Node) -> Plan:
        """Plans are paid for too, even those that are never carried out."""
        plan = analysis.make_plan(compiled.program, node, HEIGHT_MAX)
        compiled.steps -= self._limits.steps_per_line * plan.cost // _PLANS_PER_COMPILATION
        self._keep(compiled, node, plan)
        return plan

    def _keep(self, compiled: CompiledCode, node: Node, plan: Plan | None) -> None:
        if len(compiled.plans) >= self._limits.units_per_code_max:
            compiled.plans.clear()
        compiled.plans[node] = plan

    def _compile(self, compiled: CompiledCode, plan: Plan) -> Unit:
        source = generate(compiled.program, plan, self._static_gas)
        names: dict[str, Any] = {**self._names, **source.names}
        binary = compile(source.text, f"<evm unit at {plan.entry[0]}>", "exec", dont_inherit=True)
        exec(binary, names)  # noqa: S102  # the source is ours: bytecode reaches it as numbers only
        unit: Unit = names["unit"]
        compiled.units[plan.entry] = unit
        compiled.plans.pop(plan.entry, None)
        compiled.steps -= self._limits.steps_per_line * source.written
        compiled.lines += source.written
        self._lines += source.written
        self._evict()
        return unit

    def _evict(self) -> None:
        limits = self._limits
        while len(self._codes) > limits.codes_max:
            self._lines -= self._codes.popitem(last=False)[1].lines
        if self._lines > limits.lines_max:
            # Counted anew: a frame may have compiled a code that is not in the cache any more.
            self._lines = sum(compiled.lines for compiled in list(self._codes.values()))
            while self._lines > limits.lines_max and len(self._codes) > 1:
                self._lines -= self._codes.popitem(last=False)[1].lines


_PLAN_LINES: Final = 100
"""A code that has not paid for so many lines is not looked at."""
_PLANS_PER_COMPILATION: Final = 4
"""Compiling takes so many times as long as planning."""

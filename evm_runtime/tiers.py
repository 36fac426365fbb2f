"""Which tiers run code besides the reference loop: one switch for the whole runtime. No tier ever changes a result."""

from dataclasses import dataclass, field
from typing import Final

from evm_runtime.computation import Tier
from evm_runtime.jit.cache import JitLimits
from evm_runtime.jit.tier import JitTier
from evm_runtime.llvm.tier import NativeTier


@dataclass(frozen=True, slots=True)
class Tiers:
    """`native` interprets all code in machine code (`evm_runtime/llvm/`) once that is compiled, or where it can be at all.

    Until then, or without it, `jit` compiles hot contract code to Python (`evm_runtime/jit/`), within `jit_limits`.
    """

    native: bool = True
    jit: bool = True
    jit_limits: JitLimits = field(default_factory=JitLimits)

    def make(self) -> Tier | None:
        python = JitTier(self.jit_limits) if self.jit else None
        return NativeTier(python) if self.native else python


DEFAULT_TIERS: Final = Tiers()

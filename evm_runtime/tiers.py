"""Which tiers run code besides the reference loop: one switch for the whole runtime. No tier ever changes a result."""

from dataclasses import dataclass, field
from typing import Final

from evm_runtime.fork import Tier
from evm_runtime.jit.cache import JitLimits
from evm_runtime.jit.tier import JitTier


@dataclass(frozen=True, slots=True)
class Tiers:
    """`jit` compiles hot contract code to Python (`evm_runtime/jit/`), within `jit_limits`."""

    jit: bool = True
    jit_limits: JitLimits = field(default_factory=JitLimits)

    def make(self) -> Tier | None:
        return JitTier(self.jit_limits) if self.jit else None


DEFAULT_TIERS: Final = Tiers()

"""What every tier makes of one request, and how often code falls into the slow loop."""

from collections.abc import Callable
from typing import Any

import pytest

from evm_runtime import computation as fork
from evm_runtime.calls import CallRequest
from evm_runtime.jit import tier as jit_tier
from evm_runtime.llvm import tier as native_tier
from evm_runtime.runtime import Runtime
from evm_runtime.transaction import GasTooLow
from tests.fuzz.machines import TIERS
from tests.unit.evm_runtime.chain import Chain

CAP = 16_000_000


def access_lists(chain: Chain, request: CallRequest, name: str = "") -> Any:
    """The access list of `request`, which must be the same on every tier; empty where its gas can't pay for the list."""
    found = {}
    for tier, tiers in TIERS.items():
        runtime = Runtime(chain.spec, chain.identity, chain.store, tiers=tiers)
        try:
            found[tier] = runtime.create_access_list(chain.tip, request, gas_cap=CAP)
        except GasTooLow as error:
            found[tier] = ((), str(error))
    assert all(each == found["interpreted"] for each in found.values()), f"{name} {request.gas}: {found}"
    return found["interpreted"][0]


def count_slow_frames(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The codes of the frames that are run by the reference loop from now on."""
    slow: list[bytes] = []

    def counted(run: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(computation: Any, *arguments: Any) -> Any:
            slow.append(computation.msg.code)
            return run(computation, *arguments)

        return wrapper

    for module, name in (
        (fork, "interpret"), (jit_tier, "interpret"), (jit_tier, "_interpret"), (native_tier, "interpret")
    ):  # fmt: skip
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return slow

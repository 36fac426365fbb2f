"""Recursion to depth 1024 ends as any call does: on every tier, for every kind of call and creation, on the node's threads."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio

from evm_runtime.calls import CallResult
from evm_runtime.runtime import CallRequest, Runtime, TraceOptions
from genesis.primitives import Address
from node.chain.worker import STACK_BYTES, WorkerThread
from node.rpc.workers import Pool
from tests.fuzz.machines import TIERS
from tests.unit.evm_runtime.chain import Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm

CODE = Address(b"\xe0" * 20)
CALLS = ["CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"]
CREATIONS = ["CREATE", "CREATE2"]
FRAMES = 1_025
"""Depth 0 is the message itself; what would be at depth 1025 is refused."""
GAS = 1 << 45


def recursing(kind: str) -> bytes:
    """Calls count their frames in what they return, creations in logs."""
    if kind in CREATIONS:
        salt = [7] if kind == "CREATE2" else []
        return asm("CODESIZE", 0, 0, "CODECOPY", 0, 0, "LOG0", *salt, "CODESIZE", 0, 0, kind)
    value = [0] if kind in ("CALL", "CALLCODE") else []
    return asm(32, 0, 0, 0, *value, CODE, "GAS", kind, 0, "MLOAD", 1, "ADD", 0, "MSTORE", 32, 0, "RETURN")


def chain_of(kind: str, tier: str) -> Chain:
    chain = Chain(make_spec(contract(CODE, recursing(kind))))
    chain.runtime = Runtime(chain.spec, chain.identity, chain.store, tiers=TIERS[tier])
    return chain


def on_worker(function: Callable[[], Any]) -> Any:
    async def main() -> Any:
        worker = WorkerThread("execution")
        try:
            return await worker.run(function)
        finally:
            worker.close()

    return trio.run(main)


def on_reader(function: Callable[[], Any]) -> Any:
    """As the RPC's reads and calls do."""

    async def main() -> Any:
        pool = Pool("reader", 1, wait_s=60.0)
        try:
            return await pool.run(function)
        finally:
            pool.close()

    return trio.run(main)


@pytest.mark.parametrize("kind", CALLS + CREATIONS)
@pytest.mark.parametrize("tier", TIERS)
def test_recursion_reaches_depth_1024_and_comes_back(kind: str, tier: str) -> None:
    chain = chain_of(kind, tier)

    def work() -> CallResult:
        return chain.runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=GAS)

    result = on_worker(work)
    assert result.status == "success"
    assert (len(result.logs) if kind in CREATIONS else int.from_bytes(result.output, "big")) == FRAMES
    assert on_reader(work) == result


@pytest.mark.parametrize("kind", ["CALL", "CREATE"])
def test_traces_of_such_recursion_come_back_too(kind: str) -> None:
    chain = chain_of(kind, "compiled")
    options = TraceOptions("muxTracer", {"callTracer": {"withLog": True}, "prestateTracer": {"diffMode": True}})

    def work() -> tuple[Any, Any]:
        request = CallRequest(to=CODE)
        steps = chain.runtime.trace_call(chain.tip, request, TraceOptions(config={"disableStack": True}), gas_cap=GAS)
        return chain.runtime.trace_call(chain.tip, request, options, gas_cap=GAS), steps

    mux, steps = on_reader(work)
    assert max(step["depth"] for step in steps["structLogs"]) == FRAMES
    depth, frame = 0, mux["callTracer"]
    while "calls" in frame:
        depth, frame = depth + 1, frame["calls"][0]
    assert depth == FRAMES and frame["error"] == "max call depth exceeded"


@pytest.mark.parametrize("tier", TIERS)
def test_a_block_of_recursion_is_executed_on_the_worker(tier: str) -> None:
    """With a block's gas the 63/64 rule ends it some hundred frames deep; what runs out does so in the innermost."""
    chain = chain_of("CALL", tier)
    executed = on_worker(lambda: chain.build([signed(0, nonce=0, to=CODE, gas=16_000_000)]))
    assert executed.receipts[0].status == 1
    assert executed.header == on_worker(lambda: chain.build([signed(0, nonce=0, to=CODE, gas=16_000_000)])).header


def test_the_stack_has_room_to_spare() -> None:
    """The deepest recursion fits a thread of 2 MiB; the node's have much more. (In a process of its own: it might crash.)"""
    script = (
        "import threading\n"
        "from tests.unit.evm_runtime.test_recursion import CODE, GAS, CallRequest, TraceOptions, chain_of\n"
        "chain = chain_of('CALL', 'compiled')\n"
        "def work():\n"
        "    chain.runtime.trace_call(chain.tip, CallRequest(to=CODE), TraceOptions('callTracer'), gas_cap=GAS)\n"
        "    print(int.from_bytes(chain.runtime.call(chain.tip, CallRequest(to=CODE), gas_cap=GAS).output, 'big'))\n"
        "threading.stack_size(2 * 1024 * 1024)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == f"{FRAMES}\n", done.stderr[-2_000:]
    assert STACK_BYTES >= 16 * 2 * 1024 * 1024

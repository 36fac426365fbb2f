"""Which loop runs the code of each kind of request: none of them may fall into the reference loop, a hundred times slower."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from trio.testing import trio_test

from tests.unit.evm_runtime.machines import count_slow_frames
from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.rpc.fakes import running
from tests.unit.rpc.real import ACCOUNTS, SPEC, RealNode, real_node

SENDER = ACCOUNTS[0].address
X, Y = "0x" + "c0" * 20, "0x" + "c1" * 20
LOOP = bytes.fromhex("5f5b600101806103e811600157") + asm(0, "SLOAD", 1, "ADD", 0, "SSTORE")
"""Counts to a thousand, and the calls in slot 0."""
RICH = {SENDER: {"balance": "0x56bc75e2d63100000"}}
CODE = {X: {"code": "0x" + LOOP.hex()}}
NATIVE = "0x0000000000000000000000000000000000000a00"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


async def deploy(node: RealNode) -> str:
    """The address of LOOP, with three calls in the tip's block."""

    async def send(nonce: int, **fields: Any) -> None:
        common = {
            "value": 0,
            "gas": 300_000,
            "chainId": SPEC.chain_id,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 1,
        }
        signed = ACCOUNTS[0].sign_transaction({"nonce": nonce, **common, **fields})
        await node.mempool.add(bytes(signed.raw_transaction))

    await send(0, data=deployer(LOOP))
    address = (await node.produce()).results[0].contract_address
    assert address is not None
    for nonce in range(1, 4):
        await send(nonce, to=to_checksum_address(address))
    assert [receipt.status for receipt in (await node.produce()).receipts] == [1, 1, 1]
    return "0x" + address.hex()


def requests(loop: str) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Every way to have code run, by what is special about it."""
    call = {"from": SENDER, "to": loop}
    made_up = {"from": SENDER, "to": X}
    simulated: dict[str, Any] = {"calls": [call, made_up], "stateOverrides": CODE}
    around = {"number": "0x100", "time": "0xffffffff"}
    return {
        "a call": ("eth_call", (call, "latest")),
        "with gas, which is not tried briefly": ("eth_call", ({**call, "gas": "0x2faf080"}, "latest")),
        "on an old state": ("eth_call", (call, "0x1")),
        "on pending": ("eth_call", (call, "pending")),
        "with a balance": ("eth_call", (call, "latest", RICH)),
        "with code": ("eth_call", (made_up, "latest", CODE)),
        "with code for a native": ("eth_call", ({**call, "to": NATIVE}, "latest", {NATIVE: CODE[X]})),
        "with storage": ("eth_call", (call, "latest", {loop: {"stateDiff": {"0x" + "00" * 32: "0x" + "11" * 32}}})),
        "in a block that is made up": ("eth_call", (call, "latest", {}, around)),
        "with both": ("eth_call", (made_up, "pending", CODE, around)),
        "an estimate": ("eth_estimateGas", (call,)),
        "an estimate with overrides": ("eth_estimateGas", (made_up, "latest", CODE, around)),
        "an access list": ("eth_createAccessList", (call,)),
        "an access list with overrides": ("eth_createAccessList", (made_up, "pending", CODE)),
        "a simulation": ("eth_simulateV1", ({"blockStateCalls": [simulated, {"calls": [call]}]},)),
        "a simulation that tells transfers": (
            "eth_simulateV1", ({"blockStateCalls": [simulated], "traceTransfers": True},)
        ),
        "filling in": ("eth_fillTransaction", (call,)),
    }  # fmt: skip


def trace_requests(loop: str, sent: str) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """Traces run what they tell of by the loop that can tell of it, and nothing else."""
    call, options = {"from": SENDER, "to": loop}, {"tracer": "callTracer"}
    return {
        "the last of three": ("debug_traceTransaction", (sent, options)),
        "behind two of three": ("debug_traceCall", (call, "latest", {**options, "txIndex": "0x2"})),
    }


@trio_test
async def test_no_request_falls_into_the_reference_loop(node: RealNode, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = await deploy(node)
    async with running(node, namespaces=("eth", "debug")) as client:
        slow = count_slow_frames(monkeypatch)
        for name, (method, params) in requests(loop).items():
            result = await client.call(method, *params)
            assert "error" not in result, name
            assert slow == [], name
        sent = "0x" + node.chain.tip().transactions[2].hash.hex()
        for name, (method, params) in trace_requests(loop, sent).items():
            slow.clear()
            assert "error" not in await client.call(method, *params), name
            assert slow == [LOOP], name


@trio_test
async def test_the_count_would_notice(node: RealNode, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = await deploy(node)
    async with running(node, namespaces=("eth", "debug")) as client:
        slow = count_slow_frames(monkeypatch)
        await client.call("debug_traceCall", {"to": loop}, "latest", {})
        assert slow == [LOOP]

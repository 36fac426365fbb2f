"""debug_traceCall in the middle of a block: `txIndex`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from trio.testing import trio_test

from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.rpc.fakes import running
from tests.unit.rpc.real import ACCOUNTS, SPEC, RealNode, real_node

COUNTER = asm(0, "SLOAD", 1, "ADD", "DUP1", 0, "SSTORE", 0, "MSTORE", 32, 0, "RETURN")
BESIDE = "0x" + "c7" * 20


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


async def counted(node: RealNode) -> str:
    """A counter that four transactions of the tip's block raised."""

    async def send(nonce: int, **fields: Any) -> None:
        common = {
            "value": 0,
            "gas": 200_000,
            "chainId": SPEC.chain_id,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 1,
        }
        signed = ACCOUNTS[0].sign_transaction({"nonce": nonce, **common, **fields})
        await node.mempool.add(bytes(signed.raw_transaction))

    await send(0, data=deployer(COUNTER))
    address = (await node.produce()).results[0].contract_address
    assert address is not None
    for nonce in range(1, 5):
        await send(nonce, to=to_checksum_address(address))
    assert len((await node.produce()).transactions) == 4
    return "0x" + address.hex()


@trio_test
async def test_a_call_is_traced_before_the_transaction_of_its_index(node: RealNode) -> None:
    counter = await counted(node)
    async with running(node, namespaces=("eth", "debug")) as client:

        async def found(block: str, **options: Any) -> int:
            traced = await client.call("debug_traceCall", {"to": counter}, block, {"tracer": "callTracer", **options})
            return int(traced["output"], 16)

        height = hex(node.chain.tip().height)
        assert [await found(height, txIndex=hex(place)) for place in range(4)] == [1, 2, 3, 4]
        await node.produce()  # the block is no tip any more
        assert [await found(height, txIndex=hex(place)) for place in (3, 0)] == [4, 1]
        assert await found(height) == await found("latest", txIndex="0x0") == await found("pending", txIndex="0x0") == 5
        raised = {counter: {"stateDiff": {"0x" + "00" * 32: f"0x{70:064x}"}}}
        assert await found(height, txIndex="0x2", stateOverrides=raised) == 71
        same = {"to": counter, "from": ACCOUNTS[1].address, "gas": "0x30d40"}
        state = {"tracer": "prestateTracer", "txIndex": "0x2"}
        slots = (await client.call("debug_traceCall", same, height, state))[counter]["storage"]
        assert slots == {"0x" + "00" * 32: f"0x{2:064x}"}


@trio_test
async def test_it_runs_in_the_block_itself(node: RealNode) -> None:
    await counted(node)
    stored = node.chain.tip()
    around = asm("NUMBER", 0, "MSTORE", "TIMESTAMP", 32, "MSTORE", 1, "NUMBER", "SUB", "BLOCKHASH", 64, "MSTORE")
    code = {BESIDE: {"code": "0x" + (around + asm(96, 0, "RETURN")).hex()}}
    async with running(node, namespaces=("eth", "debug")) as client:
        options = {"tracer": "callTracer", "txIndex": "0x1", "stateOverrides": code}
        output = (await client.call("debug_traceCall", {"to": BESIDE}, "latest", options))["output"]
        shown = (
            stored.height.to_bytes(32, "big"),
            stored.header.timestamp.to_bytes(32, "big"),
            stored.header.parent_hash,
        )
        assert output == "0x" + b"".join(shown).hex()


@pytest.mark.parametrize(
    ("block", "place", "code", "message"),
    [
        ("latest", "0x4", -32000, "transaction index 4 out of range for block 0x"),
        ("pending", "0x1", -32000, "transaction index 1 out of range for the pending block"),
        ("earliest", "0x0", -32000, "genesis is not traceable"),
        ("0x99", "0x0", -32000, "header not found"),
        ("latest", 1, -32602, "invalid argument 2: txIndex: expected a hex string, found number"),
    ],
)
@trio_test
async def test_places_that_are_not_there(node: RealNode, block: str, place: Any, code: int, message: str) -> None:
    counter = await counted(node)
    async with running(node, namespaces=("eth", "debug")) as client:
        found = await client.error("debug_traceCall", {"to": counter}, block, {"txIndex": place})
        assert found[0] == code and found[1].startswith(message)

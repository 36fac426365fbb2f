"""The block to come, as calls, estimates, access lists and traces see it, beside the block that then comes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from trio.testing import trio_test

from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS
from node.interfaces import StoredBlock
from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.rpc.fakes import Client, running
from tests.unit.rpc.real import ACCOUNTS, SPEC, RealNode, real_node

SENDER = ACCOUNTS[0].address
X = "0x" + "c0" * 20
RETURN_WORD = asm(0, "MSTORE", 32, 0, "RETURN")


def ask(address: bytes, *argument: str | int) -> bytes:
    """Call a contract with one word; leaves what it returns."""
    return asm(*argument, 0, "MSTORE", 32, 0, 32, 0, address, "GAS", "STATICCALL", "POP", 0, "MLOAD")


ALL = [
    asm(1, "NUMBER", "SUB", "BLOCKHASH"),
    ask(HISTORY_ADDRESS, 1, "NUMBER", "SUB"),
    ask(BEACON_ROOTS_ADDRESS, "TIMESTAMP"),
    *(asm(name) for name in ("TIMESTAMP", "NUMBER", "GASLIMIT", "COINBASE", "PREVRANDAO", "BASEFEE")),
]
KNOWN = (0, 1, 3, 4, 5, 6, 8)
"""Those of `ALL` that are known before the block is proposed."""
STORES_ALL = b"".join(each + asm(place, "SSTORE") for place, each in enumerate(ALL))
RETURNS_ALL = b"".join(each + asm(0x100 + 32 * place, "MSTORE") for place, each in enumerate(ALL))
PROBE = STORES_ALL + RETURNS_ALL + asm(32 * len(ALL), 0x100, "RETURN")


def require(condition: bytes) -> bytes:
    """Code that reverts unless `condition` leaves something else than zero."""
    end = len(condition) + 7
    code = condition + b"\x61" + end.to_bytes(2, "big") + asm("JUMPI", 0, 0, "REVERT")
    assert len(code) == end
    return code + b"\x5b"


NEEDS_TIME = require(asm(0, "SLOAD", "TIMESTAMP", "GT")) + asm("TIMESTAMP", 0, "SSTORE")
NEEDS_HASH = require(asm(1, "NUMBER", "SUB", "BLOCKHASH"))
"""Solidity's `require(blockhash(block.number - 1) != 0)`."""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        made.now_ms = SPEC.genesis_time_ms + 60_000
        yield made


async def send(client: Client, node: RealNode, **fields: Any) -> StoredBlock:
    """Send from SENDER with the gas that the node estimates, and make the block."""
    asked = {name: f"0x{value.hex()}" if isinstance(value, bytes) else value for name, value in fields.items()}
    gas = int(await client.call("eth_estimateGas", {"from": SENDER, "maxFeePerGas": hex(10**10), **asked}), 16)
    to = {"to": to_checksum_address(fields["to"])} if "to" in fields else {}
    nonce = node.mempool.pending_nonce(bytes.fromhex(SENDER[2:]))  # type: ignore[arg-type]
    signed = ACCOUNTS[0].sign_transaction(
        {"nonce": nonce, "gas": gas, "value": 0, "chainId": SPEC.chain_id, "maxFeePerGas": 10**10,
         "maxPriorityFeePerGas": 1, **fields, **to}
    )  # fmt: skip
    await node.mempool.add(bytes(signed.raw_transaction))
    return await node.produce()


async def deploy(client: Client, node: RealNode, code: bytes) -> str:
    stored = await send(client, node, data=deployer(code))
    assert stored.receipts[0].status == 1
    address = stored.results[0].contract_address
    assert address is not None
    return "0x" + address.hex()


def words(output: str) -> list[int]:
    return [int(output[at : at + 64], 16) for at in range(2, len(output), 64)]


@trio_test
async def test_what_a_call_on_pending_sees_is_what_the_next_block_shows(node: RealNode) -> None:
    async with running(node) as client:
        probe = await deploy(client, node, PROBE)
        node.now_ms = node.chain.tip().time_ms + SPEC.block.empty_interval_ms + 7_000
        priced = {"from": SENDER, "to": probe, "gas": "0x200000", "maxFeePerGas": hex(10**10)}
        seen = words(await client.call("eth_call", priced, "pending"))
        assert all(seen), "not one of them is zero"
        stored = await send(client, node, to=probe)
        assert stored.receipts[0].status == 1
        shown = [
            int(await client.call("eth_getStorageAt", probe, hex(place), "latest"), 16) for place in range(len(ALL))
        ]
        assert [seen[place] for place in KNOWN] == [shown[place] for place in KNOWN]
        assert seen[0] == int.from_bytes(stored.header.parent_hash, "big")
        assert words(await client.call("eth_call", priced, "latest"))[4] == stored.height, "`latest` is the tip itself"


@trio_test
async def test_every_way_to_ask_about_the_next_block_sees_the_same_block(node: RealNode) -> None:
    async with running(node, namespaces=("eth", "debug")) as client:
        await node.produce()
        priced = {"from": SENDER, "to": X, "gas": "0x200000", "maxFeePerGas": hex(10**10)}
        code = {X: {"code": "0x" + PROBE.hex()}}
        called = await client.call("eth_call", priced, "pending", code)
        options = {"stateOverrides": code, "tracer": "callTracer"}
        assert (await client.call("debug_traceCall", priced, "pending", options))["output"] == called
        seen = words(called)
        expected = b"".join(
            each + b"\x7f" + seen[place].to_bytes(32, "big") + asm("XOR") + (asm("OR") if place else b"")
            for place, each in enumerate(ALL)
        )
        strict = require(expected + asm("ISZERO"))
        strict_code = {X: {"code": "0x" + strict.hex()}}
        for block in ("pending", "latest"):
            assert await client.call("eth_estimateGas", priced, block, strict_code)
            answer = await client.call("eth_createAccessList", priced, block, strict_code)
            assert "error" not in answer
        assert (await client.ask("eth_estimateGas", priced, "0x1", strict_code))["error"]["code"] == 3
        request = {"blockStateCalls": [{"stateOverrides": code, "calls": [priced]}], "validation": True}
        (simulated,) = await client.call("eth_simulateV1", request)
        output = words(simulated["calls"][0]["returnData"])
        assert [output[place] for place in (0, 1, 4, 5, 8)] == [seen[place] for place in (0, 1, 4, 5, 8)]


@trio_test
async def test_a_contract_that_needs_the_tips_hash_can_be_called(node: RealNode) -> None:
    stores = asm(1, "NUMBER", "SUB", "BLOCKHASH", 0, "SSTORE")
    async with running(node) as client:
        for code in (NEEDS_HASH, stores):
            address = await deploy(client, node, code)
            assert (await send(client, node, to=address)).receipts[0].status == 1
        assert int(await client.call("eth_getStorageAt", address, "0x0", "latest"), 16)


@trio_test
async def test_time_passes_for_estimates_without_a_block(node: RealNode) -> None:
    async with running(node) as client:
        address = await deploy(client, node, NEEDS_TIME)
        await send(client, node, to=address)
        call = {"from": SENDER, "to": address}
        asked: list[tuple[str, Any]] = [
            ("eth_estimateGas", (call,)), ("eth_createAccessList", (call,)), ("eth_call", (call, "pending"))
        ]  # fmt: skip
        node.now_ms = node.chain.tip().time_ms
        refused = [await client.ask(method, *params) for method, params in asked]
        assert ["error" in (each.get("result") or each) for each in refused] == [True, True, True]
        node.now_ms += 1_000  # no block comes
        for method, params in asked:
            assert "error" not in await client.call(method, *params), method
        assert (await send(client, node, to=address)).receipts[0].status == 1


@trio_test
async def test_an_answer_about_the_next_block_is_kept_for_a_second(node: RealNode) -> None:
    clock = "0x" + (asm("TIMESTAMP") + RETURN_WORD).hex()
    asked = ({"to": X}, "pending", {X: {"code": clock}})
    async with running(node) as client:
        assert node.now_ms is not None
        first = await client.call("eth_call", *asked)
        assert int(first, 16) == node.now_ms // 1_000
        assert await client.call("eth_call", *asked) == first
        node.now_ms += 1_000
        assert int(await client.call("eth_call", *asked), 16) == int(first, 16) + 1
        node.now_ms = (
            SPEC.genesis_time_ms - 10_000
        )  # a clock that is behind: no block may be earlier than its parent allows
        due = (node.chain.tip().time_ms + SPEC.block.interval_ms) // 1_000
        assert int(await client.call("eth_call", *asked), 16) == due
        latest = await client.call("eth_call", {"to": X}, {"blockNumber": "pending"}, {X: {"code": clock}})
        assert int(latest, 16) == due


@trio_test
async def test_hashes_in_a_block_that_is_moved_to_another_height(node: RealNode) -> None:
    """The ring of EIP-2935 holds an old block's hash in the place of one that is not there yet."""
    code = {X: {"code": "0x" + (asm(0, "CALLDATALOAD", "BLOCKHASH") + RETURN_WORD).hex()}}
    async with running(node) as client:
        for _ in range(3):
            await node.produce()

        async def found(height: int, block: str, **around: Any) -> int:
            call = {"to": X, "data": f"0x{height:064x}"}
            return int(await client.call("eth_call", call, block, code, {"number": hex(10), **around}), 16)

        for block in ("latest", "pending"):
            for height in range(4):
                header = node.chain.header(height)  # type: ignore[arg-type]
                assert header is not None
                assert await found(height, block) == int.from_bytes(header.hash, "big"), (block, height)
            assert await found(5, block) == 0
            assert await found(8_191 + 2, block, number=hex(8_191 + 4)) == 0, "that would be block 2's"
            assert await found(5, block, blockHash={"0x5": "0x" + "55" * 32}) == int("55" * 32, 16)

"""eth_simulateV1 over a real chain: blocks that build on each other, overrides, transfers, validation, and every refusal."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trio.testing import trio_test

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import keccak256
from tests.unit.rpc.fakes import running
from tests.unit.rpc.real import ACCOUNTS, RealNode, real_node

A, B, C = ("0x" + byte * 20 for byte in ("c0", "c1", "c2"))
RICH = ACCOUNTS[0].address.lower()
COUNTER = "0x5f5460010180" + "5f5560005260206000f3"
"""Adds one to slot 0 and returns the sum."""
REVERTS = "0x60006000fd"
FOREVER = "0x5b600056"
TRANSFER = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
LOGS = "0x60006000a0" + "00"
FORWARD = "0x5f5f5f5f4773" + "c2" * 20 + "5af100"
"""Sends its whole balance to C."""
BURNS = "0x41ff"
"""SELFDESTRUCT to the coinbase."""
BLOCKHASH = "0x6001430340" + "5f5260205ff3"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


def payload(*blocks: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"blockStateCalls": list(blocks), **options}


def results(blocks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(call["status"], call["returnData"]) for block in blocks for call in block["calls"]]


def word(value: int) -> str:
    return f"0x{value:064x}"


@trio_test
async def test_each_call_sees_what_the_last_one_left(node: RealNode) -> None:
    call = {"from": A, "to": B}
    first = {"stateOverrides": {B: {"code": COUNTER}}, "calls": [call, call]}
    async with running(node) as client:
        blocks = await client.call("eth_simulateV1", payload(first, {"calls": [call]}))
        assert results(blocks) == [("0x1", word(number)) for number in (1, 2, 3)]
        assert [int(block["number"], 16) for block in blocks] == [1, 2]
        assert blocks[0]["parentHash"] == "0x" + node.chain.tip().hash.hex()
        assert blocks[1]["parentHash"] == blocks[0]["hash"]
        assert int(blocks[1]["timestamp"], 16) > int(blocks[0]["timestamp"], 16)
        assert blocks[0]["stateRoot"] != blocks[1]["stateRoot"]
        assert len(set(blocks[0]["transactions"])) == 2, "the nonce went on"
        assert blocks[0]["gasUsed"] == hex(sum(int(each["gasUsed"], 16) for each in blocks[0]["calls"]))
        assert await client.call("eth_getCode", B, "latest") == "0x", "nothing is kept"


@trio_test
async def test_a_simulated_block_is_the_block_that_is_made(node: RealNode) -> None:
    """Gas, status and receipts as in the real block with the same transfer."""
    fields = {"nonce": 0, "to": C, "value": 5, "gas": 21_000, "chainId": node.chain.spec.chain_id}
    fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**6}
    sent = {name: hex(value) if isinstance(value, int) else value for name, value in (fields | fees).items()}
    async with running(node) as client:
        (made_up,) = await client.call("eth_simulateV1", payload({"calls": [{"from": RICH, **sent}]}, validation=True))
        raw = ACCOUNTS[0].sign_transaction({**fields, **fees, "to": bytes.fromhex(C[2:])})
        await node.mempool.add(bytes(raw.raw_transaction))
        real = await node.produce()
        assert made_up["receiptsRoot"] == "0x" + real.header.receipts_root.hex()
        assert made_up["baseFeePerGas"] == hex(real.header.base_fee_per_gas)
        assert made_up["gasUsed"] == hex(real.header.gas_used)


@trio_test
async def test_gaps_are_filled_and_hashes_lead_back(node: RealNode) -> None:
    await node.produce()
    jump = {
        "blockOverrides": {"number": "0x5"},
        "stateOverrides": {B: {"code": BLOCKHASH}},
        "calls": [{"to": B}],
    }
    async with running(node) as client:
        blocks = await client.call("eth_simulateV1", payload({}, jump))
        assert [int(block["number"], 16) for block in blocks] == [2, 3, 4, 5]
        assert blocks[-1]["calls"][0]["returnData"] == blocks[-2]["hash"]


@trio_test
async def test_every_way_in_which_ether_moves_and_none_in_which_it_does_not(node: RealNode) -> None:
    push = {A: "73" + A[2:], B: "73" + B[2:], C: "73" + C[2:]}
    own_log = "5f5fa0"

    def call(kind: str, to: str, value: int = 1) -> str:
        """One inner call that forwards all gas and drops its result."""
        with_value = f"60{value:02x}" if kind in ("f1", "f2") else ""
        return "5f5f5f5f" + with_value + push[to] + "5a" + kind + "50"

    create = "5f5f6003f050"  # of nothing, with 3 wei
    cases: dict[str, tuple[str, list[tuple[str, str, int] | None]]] = {
        "nothing": ("", []),
        "a call and a log": (call("f1", C) + own_log, [(B, C, 1), None]),
        "to itself": (f"30331460{6 + len(call('f1', B)) // 2:02x}57{call('f1', B)}5b", [(B, B, 1)]),
        "callcode, delegatecall, staticcall": (call("f2", C) + call("f4", C) + call("fa", C), []),
        "more than there is": (call("f1", C, 200) + call("f1", C, 2), [(B, C, 2)]),
        "a creation": (create, [(B, "", 3)]),
        "a call that reverts, and its calls": (call("f1", A), []),
        "selfdestruct": (call("f1", C) + push[C] + "ff", [(B, C, 1), (B, C, 108)]),
    }
    reverting = call("f1", C, 5) + own_log + "5f5ffd"
    async with running(node) as client:
        for name, (code, moved) in cases.items():
            accounts = {B: {"code": "0x" + code, "balance": "0x64"}, A: {"code": "0x" + reverting, "balance": "0x64"}}
            block = {"stateOverrides": accounts, "calls": [{"from": RICH, "to": B, "value": "0x9"}]}
            (found,) = await client.call("eth_simulateV1", payload(block, traceTransfers=True))
            (result,) = found["calls"]
            assert result["status"] == "0x1", name
            logs = [log for log in result["logs"] if log["topics"]]
            expected = [(RICH, B, 9), *(each for each in moved if each)]
            assert len(logs) == len(expected), name
            for log, (sender, to, value) in zip(logs, expected, strict=True):
                assert log["topics"][1][26:] == sender[2:] and int(log["data"], 16) == value, name
                assert not to or log["topics"][2][26:] == to[2:], name
            places = [place for place, log in enumerate(result["logs"]) if not log["topics"]]
            assert places == [place + 1 for place, each in enumerate(moved) if each is None], name
            assert (int(found["logsBloom"], 16) != 0) == bool(places), name
            (plain,) = await client.call("eth_simulateV1", payload(block))
            assert plain["calls"][0]["gasUsed"] == result["gasUsed"], name


@trio_test
async def test_ether_that_moves_is_logged_like_a_token(node: RealNode) -> None:
    overrides = {A: {"balance": "0x64"}, B: {"code": FORWARD}}
    move = {"from": A, "to": B, "value": "0x9"}
    async with running(node) as client:
        request = payload({"stateOverrides": overrides, "calls": [move]}, traceTransfers=True)
        (block,) = await client.call("eth_simulateV1", request)
        logs = block["calls"][0]["logs"]
        assert [log["topics"] for log in logs] == [
            [TRANSFER, "0x" + "00" * 12 + sender[2:], "0x" + "00" * 12 + to[2:]] for sender, to in ((A, B), (B, C))
        ]
        assert [(log["address"], log["data"], log["logIndex"]) for log in logs] == [
            ("0x" + "ee" * 20, word(9), hex(place)) for place in (0, 1)
        ]
        assert int(block["logsBloom"], 16) == 0
        (plain,) = await client.call("eth_simulateV1", payload({"stateOverrides": overrides, "calls": [move]}))
        assert plain["calls"][0]["logs"] == []
        assert plain["calls"][0]["gasUsed"] == block["calls"][0]["gasUsed"]
        request["blockStateCalls"][0]["stateOverrides"][B]["code"] = REVERTS
        (block,) = await client.call("eth_simulateV1", request)
        assert block["calls"][0]["logs"] == []
        request["blockStateCalls"][0]["stateOverrides"][B]["code"] = BURNS
        (block,) = await client.call("eth_simulateV1", request)
        assert len(block["calls"][0]["logs"]) == 2, "the call's value, and the destroyed contract's balance"
        sent = payload(
            {"stateOverrides": overrides, "calls": [{"from": A, "to": C, "value": "0x9"}]}, traceTransfers=True
        )
        (block,) = await client.call("eth_simulateV1", sent)
        assert len(block["calls"][0]["logs"]) == 1, "to where no code is"


@trio_test
async def test_a_call_may_fail_and_the_rest_goes_on(node: RealNode) -> None:
    accounts = {B: {"code": REVERTS}, C: {"code": FOREVER}, A: {"code": LOGS}}
    calls = [{"to": B}, {"to": C, "gas": "0xffff"}, {"to": A}]
    async with running(node) as client:
        (block,) = await client.call("eth_simulateV1", payload({"stateOverrides": accounts, "calls": calls}))
        reverted, exhausted, fine = block["calls"]
        assert reverted["error"] == {"code": 3, "message": "execution reverted", "data": "0x"}
        assert exhausted["error"] == {"code": -32015, "message": "out of gas"}
        assert (fine["status"], len(fine["logs"])) == ("0x1", 1)
        assert (fine["logs"][0]["transactionIndex"], fine["logs"][0]["transactionHash"]) == (
            "0x2",
            block["transactions"][2],
        )


@trio_test
async def test_whole_transactions(node: RealNode) -> None:
    calls = [{"from": A, "to": B, "gasPrice": "0x0"}, {"from": A, "to": B}]
    async with running(node) as client:
        request = payload({"calls": calls}, returnFullTransactions=True)
        (block,) = await client.call("eth_simulateV1", request)
        legacy, dynamic = block["transactions"]
        assert (legacy["type"], dynamic["type"], dynamic["from"]) == ("0x0", "0x2", A)
        assert dynamic["blockHash"] == block["hash"]


@trio_test
async def test_overriding_storage_as_a_whole_and_in_part(node: RealNode) -> None:
    slot, seven = "0x" + "00" * 32, word(7)
    async with running(node) as client:
        blocks = await client.call(
            "eth_simulateV1",
            payload(
                {"stateOverrides": {B: {"code": COUNTER, "state": {slot: seven}}}, "calls": [{"to": B}]},
                {"stateOverrides": {B: {"stateDiff": {slot: word(20)}}}, "calls": [{"to": B}]},
                {"stateOverrides": {B: {"state": {}}}, "calls": [{"to": B}, {"to": B}]},
            ),
        )
        assert results(blocks) == [("0x1", word(number)) for number in (8, 21, 1, 2)]


@trio_test
async def test_storage_of_an_account_that_is_not_there(node: RealNode) -> None:
    """Found by the fuzzer: the slots had no account to belong to when the block ended."""
    slots = {"0x" + "00" * 32: word(7)}
    async with running(node) as client:
        for member in ("state", "stateDiff"):
            first = {"stateOverrides": {B: {member: slots}}}
            called = {**first, "calls": [{"to": B, "value": "0x0"}]}
            then = {"stateOverrides": {B: {"code": COUNTER}}, "calls": [{"to": B}]}
            kept = await client.call("eth_simulateV1", payload(first, then))
            assert results(kept) == [("0x1", word(8))]
            swept = await client.call("eth_simulateV1", payload(called, then))
            assert results(swept) == [("0x1", "0x"), ("0x1", word(1))], "a call touches it, and it is empty"


@trio_test
async def test_the_native_contract_is_there_and_keeps_nothing(node: RealNode) -> None:
    attribution = "0x" + ATTRIBUTION_ADDRESS.hex()
    selector = "0x" + keccak256(b"quote(uint64,uint32,uint32)")[:4].hex()
    async with running(node) as client:
        call = {"to": attribution, "input": selector + "00" * 96}
        (block,) = await client.call("eth_simulateV1", payload({"calls": [call]}))
        assert block["calls"][0]["error"]["code"] == 3


SHA256, IDENTITY = ("0x" + "00" * 19 + number for number in ("02", "04"))
DIGEST = "0x" + hashlib.sha256(b"OpenLedger").hexdigest()


def moving(moves: dict[str, str], others: dict[str, Any] | None = None) -> dict[str, Any]:
    """A block that moves precompiles."""
    moved = {source: {"movePrecompileToAddress": target} for source, target in moves.items()}
    return {"stateOverrides": moved | (others or {})}


@trio_test
async def test_a_precompile_is_moved_for_its_block(node: RealNode) -> None:
    """Where it was is an ordinary account, with what code it is given; the block after has it back, as in geth."""
    asked = [{"to": each, "input": "0x" + b"OpenLedger".hex()} for each in (SHA256, B)]
    code = {SHA256: {"movePrecompileToAddress": B, "code": COUNTER}}
    async with running(node) as client:
        blocks = await client.call(
            "eth_simulateV1",
            payload(
                {**moving({SHA256: B}), "calls": asked},
                {"calls": asked},
                {"stateOverrides": code, "calls": [*asked, asked[0]]},
                {"calls": asked},
            ),
        )
        empty, one, two = (("0x1", output) for output in ("0x", word(1), word(2)))
        digest = ("0x1", DIGEST)
        assert results(blocks) == [empty, digest, digest, empty, one, digest, two, digest, empty]
        found = await client.call("eth_call", asked[1], "latest", moving({SHA256: B})["stateOverrides"])
        assert found == DIGEST


@pytest.mark.parametrize(
    ("blocks", "options", "code", "words"),
    [
        ([{"blockOverrides": {"number": "0x0"}}], {}, -38020, "block numbers must be in order: 0 <= 0"),
        ([{"blockOverrides": {"time": "0x1"}}], {}, -38021, "block timestamps must be in order"),
        ([{"blockOverrides": {"number": "0xffff"}}], {}, -38026, "too many blocks"),
        ([{}] * 257, {}, -38026, "too many blocks"),
        ([{"calls": [{"from": A, "to": B, "value": "0x1"}]}], {}, -38014, "insufficient funds for gas * price + value"),
        ([{"calls": [{"from": A, "to": B, "gas": "0x1"}]}], {}, -38013, "intrinsic gas too low: have 1, want 21000"),
        ([{"calls": [{"to": B, "gas": "0xfffffff"}]}], {}, -38015, "block gas limit reached"),
        ([{"calls": [{"data": "0x" + "00" * 49_153}]}], {}, -38025, "max initcode size exceeded"),
        ([{"calls": [{"from": A, "to": B}]}], {"validation": True}, -38012, "max fee per gas less than block base fee"),
        (
            [{"calls": [{"from": RICH, "to": B, "nonce": "0x3", "gas": "0x5208", "maxFeePerGas": "0xffffffffff"}]}],
            {"validation": True},
            -38011,
            "nonce too high",
        ),
        (
            [{"stateOverrides": {A: {"nonce": "0xffffffffffffffff"}}, "calls": [{"from": A}]}],
            {},
            -32603,
            "nonce has max value",
        ),
        ([], {}, -32602, "empty input"),
        ([{"calls": 3}], {}, -32602, "blockStateCalls 0: calls: expected an array"),
        ([{"calls": [{}] * 1_001}], {}, -38026, "too many calls: 1001 > 1000"),
        ([moving({A: B})], {}, -32000, f"account {A} is not a precompile"),
        ([moving({SHA256: B}, {B: {}})], {}, -32000, f"account {B} is already overridden"),
        ([moving({SHA256: SHA256})], {}, -38022, "MovePrecompileToAddress referenced itself in replacement"),
        ([moving({SHA256: B, IDENTITY: B})], {}, -38023, "referencing the same address to replace"),
    ],
)
@trio_test
async def test_refusals(
    node: RealNode, blocks: list[dict[str, Any]], options: dict[str, Any], code: int, words: str
) -> None:
    async with running(node) as client:
        found, message = await client.error("eth_simulateV1", payload(*blocks, **options))
        assert found == code
        assert words in message


@trio_test
async def test_all_calls_share_one_allowance_of_gas(node: RealNode) -> None:
    spends = {"from": A, "to": C, "gas": hex(900_000)}
    async with running(node, {"call_gas_max": 1_000_000}) as client:
        request = payload({"stateOverrides": {C: {"code": FOREVER}}, "calls": [spends, spends]})
        (block,) = await client.call("eth_simulateV1", request)
        used = [int(call["gasUsed"], 16) for call in block["calls"]]
        assert used == [900_000, 100_000]


@trio_test
async def test_a_simulation_ends_in_time(node: RealNode) -> None:
    async with running(node, {"call_timeout_s": 0.05, "call_gas_max": 10**12}) as client:
        endless = {
            "blockOverrides": {"gasLimit": hex(10**12)},
            "stateOverrides": {C: {"code": FOREVER}},
            "calls": [{"to": C}],
        }
        code, message = await client.error("eth_simulateV1", payload(endless))
        assert (code, message) == (-32000, "execution aborted (timeout = 0.05s)")

"""JSON-RPC over a real chain: LevelDB, the runtime, the native contracts. web3.py is the client where it can be."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import trio
from eth_abi import encode
from eth_utils.crypto import keccak
from trio.testing import trio_test
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError, Web3RPCError
from web3.logs import DISCARD

from evm_runtime.runtime import Runtime
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from node.chain.index_warmer import IndexWarmer
from node.node import Indexes
from node.rpc.workers import Workers
from tests.unit.rpc.fakes import Client, running
from tests.unit.rpc.real import ACCOUNTS, ADDRESSES, KEYS, SPEC, VALIDATOR, RealNode, real_node
from tests.unit.rpc.test_jsonrpc import check_answer, mutated
from tests.unit.rpc.test_server import post, raw, read_answers
from tests.unit.rpc.ws_client import WsClient

T = TypeVar("T")

TOKEN_SOURCE = """
# pragma version ^0.4.0
event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

balances: public(HashMap[address, uint256])
total: public(uint256)

@deploy
def __init__(amount: uint256):
    self.balances[msg.sender] = amount
    self.total = amount
    log Transfer(sender=empty(address), receiver=msg.sender, amount=amount)

@external
def transfer(receiver: address, amount: uint256) -> bool:
    assert self.balances[msg.sender] >= amount, "not enough"
    self.balances[msg.sender] -= amount
    self.balances[receiver] += amount
    log Transfer(sender=msg.sender, receiver=receiver, amount=amount)
    return True

@external
@view
def number() -> (uint256, uint256, address):
    return (block.number, block.timestamp, block.coinbase)
"""
CODE_AT = Web3.to_checksum_address("0x" + "c0de" * 10)
FOREVER = "0x5b5f5f5f5f60045afa50" + "5f56"
"""Calls a precompile again and again: what takes longest for its gas, so that 50 million last for seconds in any tier."""
"""JUMPDEST, jump back: runs until gas or time is over."""
PANIC = "0x" + (bytes.fromhex("634e487b7160e01b60005260116004526024") + bytes.fromhex("6000fd")).hex()
CUSTOM_ERROR = "0x63deadbeef60e01b60005260046000fd"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def token_artifact() -> dict[str, Any]:
    import vyper

    found: dict[str, Any] = vyper.compile_code(TOKEN_SOURCE, output_formats=["abi", "bytecode"])
    return found


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def web3(client: Client) -> Web3:
    return Web3(HTTPProvider(client.url, request_kwargs={"timeout": 20}))


async def in_thread(function: Callable[[], T]) -> T:
    """web3.py blocks, so it runs in a thread, as it would in another process."""
    return await trio.to_thread.run_sync(function)


@asynccontextmanager
async def live(node: RealNode, **limits: Any) -> AsyncIterator[tuple[Client, Web3]]:
    """A server, a node that makes blocks when transactions wait, and a web3.py client."""
    async with running(node, limits) as client, trio.open_nursery() as nursery:
        nursery.start_soon(node.produce_forever)
        yield client, web3(client)
        nursery.cancel_scope.cancel()


def send(w3: Web3, transaction: Any, sender: int = 0, **changes: Any) -> Any:
    """Fill in with web3.py's own defaults, sign, send, wait for the receipt."""
    account = ACCOUNTS[sender]
    filled = {
        "from": account.address,
        "nonce": w3.eth.get_transaction_count(account.address),
        "chainId": w3.eth.chain_id,
    }
    if hasattr(transaction, "build_transaction"):
        built = transaction.build_transaction({**filled, **changes})
    else:
        built = {
            **filled,
            "gas": w3.eth.estimate_gas({"from": account.address, **transaction}),
            **transaction,
            **changes,
        }
        built.setdefault("maxPriorityFeePerGas", w3.eth.max_priority_fee)
        built.setdefault(
            "maxFeePerGas", 2 * w3.eth.get_block("latest")["baseFeePerGas"] + built["maxPriorityFeePerGas"]
        )
    signed = w3.eth.account.sign_transaction(built, KEYS[sender])
    return w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction), 20, 0.01)


def deploy(w3: Web3, artifact: dict[str, Any]) -> Any:
    factory = w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    receipt = send(w3, factory.constructor(1_000))
    assert receipt["status"] == 1
    return w3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"]), receipt


@trio_test
async def test_web3_transfers(node: RealNode) -> None:
    def client_side() -> None:
        assert w3.is_connected()
        target = ACCOUNTS[1].address
        before = w3.eth.get_balance(target), w3.eth.get_balance(ACCOUNTS[0].address)
        receipt = send(w3, {"to": target, "value": 10**18})
        assert (receipt["status"], receipt["gasUsed"], receipt["type"]) == (1, 21_000, 2)
        fee = receipt["gasUsed"] * receipt["effectiveGasPrice"]
        assert w3.eth.get_balance(target) == before[0] + 10**18
        assert w3.eth.get_balance(ACCOUNTS[0].address) == before[1] - 10**18 - fee
        assert w3.eth.get_balance(target, receipt["blockNumber"] - 1) == before[0]
        block = w3.eth.get_block(receipt["blockNumber"], True)
        assert block["transactions"][0]["hash"] == receipt["transactionHash"]
        assert w3.eth.get_transaction(receipt["transactionHash"])["value"] == 10**18
        signed = w3.eth.account.sign_transaction(
            {"to": target, "value": 1, "gas": 21_000, "gasPrice": w3.eth.gas_price, "nonce": 1, "chainId": 31_337},
            KEYS[0],
        )
        legacy = w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction), 20, 0.01)
        assert legacy["type"] == 0
        with pytest.raises(Web3RPCError, match="nonce too low"):
            w3.eth.send_raw_transaction(
                w3.eth.account.sign_transaction(
                    {"to": target, "gas": 21_000, "gasPrice": 10**10, "nonce": 0, "chainId": 31_337}, KEYS[0]
                ).raw_transaction
            )

    async with live(node) as (_, w3):
        await in_thread(client_side)


@trio_test
async def test_web3_deploys_calls_and_reads_events(node: RealNode, token_artifact: dict[str, Any]) -> None:
    def client_side() -> None:
        token, _deployed = deploy(w3, token_artifact)
        one, two = ACCOUNTS[0].address, ACCOUNTS[1].address
        assert len(w3.eth.get_code(token.address)) > 50
        assert token.functions.total().call() == 1_000
        new = w3.eth.filter({"address": token.address})
        receipts = [send(w3, token.functions.transfer(two, amount)) for amount in (1, 2, 3)]
        assert token.functions.balances(two).call() == 6
        assert token.functions.balances(two).call(block_identifier=receipts[0]["blockNumber"]) == 1
        events = token.events.Transfer().get_logs(from_block=0)
        assert [event["args"]["amount"] for event in events] == [1_000, 1, 2, 3]
        mine = token.events.Transfer().get_logs(from_block=0, argument_filters={"receiver": two})
        assert [event["args"]["amount"] for event in mine] == [1, 2, 3]
        assert [log["transactionHash"] for log in new.get_new_entries()] == [
            each["transactionHash"] for each in receipts
        ]
        with pytest.raises(ContractLogicError, match="not enough"):
            token.functions.transfer(two, 10_000).call({"from": one})
        with pytest.raises(ContractLogicError, match="execution reverted: not enough"):
            token.functions.transfer(two, 10_000).estimate_gas({"from": one})
        failed = send(w3, token.functions.transfer(two, 10_000), gas=200_000)
        assert (failed["status"], failed["logs"]) == (0, [])
        history = w3.eth.fee_history(4, "latest", [50])
        assert len(history["gasUsedRatio"]) == 4 and history["gasUsedRatio"][-1] > 0
        assert history["baseFeePerGas"][-2] == w3.eth.get_block("latest")["baseFeePerGas"]
        slot = w3.eth.get_storage_at(token.address, 1)
        assert int.from_bytes(slot, "big") == 1_000

    async with live(node) as (_, w3):
        await in_thread(client_side)


@trio_test
async def test_calls_with_overrides(node: RealNode, token_artifact: dict[str, Any]) -> None:
    def client_side() -> None:
        token, _ = deploy(w3, token_artifact)
        holder = ACCOUNTS[2].address
        key = keccak(encode(["uint256", "address"], [0, holder]))
        assert token.functions.balances(holder).call() == 0
        overridden = token.functions.balances(holder).call(
            state_override={token.address: {"stateDiff": {hexed(key): "0x" + "00" * 31 + "07"}}}
        )
        assert overridden == 7
        assert token.functions.total().call(state_override={token.address: {"state": {}}}) == 0
        rich = {"from": "0x" + "99" * 20, "to": holder, "value": hex(10**30)}
        with pytest.raises(Web3RPCError, match="insufficient funds"):
            w3.eth.call(rich)  # type: ignore[arg-type]  # plain strings instead of web3.py's types
        w3.eth.call(rich, state_override={"0x" + "99" * 20: {"balance": hex(10**31)}})  # type: ignore[arg-type,dict-item]
        tip = w3.eth.block_number
        assert token.functions.number().call()[0] == tip
        assert token.functions.number().call(block_identifier="pending")[0] == tip + 1
        number = token.functions.number()
        data = number._encode_transaction_data()
        around = {"number": "0x1234", "time": "0x77", "feeRecipient": holder}
        result = w3.provider.make_request("eth_call", [{"to": token.address, "data": data}, "latest", {}, around])  # type: ignore[arg-type]
        words = bytes.fromhex(result["result"][2:])
        assert int.from_bytes(words[:32], "big") == 0x1234
        assert int.from_bytes(words[32:64], "big") == 0x77
        assert words[76:96] == ADDRESSES[2]

    async with live(node) as (_, w3):
        await in_thread(client_side)


@trio_test
async def test_how_calls_fail(node: RealNode) -> None:
    await node.produce()
    async with live(node, call_timeout_s=0.5) as (client, w3):

        async def fail(method: str, code: str, **call: Any) -> dict[str, Any]:
            answer = await client.ask(method, {"to": CODE_AT, **call}, "latest", {CODE_AT: {"code": code}})
            found: dict[str, Any] = answer["error"]
            return found

        for method in ("eth_call", "eth_estimateGas"):
            found = await fail(method, PANIC)
            assert (found["code"], found["message"]) == (3, "execution reverted: arithmetic underflow or overflow")
            assert found["data"] == "0x4e487b71" + "00" * 31 + "11"
            found = await fail(method, CUSTOM_ERROR)
            assert found == {"code": 3, "message": "execution reverted", "data": "0xdeadbeef"}
        assert (await fail("eth_call", "0xfe"))["code"] == -32000
        found = await fail("eth_call", FOREVER, gas="0x186a0")
        assert (found["code"], found["message"]) == (-32000, "out of gas")
        found = await fail("eth_call", FOREVER)
        assert found == {"code": -32000, "message": "execution aborted (timeout = 0.5s)"}
        found = await fail("eth_estimateGas", FOREVER)
        assert found["code"] == -32000
        for call, message in (
            ({"chainId": "0x1"}, "chainId does not match node's"),
            ({"gas": "0x5207"}, "intrinsic gas too low"),
            ({"value": "0x1", "from": "0x" + "77" * 20}, "insufficient funds"),
            ({"maxFeePerGas": "0x1", "from": hexed(ADDRESSES[0])}, "max fee per gas less than block base fee"),
        ):
            answer = await client.ask("eth_call", {"to": CODE_AT, **call})
            assert message in answer["error"]["message"], answer
        assert (await client.error("eth_call", {}, "0x99")) == (-32000, "header not found")
        with pytest.raises((ContractCustomError, ContractPanicError)):
            await in_thread(
                lambda: w3.eth.call({"to": CODE_AT}, "latest", {CODE_AT: {"code": CUSTOM_ERROR}})  # type: ignore[arg-type,dict-item,typeddict-item]
            )


@trio_test
async def test_calls_that_take_but_a_moment_need_no_thread_and_no_task(
    node: RealNode, token_artifact: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live(node, brief_s=60.0) as (client, w3), await raw(client) as stream:
        token, _ = await in_thread(lambda: deploy(w3, token_artifact))

        async def balance(place: int) -> int:
            data = token.encode_abi("balances", [Web3.to_checksum_address(f"0x{place:040x}")])
            call = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": token.address, "data": data}]}
            await stream.send_all(post(orjson.dumps(call)))
            (answer,) = await read_answers(stream, 1)
            return int(orjson.loads(answer)["result"], 16)

        assert await balance(1) == 0  # from here on the server knows the head of such requests
        with monkeypatch.context() as patched:
            patched.setattr(Workers, "call", None)
            assert await balance(2) == 0
        with monkeypatch.context() as patched:
            patched.setattr(Runtime, "call_briefly", lambda *_args, **_keywords: None)
            assert await balance(3) == 0
        await in_thread(lambda: send(w3, token.functions.transfer(Web3.to_checksum_address(f"0x{2:040x}"), 7)))
        assert await balance(2) == 7, "what was kept of the tip before is gone"


@trio_test
async def test_endless_calls_stop_neither_blocks_nor_reads_nor_the_shutdown(node: RealNode) -> None:
    """They fill the threads for calls; a transfer becomes final, reads are answered, and the server ends at once when told."""
    with trio.fail_after(100):
        async with live(node, call_timeout_s=600.0) as (client, w3), trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client.ask, "eth_call", {"to": CODE_AT}, "latest", {CODE_AT: {"code": FOREVER}})
            await trio.sleep(0.2)
            raw = w3.eth.account.sign_transaction(
                {"to": ACCOUNTS[1].address, "gas": 21_000, "gasPrice": 10**10, "nonce": 0, "chainId": 31_337}, KEYS[0]
            ).raw_transaction
            receipt = await client.call("eth_sendRawTransactionSync", hexed(raw), 20_000)
            assert receipt["status"] == "0x1"
            assert await client.call("eth_getTransactionCount", hexed(ADDRESSES[0])) == "0x1"
            nursery.cancel_scope.cancel()


@trio_test
async def test_access_lists_and_proofs(node: RealNode, token_artifact: dict[str, Any]) -> None:
    async with live(node) as (client, w3):
        token, _ = await in_thread(lambda: deploy(w3, token_artifact))
        data = token.functions.total()._encode_transaction_data()
        found = await client.call("eth_createAccessList", {"to": token.address, "data": data})
        assert found["accessList"] == [{"address": token.address.lower(), "storageKeys": ["0x" + "00" * 31 + "01"]}]
        assert "error" not in found
        failing = token.functions.transfer(ACCOUNTS[1].address, 1)._encode_transaction_data()
        found = await client.call("eth_createAccessList", {"to": token.address, "data": failing})
        assert found["error"] == "execution reverted"
        proof = await client.call("eth_getProof", token.address, ["0x1", "0x" + "00" * 32], "latest")
        block = await client.call("eth_getBlockByNumber", "latest")
        assert [each["key"] for each in proof["storageProof"]] == ["0x1", "0x" + "00" * 32]
        assert [each["value"] for each in proof["storageProof"]] == [hex(1_000), "0x0"]
        assert hexed(keccak(bytes.fromhex(proof["accountProof"][0][2:]))) == block["stateRoot"]
        assert hexed(keccak(bytes.fromhex(proof["storageProof"][0]["proof"][0][2:]))) == proof["storageHash"]
        assert proof["codeHash"] == hexed(keccak(await in_thread(lambda: w3.eth.get_code(token.address))))


@trio_test
async def test_estimates_are_enough_and_not_more_than_needed(node: RealNode, token_artifact: dict[str, Any]) -> None:
    def client_side() -> None:
        token, _ = deploy(w3, token_artifact)
        call = token.functions.transfer(ACCOUNTS[1].address, 1)
        needed = call.estimate_gas({"from": ACCOUNTS[0].address})
        assert send(w3, call, gas=needed)["status"] == 1
        call = token.functions.transfer(ACCOUNTS[2].address, 1)
        needed = call.estimate_gas({"from": ACCOUNTS[0].address})
        assert send(w3, call, gas=needed - 1)["status"] == 0

    async with live(node) as (_, w3):
        await in_thread(client_side)


@trio_test
async def test_subscriptions_on_a_real_chain(node: RealNode) -> None:
    async with live(node) as (client, w3), WsClient(client.port) as ws:
        await ws.call("eth_subscribe", "newHeads")
        receipt = await in_thread(lambda: send(w3, {"to": ACCOUNTS[1].address, "value": 1}))
        head = (await ws.next_notification())["result"]
        assert head["hash"] == hexed(receipt["blockHash"])
        assert head == await client.call("eth_getHeaderByNumber", hex(receipt["blockNumber"]))


@trio_test
async def test_validators_supply_and_treasury(node: RealNode) -> None:
    for _ in range(3):
        await node.produce()
    async with running(node) as client:
        found = await client.call("open_validators", "0x1")
        assert found["height"] == "0x2"
        assert found["validators"][0]["address"] == hexed(VALIDATOR) == found["proposer"]
        for height in range(4):
            supply = {name: int(value, 16) for name, value in (await client.call("open_supply", hex(height))).items()}
            assert supply["total"] == supply["genesis"] + supply["minted"] - supply["burned"]
        assert supply["minted"] > 0 and supply["genesis"] == SPEC.genesis_supply
        treasury = await client.call("open_treasury")
        assert treasury == {"address": hexed(SPEC.treasury), "balance": "0x0"}
        record = await client.call("open_validator", hexed(VALIDATOR))
        assert record["candidate"] and record["selfStake"] == hex(SPEC.genesis_stake)
        assert await client.call("open_validator", "0x" + "11" * 20) is None
        assert (await client.call("open_stake"))["bonded"] == hex(SPEC.genesis_stake)
        assert await client.call("open_evidence", "0x1") == []
        found = {each["name"]: each for each in await client.call("open_parameters", "0x1")}
        assert found["block.gas_limit"]["value"] == found["block.gas_limit"]["genesis"] == hex(SPEC.block.gas_limit)
        for method in (
            "open_validators",
            "open_supply",
            "open_treasury",
            "open_counts",
            "open_stake",
            "open_parameters",
        ):
            assert await client.error(method, "0x99") == (-32000, "header not found")


# ---------------------------------------------------------------- the registry


def attribution(w3: Web3) -> Any:
    folder = Path(__file__).resolve().parents[3] / "attribution_precompile"
    abi = orjson.loads((folder / "IAttribution.json").read_bytes())
    return w3.eth.contract(address=Web3.to_checksum_address(hexed(ATTRIBUTION_ADDRESS)), abi=abi)


TEXT = (
    b"the quick brown fox jumps over the lazy dog while seven wizards quietly box jugs of liquor near the old harbour"
)


def fill_registry(w3: Web3) -> Any:
    """A datanet with one contribution, published; a model on it; one inference that quotes the contribution."""
    contract = attribution(w3)
    params = ("ipfs://terms", b"\x01" * 32, b"words-v1".ljust(32, b"\0"), 8, False, True, 31, 0, 0, 10_000, 0, 3_600)
    calls = contract.functions
    assert send(w3, calls.createDatanet(params))["status"] == 1
    receipt = send(w3, calls.contribute(1, TEXT, b"\0" * 32, ACCOUNTS[1].address, b"\0" * 32), 1)
    assert receipt["status"] == 1
    assert send(w3, calls.review(1, True, 10_000))["status"] == 1
    assert send(w3, calls.publishVersion(1))["status"] == 1
    zero = "0x" + "00" * 20
    assert send(
        w3, calls.registerModel("ipfs://model", b"\x02" * 32, 0, zero, 10**9, 10**12, 0, [], [(1, 1, 1, 10_000)])
    )["status"]
    output = b"It said: " + TEXT[:60] + b" and then went home"
    fee = calls.quote(1, 0, 30).call()
    call = (1, 0, b"\x03" * 32, 0, output, (0, 0, b""))
    receipt = send(w3, calls.infer(call), 2, value=fee)
    assert receipt["status"] == 1
    return output, contract.events.Inferred().process_receipt(receipt, DISCARD)[0]["args"]


@trio_test
async def test_the_registry_over_open_methods(node: RealNode) -> None:
    async with live(node) as (client, w3):
        output, inferred = await in_thread(lambda: fill_registry(w3))
        assert await client.call("open_counts") == dict.fromkeys(
            ("datanets", "contributions", "models", "receipts"), "0x1"
        )
        datanet = await client.call("open_datanet", 1)
        assert (datanet["owner"], datanet["uri"], datanet["minSpan"]) == (hexed(ADDRESSES[0]), "ipfs://terms", "0x8")
        assert await client.call("open_datanets") == {"items": [datanet], "next": None}
        contribution = await client.call("open_contribution", "0x1")
        assert (contribution["payout"], contribution["status"]) == (hexed(ADDRESSES[1]), "accepted")
        assert await client.call("open_contributions") == {"items": [contribution], "next": None}
        assert await client.call("open_contributionsOf", 1) == {"items": [contribution], "next": None}
        assert await client.call("open_content", 1) == [hexed(TEXT)]
        version = await client.call("open_version", 1, 1)
        assert await client.call("open_versions", 1) == {"items": [version], "next": None}
        model = await client.call("open_model", 1)
        assert model["uses"][0]["bps"] == hex(10_000) and model["method"] == "span"
        assert await client.call("open_models") == {"items": [model], "next": None}
        receipt = await client.call("open_receipt", hexed(inferred["receiptId"]))
        assert receipt["payer"] == hexed(ADDRESSES[2]) and int(receipt["tokens"], 16) == inferred["tokens"]
        assert await client.call("open_receipts") == {"items": [receipt], "next": None}
        assert int(await client.call("open_claimable", hexed(ADDRESSES[1])), 16) > 0
        assert await client.call("open_claimable", hexed(ADDRESSES[1]), "0x1") == "0x0"

        trace = await client.call("open_trace", 1, hexed(output))
        assert (trace["tokens"], trace["unmatched"]) == (receipt["tokens"], receipt["unmatched"])
        span = trace["spans"][0]
        passage = output[int(span["byteStart"], 16) : int(span["byteEnd"], 16)]
        assert passage in TEXT and len(passage) > 40
        assert trace["scores"] == [{"contribution": "0x1", "tokens": span["tokens"]}]

        for method, unknown in (("open_datanet", 9), ("open_contribution", 9), ("open_model", 9), ("open_content", 9)):
            assert await client.call(method, unknown) is None
            assert await client.call(method, 1, "0x0") is None
        assert await client.call("open_receipt", "0x" + "00" * 32) is None
        assert await client.call("open_version", 1, 9) is None
        assert await client.error("open_trace", 9, "0x61") == (-32000, "there is no model 9")
        assert (await client.error("open_trace", 1, "0x"))[0] == -32000
        assert (await client.error("open_trace", 1, "0xff"))[0] == -32000
        assert (await client.error("open_trace", 1, "0x" + "61" * 25_000))[0] == -32602
        for limit in (0, 1_001):
            assert (await client.error("open_datanets", 1, limit))[0] == -32602


class NobodysTurn:
    """A lock that is never given."""

    def __enter__(self) -> None:
        raise AssertionError("a look-up asked for the lock")

    def __exit__(self, *_: object) -> None:
        pass


@trio_test
async def test_traces_share_the_index_of_block_execution_and_need_no_lock(node: RealNode) -> None:
    async with live(node) as (client, w3):
        output, _ = await in_thread(lambda: fill_registry(w3))
        await client.call("open_trace", 1, hexed(output))  # as the warmer would, after the block
        node.index._gateway._lock = NobodysTurn()
        assert (await client.call("open_trace", 1, hexed(output)))["scores"]
        assert await in_thread(lambda: attribution(w3).functions.trace(1, output).call())


@trio_test
async def test_a_started_node_warms_its_index_and_stops_after_a_step(node: RealNode) -> None:
    async with live(node) as (_, w3):
        await in_thread(lambda: fill_registry(w3))
    fresh, stopped = Indexes(), Indexes()
    for indexes in (fresh, stopped):
        indexes.attach(node.chain)
    IndexWarmer(node.chain, fresh.spans, fresh.vectors).warm_all()
    warm = fresh.spans._gateway._live[1]
    assert warm.known == node.chain.tip().height and len(warm.tables.members) == len(TEXT.split()) - 7
    warmer = IndexWarmer(node.chain, stopped.spans, stopped.vectors)
    warmer.stop()
    warmer.warm_all()
    assert stopped.spans._gateway._live == {}, "the store may be closed now"


@trio_test
async def test_lists_are_paged(node: RealNode) -> None:
    def client_side() -> None:
        params = ("", b"\x01" * 32, b"words-v1".ljust(32, b"\0"), 8, False, True, 31, 0, 0, 10_000, 0, 3_600)
        for _ in range(5):
            assert send(w3, attribution(w3).functions.createDatanet(params))["status"] == 1

    async with live(node) as (client, w3):
        await in_thread(client_side)
        seen, cursor = [], "0x1"
        while cursor is not None:
            page = await client.call("open_datanets", cursor, 2)
            assert 1 <= len(page["items"]) <= 2
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert seen == [hex(number) for number in range(1, 6)]


@trio_test
async def test_traces_of_transactions_blocks_and_calls(node: RealNode, token_artifact: dict[str, Any]) -> None:
    async with running(node, namespaces=("eth", "net", "web3", "debug")) as client, trio.open_nursery() as nursery:
        nursery.start_soon(node.produce_forever)
        token, _ = await in_thread(lambda: deploy(web3(client), token_artifact))
        sent = await in_thread(lambda: send(web3(client), token.functions.transfer(ACCOUNTS[1].address, 5)))
        tx_hash, calls = (
            sent["transactionHash"].to_0x_hex(),
            {"tracer": "callTracer", "tracerConfig": {"withLog": True}},
        )
        trace = await client.call("debug_traceTransaction", tx_hash, calls)
        assert (trace["from"], trace["to"]) == (ACCOUNTS[0].address.lower(), token.address.lower())
        assert int(trace["gasUsed"], 16) == sent["gasUsed"] and len(trace["logs"]) == 1
        steps = await client.call("debug_traceTransaction", tx_hash)
        assert steps["failed"] is False and steps["gas"] == sent["gasUsed"] and steps["structLogs"]
        number = hex(sent["blockNumber"])
        assert await client.call("debug_traceBlockByNumber", number, calls) == [{"txHash": tx_hash, "result": trace}]
        by_hash = await client.call("debug_traceBlockByHash", sent["blockHash"].to_0x_hex(), calls)
        assert by_hash == [{"txHash": tx_hash, "result": trace}]
        message = {"from": ACCOUNTS[0].address, "to": CODE_AT}
        made_up = {"tracer": "callTracer", "stateOverrides": {CODE_AT: {"code": "0x602a60005260206000f3"}}}
        assert int((await client.call("debug_traceCall", message, "latest", made_up))["output"], 16) == 42
        assert (await client.error("debug_traceTransaction", tx_hash, {"tracer": "{}"}))[0] == -32000
        assert await client.error("debug_traceTransaction", "0x" + "00" * 32) == (-32000, "transaction not found")
        assert await client.error("debug_traceBlockByNumber", "0x0") == (-32000, "genesis is not traceable")
        assert await client.error("debug_traceBlockByNumber", "0x99") == (-32000, "block #153 not found")
        absent = "0x" + "00" * 32
        assert await client.error("debug_traceBlockByHash", absent) == (-32000, f"block {absent} not found")
        bad = {"stateOverrides": {"0x12": {}}}
        assert (await client.error("debug_traceCall", message, "latest", bad))[0] == -32602
        nursery.cancel_scope.cancel()


@trio_test
async def test_mutated_requests_on_a_real_chain(node: RealNode) -> None:
    import random

    from node.rpc.methods import declared
    from node.rpc.schema.declare import Registry

    seed = 77_001
    random_ = random.Random(seed)
    methods = Registry(("eth", "open"), declared()).methods
    names = [name for name in methods if name not in ("eth_sendRawTransactionSync",)]
    async with live(node, call_timeout_s=0.5) as (client, w3):
        await in_thread(lambda: fill_registry(w3))
        notified = 0
        for _ in range(1_500):
            body = mutated(random_, names)
            response = await client.post(body)
            if response.status_code == 200:
                try:
                    check_answer(orjson.loads(response.content))
                except Exception as error:
                    raise AssertionError(f"seed {seed}: {body!r} got {response.content!r}") from error
            else:
                assert response.status_code == 204
                notified += 1
        assert notified > 10, f"seed {seed}: notifications get no answer, not even an error"
        assert await client.call("eth_chainId") == "0x7a69"

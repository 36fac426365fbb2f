"""Payments by model, payee and payer; agents; and thousands of subscriptions, those to attributions among them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import trio_test
from web3 import Web3

from evm_runtime.receipt import Log
from genesis.primitives import Address
from node.rpc.reads.attributions import attribution_filter
from node.rpc.schema.params import BadParam
from node.storage import keys
from tests.unit.rpc.fakes import OTHER_TOPIC, TOKEN, TOPIC, FakeNode, running, signed
from tests.unit.rpc.real import ACCOUNTS, ADDRESSES, RealNode, real_node
from tests.unit.rpc.test_real_chain import TEXT, attribution, fill_registry, hexed, in_thread, live, send
from tests.unit.rpc.ws_client import WsClient

OTHER_TEXT = b"eight sailors kept a log of every storm that ever broke upon the northern rocks in winter and in spring"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


def more(w3: Web3) -> None:
    """A second contribution by another account, a second version and model, and inferences that quote one or both."""
    calls = attribution(w3).functions
    send(w3, calls.contribute(1, OTHER_TEXT, b"\0" * 32, ACCOUNTS[2].address, b"\0" * 32), 2)
    send(w3, calls.review(2, True, 10_000))
    send(w3, calls.publishVersion(1))
    zero, uses = "0x" + "00" * 20, [(1, 1, 1, 5_000), (1, 2, 1, 5_000)]
    send(
        w3,
        calls.registerModel("ipfs://two", b"\x02" * 32, 0, zero, 10**9, 10**12, 0, [(1, 1_000)], uses),
    )
    both = TEXT[:60] + b" and " + OTHER_TEXT[:60]
    for payer in (0, 1):
        fee = calls.quote(2, 0, 60).call()
        send(w3, calls.infer((2, 0, b"\x04" * 32, 0, both, (0, 0, b""))), payer, value=fee)


@trio_test
async def test_attributions_by_everything(node: RealNode) -> None:
    async with live(node) as (client, w3):
        await in_thread(lambda: fill_registry(w3))
        await in_thread(lambda: more(w3))
        every = (await client.call("open_attributions"))["items"]
        assert [item["model"] for item in every] == ["0x1", "0x2", "0x2"]
        assert [item["payer"] for item in every] == [hexed(ADDRESSES[place]) for place in (2, 0, 1)]
        assert [len(item["payments"]) for item in every] == [1, 2, 2]
        assert every[1]["royalties"] == [{"model": "0x1", "amount": every[1]["royalties"][0]["amount"]}]
        for item in every:
            receipt = await client.call("open_receipt", item["receipt"])
            assert [receipt[name] for name in ("model", "payer", "fee", "tokens", "unmatched", "blockNumber")] == [
                item[name] for name in ("model", "payer", "fee", "tokens", "unmatched", "blockNumber")
            ]
            logs = (await client.call("eth_getTransactionReceipt", item["transactionHash"]))["logs"]
            assert item["logIndex"] in [log["logIndex"] for log in logs]

        async def found(**wanted: Any) -> list[int]:
            page = await client.call("open_attributions", wanted)
            return [every.index(item) for item in page["items"]]

        assert await found(model=2) == [1, 2]
        assert await found(payer=hexed(ADDRESSES[0])) == [1]
        assert await found(model="0x1", payer=hexed(ADDRESSES[0])) == []
        assert await found(contribution=2) == [1, 2]
        assert await found(contribution=2, model=1) == []
        assert await found(payout=hexed(ADDRESSES[1])) == [0, 1, 2]
        assert await found(payout=hexed(ADDRESSES[1]), contribution=2) == []
        assert await found(payout=hexed(ADDRESSES[2]), payer=hexed(ADDRESSES[1])) == [2]
        assert await found(receipt=every[2]["receipt"]) == [2]

        seen, cursor = [], "0x0"
        while cursor is not None:
            page = await client.call("open_attributions", {}, cursor, 1)
            seen += page["items"]
            cursor = page["next"]
        assert seen == every
        assert (await client.error("open_attributions", {"models": 1}))[1].startswith(
            "invalid argument 0: unknown member"
        )
        assert (await client.error("open_attributions", {}, 0, 0))[0] == -32602


@trio_test
async def test_payments_by_contribution_payout_and_model(node: RealNode) -> None:
    async with live(node) as (client, w3):
        await in_thread(lambda: (fill_registry(w3), more(w3)))
        claimed = await in_thread(lambda: send(w3, attribution(w3).functions.claimPool([1])))
        expected = [
            ("score", item["receipt"], item["model"], *(paid[name] for name in ("contribution", "payout", "amount")))
            for item in (await client.call("open_attributions"))["items"]
            for paid in item["payments"]
        ]

        async def payments(**wanted: Any) -> list[Any]:
            found, cursor = [], "0x0"
            while cursor is not None:
                page = await client.call("open_payments", wanted, cursor, 2)
                assert len(page["items"]) <= 2
                found, cursor = found + page["items"], page["next"]
            fields = ("kind", "receipt", "model", "contribution", "payout", "amount")
            return [tuple(item[name] for name in fields) for item in found]

        of_one = await payments(contribution=1)
        assert of_one[:-1] == [each for each in expected if each[3] == "0x1"]
        assert of_one[-1][:5] == ("pool", None, None, "0x1", hexed(ADDRESSES[1])) and of_one[-1][5] != "0x0"
        assert await payments(payout=hexed(ADDRESSES[1])) == of_one
        assert await payments(model=2) == [each for each in expected if each[2] == "0x2"]
        assert await payments(model="0x2", contribution=1) == [each for each in of_one if each[2] == "0x2"]
        assert await payments(payout=hexed(ADDRESSES[2]), contribution=1) == []
        last = (await client.call("open_payments", {"contribution": 1}))["items"][-1]
        logs = (await client.call("eth_getTransactionReceipt", hexed(claimed["transactionHash"])))["logs"]
        assert last["logIndex"] == logs[0]["logIndex"] and last["transactionHash"] == logs[0]["transactionHash"]
        for wanted in ({}, {"payer": hexed(ADDRESSES[1])}, {"model": None}):
            assert (await client.error("open_payments", wanted))[0] == -32602


def indexed(node: RealNode) -> dict[bytes, bytes]:
    """All keys of the index of the contract's events."""
    return {key: value for prefix in (b"a", b"i", b"n") for key, value in node.chain._database.iterate(prefix)}


@trio_test
async def test_the_index_holds_what_logs_tell_and_is_rolled_back(node: RealNode) -> None:
    async with live(node) as (_, w3):
        await in_thread(lambda: (fill_registry(w3), more(w3)))
        logs = await in_thread(lambda: w3.eth.get_logs({"fromBlock": 0, "address": attribution(w3).address}))
    decoded = []
    for log in logs:
        event = attribution(w3).get_event_by_topic(hexed(log["topics"][0])).process_log(log)
        place = keys.place_bytes(event["blockNumber"], event["logIndex"])
        decoded.append((place, event["event"], event["args"]))
    models = {args["receiptId"]: args["modelId"] for _, name, args in decoded if name == "Inferred"}

    def expected(height: int) -> dict[bytes, bytes]:
        entries: dict[bytes, bytes] = {}
        for place, name, args in decoded:
            if int.from_bytes(place[:8], "big") > height:
                break
            listed: list[tuple[int, Any]] = []
            if name == "Inferred":
                listed = [(0, 0), (1, args["modelId"]), (2, args["payer"])]
                entries[b"i" + args["receiptId"]] = place + args["modelId"].to_bytes(32, "big")
            elif name == "Attributed":
                listed = [(3, models[args["receiptId"]]), (4, args["contributionId"]), (5, args["payout"])]
            elif name == "Contributed":
                entries[b"n" + bytes.fromhex(args["payout"][2:]) + place] = args["contributionId"].to_bytes(32, "big")
            for which, subject in listed:
                number = subject if isinstance(subject, int) else int(subject, 16)
                entries[b"a" + bytes((which,)) + number.to_bytes(32, "big") + place] = b""
        return entries

    tip = node.chain.tip().height
    assert len(indexed(node)) > 20
    for height in range(tip, -1, -1):
        assert indexed(node) == expected(height)
        if height:
            await trio.to_thread.run_sync(node.chain.rollback)
    assert not indexed(node)


@trio_test
async def test_contributions_by_payout(node: RealNode) -> None:
    async with live(node) as (client, w3):
        await in_thread(lambda: (fill_registry(w3), more(w3)))
        one, two = [hexed(ADDRESSES[place]) for place in (1, 2)]

        async def ids(who: str) -> list[str]:
            return [item["id"] for item in (await client.call("open_contributionsBy", who))["items"]]

        assert (await ids(one), await ids(two)) == (["0x1"], ["0x2"])
        calls = attribution(w3).functions
        await in_thread(lambda: send(w3, calls.setPayout(2, ACCOUNTS[1].address), 2))
        assert await ids(one) == ["0x1", "0x2"]
        page = await client.call("open_contributionsBy", one, 0, 1)
        assert [item["id"] for item in page["items"]] == ["0x1"]
        page = await client.call("open_contributionsBy", one, page["next"], 1)
        assert ([item["id"] for item in page["items"]], page["next"]) == (["0x2"], None)


@trio_test
async def test_agents_lineage_and_emission(node: RealNode) -> None:
    async with live(node) as (client, w3):
        await in_thread(lambda: (fill_registry(w3), more(w3)))
        assert await client.call("open_lineage", 2) == [{"model": "0x1", "bps": hex(1_000)}]
        assert await client.call("open_lineage", 1) == await client.call("open_lineage", 99) == []
        assert await client.call("open_agents") == {"items": [], "next": None}
        calls = attribution(w3).functions
        for _ in range(3):
            await in_thread(lambda: send(w3, calls.registerAgent("ipfs://agent", ACCOUNTS[2].address, 10**20, [1]), 0))
        agent = await client.call("open_agent", 1)
        assert (agent["wallet"], agent["dailyCap"]) == (hexed(ADDRESSES[2]), hex(10**20))
        page = await client.call("open_agents", 1, 2)
        assert (page["items"][0], page["next"]) == (agent, "0x3")
        assert len((await client.call("open_agents", page["next"], 2))["items"]) == 1
        assert await client.call("open_agent", 4) is None
        emission = {name: int(value, 16) for name, value in (await client.call("open_emission")).items()}
        assert emission["clockMs"] > 0
        assert emission["allocated"] + emission["remaining"] == 4 * 10**26
        assert (await client.call("open_emission", "0x0"))["allocated"] == "0x0"


@trio_test
async def test_subscribing_to_attributions(node: RealNode) -> None:
    async with live(node) as (client, w3), WsClient(client.port) as ws:
        every = await ws.call("eth_subscribe", "attributions")
        mine = await ws.call("eth_subscribe", "attributions", {"payout": hexed(ADDRESSES[2])})
        await ws.send(
            {"jsonrpc": "2.0", "id": 5, "method": "eth_subscribe", "params": ["attributions", {"payout": "0x1"}]}
        )
        assert (await ws.receive())["error"]["code"] == -32602
        await in_thread(lambda: (fill_registry(w3), more(w3)))
        seen: dict[str, list[Any]] = {every: [], mine: []}
        for _ in range(5):
            params = await ws.next_notification()
            seen[params["subscription"]].append(params["result"])
        assert seen[every] == (await client.call("open_attributions"))["items"]
        assert seen[mine] == seen[every][1:]


@trio_test
async def test_thousands_of_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told exactly what it asked for, once; equal questions are answered by one computation."""
    from node.rpc import subscriptions

    formatted = []
    original = subscriptions.header_json
    monkeypatch.setattr(subscriptions, "header_json", lambda header: (formatted.append(header), original(header))[1])
    node = FakeNode()
    addresses = [Address(bytes([place // 256, place % 256]) * 10) for place in range(1_500)]
    async with running(node, {"subscriptions_max": 3_000}) as client, WsClient(client.port) as ws:
        heads = [await ws.call("eth_subscribe", "newHeads") for _ in range(1_000)]
        watching = [await ws.call("eth_subscribe", "logs", {"address": hexed(each)}) for each in addresses]
        topic = await ws.call("eth_subscribe", "logs", {"topics": [None, hexed(OTHER_TOPIC)]})
        logs = (*(Log(each, (TOPIC, OTHER_TOPIC), b"") for each in addresses[:40]), Log(TOKEN, (TOPIC,), b"x"))
        with trio.fail_after(20):
            node.finalize([signed(0)], [logs])
            told = [(await ws.next_notification())["subscription"] for _ in range(1_000 + 40 + 40)]
        assert sorted(told) == sorted(heads + watching[:40] + [topic] * 40)
        assert len(formatted) == 1
        for each in heads[:-1]:
            assert await ws.call("eth_unsubscribe", each)
        node.finalize([signed(1)])
        assert (await ws.next_notification())["subscription"] == heads[-1]


@pytest.mark.parametrize("bad", [{"x": 1}, {"model": -1}, {"payer": "0x"}, [], "x", {"contribution": "one"}])
def test_bad_filters(bad: Any) -> None:
    with pytest.raises(BadParam):
        attribution_filter(bad)


def test_a_filter_of_nothing_matches_all() -> None:
    assert attribution_filter({"model": None}) == attribution_filter({})

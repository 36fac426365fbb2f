"""open_* for audits over a real chain: statements with spans, explanations, exports, disputes, attested scores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from trio.testing import trio_test
from web3.logs import DISCARD

from attribution_precompile.rules.merkle import leaf_of
from node.chain.eraser import Eraser
from tests.unit.rpc.real import ADDRESSES, RealNode, real_node
from tests.unit.rpc.test_real_chain import TEXT, attribution, fill_registry, hexed, in_thread, live, send


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


@trio_test
async def test_a_statement_names_payments_inferences_and_spans(node: RealNode) -> None:
    async with live(node) as (client, w3):
        output, inferred = await in_thread(lambda: fill_registry(w3))
        calls = attribution(w3).functions
        found = await client.call("open_statement", 1)
        [payment] = found["payments"]
        assert payment["receipt"] == hexed(inferred["receiptId"]) and payment["model"] == "0x1"
        assert payment["payout"] == hexed(ADDRESSES[1]) and found["earned"] == payment["amount"] != "0x0"
        [span] = payment["spans"]
        passage = output[int(span["byteStart"], 16) : int(span["byteEnd"], 16)]
        assert passage in TEXT and span["tokens"] == payment["weight"]
        owed = int(found["owedByPool"], 16)
        assert owed > 0 and found["poolClaims"] == [] and found["next"] is None
        receipt = await in_thread(lambda: send(w3, calls.claimPool([1])))
        after = await client.call("open_statement", 1)
        assert [int(claim["amount"], 16) for claim in after["poolClaims"]] == [owed] == [int(after["fromPool"], 16)]
        assert after["owedByPool"] == "0x0" and int(after["poolClaims"][0]["blockNumber"], 16) == receipt["blockNumber"]
        before = int(payment["blockNumber"], 16) - 1
        assert (await client.call("open_statement", 1, 0, before))["payments"] == []
        assert (await client.error("open_statement", 9))[0] == -32000
        assert (await client.error("open_statement", 1, 5, 4))[0] == -32602
        assert (await client.error("open_statement", 1, 0, None, 0))[0] == -32602


@trio_test
async def test_a_statement_comes_in_pages(node: RealNode) -> None:
    async with live(node) as (client, w3):
        output, _ = await in_thread(lambda: fill_registry(w3))
        calls = attribution(w3).functions
        fee = await in_thread(lambda: calls.quote(1, 0, 30).call())
        again = calls.inferBatch([(1, 0, b"\x03" * 32, 0, output, (0, 0, b""))] * 2)
        assert (await in_thread(lambda: send(w3, again, 2, value=2 * fee)))["status"] == 1
        whole = await client.call("open_statement", 1)
        assert len(whole["payments"]) == 3 and all(payment["spans"] for payment in whole["payments"])
        paid, cursor = [], "0x0"
        while cursor is not None:
            page = await client.call("open_statement", 1, 0, None, 1, cursor)
            assert len(page["payments"]) == 1, "two payments are of one block"
            paid, cursor = paid + page["payments"], page["next"]
        assert paid == whole["payments"]


@trio_test
async def test_explanations_segments_and_exports(node: RealNode) -> None:
    async with live(node) as (client, w3):
        output, _ = await in_thread(lambda: fill_registry(w3))
        paid = await client.call("open_explain", 1, hexed(output), 1)
        assert paid["verdict"] == "paid" and paid["owners"] == [{"contribution": "0x1", "windows": paid["windows"]}]
        other = await client.call("open_explain", 1, hexed(b"eight words that nobody has written down so far"), 1)
        assert (other["verdict"], other["spans"], other["windows"]) == ("not in the output", [], "0x0")
        assert await client.error("open_explain", 1, hexed(output), 9) == (-32000, "there is no contribution 9")
        counted = await client.call("open_newWindows", 1)
        assert counted["windows"] == counted["owned"] == (await client.call("open_contribution", 1))["ownedWindows"]
        assert await client.error("open_newWindows", 9) == (-32000, "there is no contribution 9")
        [segment] = await client.call("open_segments", 1)
        contribution = await client.call("open_contribution", 1)
        assert (segment["place"], segment["tokens"]) == ("0x0", contribution["tokens"])
        assert await client.call("open_segments", 9) == []
        croissant = await client.call("open_exportTrainingSummary", 1)
        assert croissant["recordSet"][0]["data"][0]["uses/datanet"] == 1
        spdx = await client.call("open_exportTrainingSummary", 1, "spdx")
        assert "ai_AIPackage" in {element["type"] for element in spdx["@graph"]}
        assert await client.call("open_exportTrainingSummary", 9) is None
        assert (await client.error("open_exportTrainingSummary", 1, "cyclonedx"))[0] == -32602


@trio_test
async def test_attested_scores_and_disputes(node: RealNode) -> None:
    async with live(node) as (client, w3):
        await in_thread(lambda: fill_registry(w3))
        contract = attribution(w3)
        calls, zero = contract.functions, "0x" + "00" * 20

        def attest() -> Any:
            uses = [(1, 1, 0, 10_000)]
            assert send(w3, calls.registerModel("", b"\0" * 32, 2, zero, 0, 10**12, 0, [], uses))["status"] == 1
            assert send(w3, calls.bond(), value=100 * 10**18)["status"] == 1
            root = bytes(leaf_of(1, 5))
            sent = send(w3, calls.inferAttested(2, 0, b"\0" * 32, 0, 10, root, 5), value=10**18)
            receipt = contract.events.Attested().process_receipt(sent, DISCARD)[0]["args"]["receiptId"]
            assert send(w3, calls.disputeScores(receipt, b"\x0e" * 32), 1, value=10**19)["status"] == 1
            return receipt

        receipt = hexed(await in_thread(attest))
        attested = await client.call("open_attestation", receipt)
        assert attested["attestor"] == hexed(ADDRESSES[0]) and attested["dispute"] == "0x1" and not attested["slashed"]
        bond = await client.call("open_bond", hexed(ADDRESSES[0]))
        assert int(bond["locked"], 16) == int(attested["locked"], 16) > 10**19
        dispute = await client.call("open_dispute", 1)
        assert (dispute["kind"], dispute["state"], dispute["subject"]) == ("scores", "open", receipt)
        assert await client.call("open_disputes") == {"items": [dispute], "next": None}
        assert (
            await client.call("open_dispute", 2) is None
            and await client.call("open_attestation", "0x" + "00" * 32) is None
        )


@trio_test
async def test_erased_content_is_served_no_more_and_its_past_stays_explained(node: RealNode) -> None:
    """On a node that has dropped the bytes and started again, too: old payments keep their spans, and every answer says why."""
    async with live(node) as (client, w3):
        output, inferred = await in_thread(lambda: fill_registry(w3))
        statement = await client.call("open_statement", 1)
        traced = await client.call("open_trace", 1, hexed(output))
        sent = await in_thread(lambda: send(w3, attribution(w3).functions.erase(1), 1))
        await node.produce()
        for dropped in (False, True):
            if dropped:
                assert Eraser(node.chain, delay=1).sweep() == 1
                node.index.clear()
            code, said = await client.error("open_content", 1)
            assert (code, said) == (
                -32000,
                f"contribution 1 was erased or lost a dispute in block {sent['blockNumber']}",
            )
            explained = await client.call("open_explain", 1, hexed(output), 1)
            assert (explained["verdict"], explained["spans"]) == ("dead", [])
            assert explained["owners"] == [{"contribution": "0x0", "windows": explained["windows"]}]
            assert (await client.call("open_trace", 1, hexed(output)))["scores"] == []
            stated = await client.call("open_statement", 1)
            assert stated["payments"] == statement["payments"] and stated["fromPool"] == statement["owedByPool"]
            then = hex(sent["blockNumber"] - 1)
            assert (await client.call("open_explain", 1, hexed(output), 1, then))["verdict"] == "paid"
            assert (await client.call("open_contribution", 1))["status"] == "erased"
        assert traced["scores"] != []
        assert (await client.call("open_receipt", hexed(inferred["receiptId"])))["model"] == "0x1"

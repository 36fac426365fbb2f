"""The examples of docs/json-rpc.md: `python -m tests.unit.rpc.examples` writes them, test_documentation.py holds them true.

The chain they run on is made anew each time and is always the same: keys, times and signatures are fixed.
"""

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import trio

from node.rpc.methods import declared
from tests.unit.rpc.fakes import Client
from tests.unit.rpc.real import ACCOUNTS, ADDRESSES, VALIDATOR, real_node
from tests.unit.rpc.test_attributions import more
from tests.unit.rpc.test_real_chain import TEXT, attribution, fill_registry, in_thread, live, send

PAGE = Path(__file__).parents[3] / "docs" / "json-rpc.md"
MARK = "<!-- examples: written by `make docs` -->\n"
_PAYEE, _PAYER = ("0x" + ADDRESSES[place].hex() for place in (1, 2))

PARAMS: dict[str, list[Any]] = {
    "open_agent": [1],
    "open_agents": [1, 10],
    "open_attributions": [{"model": "0x2", "payout": _PAYEE}, 0, 1],
    "open_claimable": [_PAYEE],
    "open_content": [1],
    "open_contribution": [2],
    "open_contributions": [1, 1],
    "open_contributionsBy": [_PAYEE],
    "open_contributionsOf": [1, 2],
    "open_datanet": [1],
    "open_datanets": [],
    "open_lineage": [2],
    "open_model": [2],
    "open_models": [1, 1],
    "open_payments": [{"payout": _PAYEE, "model": 2}, 0, 1],
    "open_receipts": [2, 1],
    "open_trace": [2, "0x" + (b"It said: " + TEXT[:60]).hex()],
    "open_transactionsOf": [_PAYER, 0, 1],
    "open_version": [1, 1],
    "open_versions": [1, 2],
    "open_commit": ["0x1"],
    "open_consensusData": ["0x2"],
    "open_lightBlock": ["0x1"],
    "open_validators": ["0x1"],
    "open_bond": [_PAYEE],
    "open_dispute": [1],
    "open_evidence": ["0x1"],
    "open_explain": [2, "0x" + (b"It said: " + TEXT[:60]).hex(), 1],
    "open_exportTrainingSummary": [2, "croissant"],
    "open_newWindows": [2],
    "open_segments": [1],
    "open_statement": [1],
    "open_validator": ["0x" + VALIDATOR.hex()],
}
"""Arguments by method; none where a method is not named."""


@asynccontextmanager
async def example_chain() -> AsyncIterator[Client]:
    """A client of the chain after all that the examples tell of."""
    with tempfile.TemporaryDirectory() as folder, real_node(Path(folder)) as node:
        async with live(node) as (client, w3):

            def history() -> None:
                fill_registry(w3)
                more(w3)
                agents = attribution(w3).functions
                send(w3, agents.registerAgent("ipfs://agent", ACCOUNTS[2].address, 10**18, [1]), 0)
                send(w3, agents.depositAgent(1), 1, value=10**17)

            await in_thread(history)
            yield client


async def receipt_id(client: Client) -> str:
    page = await client.call("open_receipts", 1, 1)
    return str(page["items"][0]["id"])


async def examples(client: Client) -> str:
    """The section, method by method."""
    lines = []
    receipt = await receipt_id(client)
    known = {**PARAMS, "open_receipt": [receipt], "open_attestation": [receipt]}
    for each in sorted(declared(), key=lambda method: method.name):
        if each.namespace != "open":
            continue
        request = {"jsonrpc": "2.0", "id": 1, "method": each.name, "params": known.get(each.name, [])}
        body = json.dumps(request)
        answer = orjson.loads((await client.post(body.encode())).content)
        if "result" not in answer:
            raise ValueError(f"{body} was answered with {answer}")
        shown = json.dumps(answer["result"], indent=2)
        lines += [f"\n## {each.name}\n", each.summary, f"\n```json\n{body}\n```\n", f"```json\n{shown}\n```"]
    return "\n".join(lines) + "\n"


async def main() -> None:
    async with example_chain() as client:
        section = await examples(client)
    text = await trio.Path(PAGE).read_text()
    await trio.Path(PAGE).write_text(text[: text.index(MARK) + len(MARK)] + section)


if __name__ == "__main__":
    trio.run(main)

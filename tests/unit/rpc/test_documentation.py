"""docs/json-rpc.md: every example is sent as written, and every open_ method has one."""

import re

import orjson
from trio.testing import trio_test

from node.rpc.methods import declared
from tests.unit.rpc.examples import MARK, PAGE, example_chain


def written() -> list[tuple[bytes, bytes]]:
    _, _, section = PAGE.read_text().partition(MARK)
    found = []
    for part in section.split("\n## ")[1:]:
        request, answer = re.findall(r"```json\n(.*?)\n```", part, re.S)
        found.append((request.encode(), answer.encode()))
    return found


@trio_test
async def test_every_example_is_answered_as_written() -> None:
    examples = written()
    async with example_chain() as client:
        for request, answer in examples:
            found = orjson.loads((await client.post(request)).content)
            assert found.get("result", found) == orjson.loads(answer), f"{request.decode()}: run `make docs`"


def test_every_open_method_has_an_example() -> None:
    shown = {orjson.loads(request)["method"] for request, _ in written()}
    assert shown == {each.name for each in declared() if each.namespace == "open"}


def test_every_limit_that_the_page_names_is_the_codes() -> None:
    from node.rpc.config import RpcLimits

    page, limits = PAGE.read_text(), RpcLimits()
    for words in (
        f"{limits.batch_items_max:,} calls",
        f"{limits.log_results_max:,} results",
        f"{limits.subscriptions_max:,} subscriptions",
        f"{limits.websocket_queue_max:,} messages",
        f"{limits.connections_max:,}; an idle one",
    ):
        assert words in page, words
    assert limits.call_gas_max == 50_000_000, "50 million gas"

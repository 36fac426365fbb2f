"""The worked examples of docs/attribution.md hold, on the contract and on the reference; its gas table is the code's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from attribution_precompile import gas
from attribution_precompile.rules import reference
from evm_runtime.native import gas as framework
from tests.unit.attribution.world import ALICE, World

DOCUMENT = (Path(__file__).parents[3] / "docs" / "attribution.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]


def expected(example: dict[str, Any]) -> list[int | None]:
    return [None if name == "." else int(name) for name in example["credited"].split()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_worked_examples_on_the_reference(example: dict[str, Any]) -> None:
    order = 0
    contributions = []
    for number, texts in example["contributions"].items():
        segments = []
        for text in texts:
            order += 1
            segments.append((order, text.encode()))
        contributions.append(reference.Contribution(int(number), tuple(segments), 1))
    datanet = reference.Datanet(1, 8, False, tuple(contributions))
    traced = reference.trace(example["output"].encode(), [reference.Use(1, 1, 10_000)], {1: datanet})
    assert [None if owner is None else owner[1] for owner in traced.credited] == expected(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_worked_examples_on_the_contract(example: dict[str, Any]) -> None:
    world = World()
    datanet = world.datanet()
    for texts in example["contributions"].values():
        contribution = world.give(datanet, ALICE, texts[0])
        for text in texts[1:]:
            world.appendContent(contribution, text.encode(), sender=ALICE)
        world.accept(contribution)
    world.publish(datanet)
    model = world.model([(datanet, 1, 0, 10_000)])
    scores, tokens, unmatched = world.trace(model, example["output"].encode())
    credited = expected(example)
    assert dict(scores) == {c: credited.count(c) for c in set(credited) - {None}}
    assert (tokens, unmatched) == (len(credited), credited.count(None))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_the_gas_table_is_the_codes() -> None:
    table = DOCUMENT[DOCUMENT.index("## Gas") : DOCUMENT.index("## Attacks")].replace(",", "")
    figures = [
        framework.CALL_BASE, framework.CALLDATA_WORD, framework.ABI_VALUE, framework.COLD_SLOT,
        framework.WARM_SLOT, framework.SET_SLOT, framework.RESET_SLOT, framework.LOG, framework.LOG_TOPIC,
        framework.LOG_BYTE, framework.TRANSFER, framework.NEW_ACCOUNT, gas.TEXT_BYTE, gas.STORED_BYTE,
        gas.INDEX_TOKEN, gas.REVIEW_TOKEN, gas.TRACE_TOKEN, gas.TRACE_USE, gas.TRACE_TOKEN_USE, gas.PASSED_OVER,
        gas.PAYEE, gas.ROYALTY, gas.SIGNATURE, gas.MATCH, gas.VECTOR_BYTE, gas.VECTOR, gas.WINDOW_BLOCK,
        gas.SEGMENT, gas.TRACE, gas.PRODUCT_VECTOR, gas.PRODUCTS_PER_GAS, gas.PROOF_NODE, gas.OPENING,
        gas.CHALLENGE_TOKEN,
    ]  # fmt: skip
    assert [figure for figure in figures if not re.search(rf"\b{figure}\b", table)] == []

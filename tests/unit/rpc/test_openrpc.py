"""The API document: equal to the code, complete, and true: `Client.ask` holds every answer in these tests against it."""

import re
from pathlib import Path
from typing import Any

import pytest
from trio.testing import trio_test

from node.rpc.methods import declared
from node.rpc.schema.answers import SHAPES, component
from node.rpc.schema.document import document, text
from tests.unit.rpc.fakes import FakeNode, running
from tests.unit.rpc.schema_check import SchemaError, check

DOCUMENT = Path(__file__).parents[3] / "docs" / "openrpc.json"


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(references, value))
    if isinstance(value, dict):
        return set().union(*map(references, value.values())) | ({value["$ref"]} if "$ref" in value else set())
    return set()


def test_the_document_is_the_code() -> None:
    assert DOCUMENT.read_bytes() == text(declared()), "run: python -m node.rpc.methods > docs/openrpc.json"


def test_every_method_is_described() -> None:
    methods = {each["name"]: each for each in document(declared())["methods"]}
    assert methods.keys() == {each.name for each in declared()}
    for each in methods.values():
        assert each["summary"], f"{each['name']} has no docstring"
        optional = [param["required"] for param in each["params"]]
        assert optional == sorted(optional, reverse=True), f"{each['name']}: required after optional"
        assert len({param["name"] for param in each["params"]}) == len(each["params"])


def test_every_reference_leads_somewhere_and_everything_is_used() -> None:
    parts = document(declared())["components"]
    here = {f"#/components/{kind}/{name}" for kind, entries in parts.items() for name in entries}
    used = references(document(declared()))
    assert used <= here
    protocol = {"ParseError", "InvalidRequest", "InternalError"}  # of any request, not of a method
    assert {name.rpartition("/")[2] for name in here - used} <= protocol
    assert len({component(name) for name in SHAPES}) == len(SHAPES)


def test_all_patterns_are_regular_expressions() -> None:
    def patterns(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["pattern"]] if isinstance(value.get("pattern"), str) else []
            return own + [each for member in value.values() for each in patterns(member)]
        return [each for item in value for each in patterns(item)] if isinstance(value, list) else []

    assert len([re.compile(each) for each in patterns(document(declared()))]) > 50


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("0x01", {"type": "string", "pattern": "^0x(0|[1-9a-f][0-9a-f]*)$"}),
        (True, {"type": "integer"}),
        ({}, {"type": "object", "required": ["a"]}),
        ({"b": 1}, {"type": "object", "properties": {}, "additionalProperties": False}),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}),
        (None, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (1, {"oneOf": []}),
    ],
)
def test_the_checker_bites(value: Any, schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        check(value, schema, {})


@trio_test
async def test_discover_serves_it() -> None:
    async with running(FakeNode()) as client:
        assert await client.call("rpc.discover") == document(declared())

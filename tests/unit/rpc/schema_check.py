"""A small JSON schema checker, of what the API document uses of the language. Unknown keywords fail, lest they go unchecked."""

import re
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_KNOWN = {
    "type", "pattern", "enum", "const", "anyOf", "properties", "required", "additionalProperties", "items",
    "minimum", "maximum", "maxItems", "maxLength", "maxProperties",
}  # fmt: skip


class SchemaError(AssertionError):
    """A value that is not of its schema, with the place where it differs."""


def check(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str = "result") -> None:
    """Raises SchemaError. `schemas` are the document's named ones."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        check(value, schemas[name], schemas, at)
        return
    unknown = schema.keys() - _KNOWN
    _expect(not unknown, f"{at}: unknown keywords {unknown}")
    if "anyOf" in schema:
        _any_of(value, schema["anyOf"], schemas, at)
    if "type" in schema:
        allowed = _TYPES[schema["type"]]
        right = isinstance(value, allowed) and not (isinstance(value, bool) and bool not in allowed)
        _expect(right, f"{at}: {value!r} is no {schema['type']}")
    if "const" in schema:
        _expect(value == schema["const"], f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema:
        _expect(value in schema["enum"], f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str):
        _expect(
            re.search(schema.get("pattern", ""), value) is not None, f"{at}: {value!r} is not {schema.get('pattern')}"
        )
    if isinstance(value, list):
        for place, item in enumerate(value):
            check(item, schema.get("items", {}), schemas, f"{at}[{place}]")
    if isinstance(value, dict):
        _members(value, schema, schemas, at)


def _members(value: dict[str, Any], schema: dict[str, Any], schemas: dict[str, Any], at: str) -> None:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    missing = set(schema.get("required", ())) - value.keys()
    _expect(not missing, f"{at}: lacks {missing}")
    for name, member in value.items():
        if name in properties:
            check(member, properties[name], schemas, f"{at}.{name}")
        else:
            _expect(others is not False, f"{at}: {name} is not declared")
            check(member, others, schemas, f"{at}.{name}")


def _any_of(value: Any, choices: list[dict[str, Any]], schemas: dict[str, Any], at: str) -> None:
    wrong = []
    for choice in choices:
        try:
            check(value, choice, schemas, at)
            return
        except SchemaError as error:
            wrong.append(str(error))
    raise SchemaError("\n or ".join(wrong))


def _expect(right: bool, message: str) -> None:
    if not right:
        raise SchemaError(message)

"""The API document (OpenRPC 1.3), generated from the declarations of the methods.

`python -m node.rpc.methods` prints it; docs/openrpc.json is that output, and a test holds the two equal.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from node.rpc.config import GUARDED_NAMESPACES
from node.rpc.schema import errors
from node.rpc.schema.answers import all_shapes, component, schema_of
from node.rpc.schema.declare import Method, Param

_VERSION: Final = "1"
"""The version of the API: a change that breaks a caller raises it."""

_ERRORS: Final = {
    "ParseError": (errors.PARSE_ERROR, "the body is no JSON"),
    "InvalidRequest": (errors.INVALID_REQUEST, "no JSON-RPC call, or too large a batch"),
    "MethodNotFound": (errors.METHOD_NOT_FOUND, "no such method, or its namespace is switched off"),
    "InvalidParams": (errors.INVALID_PARAMS, "an argument is missing or malformed; the message names it"),
    "InternalError": (errors.INTERNAL_ERROR, "a bug in the node; its log says more"),
    "ServerError": (errors.SERVER_ERROR, "refused: an inadmissible transaction, an unknown block, a call that failed"),
    "Unauthorized": (errors.UNAUTHORIZED, "the namespace needs the operator's bearer token"),
    "Timeout": (errors.TIMEOUT, "no worker got free in time"),
    "ResponseTooLarge": (errors.RESPONSE_TOO_LARGE, "the answer is larger than one may be"),
    "LimitExceeded": (errors.LIMIT_EXCEEDED, "more results, filters or subscriptions than are allowed"),
    "ExecutionReverted": (errors.EXECUTION_REVERTED, "the message reverted; `data` is what it returned"),
    "SyncTimeout": (errors.SYNC_TIMEOUT, "admitted, but not final in the time asked for; `data` is the hash"),
}
_ALWAYS: Final = ("InvalidParams", "ServerError", "Timeout")
_ALSO: Final = {
    "eth_call": ("ExecutionReverted",),
    "eth_estimateGas": ("ExecutionReverted",),
    "eth_getLogs": ("LimitExceeded", "ResponseTooLarge"),
    "eth_getFilterLogs": ("LimitExceeded", "ResponseTooLarge"),
    "eth_newFilter": ("LimitExceeded",),
    "eth_newBlockFilter": ("LimitExceeded",),
    "eth_newPendingTransactionFilter": ("LimitExceeded",),
    "eth_subscribe": ("LimitExceeded", "MethodNotFound"),
    "eth_sendRawTransactionSync": ("SyncTimeout",),
}


def document(declared: Iterable[Method]) -> dict[str, Any]:
    """The document of these methods."""
    methods = sorted(declared, key=lambda each: each.name)
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "OpenLedger node JSON-RPC",
            "description": "Ethereum's execution API with instant finality, and `open_*` for what Ethereum has no word for.",
            "version": _VERSION,
            "license": {"name": "MIT"},
        },
        "methods": [_method(each) for each in methods],
        "components": {
            "schemas": {**_argument_schemas(methods), **all_shapes()},
            "errors": {name: {"code": code, "message": text} for name, (code, text) in _ERRORS.items()},
        },
    }


def text(declared: Iterable[Method]) -> bytes:
    """The document as the file holds it."""
    return orjson.dumps(document(declared), option=orjson.OPT_INDENT_2) + b"\n"


def _method(each: Method) -> dict[str, Any]:
    names = [*_ALWAYS, *_ALSO.get(each.name, ()), *(("Unauthorized",) if each.namespace in GUARDED_NAMESPACES else ())]
    return {
        "name": each.name,
        "summary": each.summary,
        "tags": [{"name": each.namespace}],
        "paramStructure": "by-position",
        "params": [_param(param) for param in each.params],
        "result": {"name": each.result, "schema": schema_of(each.result)},
        "errors": [{"$ref": f"#/components/errors/{name}"} for name in names],
    }


def _param(param: Param) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{_argument_name(param)}"} if param.kind.schema else {}
    return {"name": param.name, "required": param.required, "schema": schema}


def _argument_name(param: Param) -> str:
    return "Argument" + component(param.kind.name.replace(",", ""))


def _argument_schemas(methods: Iterable[Method]) -> dict[str, Any]:
    kinds = {_argument_name(param): param.kind.schema for each in methods for param in each.params if param.kind.schema}
    return dict(sorted(kinds.items()))

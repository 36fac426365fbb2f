"""Running a declared method: its arguments parsed, its function called where it belongs, its result encoded there too."""

from collections.abc import Awaitable
from typing import Any

import orjson

from node.rpc.context import Context
from node.rpc.schema.declare import Method, Runs
from node.rpc.schema.params import BlockRef


async def call(method: Method, context: Context, raw: object) -> bytes:
    """The encoded result. Raises RpcError for bad arguments, and whatever the method raises."""
    arguments = method.parse(raw)
    if method.runs is Runs.READ or (method.runs is Runs.LOOK and not _is_tip(arguments[-1])):
        return await context.read(_run, method, context, arguments)
    if method.runs is Runs.CALL:
        return await context.call(_run, method, context, arguments)
    answer = method.handler(context, *arguments)
    return orjson.dumps(await answer if isinstance(answer, Awaitable) else answer)


def call_briefly(method: Method, context: Context, raw: object) -> bytes | None:
    """The encoded result if it can be had at once, in any thread; None if not, and for everything that is no result."""
    if method.brief is None:
        return None
    try:
        result = method.brief(context, *method.parse(raw))
    except Exception:  # whatever it is, `call` meets it too, and tells
        return None
    return None if result is None else orjson.dumps(result)


def _run(method: Method, context: Context, arguments: list[Any]) -> bytes:
    return orjson.dumps(method.handler(context, *arguments))


def _is_tip(ref: object) -> bool:
    return isinstance(ref, BlockRef) and ref.is_tip

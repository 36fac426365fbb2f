"""JSON-RPC 2.0: one body in, one body out. Whatever a method raises becomes an error answer; nothing escapes but a fatal error.

Rules kept here: single calls, batches and notifications; an id of any legal type is echoed exactly as it was written
(huge integers too); results of a batch stand in the order of its calls; sizes are capped before and after the work.
"""

import json
import logging
from collections.abc import Callable
from typing import Any, Final

import orjson
import trio

from genesis.codec import decode_json
from genesis.errors import InvalidTransaction, LocalError, StorageCorrupt, StorageUnavailable, WireError
from node.rpc.backend import Session
from node.rpc.calling import call, call_briefly
from node.rpc.config import GUARDED_NAMESPACES
from node.rpc.context import Context, Services
from node.rpc.result_cache import Key
from node.rpc.schema.declare import Keeps, Method
from node.rpc.schema.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    RESPONSE_TOO_LARGE,
    SERVER_ERROR,
    TIMEOUT,
    UNAUTHORIZED,
    RpcError,
)

log = logging.getLogger(__name__)

_NULL: Final = b"null"
_ID_BYTES_MAX: Final = 4_096
_TURN: Final = 16
"""Calls of a batch between two looks at what else the event loop has to do."""
_PLAIN_IDS: Final = frozenset({int, str})


class Answer:
    """What goes back: `body` (None where only notifications were asked), and what to run once it is sent."""

    __slots__ = ("after", "body")

    def __init__(self, body: bytes | None, after: list[Callable[[], None]]) -> None:
        self.body = body
        self.after = after


class Dispatcher:
    """Turns request bodies into answers through the registry."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = services.limits

    def recall(self, body: bytes, session: Session) -> bytes | None:
        """The answer to a single call whose result is kept, or can be had in a moment; None if `handle` has to look at it.

        For the pump's thread. Nothing is decided here that `handle` would decide otherwise: any doubt is None.
        """
        try:
            asked = decode_json(body, size_max=self._limits.body_bytes_max, what="request")
            call_id, name = asked["id"], asked["method"]
            if type(call_id) not in _PLAIN_IDS or type(name) is not str or asked["jsonrpc"] != "2.0":
                return None
        except (WireError, KeyError, TypeError, IndexError):
            return None
        found = self._services.registry.methods.get(name)
        if found is None or found.keeps is Keeps.NOTHING:
            return None
        params = asked.get("params")
        key = self._key(found, params)
        if key is None:
            return None
        result = self._services.answers.peek(key)
        if result is None:
            result = self._have(found, key, params, session)
        if result is None or len(result) > self._limits.response_bytes_max:
            return None
        encoded = orjson.dumps(call_id)
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (encoded, result) if len(encoded) <= _ID_BYTES_MAX else None

    def _key(self, found: Method, params: Any) -> Key | None:
        second = self._services.backend.now_ms() // 1_000 if found.minds_clock(params) else None
        return self._services.answers.key(found.name, params, second)

    def _have(self, found: Method, key: Key, params: Any, session: Session) -> bytes | None:
        """A result that nobody has asked for at this tip, if it can be had in a moment."""
        context = Context(self._services, session)
        tip = context.chain.tip()
        result = call_briefly(found, context, params)
        if result is not None:
            self._services.answers.keep(key, tip, result)
        return result

    async def handle(self, body: bytes | bytearray, session: Session) -> Answer:
        """Answer one body. Raises StorageCorrupt, which must stop the node, and nothing else."""
        after: list[Callable[[], None]] = []
        data = bytes(body)
        try:
            parsed = decode_json(data, size_max=self._limits.body_bytes_max, what="request")
        except WireError as error:
            return Answer(failure(_NULL, RpcError(PARSE_ERROR, f"parse error: {error}")), after)
        ids = _Ids(data)
        if isinstance(parsed, list):
            return Answer(await self._batch(parsed, ids, session, after), after)
        return Answer(await self._one(parsed, ids.of(parsed, None), session, after), after)

    async def _batch(
        self, items: list[Any], ids: "_Ids", session: Session, after: list[Callable[[], None]]
    ) -> bytes | None:
        if not items:
            return failure(_NULL, RpcError(INVALID_REQUEST, "empty batch"))
        if len(items) > self._limits.batch_items_max:
            message = f"batch too large, at most {self._limits.batch_items_max:,} calls"
            return b"[" + failure(ids.of(items[0], 0) or _NULL, RpcError(INVALID_REQUEST, message)) + b"]"
        deadline = trio.current_time() + self._limits.request_timeout_s
        answers, size = [], 2
        for place, item in enumerate(items):
            if place % _TURN == _TURN - 1:
                await trio.lowlevel.checkpoint()  # what is answered from memory waits for nothing else
            call_id = ids.of(item, place)
            if trio.current_time() > deadline:
                answer = _refused(item, call_id, RpcError(TIMEOUT, "request timed out"))
            elif size > self._limits.response_bytes_max:
                answer = _refused(item, call_id, RpcError(RESPONSE_TOO_LARGE, "response too large"))
            else:
                answer = await self._one(item, call_id, session, after)
                if answer is not None and size + len(answer) > self._limits.response_bytes_max:
                    answer = failure(call_id or _NULL, RpcError(RESPONSE_TOO_LARGE, "response too large"))
                    size = self._limits.response_bytes_max
            if answer is not None:
                answers.append(answer)
                size += len(answer) + 1
        return b"[" + b",".join(answers) + b"]" if answers else None

    async def _one(
        self, item: Any, call_id: bytes | None, session: Session, after: list[Callable[[], None]]
    ) -> bytes | None:
        """Answer one call; None for a notification (`call_id` is None then)."""
        if not isinstance(item, dict) or item.get("jsonrpc") != "2.0" or not isinstance(item.get("method"), str):
            return failure(call_id or _NULL, RpcError(INVALID_REQUEST, "invalid request"))
        if call_id == b"":
            return failure(_NULL, RpcError(INVALID_REQUEST, "invalid request: an id is a string, a number or null"))
        try:
            result = await self._result(item["method"], item.get("params"), session, after)
        except RpcError as error:
            return None if call_id is None else failure(call_id, error)
        if call_id is None:
            return None
        if len(result) > self._limits.response_bytes_max:
            return failure(call_id, RpcError(RESPONSE_TOO_LARGE, "response too large"))
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (call_id, result)

    async def _result(self, name: str, params: Any, session: Session, after: list[Callable[[], None]]) -> bytes:
        """The encoded result, kept or new. Raises RpcError for whatever goes wrong, and StorageCorrupt."""
        answers, found = self._services.answers, self._services.registry.find(name)
        if found.namespace in GUARDED_NAMESPACES and not session.authorized:
            raise RpcError(UNAUTHORIZED, f"{found.namespace} is the operator's: send the node's bearer token")
        key = None if found.keeps is Keeps.NOTHING else self._key(found, params)
        if key is not None:
            known = answers.find(key)
            if known is not None:
                return known
        context = Context(self._services, session)
        if key is None:
            result = await self._run(context, found, params)
            after.extend(context.after)
            return result
        return await answers.get(
            key, lambda: self._run(context, found, params), lambda result: found.is_final(params, result)
        )

    async def _run(self, context: Context, found: Method, params: Any) -> bytes:
        try:
            return await call(found, context, params)
        except (RpcError, StorageCorrupt):
            raise
        except StorageUnavailable as error:
            log.error("%s failed: %s", found.name, error)
            raise RpcError(INTERNAL_ERROR, "this node's disk can't be read") from None
        except (InvalidTransaction, WireError, LocalError) as error:
            raise RpcError(SERVER_ERROR, str(error)) from None
        except Exception:
            log.exception("%s failed: a bug in this node", found.name)
            raise RpcError(INTERNAL_ERROR, "internal error") from None


def failure(call_id: bytes, error: RpcError) -> bytes:
    """An error answer."""
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (call_id, _dump_lenient(body))


def _refused(item: Any, call_id: bytes | None, error: RpcError) -> bytes | None:
    """The answer to a call that was not begun; a notification gets none."""
    return None if call_id is None else failure(call_id or _NULL, error)


def _dump_lenient(body: dict[str, object]) -> bytes:
    """A message may quote what the caller sent, lone surrogates and all."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body).encode()


class _Ids:
    """Ids as they stand in the request. orjson reads integers beyond 64 bits as floats, so those are read once more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._exact: Any = None

    def of(self, item: Any, place: int | None) -> bytes | None:
        """The encoded id of a call; None for a notification, empty for an id that is not legal."""
        if not isinstance(item, dict):
            return _NULL
        if "id" not in item:
            return None
        value = item["id"]
        if value is None:
            return _NULL
        if isinstance(value, float):
            return self._verbatim(place)
        if isinstance(value, bool) or not isinstance(value, str | int):
            return b""
        encoded = orjson.dumps(value)
        return encoded if len(encoded) <= _ID_BYTES_MAX else b""

    def _verbatim(self, place: int | None) -> bytes:
        try:
            if self._exact is None:
                self._exact = json.loads(self._data, parse_float=_Text, parse_int=_Text)
            text = str((self._exact if place is None else self._exact[place])["id"])
        except (ValueError, RecursionError):
            return b""
        return text.encode() if len(text) <= _ID_BYTES_MAX else b""


class _Text(str):
    """A number as it was written."""

    __slots__ = ()

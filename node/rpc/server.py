"""The HTTP and WebSocket server of JSON-RPC, on trio.

Each connection is one task: read, parse, answer in order, read on. Every wait has a time limit and every buffer a cap
(`config.RpcLimits`). What a request does wrong is answered; what a method does wrong is logged and answered; only a fatal
error of the node itself leaves `serve`.
"""

import errno
import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import trio

from genesis.errors import FatalError, LocalError
from node.home.config import host_port
from node.rpc.backend import Backend, Session
from node.rpc.config import RpcConfig
from node.rpc.context import Services
from node.rpc.filters import Filters
from node.rpc.jsonrpc import Dispatcher
from node.rpc.methods import declared
from node.rpc.result_cache import Answers
from node.rpc.schema.declare import Registry
from node.rpc.subscriptions import SubscriptionHub
from node.rpc.transport.access import host_allowed, is_authorized, origin_allowed
from node.rpc.transport.goodbye import say_goodbye
from node.rpc.transport.http import (
    CONTINUE,
    HttpError,
    HttpParser,
    HttpRequest,
    Phase,
    error_response,
    response,
    without_body,
)
from node.rpc.transport.known_heads import Lane, Lanes, make_lane
from node.rpc.transport.reader import Faucet, Pump
from node.rpc.transport.wire import Deadline, Watch, Wire
from node.rpc.wallet import Wallet
from node.rpc.websocket import run_session
from node.rpc.workers import Workers
from p2p.accepting import accept_forever

log = logging.getLogger(__name__)

Page = Callable[[], Awaitable[tuple[str, bytes]]]
"""A page beside JSON-RPC (explorer, metrics): returns content type and body."""
Address = tuple[str, int]
Headers = tuple[tuple[str, str], ...]

_CONTENT_TYPES: Final = ("application/json", "application/json-rpc", "application/jsonrequest")
_HEADER_NAMES: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+(?: *, *[\w!#$%&'*+.^`|~-]+)*", re.ASCII)
"""RFC 9110's tokens, separated by commas."""
_REFUSED_AT_ONCE: Final = 16
"""Connections beyond the limit that are told so; more are not accepted."""
_QUIET: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


async def serve(
    backend: Backend,
    config: RpcConfig,
    *,
    pages: Mapping[str, Page] | None = None,
    task_status: trio.TaskStatus[tuple[Address, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve JSON-RPC until cancelled; reports the bound addresses (host, port) when it listens.

    Raises LocalError if a port is taken, and FatalError when stored data turns out to be corrupt.
    """
    services = Services(
        backend=backend,
        limits=config.limits,
        workers=Workers(config.limits),
        registry=Registry(config.namespaces, declared()),
        filters=Filters(config.limits),
        hub=SubscriptionHub(backend, config.limits),
        wallet=Wallet(config.account_keys),
        answers=Answers(backend.chain, config.limits),
    )
    services.hub.on_pending(services.filters.new_pending)
    listeners = await _listen(config)
    server = Server(services, config, dict(pages or {}))
    async with trio.open_nursery() as nursery:
        await nursery.start(services.hub.run)
        nursery.start_soon(services.filters.expire_forever)
        nursery.start_soon(server.watch.run)
        nursery.start_soon(server.pump.run)
        nursery.start_soon(services.workers.run)
        places = config.limits.connections_max + _REFUSED_AT_ONCE
        nursery.start_soon(partial(accept_forever, places=places, what="JSON-RPC"), listeners, server.connection)
        task_status.started(tuple(_address(listener) for listener in listeners))
        try:
            await trio.sleep_forever()
        finally:
            services.stopping = True  # calls in worker threads end now; the nursery waits for them


class _Connection(NamedTuple):
    wire: Wire
    peer: str
    parser: HttpParser
    deadline: Deadline


class _PageRoute(NamedTuple):
    page: Page
    headers: Headers


class Server:
    """What all connections share."""

    def __init__(self, services: Services, config: RpcConfig, pages: dict[str, Page]) -> None:
        self._services = services
        self._config = config
        self._limits = config.limits
        self._pages = pages
        self._dispatcher = Dispatcher(services)
        self._sessions = {authorized: Session(authorized=authorized) for authorized in (False, True)}
        self._connections = 0
        self._lanes = Lanes()
        shortest = min(self._limits.idle_timeout_s, self._limits.header_timeout_s, self._limits.body_timeout_s)
        self.pump = Pump()
        self.watch = Watch(min(1.0, shortest / 4))

    async def connection(self, stream: trio.SocketStream) -> None:
        """Serve one accepted connection; lets nothing escape but a fatal error."""
        self._connections += 1
        try:
            await self._serve_or_refuse(stream)
        except* _QUIET:
            pass
        except* FatalError:
            raise
        except* Exception:
            log.exception("a connection failed: a bug in this node")
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _serve_or_refuse(self, stream: trio.SocketStream) -> None:
        try:
            if self._connections > self._limits.connections_max:
                raise HttpError(503, "too many connections")
            await self._requests(stream)
        except HttpError as error:
            await say_goodbye(stream, error_response(error))

    async def _requests(self, stream: trio.SocketStream) -> None:
        """Read, answer, read on, until the connection ends. Raises HttpError for what breaks HTTP."""
        limits, deadline = self._limits, self.watch.add()
        parser = HttpParser(header_bytes_max=limits.header_bytes_max, body_bytes_max=limits.body_bytes_max)
        connection = _Connection(Wire(stream, limits.write_timeout_s), _peer(stream), parser, deadline)
        faucet = self.pump.add(connection.wire.descriptor, lambda data: self._recall(connection, data))
        try:
            with deadline.scope:
                await self._serve(connection, faucet)
        finally:
            faucet.close()
            self.watch.remove(deadline)
        if deadline.scope.cancelled_caught and parser.phase is not Phase.IDLE:
            raise HttpError(408, "the request did not arrive in time")

    def _recall(self, connection: "_Connection", data: bytes) -> bytes | None:
        """The answer to a request that is whole, of a known head, and known or had at once; None for all others."""
        if connection.parser.phase is not Phase.IDLE:
            return None
        found = self._lanes.find(data, connection.peer)
        if found is None:
            return None
        lane, body = found
        known = self._dispatcher.recall(body, lane.session)
        if known is None:
            return None
        connection.deadline.renew_s = self._limits.idle_timeout_s
        return lane.head.answer(known)

    async def _serve(self, connection: "_Connection", faucet: Faucet) -> None:
        wire, peer, parser, deadline = connection
        deadline.at = trio.current_time() + self._limits.header_timeout_s
        while True:
            data, unsent = await faucet.take()
            deadline.renew_s = None
            if data is None:
                deadline.at = math.inf
                await wire.write(unsent)
                deadline.at = trio.current_time() + self._limits.idle_timeout_s
                continue
            if not data:
                return
            before = parser.phase
            lane_and_body = self._lanes.find(data, peer) if before is Phase.IDLE else None
            if lane_and_body is not None:
                deadline.at = math.inf
                await wire.write(await self._call(*lane_and_body))
                deadline.at = trio.current_time() + self._limits.idle_timeout_s
                continue
            requests, error = parser.feed(data)
            for request in requests:
                deadline.at = math.inf
                if request.is_websocket:
                    faucet.close()
                    self._check_origin(request)
                    authorized = self._authorized(request, peer)
                    await run_session(wire.stream, self._services, self._dispatcher, request, authorized=authorized)
                    return
                route = self._route(request, peer)
                if isinstance(route, Lane) and before is parser.phase is Phase.IDLE and len(requests) == 1:
                    self._lanes.learn(data, peer, request, route)
                answer = await self._follow(route, request)
                await wire.write(without_body(answer) if request.method == b"HEAD" else answer)
                if not request.keep_alive:
                    return
            if error is not None:
                raise error
            if parser.wants_continue:
                parser.wants_continue = False
                await wire.write(CONTINUE)
            if requests or parser.phase is not before:
                deadline.at = trio.current_time() + self._seconds(parser.phase)

    def _seconds(self, phase: Phase) -> float:
        limits = self._limits
        return {
            Phase.IDLE: limits.idle_timeout_s,
            Phase.HEADERS: limits.header_timeout_s,
            Phase.BODY: limits.body_timeout_s,
        }[phase]

    # -- one request

    def _authorized(self, request: HttpRequest, peer: str) -> bool:
        return is_authorized(request.header(b"authorization"), self._config.token, peer)

    async def _call(self, lane: Lane, body: bytes | bytearray) -> bytes:
        answer = await self._dispatcher.handle(body, lane.session)
        return lane.nothing.answer() if answer.body is None else lane.head.answer(answer.body)

    async def _follow(self, route: "Lane | _PageRoute | bytes", request: HttpRequest) -> bytes:
        """The answer to a request that goes there."""
        if isinstance(route, Lane):
            return await self._call(route, request.body)
        if isinstance(route, bytes):
            return route
        content_type, body = await route.page()
        return response(200, body, content_type=content_type, headers=route.headers, keep_alive=request.keep_alive)

    def _route(self, request: HttpRequest, peer: str) -> "Lane | _PageRoute | bytes":
        """Where a whole request goes, by its head alone: to JSON-RPC, to a page, or nowhere: then that is the answer.

        Raises HttpError for one that ends the connection.
        """
        if not host_allowed(request.header(b"host"), self._config.vhosts):
            to_head = request.method == b"HEAD"
            raise HttpError(403, "invalid host specified; allow it with --http.vhosts", to_head=to_head)
        headers = self._cors(request.header(b"origin"))
        keep_alive = request.keep_alive
        path = request.target.partition(b"?")[0]
        if request.method == b"OPTIONS":
            return response(204, headers=self._preflight(request, headers), keep_alive=keep_alive)
        if path not in (b"", b"/") or (request.method in (b"GET", b"HEAD") and "/" in self._pages):
            return self._page(request, path.decode("latin-1"), headers)
        if request.method in (b"GET", b"HEAD"):
            return response(200, headers=headers, keep_alive=keep_alive)  # a health check, as with geth
        if request.method != b"POST":
            return _not_allowed("POST, GET, HEAD, OPTIONS", headers, keep_alive=keep_alive)
        content_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
        if content_type not in _CONTENT_TYPES:
            message = b"invalid content type, only application/json is supported\n"
            return response(415, message, content_type="text/plain", headers=headers, keep_alive=keep_alive)
        session = self._sessions[self._authorized(request, peer)]
        return make_lane(session, headers, keep_alive=keep_alive)

    def _page(self, request: HttpRequest, path: str, headers: Headers) -> "_PageRoute | bytes":
        page = self._pages.get(path)
        if page is None:
            return response(
                404, b"not found\n", content_type="text/plain", headers=headers, keep_alive=request.keep_alive
            )
        if request.method not in (b"GET", b"HEAD"):
            return _not_allowed("GET, HEAD", headers, keep_alive=request.keep_alive)
        return _PageRoute(page, headers)

    def _cors(self, origin: str | None) -> Headers:
        """The headers that let a browser read the answer; none for a foreign origin, so it can't."""
        if origin is None:
            return ()
        if not origin_allowed(origin, self._config.cors_origins):
            return (("Vary", "Origin"),)
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))

    def _preflight(self, request: HttpRequest, headers: Headers) -> Headers:
        """An origin that may ask may send what headers it likes: client libraries add names of their own, and none is read."""
        if not any(name == "Access-Control-Allow-Origin" for name, _ in headers):
            return headers
        asked = request.header(b"access-control-request-headers") or ""
        return (
            *headers,
            ("Vary", "Access-Control-Request-Headers"),
            ("Access-Control-Allow-Methods", "POST, GET"),
            (
                "Access-Control-Allow-Headers",
                asked if _HEADER_NAMES.fullmatch(asked) else "Content-Type, Authorization",
            ),
            ("Access-Control-Max-Age", "600"),
        )

    def _check_origin(self, request: HttpRequest) -> None:
        """Browsers don't ask before they open a WebSocket, so the server has to."""
        if not host_allowed(request.header(b"host"), self._config.vhosts):
            raise HttpError(403, "invalid host specified; allow it with --http.vhosts")
        origin = request.header(b"origin")
        if origin is not None and not origin_allowed(origin, self._config.cors_origins):
            raise HttpError(403, "origin not allowed; allow it with --http.corsdomain")


# ---------------------------------------------------------------- listening


async def _listen(config: RpcConfig) -> list[trio.SocketListener]:
    ports = [config.port]
    if config.ws_port is not None and config.ws_port != config.port:
        ports.append(config.ws_port)
    listeners: list[trio.SocketListener] = []
    try:
        for port in ports:
            for host in config.hosts:
                listeners += await trio.open_tcp_listeners(port, host=host, backlog=512)
    except OSError as error:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise LocalError(f"JSON-RPC cannot listen on {host_port(host, port)}: {_why(error)}") from None
    return listeners


def _why(error: OSError) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if cause.errno == errno.EADDRINUSE or "in use" in str(error):
        return "the port is in use; stop what holds it or choose another with --http.port"
    if cause.errno == errno.EACCES:
        return "this user may not open that port; choose one above 1023 with --http.port"
    return f"{error}; check --http.addr and --http.port"


def _not_allowed(allowed: str, headers: Headers, *, keep_alive: bool) -> bytes:
    body, allow = b"method not allowed\n", ("Allow", allowed)
    return response(405, body, content_type="text/plain", headers=(allow, *headers), keep_alive=keep_alive)


def _peer(stream: trio.SocketStream) -> str:
    """The IP address at the other end; empty if it is gone already."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""


def _address(listener: trio.SocketListener) -> Address:
    name = listener.socket.getsockname()
    return str(name[0]), int(name[1])

"""One WebSocket: JSON-RPC messages in, answers and notifications out.

A reader takes frames, a writer is the only one to send, and each message is answered by a task of its own (a bounded number at
once; then the reader waits, and so does the peer). Answers wait for room in the outbox; notifications don't: a subscriber
who reads too slowly is cut off rather than paid for in memory.
"""

import logging
from collections import deque
from typing import Final

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

from node.rpc.backend import Session
from node.rpc.config import RpcLimits
from node.rpc.context import Services
from node.rpc.jsonrpc import Dispatcher
from node.rpc.transport.goodbye import say_goodbye
from node.rpc.transport.http import HttpError, HttpRequest

log = logging.getLogger(__name__)

_VERSION: Final = "13"
_READ_BYTES: Final = 64 * 1024


def accept_handshake(request: HttpRequest) -> bytes:
    """The 101 answer to an upgrade request. Raises HttpError for one that is not RFC 6455's. No extensions are offered."""
    key = request.header(b"sec-websocket-key")
    if request.method != b"GET":
        raise HttpError(405, "a WebSocket begins with GET")
    if request.header(b"sec-websocket-version") != _VERSION:
        raise HttpError(426, f"this server speaks WebSocket version {_VERSION}")
    if key is None or not 16 <= len(key) <= 64:
        raise HttpError(400, "missing or malformed header Sec-WebSocket-Key")
    token = generate_accept_token(key.encode("latin-1")).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {token}\r\n\r\n"
    ).encode()


class Outbox:
    """Frames on their way out, bounded by number and by bytes (one frame of any size is taken when it is empty)."""

    def __init__(self, limits: RpcLimits) -> None:
        self._limits = limits
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._changed = trio.Event()
        self.closed = False

    def _has_room(self, size: int) -> bool:
        if not self._frames:
            return True
        room = self._limits.websocket_queue_bytes_max - self._bytes
        return len(self._frames) < self._limits.websocket_queue_max and size <= room

    def offer(self, frame: bytes) -> bool:
        """Queue without waiting; False if there is no room."""
        if self.closed or not self._has_room(len(frame)):
            return False
        self._append(frame)
        return True

    async def put(self, frame: bytes) -> None:
        """Queue, waiting for room."""
        while not self.closed and not self._has_room(len(frame)):
            await self._changed.wait()
        if not self.closed:
            self._append(frame)

    def close(self) -> None:
        """Take no more; what is queued still goes out."""
        self.closed = True
        self._notify()

    async def get(self) -> bytes | None:
        """The next bytes to send; None once closed and empty."""
        while not self._frames:
            if self.closed:
                return None
            await self._changed.wait()
        frame = self._frames.popleft()
        self._bytes -= len(frame)
        self._notify()
        return frame

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class WebSocketSession(Session):
    """Runs one connection from the bytes after its handshake to its end."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        services: Services,
        dispatcher: Dispatcher,
        rest: bytes,
        *,
        authorized: bool = False,
    ) -> None:
        super().__init__(authorized=authorized)
        self._stream = stream
        self._services = services
        self._dispatcher = dispatcher
        self._limits = services.limits
        self._protocol = Connection(ConnectionType.SERVER, trailing_data=rest)
        self._outbox = Outbox(services.limits)
        self._calls = trio.Semaphore(services.limits.websocket_calls_max)
        self._message = bytearray()
        self._all: trio.CancelScope | None = None

    @property
    def can_notify(self) -> bool:
        return True

    def notify(self, message: bytes) -> bool:
        if self._outbox.closed:
            return False
        if self._outbox.offer(self._frame(message)):
            return True
        log.info("a WebSocket subscriber reads too slowly: closed")
        self.abort()
        return False

    def abort(self) -> None:
        """End the connection without more ado."""
        self._outbox.close()
        if self._all is not None:
            self._all.cancel()

    async def run(self) -> None:
        """Serve until either side closes. The stream is the caller's to close."""
        try:
            async with trio.open_nursery() as nursery:
                self._all = nursery.cancel_scope
                nursery.start_soon(self._write)
                await self._read(nursery)
        finally:
            self._outbox.close()
            self._services.hub.drop_session(self)

    # -- out

    async def _write(self) -> None:
        while (frame := await self._outbox.get()) is not None:
            with trio.move_on_after(self._limits.write_timeout_s) as scope:
                try:
                    await self._stream.send_all(frame)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    scope.cancel()
            if scope.cancel_called:
                break
        else:
            await say_goodbye(self._stream)  # the reader has returned: it closed the outbox
        self.abort()

    def _frame(self, message: bytes) -> bytes:
        return self._protocol.send(TextMessage(data=message.decode())) if self._is_open else b""

    @property
    def _is_open(self) -> bool:
        return self._protocol.state is ConnectionState.OPEN

    def _close(self, code: int, reason: str = "") -> None:
        """Say goodbye; the writer ends the connection after it."""
        if self._is_open:
            self._outbox.offer(self._protocol.send(CloseConnection(code=code, reason=reason)))
        self._outbox.close()

    # -- in

    async def _read(self, nursery: trio.Nursery) -> None:
        silent = 0
        while not self._outbox.closed:
            try:
                if not await self._take_events(nursery):
                    return
            except (RemoteProtocolError, LocalProtocolError) as error:
                self._close(CloseReason.PROTOCOL_ERROR, str(error)[:100])
                return
            incoming: bytes | None = None
            with trio.move_on_after(self._limits.websocket_ping_s):
                try:
                    incoming = bytes(await self._stream.receive_some(_READ_BYTES))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    incoming = b""
            if incoming == b"":
                self.abort()
                return
            if incoming is None:
                silent += 1
                if silent >= 2:
                    self.abort()
                    return
                self._outbox.offer(self._protocol.send(Ping()))
                continue
            silent = 0
            self._protocol.receive_data(incoming)

    async def _take_events(self, nursery: trio.Nursery) -> bool:
        """Act on what was received; False once the connection is closing."""
        for event in self._protocol.events():
            if isinstance(event, Ping):
                self._outbox.offer(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                self._outbox.offer(self._protocol.send(event.response()))
                self._outbox.close()
                return False
            elif isinstance(event, TextMessage | BytesMessage):
                data = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                if len(self._message) + len(data) > self._limits.body_bytes_max:
                    self._close(CloseReason.MESSAGE_TOO_BIG, f"at most {self._limits.body_bytes_max} bytes")
                    return False
                self._message += data
                if event.message_finished:
                    body, self._message = self._message, bytearray()
                    await self._calls.acquire()
                    nursery.start_soon(self._answer, body)
            elif not isinstance(event, Pong):  # pragma: no cover - wsproto has no other events
                log.debug("ignored %r", event)
        return True

    async def _answer(self, body: bytearray) -> None:
        try:
            answer = await self._dispatcher.handle(body, self)
            if answer.body is not None and self._is_open:
                await self._put(answer.body)
            for act in answer.after:
                act()
        finally:
            self._calls.release()

    async def _put(self, message: bytes) -> None:
        """Frames are encoded when they are queued: without extensions a frame depends on nothing that was sent before it."""
        await self._outbox.put(self._frame(message))


async def run_session(
    stream: trio.abc.HalfCloseableStream,
    services: Services,
    dispatcher: Dispatcher,
    request: HttpRequest,
    *,
    authorized: bool,
) -> None:
    """Answer the handshake and serve the WebSocket. Raises HttpError if the handshake is refused."""
    handshake = accept_handshake(request)
    with trio.fail_after(services.limits.write_timeout_s):
        await stream.send_all(handshake)
    await WebSocketSession(stream, services, dispatcher, request.rest, authorized=authorized).run()

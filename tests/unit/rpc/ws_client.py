"""A WebSocket client for the tests, on wsproto, with access to frames."""

from types import TracebackType
from typing import Any

import orjson
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.typing import Headers


class WsClient:
    """For `async with`; raises ConnectionError if the server refuses."""

    def __init__(self, port: int, headers: Headers | None = None) -> None:
        self._port = port
        self._headers = headers or []
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self._messages: list[Any] = []
        self.pongs = 0
        self.closed: CloseConnection | None = None

    async def __aenter__(self) -> "WsClient":
        self.stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        request = Request(host=f"127.0.0.1:{self._port}", target="/", extra_headers=self._headers)
        await self.stream.send_all(self.protocol.send(request))
        event = await self._next_event()
        if isinstance(event, RejectConnection):
            await trio.aclose_forcefully(self.stream)
            raise ConnectionError(event.status_code)
        assert isinstance(event, AcceptConnection), event
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self.stream)

    async def _next_event(self) -> Event | None:
        while True:
            for event in self.protocol.events():
                return event
            data = await self.stream.receive_some()
            if not data:
                return None
            self.protocol.receive_data(data)

    async def send_event(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def send(self, message: object) -> None:
        await self.send_event(Message(data=orjson.dumps(message).decode()))

    async def receive(self) -> Any:
        """The next JSON message; None once the server has closed."""
        text = ""
        with trio.fail_after(10):
            while True:
                event = await self._next_event()
                if event is None:
                    return None
                if isinstance(event, CloseConnection):
                    self.closed = event
                    return None
                if isinstance(event, Ping):
                    await self.send_event(event.response())
                elif isinstance(event, Pong):
                    self.pongs += 1
                    return "pong"
                elif isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        return orjson.loads(text)

    async def call(self, method: str, *params: Any) -> Any:
        """The result; notifications that come before it are kept for `next_notification`."""
        await self.send({"jsonrpc": "2.0", "id": method, "method": method, "params": list(params)})
        while (message := await self.receive()) is not None:
            if message.get("id") == method:
                assert "error" not in message, message
                return message["result"]
            self._messages.append(message)
        raise ConnectionError(self.closed)

    async def next_notification(self) -> Any:
        """The parameters of the next eth_subscription."""
        message = self._messages.pop(0) if self._messages else await self.receive()
        assert message is not None and message["method"] == "eth_subscription", message
        return message["params"]

"""HTTP/1.1 without IO: bytes in, whole requests out; answers to bytes.

The grammar is llhttp's (through httptools). This file adds what a server must bound by itself: headers by bytes and by
number, bodies by size, both before they are buffered. `HttpParser.feed` returns every request that the bytes completed, in
order, so pipelined requests are answered in order and a caller that reads no further before it has answered needs no queue.
"""

import functools
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum, auto
from typing import Final

import httptools

HEADERS_MAX: Final = 100
_REASONS: Final = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpError(Exception):
    """A request that is refused at the level of HTTP; the connection is closed after the answer."""

    def __init__(self, status: int, message: str, *, to_head: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.to_head = to_head
        """The request was a HEAD, whose answer has no body."""


@dataclass(slots=True)
class HttpRequest:
    """One whole request. Header names are lower-case."""

    method: bytes = b""
    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = True
    is_websocket: bool = False
    """It asks to go on as a WebSocket; `rest` holds the bytes after it, which are no HTTP."""
    rest: bytes = b""

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name, as text."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    def header_tokens(self, name: bytes) -> set[str]:
        """The comma-separated, lower-cased tokens of all headers of that name."""
        joined = b",".join(value for key, value in self.headers if key == name)
        return {token.strip().lower() for token in joined.decode("latin-1").split(",")} - {""}


class Phase(Enum):
    """What the parser waits for: each has a time limit of its own."""

    IDLE = auto()
    HEADERS = auto()
    BODY = auto()


class HttpParser:
    """Parses one connection's bytes. After an HttpError or a WebSocket request it takes no more."""

    def __init__(self, *, header_bytes_max: int, body_bytes_max: int) -> None:
        self._header_bytes_max = header_bytes_max
        self._body_bytes_max = body_bytes_max
        self.phase = Phase.IDLE
        self.wants_continue = False
        """The client waits for `100 Continue` before it sends its body."""
        self._request = HttpRequest()
        self._header_bytes = 0
        self._unseen_bytes = 0
        self._done: list[HttpRequest] = []
        self._error: HttpError | None = None
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> tuple[list[HttpRequest], HttpError | None]:
        """The requests that `data` completed, and the error that ended parsing, if any (answer the requests first)."""
        self._feed(data)
        done, self._done = self._done, []
        # A header that is not complete yet sits in the parser unseen, so what was fed since the last request counts.
        self._unseen_bytes = 0 if done or self.phase is not Phase.HEADERS else self._unseen_bytes + len(data)
        if self._error is None and self._unseen_bytes > self._header_bytes_max:
            self._error = HttpError(431, _headers_too_large(self._header_bytes_max))
        if self._error is not None:
            self._error.to_head = self._parser.get_method() == b"HEAD"
        return done, self._error

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self._error is None:
                self._error = HttpError(400, f"malformed HTTP request: {error}")

    def _upgrade(self, rest: bytes) -> None:
        """The request asks for another protocol: hand a WebSocket on, read any other as if it had not asked (RFC 9110, 7.8)."""
        request = self._request
        self.phase = Phase.IDLE
        if request.header_tokens(b"upgrade") == {"websocket"}:
            request.is_websocket = True
            request.rest = rest
            self._done.append(request)
            return
        if request.method == b"CONNECT":
            self._error = HttpError(405, "method not allowed")
            return
        lines = [b"%b %b HTTP/1.1" % (request.method, request.target)]
        lines += [b"%b: %b" % header for header in request.headers if header[0] not in (b"upgrade", b"http2-settings")]
        self._parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    # -- called back by httptools; an exception raised here comes out of feed_data as HttpParserCallbackError

    def on_message_begin(self) -> None:
        self._request = HttpRequest()
        self._header_bytes = 0
        self.phase = Phase.HEADERS

    def on_url(self, url: bytes) -> None:
        self._request.target += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value) + 4)
        if self.phase is not Phase.HEADERS:
            return  # a trailer: counted, and of no use here
        self._request.headers.append((name.lower(), value))
        if len(self._request.headers) > HEADERS_MAX:
            self._refuse(431, f"more than {HEADERS_MAX} headers")

    def on_headers_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method()
        self.phase = Phase.BODY
        length = request.header(b"content-length")
        if length is not None and length.isdecimal() and int(length[:20]) > self._body_bytes_max:
            self._refuse(413, f"request body too large, at most {self._body_bytes_max} bytes")
        self.wants_continue = "100-continue" in request.header_tokens(b"expect")

    def on_body(self, body: bytes) -> None:
        self.wants_continue = False
        if len(self._request.body) + len(body) > self._body_bytes_max:
            self._refuse(413, f"request body too large, at most {self._body_bytes_max} bytes")
        self._request.body += body

    def on_message_complete(self) -> None:
        self._request.keep_alive = self._parser.should_keep_alive()
        self.phase = Phase.IDLE
        self.wants_continue = False
        if not self._parser.should_upgrade():
            self._done.append(self._request)

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._header_bytes_max:
            self._refuse(431, _headers_too_large(self._header_bytes_max))

    def _refuse(self, status: int, message: str) -> None:
        self._error = HttpError(status, message)
        raise self._error


def _headers_too_large(limit: int) -> str:
    return f"request headers are too large, at most {limit} bytes"


class ResponseHead:
    """The status line and headers of answers that differ in nothing but date and length."""

    __slots__ = ("_bodiless", "_with_body")

    def __init__(
        self,
        status: int,
        *,
        content_type: str = "application/json",
        headers: tuple[tuple[str, str], ...] = (),
        keep_alive: bool = True,
    ) -> None:
        lines = [f"{name}: {value}" for name, value in headers]
        lines.append("Connection: keep-alive" if keep_alive else "Connection: close")
        rest = _literal("\r\n".join(lines)) + b"\r\n\r\n"
        start = _literal(f"HTTP/1.1 {status} {_REASONS[status]}\r\nDate: ") + b"%b\r\n"
        typed = _literal(f"Content-Type: {content_type}\r\nContent-Length: ")
        self._with_body = start + typed + b"%d\r\n" + rest + b"%b"
        self._bodiless = start + (b"" if status == 204 else b"Content-Length: 0\r\n") + rest

    def answer(self, body: bytes = b"") -> bytes:
        """The whole answer. One without a body names no type."""
        date = _date(int(time.time()))
        return self._with_body % (date, len(body), body) if body else self._bodiless % date


def _literal(text: str) -> bytes:
    """As a part of a template."""
    return text.encode("latin-1").replace(b"%", b"%%")


def response(
    status: int,
    body: bytes = b"",
    *,
    content_type: str = "application/json",
    headers: tuple[tuple[str, str], ...] = (),
    keep_alive: bool = True,
) -> bytes:
    """An HTTP/1.1 answer as bytes, with its length and date."""
    return ResponseHead(status, content_type=content_type, headers=headers, keep_alive=keep_alive).answer(body)


def error_response(error: HttpError, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The plain-text answer to a request refused by HTTP; it closes the connection."""
    body = (error.message + "\n").encode()
    answer = response(error.status, body, content_type="text/plain; charset=utf-8", headers=headers, keep_alive=False)
    return without_body(answer) if error.to_head else answer


def without_body(answer: bytes) -> bytes:
    """The answer to a HEAD: that to a GET, up to its body."""
    return answer[: answer.index(b"\r\n\r\n") + 4]


@functools.lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode("latin-1")

"""The HTTP parser and its answers at their edges: the last byte that is taken, the first that is refused, and exact answers."""

import re
from email.utils import parsedate_to_datetime

import pytest

from node.rpc.transport.access import host_allowed, is_authorized, origin_allowed
from node.rpc.transport.http import (
    CONTINUE,
    HEADERS_MAX,
    HttpError,
    HttpParser,
    HttpRequest,
    Phase,
    ResponseHead,
    error_response,
    response,
)

HEAD = b"GET /abc HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD_COUNT = len("/abc") + len("Host") + len("x") + 4
"""What of it counts: the target, and each header with 4 bytes around it."""
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def parser(header_bytes_max: int = 1_024, body_bytes_max: int = 1_000) -> HttpParser:
    return HttpParser(header_bytes_max=header_bytes_max, body_bytes_max=body_bytes_max)


def status(each: HttpParser, data: bytes) -> int:
    """The status of the refusal; 0 if there is none."""
    error = each.feed(data)[1]
    return 0 if error is None else error.status


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(("room", "expected"), [(HEAD_COUNT, 0), (HEAD_COUNT - 1, 431)])
def test_headers_may_fill_their_room_and_not_a_byte_more(room: int, expected: int) -> None:
    assert status(parser(header_bytes_max=room), HEAD * 3) == expected, "each request counts by itself"


def test_a_header_that_does_not_end_may_fill_the_room_once() -> None:
    begun = b"GET / HTTP/1.1\r\nX: "
    each = parser(header_bytes_max=100)
    assert status(each, begun + b"a" * (100 - len(begun))) == 0
    assert status(each, b"a") == 431
    dripping = parser(header_bytes_max=100)
    assert [status(dripping, begun + b"a" * 11), *(status(dripping, b"a" * 10) for _ in range(8))] == [0] * 8 + [431]


def test_bytes_of_a_body_are_no_bytes_of_a_header() -> None:
    each = parser(header_bytes_max=100)
    assert status(each, b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n") == 0
    assert all(status(each, b"b" * 100) == 0 for _ in range(9))
    assert each.phase is Phase.IDLE
    assert status(each, b"POST / HTTP/1.1\r\nX: " + b"a" * 70) == 0, "the count began anew"


def test_what_came_with_the_request_before_is_not_counted() -> None:
    each = parser(header_bytes_max=100)
    assert status(each, b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n" + b"b" * 900 + b"GET / HT") == 0
    assert each.phase is Phase.HEADERS
    [request], error = each.feed(b"TP/1.1\r\n\r\n")
    assert error is None and request.method == b"GET"


def test_the_first_error_is_the_one_that_is_told() -> None:
    malformed = b"GET / HTTP/1.1\r\nno colon here\r\n" + b"x" * 100
    assert status(parser(header_bytes_max=50), malformed) == 400


@pytest.mark.parametrize(("count", "expected"), [(HEADERS_MAX, 0), (HEADERS_MAX + 1, 431)])
def test_so_many_headers(count: int, expected: int) -> None:
    assert status(parser(), b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * count + b"\r\n") == expected


@pytest.mark.parametrize(("size", "expected"), [(10, 0), (11, 413)])
def test_bodies_may_have_the_greatest_size_declared_or_in_chunks(size: int, expected: int) -> None:
    declared = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    assert status(parser(body_bytes_max=10), declared) == expected
    in_chunks = CHUNKED + b"6\r\nabcdef\r\n%x\r\n" % (size - 6) + b"g" * (size - 6) + b"\r\n0\r\n\r\n"
    assert status(parser(body_bytes_max=10), in_chunks) == expected


def test_a_length_of_many_digits_is_refused() -> None:
    for digits in (20, 21, 400):
        assert status(parser(), b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * digits + b"\r\n\r\n") in (400, 413, 431)


def test_trailers_count_and_are_not_headers() -> None:
    each = parser(header_bytes_max=120)
    [request], error = each.feed(CHUNKED + b"1\r\na\r\n0\r\nX-Late: 1\r\n\r\n")
    assert error is None and request.header(b"x-late") is None
    assert status(parser(header_bytes_max=120), CHUNKED + b"0\r\nX-Late: " + b"a" * 120 + b"\r\n\r\n") == 431


def test_an_error_stays() -> None:
    each = parser(body_bytes_max=10)
    assert status(each, b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n") == 413
    assert status(each, b"more") == 413


# ---------------------------------------------------------------- requests


def test_a_request_says_what_was_asked() -> None:
    data = b"PUT /a?b=c HTTP/1.1\r\nHOST: x\r\nAccept: a, B\r\nHost: y\r\naccept: b , ,C\r\nContent-Length: 2\r\n\r\nhi"
    each = parser()
    phases = []
    requests: list[HttpRequest] = []
    for place in range(len(data)):
        requests += each.feed(data[place : place + 1])[0]
        phases.append(each.phase)
    [request] = requests
    assert (request.method, request.target, bytes(request.body)) == (b"PUT", b"/a?b=c", b"hi")
    assert request.header(b"host") == "x", "the first one"
    assert request.header(b"Host") is None and request.header(b"none") is None
    assert request.header_tokens(b"accept") == {"a", "b", "c"} and request.header_tokens(b"none") == set()
    assert request.keep_alive and not request.is_websocket and request.rest == b""
    assert [phase for place, phase in enumerate(phases) if phase is not phases[place - 1]] == [
        Phase.HEADERS,
        Phase.BODY,
        Phase.IDLE,
    ]


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "websocket, h2c"])
def test_only_a_request_for_a_websocket_alone_becomes_one(upgrade: str) -> None:
    each = parser()
    head = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode()
    [request], error = each.feed(head)
    assert error is None and each.phase is Phase.IDLE
    assert request.is_websocket is (upgrade == "websocket")
    assert (request.header(b"upgrade") is not None) is (upgrade == "websocket")
    assert request.header(b"host") == "x"


def test_connect_is_no_method_here() -> None:
    assert status(parser(), b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n") == 405


def test_100_continue_is_wanted_only_where_it_was_asked_for_and_while_nothing_came() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    each = parser()
    each.feed(head)
    assert each.wants_continue
    each.feed(b"a")
    assert not each.wants_continue
    each.feed(b"b" + head.replace(b"100-C", b"200-c"))
    assert not each.wants_continue
    each.feed(b"cc" + head.replace(b"Length: 2", b"Length: 0"))
    assert not each.wants_continue, "there is no body to come"
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"


# ---------------------------------------------------------------- answers


def test_answers_to_the_byte() -> None:
    made = response(200, b"{}", headers=(("X-Rate", "100%"), ("Vary", "Origin")), keep_alive=False)
    [date] = re.findall(rb"Date: ([^\r]+)\r\n", made)
    parsedate_to_datetime(date.decode())
    assert date.endswith(b"GMT")
    expected = (
        b"HTTP/1.1 200 OK\r\nDate: " + date + b"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"X-Rate: 100%\r\nVary: Origin\r\nConnection: close\r\n\r\n{}"
    )
    assert made == expected


@pytest.mark.parametrize(("code", "length"), [(204, b""), (400, b"Content-Length: 0\r\n")])
def test_answers_without_a_body_name_no_type(code: int, length: bytes) -> None:
    made = ResponseHead(code).answer()
    assert b"Content-Type" not in made and made.endswith(b" GMT\r\n" + length + b"Connection: keep-alive\r\n\r\n")


def test_a_head_serves_many_answers() -> None:
    head = ResponseHead(200, content_type="text/plain")
    for body in (b"a", b"%d %s", b"x" * 10_000):
        made = head.answer(body)
        assert made.endswith(b"\r\n\r\n" + body) and b"Content-Length: %d\r\n" % len(body) in made
        assert b"Content-Type: text/plain\r\n" in made


def test_a_refusal_is_plain_text_and_ends_the_connection() -> None:
    error = HttpError(413, "too large")
    assert str(error) == "too large"
    made = error_response(error, (("Vary", "Origin"),))
    assert made.startswith(b"HTTP/1.1 413 Content Too Large\r\n") and made.endswith(b"\r\n\r\ntoo large\n")
    for line in (b"Content-Type: text/plain; charset=utf-8\r\n", b"Connection: close\r\n", b"Vary: Origin\r\n"):
        assert line in made


# ---------------------------------------------------------------- who may ask


def test_names_are_compared_without_case_or_port() -> None:
    assert host_allowed("Node.Example:8545", ("x", "node.EXAMPLE"))
    assert not host_allowed("node.example", ("x",)) and not host_allowed("node.example", ())
    assert host_allowed("node.example", ("x", "*")) and host_allowed(None, ())
    assert host_allowed("[2001:db8::1]:1", ()) and host_allowed("192.0.2.1", ())
    assert not host_allowed("192.0.2.1.example", ()) and not host_allowed("[::1", ("*x",))


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        ("http://a.example", ("b.example", "a.example"), True),
        ("http://a.example:80", ("a.example:80",), True),
        ("http://a.example", ("a.example:80",), False),
        ("http://a.example:81", ("a.example:80",), False),
        ("http://A.Example", ("a.example",), True),
        ("https://a.example", ("http://a.example", "https://a.example"), True),
        ("http://a.example", ("https://a.example",), False),
        ("http://a.example", (), False),
        ("http://a.example", ("http://[", "a.example"), True),
        ("http://", ("*",), True),
        ("http://a.example", ("http://", "", "//"), False),
    ],
)
def test_origins_match_as_far_as_an_entry_says(origin: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert origin_allowed(origin, allowed) is expected


def test_loopback_is_the_operator_only_where_no_token_is_set() -> None:
    assert is_authorized(None, None, "127.9.9.9") and is_authorized(None, None, "::1%lo")
    assert not is_authorized(None, None, "fe80::1%eth0") and not is_authorized(None, None, "localhost")
    assert not is_authorized(None, "secret", "127.0.0.1") and is_authorized("Bearer secret", "secret", "192.0.2.1")
    assert not is_authorized("Bearer", "secret", "::1") and not is_authorized("Bearer secre", "secret", "::1")

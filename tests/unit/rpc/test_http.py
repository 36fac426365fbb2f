"""The HTTP parser without a socket, and who may ask."""

import random

import pytest

from node.rpc.transport.access import host_allowed, origin_allowed
from node.rpc.transport.http import HttpError, HttpParser, HttpRequest, Phase, response


def parser(header_bytes_max: int = 1_024, body_bytes_max: int = 1_000) -> HttpParser:
    return HttpParser(header_bytes_max=header_bytes_max, body_bytes_max=body_bytes_max)


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def feed_all(each: HttpParser, data: bytes, cuts: list[int]) -> tuple[list[HttpRequest], HttpError | None]:
    done = []
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if begin == end:
            continue
        requests, error = each.feed(data[begin:end])
        done += requests
        if error is not None:
            return done, error
    return done, None


def test_a_request_comes_out_whole_however_it_is_cut() -> None:
    data = post(b'{"id":1}', "X-Long: " + "v" * 300)
    for cut in range(len(data)):
        requests, error = feed_all(parser(), data, [cut])
        assert error is None
        assert [bytes(request.body) for request in requests] == [b'{"id":1}']
    requests, error = feed_all(parser(), data, list(range(1, len(data))))
    assert error is None
    assert requests[0].header(b"x-long") == "v" * 300


def test_pipelined_requests_come_out_in_order() -> None:
    data = b"".join(post(b"%d" % number) for number in range(20))
    requests, error = parser().feed(data)
    assert error is None
    assert [bytes(request.body) for request in requests] == [b"%d" % number for number in range(20)]
    assert all(request.keep_alive for request in requests)


def test_chunked_bodies_are_joined_and_capped() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    requests, error = parser().feed(head + b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nTrailer: 1\r\n\r\n")
    assert error is None
    assert bytes(requests[0].body) == b"abcdefg"
    _, error = parser(body_bytes_max=5).feed(head + b"3\r\nabc\r\n3\r\ndef\r\n")
    assert error is not None and error.status == 413


def test_a_declared_length_beyond_the_cap_is_refused_before_the_body() -> None:
    _, error = parser(body_bytes_max=10).feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
    assert error is not None and error.status == 413


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 2_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 101 + b"\r\n",
        b"GET / HTTP/1.1\r\nX-Never-Ends: " + b"a" * 2_000,
    ],
)
def test_large_headers_are_refused(head: bytes) -> None:
    for step in (len(head), 64):
        _, error = feed_all(parser(), head, list(range(step, len(head), step)))
        assert error is not None and error.status == 431


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_requests_are_refused(data: bytes) -> None:
    requests, error = parser().feed(data)
    assert requests == []
    assert error is not None and error.status == 400


def test_connection_close_and_http_1_0_end_the_connection() -> None:
    requests, _ = parser().feed(post(b"x", "Connection: close"))
    assert not requests[0].keep_alive
    requests, _ = parser().feed(b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")
    assert not requests[0].keep_alive


def test_what_came_before_an_error_is_still_answered() -> None:
    requests, error = parser().feed(post(b"good") + b"garbage\r\n\r\n")
    assert [bytes(request.body) for request in requests] == [b"good"]
    assert error is not None


def test_a_websocket_request_hands_on_the_bytes_after_it() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    requests, error = parser().feed(head + b"\x81\x80frame")
    assert error is None
    assert requests[0].is_websocket
    assert requests[0].rest == b"\x81\x80frame"


def test_an_upgrade_to_http_2_is_ignored() -> None:
    data = post(b'{"id":1}', "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    each = parser()
    requests, error = each.feed(data[:-3])
    assert (requests, error, each.phase) == ([], None, Phase.BODY)
    requests, error = each.feed(data[-3:] + post(b"next"))
    assert error is None
    assert [bytes(request.body) for request in requests] == [b'{"id":1}', b"next"]


def test_100_continue_is_wanted_until_the_body_comes() -> None:
    data = post(b"abc", "Expect: 100-continue")
    each = parser()
    each.feed(data[:-3])
    assert each.wants_continue
    requests, _ = each.feed(b"abc")
    assert not each.wants_continue and len(requests) == 1
    each = parser()
    each.feed(data)
    assert not each.wants_continue


def test_mutated_requests_parse_or_are_refused() -> None:
    seed = 20_261
    random_ = random.Random(seed)
    good = post(b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}', "Connection: Upgrade", "Upgrade: h2c")
    for trial in range(5_000):
        data = bytearray(good)
        for _ in range(random_.randint(1, 6)):
            place = random_.randrange(len(data))
            data[place : place + random_.randint(0, 3)] = random_.randbytes(random_.randint(0, 3))
        cut = random_.randrange(len(data) + 1)
        requests, error = feed_all(parser(), bytes(data), [cut])
        assert len(requests) <= 4, (seed, trial)
        assert error is None or error.status in (400, 405, 413, 431), (seed, trial)


def test_responses_have_length_and_connection() -> None:
    text = response(200, b"{}", headers=(("Vary", "Origin"),)).decode()
    head, _, body = text.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\nDate: ")
    assert "Content-Length: 2\r\n" in head and "Vary: Origin\r\n" in head and head.endswith("Connection: keep-alive")
    assert body == "{}"
    assert b"Content-Length" not in response(204)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        (None, True),
        ("localhost", True),
        ("LOCALHOST:8545", True),
        ("127.0.0.1:8545", True),
        ("10.1.2.3", True),
        ("[::1]:8545", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_virtual_hosts(host: str | None, allowed: bool) -> None:
    assert host_allowed(host, ("localhost",)) is allowed
    assert host_allowed(host, ("*",))


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        ("http://localhost:3000", ("localhost",), True),
        ("https://localhost", ("localhost",), True),
        ("http://localhost:3000", ("http://localhost:3000",), True),
        ("http://localhost:3001", ("http://localhost:3000",), False),
        ("https://localhost:3000", ("http://localhost",), False),
        ("http://[::1]:3000", ("[::1]",), True),
        ("http://localhost.evil.example", ("localhost",), False),
        ("http://evil.example", ("localhost",), False),
        ("null", ("localhost",), False),
        ("file://", ("localhost",), False),
        ("http://evil.example", ("*",), True),
        ("http://x:port", ("x",), False),
    ],
)
def test_origins(origin: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert origin_allowed(origin, allowed) is expected

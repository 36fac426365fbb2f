"""The server over real sockets: limits, time-outs, pipelining, refusals, and that nothing stops it."""

import contextlib
import logging
from typing import Any

import orjson
import pytest
import trio
from trio.testing import trio_test

from genesis.errors import LocalError, StorageCorrupt, StorageUnavailable
from node.rpc.config import RpcConfig
from node.rpc.server import serve
from node.rpc.transport.wire import Wire
from tests.unit.rpc.fakes import Client, FakeNode, running

CHAIN_ID_CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
CHAIN_ID_ANSWER = b'{"jsonrpc":"2.0","id":1,"result":"0x7a69"}'


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


async def read_all(stream: trio.SocketStream) -> bytes:
    """Until the server closes."""
    received = b""
    with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            received += data
    return received


async def read_answers(stream: trio.SocketStream, count: int) -> list[bytes]:
    """The bodies of `count` answers."""
    received, bodies = b"", []
    with trio.fail_after(10):
        while len(bodies) < count:
            head, separator, rest = received.partition(b"\r\n\r\n")
            if separator:
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                if len(rest) >= size:
                    bodies.append(rest[:size])
                    received = rest[size:]
                    continue
            data = await stream.receive_some()
            assert data, received
            received += data
    return bodies


async def raw(client: Client) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", client.port)


async def exchange(client: Client, data: bytes) -> bytes:
    async with await raw(client) as stream:
        await stream.send_all(data)
        return await read_all(stream)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@trio_test
async def test_one_connection_answers_many_requests() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        for _ in range(3):
            await stream.send_all(post(CHAIN_ID_CALL))
            assert await read_answers(stream, 1) == [CHAIN_ID_ANSWER]


@trio_test
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        calls = [b'{"jsonrpc":"2.0","id":%d,"method":"eth_chainId"}' % number for number in range(200)]
        await stream.send_all(b"".join(map(post, calls)))
        assert [orjson.loads(body)["id"] for body in await read_answers(stream, 200)] == list(range(200))


@trio_test
async def test_a_request_in_pieces_is_answered() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        for byte in post(CHAIN_ID_CALL):
            await stream.send_all(bytes([byte]))
        assert await read_answers(stream, 1) == [CHAIN_ID_ANSWER]


@trio_test
async def test_100_continue() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        head, _, body = post(CHAIN_ID_CALL, "Expect: 100-continue").partition(b"\r\n\r\n")
        await stream.send_all(head + b"\r\n\r\n")
        assert await stream.receive_some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(body)
        assert await read_answers(stream, 1) == [CHAIN_ID_ANSWER]


@trio_test
async def test_connection_close_is_honoured() -> None:
    async with running(FakeNode()) as client:
        answer = await exchange(client, post(CHAIN_ID_CALL, "Connection: close") + post(CHAIN_ID_CALL))
        assert answer.count(b"HTTP/1.1 200 OK") == 1
        assert b"Connection: close" in answer and answer.endswith(CHAIN_ID_ANSWER)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 403),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 415),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 2\r\n\r\n{}",
            415,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}",
            200,
        ),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"\x16\x03\x01 this is TLS\r\n\r\n", 400),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ],
)
@trio_test
async def test_what_http_refuses(request_: bytes, expected: int) -> None:
    async with running(FakeNode()) as client:
        assert status(await exchange(client, request_)) == expected
        assert await client.call("eth_chainId") == "0x7a69"


HEADS = [
    (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"HEAD /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"HEAD /page HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    (b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    (b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 413),
    (b"HEAD /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
]


@pytest.mark.parametrize(("head", "expected"), HEADS)
@trio_test
async def test_an_answer_to_head_has_the_head_of_the_answer_to_get_and_no_body(head: bytes, expected: int) -> None:
    """A body would be read as the next answer of the connection."""

    async def page() -> tuple[str, bytes]:
        return "text/plain", b"0123456789"

    async with running(FakeNode(), pages={"/page": page}) as client:
        found = await exchange(client, head + post(CHAIN_ID_CALL, "Connection: close"))
        first, _, rest = found.partition(b"\r\n\r\n")
        assert status(first) == expected
        assert rest == b"" or (rest.startswith(b"HTTP/1.1 200 OK\r\n") and rest.endswith(CHAIN_ID_ANSWER))
        assert bool(rest) == (expected in (200, 404)), "the other refusals end the connection"
        get = await exchange(
            client, head.replace(b"HEAD", b"GET").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        kept = (b"date:", b"connection:")
        lines = [[line for line in each.lower().split(b"\r\n")[:6] if line and not line.startswith(kept)]
                 for each in (first, get.partition(b"\r\n\r\n")[0])]  # fmt: skip
        assert lines[0] == lines[1]


@trio_test
async def test_a_method_that_is_not_allowed_keeps_what_the_client_said_about_the_connection() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n" + post(CHAIN_ID_CALL, "Connection: close"))
        answers = await read_all(stream)
        assert b"405 Method Not Allowed" in answers and b"Allow: POST, GET, HEAD, OPTIONS" in answers
        assert answers.endswith(CHAIN_ID_ANSWER)


@trio_test
async def test_an_oversize_body_gets_413_although_it_is_never_read() -> None:
    async with running(FakeNode(), {"body_bytes_max": 1_000}) as client:
        answer = await exchange(client, post(b" " * 200_000))
        assert status(answer) == 413 and b"at most 1000 bytes" in answer
        chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert status(await exchange(client, chunked + b"3e9\r\n" + b" " * 1_001)) == 413


@trio_test
async def test_slow_clients_are_cut_off() -> None:
    limits = {"header_timeout_s": 0.2, "body_timeout_s": 0.2, "idle_timeout_s": 0.2}
    async with running(FakeNode(), limits) as client:
        assert await exchange(client, b"") == b""
        assert status(await exchange(client, b"POST / HTTP/1.1\r\nHost: local")) == 408
        assert status(await exchange(client, post(CHAIN_ID_CALL)[:-1])) == 408
        answered = await exchange(client, post(CHAIN_ID_CALL))
        assert answered.endswith(CHAIN_ID_ANSWER)
        async with await raw(client) as stream:  # a byte now and then doesn't help
            with contextlib.suppress(trio.BrokenResourceError):
                for byte in post(CHAIN_ID_CALL, "X-Slow: " + "y" * 500):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.01)
            assert b"408" in await read_all(stream)


@trio_test
async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async with running(FakeNode(), {"write_timeout_s": 0.2}) as client, await raw(client) as stream:
        call = b'{"jsonrpc":"2.0","id":"%b","method":"eth_chainId"}' % (b"x" * 4_000)
        batch = b"[" + b",".join([call] * 90) + b"]"
        with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(10):
            for _ in range(200):
                await stream.send_all(post(batch))
            pytest.fail("the server went on reading")
        assert await client.call("eth_chainId") == "0x7a69"


@trio_test
async def test_too_many_connections_are_told_so() -> None:
    async with (
        running(FakeNode(), {"connections_max": 2}) as client,
        await raw(client) as one,
        await raw(client) as two,
    ):
        for stream in (one, two):
            await stream.send_all(post(CHAIN_ID_CALL))
            assert await read_answers(stream, 1) == [CHAIN_ID_ANSWER]
        assert status(await exchange(client, post(CHAIN_ID_CALL))) == 503
        await one.aclose()
        with trio.fail_after(5):
            while status(await exchange(client, post(CHAIN_ID_CALL, "Connection: close"))) == 503:  # noqa: ASYNC110
                await trio.sleep(0.01)


@trio_test
async def test_cors() -> None:
    async with running(FakeNode()) as client:
        good = await client.post(CHAIN_ID_CALL, origin="http://localhost:3000")
        assert good.headers["access-control-allow-origin"] == "http://localhost:3000"
        foreign = await client.post(CHAIN_ID_CALL, origin="http://evil.example")
        assert "access-control-allow-origin" not in foreign.headers
        preflight = await client.http.options(client.url, headers={"origin": "http://localhost:3000"})
        assert preflight.status_code == 204
        assert "POST" in preflight.headers["access-control-allow-methods"]
        for asked, allowed in (
            (None, "Content-Type, Authorization"),
            ("content-type", "content-type"),
            ("content-type,x-requested-with, solana-client", "content-type,x-requested-with, solana-client"),
            ("content-type; bad", "Content-Type, Authorization"),
            ("", "Content-Type, Authorization"),
        ):
            headers = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
            headers |= {} if asked is None else {"access-control-request-headers": asked}
            preflight = await client.http.options(client.url, headers=headers)
            assert preflight.headers["access-control-allow-headers"] == allowed
            assert "Access-Control-Request-Headers" in preflight.headers["vary"]
            foreign = await client.http.options(client.url, headers=headers | {"origin": "http://evil.example"})
            assert "access-control-allow-headers" not in foreign.headers
        refused = await client.http.options(client.url, headers={"origin": "http://evil.example"})
        assert "access-control-allow-methods" not in refused.headers


@trio_test
async def test_pages_ride_along() -> None:
    async def metrics() -> tuple[str, bytes]:
        return "text/plain", b"blocks 7\n"

    node = FakeNode()
    async with trio.open_nursery() as nursery:
        config = RpcConfig(port=0)
        addresses = await nursery.start(
            lambda task_status: serve(node.backend, config, pages={"/metrics": metrics}, task_status=task_status)
        )
        stream = await trio.open_tcp_stream(*addresses[0])
        async with stream:
            await stream.send_all(b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await read_answers(stream, 1) == [b"blocks 7\n"]
        nursery.cancel_scope.cancel()


@trio_test
async def test_a_port_in_use_is_named() -> None:
    async with running(FakeNode()) as client:
        with pytest.raises(LocalError) as caught:
            await serve(FakeNode().backend, RpcConfig(port=client.port))
        assert f"127.0.0.1:{client.port}: the port is in use" in str(caught.value)


@trio_test
async def test_a_second_port_serves_the_same() -> None:
    node = FakeNode()
    spare = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = spare[0].socket.getsockname()[1]
    await spare[0].aclose()
    async with trio.open_nursery() as nursery:
        config = RpcConfig(port=0, ws_port=port)
        addresses = await nursery.start(lambda task_status: serve(node.backend, config, task_status=task_status))
        assert [each[1] for each in addresses[1:]] == [port]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(post(CHAIN_ID_CALL))
            assert await read_answers(stream, 1) == [CHAIN_ID_ANSWER]
        nursery.cancel_scope.cancel()


@trio_test
async def test_a_bug_in_a_method_is_answered_and_logged(caplog: Any) -> None:
    node = FakeNode()
    node.chain.append()
    async with running(node) as client:
        node.chain.bug = ZeroDivisionError("a bug")
        with caplog.at_level(logging.ERROR):
            assert await client.error("eth_getBlockByNumber", "0x0") == (-32603, "internal error")
        assert "ZeroDivisionError: a bug" in caplog.text
        node.chain.bug = None
        assert await client.call("eth_blockNumber") == "0x1"


@trio_test
async def test_corrupt_storage_stops_the_server() -> None:
    node = FakeNode()
    node.chain.append()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(node) as client:
            node.chain.bug = StorageCorrupt("block 0 is garbled")
            with contextlib.suppress(Exception):
                await client.ask("eth_getBlockByNumber", "0x0")
            await trio.sleep(5)
    assert caught.group_contains(StorageCorrupt, match="garbled")


@trio_test
async def test_writing_to_a_connection_that_is_gone() -> None:
    """EPIPE, or whatever the system says: trio's error, which ends the connection's task quietly."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stream = await trio.open_tcp_stream(*listeners[0].socket.getsockname()[:2])
    wire = Wire(stream, 1.0)
    await stream.send_eof()
    with pytest.raises(trio.BrokenResourceError):
        await wire.write(b"x")
    await trio.aclose_forcefully(stream)
    for listener in listeners:
        await listener.aclose()


@trio_test
async def test_a_disk_that_refuses_is_answered_without_its_paths_and_survived() -> None:
    """No caller can stop a node that is short of descriptors."""
    node = FakeNode()
    node.chain.append()
    async with running(node) as client:
        node.chain.bug = StorageUnavailable("cannot read the chain database: /data/chain/5.ldb: Too many open files")
        assert await client.error("eth_getBlockByNumber", "0x0") == (-32603, "this node's disk can't be read")
        node.chain.bug = None
        assert (await client.call("eth_getBlockByNumber", "0x0", False))["number"] == "0x0"

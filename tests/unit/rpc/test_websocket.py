"""WebSocket: calls, fragments, limits, subscriptions, and clients that vanish or don't read."""

import contextlib
from collections.abc import Callable

import orjson
import pytest
import trio
from trio.testing import trio_test
from wsproto.events import BytesMessage, CloseConnection, Message, Ping

from evm_runtime.receipt import Log
from node.rpc.context import Services
from node.rpc.subscriptions import SubscriptionHub
from tests.unit.rpc.fakes import OTHER_TOPIC, TARGET, TOKEN, TOPIC, FakeNode, running, signed
from tests.unit.rpc.ws_client import WsClient


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - nothing in the server tells the test
            await trio.sleep(0.01)


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> list[SubscriptionHub]:
    """The hubs of the servers that the test starts."""
    made: list[SubscriptionHub] = []
    original = Services.__init__

    def remember(self: Services, **parts: object) -> None:
        original(self, **parts)  # type: ignore[arg-type]  # the fields of Services, passed on
        made.append(self.hub)

    monkeypatch.setattr(Services, "__init__", remember)
    return made


@trio_test
async def test_calls_and_batches() -> None:
    async with running(FakeNode()) as client, WsClient(client.port) as ws:
        assert await ws.call("eth_chainId") == "0x7a69"
        await ws.send([{"jsonrpc": "2.0", "id": each, "method": "net_version"} for each in (1, 2)])
        assert [answer["id"] for answer in await ws.receive()] == [1, 2]
        await ws.send_event(BytesMessage(data=b'{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}'))
        assert (await ws.receive())["id"] == 7


@trio_test
async def test_malformed_json_is_a_parse_error_and_the_connection_lives_on() -> None:
    async with running(FakeNode()) as client, WsClient(client.port) as ws:
        await ws.send_event(Message(data='{"jsonrpc":'))
        answer = await ws.receive()
        assert (answer["id"], answer["error"]["code"]) == (None, -32700)
        assert await ws.call("eth_chainId") == "0x7a69"


@trio_test
async def test_fragments_with_a_ping_between_them() -> None:
    async with running(FakeNode()) as client, WsClient(client.port) as ws:
        text = '{"jsonrpc":"2.0","id":"ü€","method":"eth_chainId"}'
        for place, letter in enumerate(text):
            await ws.send_event(Message(data=letter, message_finished=place == len(text) - 1))
            if place == 5:
                await ws.send_event(Ping())
                assert await ws.receive() == "pong"
        assert (await ws.receive())["id"] == "ü€"


@trio_test
async def test_a_message_beyond_the_cap_closes_with_1009() -> None:
    async with running(FakeNode(), {"body_bytes_max": 1_000}) as client:
        async with WsClient(client.port) as ws:
            await ws.send_event(Message(data="x" * 1_001))
            assert await ws.receive() is None
            assert ws.closed is not None and ws.closed.code == 1009
        async with WsClient(client.port) as ws:
            for _ in range(20):
                await ws.send_event(Message(data="x" * 60, message_finished=False))
            assert await ws.receive() is None
            assert ws.closed is not None and ws.closed.code == 1009
        async with WsClient(client.port) as ws:  # endless empty fragments cost nothing
            for _ in range(2_000):
                await ws.send_event(Message(data="", message_finished=False))
            await ws.send_event(Message(data="{}"))
            assert (await ws.receive())["error"]["code"] == -32600


@trio_test
async def test_broken_frames_close_with_1002_and_bad_utf8_with_1007() -> None:
    async with running(FakeNode()) as client:
        for frame, codes in ((b"\xff\xff\xff\xff", (1002,)), (b"\x81\x82\x00\x00\x00\x00\xff\xfe", (1002, 1007))):
            async with WsClient(client.port) as ws:
                await ws.stream.send_all(frame)
                assert await ws.receive() is None
                assert ws.closed is not None and ws.closed.code in codes
        assert await client.call("eth_chainId") == "0x7a69"


@trio_test
async def test_a_close_is_answered() -> None:
    async with running(FakeNode()) as client, WsClient(client.port) as ws:
        await ws.send_event(CloseConnection(code=1000, reason="bye"))
        assert await ws.receive() is None
        assert ws.closed is not None and ws.closed.code == 1000


@trio_test
async def test_who_may_connect() -> None:
    async with running(FakeNode()) as client:
        async with WsClient(client.port, [(b"Origin", b"http://localhost:3000")]) as ws:
            assert await ws.call("eth_chainId") == "0x7a69"
        with pytest.raises(ConnectionError, match="403"):
            async with WsClient(client.port, [(b"Origin", b"http://evil.example")]):
                pass
        head = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        for lines, status in (
            (head + "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", b" 426 "),
            (head + "Sec-WebSocket-Version: 13\r\n", b" 400 "),
            (head.replace("GET", "PUT") + "Sec-WebSocket-Version: 13\r\n", b" 405 "),
            (head.replace("localhost", "evil.example") + "Sec-WebSocket-Version: 13\r\n", b" 403 "),
        ):
            stream = await trio.open_tcp_stream("127.0.0.1", client.port)
            async with stream:
                await stream.send_all((lines + "\r\n").encode())
                assert status in await stream.receive_some()


@trio_test
async def test_new_heads_in_order() -> None:
    node = FakeNode()
    async with running(node) as client, WsClient(client.port) as ws:
        subscription = await ws.call("eth_subscribe", "newHeads")
        hashes = [node.finalize([signed(number)]).hash for number in range(3)]
        for block_hash in hashes:
            params = await ws.next_notification()
            assert params["subscription"] == subscription
            assert params["result"]["hash"] == "0x" + block_hash.hex()
            assert "transactions" not in params["result"]
        assert await ws.call("eth_unsubscribe", subscription) is True
        node.finalize()
        assert await ws.call("eth_blockNumber") == "0x4"


@trio_test
async def test_logs_that_match() -> None:
    node = FakeNode()
    async with running(node) as client, WsClient(client.port) as ws:
        wanted = await ws.call("eth_subscribe", "logs", {"address": "0x" + TOKEN.hex(), "topics": ["0x" + TOPIC.hex()]})
        everything = await ws.call("eth_subscribe", "logs")
        logs = (Log(TOKEN, (TOPIC,), b"1"), Log(TOKEN, (OTHER_TOPIC,), b"2"), Log(TARGET, (TOPIC,), b"3"))
        node.finalize([signed(0)], [logs])
        seen: dict[str, list[str]] = {wanted: [], everything: []}
        for _ in range(4):
            params = await ws.next_notification()
            seen[params["subscription"]].append(params["result"]["data"])
        assert seen == {wanted: ["0x31"], everything: ["0x31", "0x32", "0x33"]}


@trio_test
async def test_pending_transactions() -> None:
    node = FakeNode()
    async with running(node) as client, WsClient(client.port) as ws:
        hashes = await ws.call("eth_subscribe", "newPendingTransactions")
        whole = await ws.call("eth_subscribe", "newPendingTransactions", True)
        sent = await client.call("eth_sendRawTransaction", "0x" + signed(3).hex())
        seen = {(params := await ws.next_notification())["subscription"]: params["result"] for _ in range(2)}
        assert seen[hashes] == sent
        assert (seen[whole]["hash"], seen[whole]["blockHash"]) == (sent, None)


@trio_test
async def test_what_cannot_be_subscribed_to() -> None:
    async with running(FakeNode(), {"subscriptions_max": 2}) as client:
        assert (await client.error("eth_subscribe", "newHeads"))[0] == -32601
        async with WsClient(client.port) as ws:
            for params, code in (
                (["syncing?"], -32601),
                (["logs", {"toBlock": "pending"}], -32602),
                (["logs", {"address": "0x1"}], -32602),
                (["logs", 5], -32602),
                (["newPendingTransactions", "yes"], -32602),
                ([], -32602),
            ):
                await ws.send({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params})
                assert (await ws.receive())["error"]["code"] == code
            for _ in range(2):
                await ws.call("eth_subscribe", "newHeads")
            await ws.send({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
            assert (await ws.receive())["error"]["code"] == -32005
            await ws.send({"jsonrpc": "2.0", "id": 1, "method": "eth_unsubscribe", "params": ["0x1"]})
            assert (await ws.receive())["error"]["message"] == "subscription not found"


@trio_test
async def test_an_abandoned_connection_leaves_nothing_behind(hubs: list[SubscriptionHub]) -> None:
    node = FakeNode()
    async with running(node) as client:
        async with WsClient(client.port) as ws:
            await ws.call("eth_subscribe", "newHeads")
            await ws.send_event(Message(data='{"jsonrpc":', message_finished=False))
            assert len(hubs[0]) == 1
        node.finalize()
        await until(lambda: len(hubs[0]) == 0)
        assert await client.call("eth_blockNumber") == "0x1"


@trio_test
async def test_a_silent_peer_is_pinged_and_then_dropped(hubs: list[SubscriptionHub]) -> None:
    async with running(FakeNode(), {"websocket_ping_s": 0.1}) as client, WsClient(client.port) as ws:
        await ws.call("eth_subscribe", "newHeads")
        await until(lambda: len(hubs[0]) == 0)  # it never answers the ping, as it does not read
        assert await client.call("eth_chainId") == "0x7a69"


@trio_test
async def test_a_subscriber_that_does_not_read_is_cut_off_and_nobody_waits(hubs: list[SubscriptionHub]) -> None:
    node = FakeNode()
    limits = {"websocket_queue_max": 8, "websocket_queue_bytes_max": 100_000, "write_timeout_s": 30.0}
    async with running(node, limits) as client, WsClient(client.port) as slow, WsClient(client.port) as quick:
        await slow.call("eth_subscribe", "logs")
        await quick.call("eth_subscribe", "newHeads")
        big = Log(TOKEN, (TOPIC,), b"x" * 40_000)
        with trio.fail_after(30):
            for number in range(1_000):
                node.finalize([signed(number)], [(big,)])
                assert int((await quick.next_notification())["result"]["number"], 16) == number + 1
                if len(hubs[0]) == 1:
                    break
            else:
                pytest.fail("the slow subscriber was never cut off")


@trio_test
async def test_what_the_feed_missed_is_read_from_the_chain() -> None:
    node = FakeNode()
    async with running(node) as client, WsClient(client.port) as ws:
        await ws.call("eth_subscribe", "newHeads")
        for _ in range(200):  # more than the feed buffers, without a chance to read: it closes the channel
            node.finalize()
        for number in range(200):
            assert (await ws.next_notification())["result"]["number"] == hex(number + 1)


@trio_test
async def test_garbage_after_the_handshake_never_breaks_the_server() -> None:
    import random

    seed = 99
    random_ = random.Random(seed)
    async with running(FakeNode()) as client:
        for _ in range(150):
            async with WsClient(client.port) as ws:
                with contextlib.suppress(trio.BrokenResourceError):
                    frame = ws.protocol.send(Message(data=orjson.dumps({"id": 1}).decode()))
                    mutated = bytearray(frame)
                    for _ in range(random_.randint(1, 4)):
                        mutated[random_.randrange(len(mutated))] = random_.randrange(256)
                    await ws.stream.send_all(bytes(mutated) + random_.randbytes(random_.randint(0, 20)))
        assert await client.call("eth_chainId") == "0x7a69"

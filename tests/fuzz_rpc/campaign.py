"""The clients of the fuzzer, and what they demand of the server."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import trio
import trio.testing
from wsproto.events import Message

from node.rpc.config import NAMESPACES, RpcConfig, RpcLimits
from node.rpc.methods import declared
from node.rpc.schema.declare import Registry
from node.rpc.schema.document import document
from node.rpc.server import serve
from tests.fuzz_rpc.requests import Requests
from tests.unit.rpc.fakes import RESULTS
from tests.unit.rpc.real import ACCOUNTS, ADDRESSES, CHAIN_ID, KEYS, RealNode, real_node
from tests.unit.rpc.schema_check import SchemaError, check
from tests.unit.rpc.ws_client import WsClient

LOGGING = "0x60aa60bb5f5fa2602a60005260206000f3"
"""Creation code that logs two topics and returns a word as code."""
SKIPPED = ("admin_addPeer", "eth_sendRawTransactionSync")
FAILURES_MAX = 20
BLOCK_INTERVAL_S = 0.5
BLOCK_STALLED_S = 10.0
"""Most take some milliseconds; the machine may be busy with other things."""
TELL_S = 60.0
INTERNAL = re.compile(rb'"error":{"code":-32603,"message":"(?!err: nonce has max value)')
"""geth has this code for a nonce that can't be raised in eth_simulateV1, too (and so has the test vector for it)."""


@dataclass
class Report:
    """What happened."""

    passed: int = 0
    results: int = 0
    errors: int = 0
    failures: list[str] = field(default_factory=list)
    end: float = 0.0
    requests_max: float = math.inf
    told: int = 0
    """Failures that somebody was told of."""
    blocks: int = 0
    slowest_block_s: float = 0.0

    def goes_on(self) -> bool:
        """Clients stop by themselves: a client that is cancelled may leave its socket open, and the server with it."""
        return trio.current_time() < self.end and self.passed + len(self.failures) < self.requests_max

    def judge(self, body: bytes, answer: bytes) -> None:
        """Count one answer, or say what is wrong with it."""
        try:
            assert not INTERNAL.search(answer), "an internal error"
            self._check(orjson.loads(answer), _method_names(body))
            self.passed += 1
        except (AssertionError, ValueError, KeyError) as error:
            if len(self.failures) < FAILURES_MAX:
                self.failures.append(f"{body[:2_000]!r}\n  was answered with {answer[:500]!r}\n  {error}")

    def _check(self, found: Any, names: list[str | None]) -> None:
        if isinstance(found, list):
            assert found, "an empty batch answer"
            for item in found:
                self._check(item, [None])
            return
        assert found["jsonrpc"] == "2.0" and "id" in found and ("result" in found) != ("error" in found), "no answer"
        if "error" in found:
            self.errors += 1
            error = found["error"]
            assert isinstance(error["code"], int) and isinstance(error["message"], str), "a malformed error"
            return
        self.results += 1
        [name] = names
        if name in RESULTS:
            try:
                check(found["result"], RESULTS[name], document(declared())["components"]["schemas"], name)
            except SchemaError as error:
                raise AssertionError(str(error)) from None


def _method_names(body: bytes) -> list[str | None]:
    try:
        request = orjson.loads(body)
    except ValueError:
        return [None]
    name = request.get("method") if isinstance(request, dict) else None
    return [name if isinstance(name, str) else None]


async def run(
    folder: Path,
    seed: int,
    seconds: float,
    requests_max: float = math.inf,
    tell: Callable[[Report], None] | None = None,
) -> Report:
    """One campaign, until time is over or `requests_max` are answered. A block that was stalled, and what the server leaves
    behind, are failures, too. `tell` is called every minute, and once there is a failure.
    """
    report = Report(requests_max=requests_max)
    with real_node(folder) as node:
        await _fill(node)
        config = RpcConfig(
            port=0,
            namespaces=(*NAMESPACES, "debug", "admin", "personal"),
            account_keys=(bytes.fromhex(KEYS[1][2:]),),
            limits=RpcLimits(call_timeout_s=0.3, trace_timeout_s=0.3, log_timeout_s=2.0),
        )
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(lambda task_status: serve(node.backend, config, task_status=task_status))
            port = addresses[0][1]
            await trio.testing.wait_all_tasks_blocked()  # the server's own tasks have begun
            quiet = trio.lowlevel.current_statistics().tasks_living
            report.end = trio.current_time() + seconds
            async with trio.open_nursery() as clients:
                for number, client in enumerate((over_http, over_http, over_sockets, over_websocket)):
                    clients.start_soon(client, port, _requests(node, config, seed * 1_000 + number), report)
                clients.start_soon(_blocks_go_on, node, report)
                if tell is not None:
                    clients.start_soon(_tell, report, tell)
            await _settle(quiet, report)
            async with httpx.AsyncClient() as http:
                body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
                answer = await http.post(f"http://127.0.0.1:{port}/", content=body, headers=JSON)
                if answer.json().get("result") != hex(CHAIN_ID):
                    report.failures.append(f"after all, the server answers {answer.content!r}")
            nursery.cancel_scope.cancel()
    return report


async def _blocks_go_on(node: RealNode, report: Report) -> None:
    """Blocks of what the requests sent, so that answers age; one that takes long was stalled by the requests."""
    while report.goes_on():
        began = trio.current_time()
        await node.produce()
        took = trio.current_time() - began
        report.blocks, report.slowest_block_s = report.blocks + 1, max(report.slowest_block_s, took)
        if took > BLOCK_STALLED_S:
            report.failures.append(f"block {node.chain.tip().height} took {took:.1f} s")
        await trio.sleep(BLOCK_INTERVAL_S)


async def _tell(report: Report, tell: Callable[[Report], None]) -> None:
    told, known = trio.current_time(), 0
    while report.goes_on():
        await trio.sleep(1.0)
        if trio.current_time() >= told + TELL_S or len(report.failures) > known:
            told, known = trio.current_time(), len(report.failures)
            tell(report)


async def _settle(quiet: int, report: Report) -> None:
    """Once the clients are gone, their tasks have to end."""
    with trio.move_on_after(30):
        while trio.lowlevel.current_statistics().tasks_living > quiet:  # noqa: ASYNC110 - a task that ends tells nobody
            await trio.sleep(0.1)
        return
    left = trio.lowlevel.current_statistics().tasks_living - quiet
    report.failures.append(f"{left} tasks are left behind")


async def _fill(node: RealNode) -> None:
    for nonce in range(3):
        fields = {"chainId": CHAIN_ID, "nonce": nonce, "gas": 200_000, "gasPrice": 10**10, "value": 0, "data": LOGGING}
        await node.mempool.add(bytes(ACCOUNTS[0].sign_transaction(fields).raw_transaction))
        await node.produce()


def _requests(node: RealNode, config: RpcConfig, seed: int) -> Requests:
    methods = [each for each in Registry(config.namespaces, declared()).methods.values() if each.name not in SKIPPED]
    blocks = [node.chain.block(height) for height in range(4)]  # type: ignore[arg-type]  # heights
    logs = [log for block in blocks if block for receipt in block.receipts for log in receipt.logs]
    addresses = [*ADDRESSES, *(log.address for log in logs)]
    hashes = [block.hash for block in blocks if block] + [
        tx.hash for block in blocks if block for tx in block.transactions
    ]
    hashes += [topic for log in logs for topic in log.topics]
    return Requests(seed, methods, ["0x" + each.hex() for each in addresses], ["0x" + each.hex() for each in hashes])


JSON = {"Content-Type": "application/json"}


async def over_http(port: int, requests: Requests, report: Report) -> None:
    """Whole requests on kept connections."""
    async with httpx.AsyncClient(timeout=60) as http:
        while report.goes_on():
            body = requests.body()
            response = await http.post(f"http://127.0.0.1:{port}/", content=body, headers=JSON)
            if response.status_code == 200:
                report.judge(body, response.content)
            elif response.status_code == 204 and not response.content:
                report.passed += 1
            else:
                report.failures.append(f"{body[:2_000]!r} got HTTP {response.status_code}")


async def over_sockets(port: int, requests: Requests, report: Report) -> None:
    """In pieces, several at once, with spoilt headers, and cut off: whatever comes back is an HTTP answer, and never a 500."""
    random = requests.random
    while report.goes_on():
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            data = b"".join(_http(requests.body()) for _ in range(random.randint(1, 3)))
            if random.random() < 0.4:
                place = random.randrange(len(data))
                data = data[:place] + random.randbytes(random.randint(0, 4)) + data[place + random.randint(0, 4) :]
            if random.random() < 0.3:
                data = data[: random.randrange(len(data))]
            found = await _exchange(stream, data, random.randint(1, len(data) or 1))
            status = found.split(b" ", 2)[1][:3] if found.startswith(b"HTTP/1.1 ") else b""
            if found and (status not in _STATUSES or INTERNAL.search(found)):
                report.failures.append(f"{data[:2_000]!r}\n  got {found[:300]!r}")
            else:
                report.passed += 1


_STATUSES = tuple(
    b"%d" % status
    for status in (100, 101, 200, 204, 400, 403, 404, 405, 408, 411, 413, 414, 415, 417, 426, 431, 501, 505)
)


def _http(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


async def _exchange(stream: trio.SocketStream, data: bytes, piece: int) -> bytes:
    """Send in pieces, end our half, read all that comes."""
    found = b""
    try:
        for place in range(0, len(data), max(piece, len(data) // 20)):
            await stream.send_all(data[place : place + max(piece, len(data) // 20)])
        await stream.send_eof()
        while part := await stream.receive_some(65_536):
            found += part
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    return found


async def over_websocket(port: int, requests: Requests, report: Report) -> None:
    """One question after another; notifications may come between. Every now and then the line is cut."""
    random = requests.random
    while report.goes_on():
        async with WsClient(port) as socket:
            for _ in range(random.randint(1, 200)):
                if not report.goes_on():
                    break
                body = requests.body()
                try:
                    text = body.decode()
                except UnicodeDecodeError:
                    continue
                await _ask(socket, text, report.judge)
                if socket.closed is not None:
                    report.failures.append(f"{body[:2_000]!r} closed the WebSocket: {socket.closed}")
                    break
            if random.random() < 0.5:
                await trio.aclose_forcefully(socket.stream)


async def _ask(socket: WsClient, text: str, judge: Callable[[bytes, bytes], None]) -> None:
    """Send, and judge what comes until a call made after it is answered. Answers may overtake each other here, so that only
    their form is judged.
    """
    await socket.send_event(Message(data=text))
    await socket.send({"jsonrpc": "2.0", "id": "marker", "method": "web3_clientVersion"})
    while True:
        message = await socket.receive()
        if message is None:
            return
        if isinstance(message, dict) and message.get("method") == "eth_subscription":
            continue
        if isinstance(message, dict) and message.get("id") == "marker":
            return
        judge(b"", orjson.dumps(message))

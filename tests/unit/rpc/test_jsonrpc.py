"""JSON-RPC 2.0: ids, notifications, batches, errors, sizes; and thousands of mutated requests."""

import random
import threading
from typing import Any

import orjson
import pytest
import trio
from trio.testing import trio_test

from genesis.errors import InvalidTransaction, LocalError, WireError
from genesis.primitives import Hash32
from node.interfaces import StoredBlock
from node.rpc.backend import Session
from node.rpc.config import RpcLimits
from node.rpc.context import Context, Services
from node.rpc.jsonrpc import Dispatcher
from node.rpc.methods import declared
from node.rpc.schema.declare import Keeps, Registry, method
from tests.unit.rpc.fakes import SENDER, TOKEN, Client, FakeNode, running, signed

NAMESPACES = ("eth", "net", "web3", "txpool", "open", "rpc")


async def answer(client: Client, body: str | bytes) -> Any:
    response = await client.post(body.encode() if isinstance(body, str) else body)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    return orjson.loads(response.content)


@pytest.mark.parametrize(
    "call_id",
    [
        "1",
        "0",
        "-1",
        "null",
        '"text"',
        '""',
        '"\\u0000\\n"',
        '"ü€𝄞"',
        "1.5",
        "1e3",
        "18446744073709551615",
        "123456789012345678901234567890",
        "-99999999999999999999999",
        "1" * 300,
    ],
)
@trio_test
async def test_any_legal_id_is_echoed(call_id: str) -> None:
    async with running(FakeNode()) as client:
        body = f'{{"jsonrpc":"2.0","id":{call_id},"method":"eth_chainId"}}'
        content = (await client.post(body.encode())).content
        expected = orjson.dumps(orjson.loads(call_id)) if call_id.startswith('"') else call_id.encode()
        assert content == b'{"jsonrpc":"2.0","id":%b,"result":"0x7a69"}' % expected
        content = (await client.post(b"[" + body.encode() + b"," + body.encode() + b"]")).content
        assert content.count(b'"id":%b,' % expected) == 2


@pytest.mark.parametrize(
    ("body", "code", "call_id"),
    [
        ("", -32700, None),
        ("{", -32700, None),
        ("nonsense", -32700, None),
        ('{"a":NaN}', -32700, None),
        ("[" * 2_000 + "]" * 2_000, -32700, None),
        ('{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', -32700, None),
        ("1", -32600, None),
        ("null", -32600, None),
        ('"eth_chainId"', -32600, None),
        ("{}", -32600, None),
        ('{"id":5}', -32600, 5),
        ('{"jsonrpc":"2.0","id":5}', -32600, 5),
        ('{"jsonrpc":"2.0","id":5,"method":7}', -32600, 5),
        ('{"jsonrpc":"1.0","id":5,"method":"eth_chainId"}', -32600, 5),
        ('{"id":5,"method":"eth_chainId"}', -32600, 5),
        ('{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}', -32600, None),
        ('{"jsonrpc":"2.0","id":[1],"method":"eth_chainId"}', -32600, None),
        ('{"jsonrpc":"2.0","id":true,"method":"eth_chainId"}', -32600, None),
        ('{"jsonrpc":"2.0","id":5,"method":"eth_nothing"}', -32601, 5),
        ('{"jsonrpc":"2.0","id":5,"method":"debug_traceCall"}', -32601, 5),
        ('{"jsonrpc":"2.0","id":5,"method":""}', -32601, 5),
        ('{"jsonrpc":"2.0","id":5,"method":"eth_chainId","params":{}}', -32602, 5),
        ('{"jsonrpc":"2.0","id":5,"method":"eth_chainId","params":"x"}', -32602, 5),
        ('{"jsonrpc":"2.0","id":5,"method":"eth_chainId","params":[1]}', -32602, 5),
        ('{"jsonrpc":"2.0","id":5,"method":"eth_getBalance","params":[]}', -32602, 5),
        ('{"jsonrpc":"2.0","id":5,"method":"eth_getBalance","params":[null]}', -32602, 5),
        ("[]", -32600, None),
    ],
)
@trio_test
async def test_errors(body: str, code: int, call_id: Any) -> None:
    async with running(FakeNode()) as client:
        found = await answer(client, body)
        assert found["error"]["code"] == code
        assert found["id"] == call_id
        assert isinstance(found["error"]["message"], str) and "result" not in found


@trio_test
async def test_the_argument_is_named() -> None:
    async with running(FakeNode()) as client:
        account = "0x" + SENDER.hex()
        assert await client.error("eth_getBalance") == (-32602, "missing value for required argument 0")
        assert await client.error("eth_getBalance", account, "latest", 1) == (
            -32602,
            "too many arguments, want at most 2",
        )
        assert await client.error("eth_getBalance", account[2:]) == (
            -32602,
            "invalid argument 0: hex string without 0x prefix",
        )
        assert await client.error("eth_getBalance", account, "0x") == (-32602, 'invalid argument 1: hex string "0x"')
        assert await client.call("eth_getBalance", account, None) == hex(10**18)


@trio_test
async def test_notifications_get_no_answer_but_are_run() -> None:
    node = FakeNode()
    async with running(node) as client:
        body = {"jsonrpc": "2.0", "method": "eth_sendRawTransaction", "params": ["0x" + signed(3).hex()]}
        response = await client.post(orjson.dumps(body))
        assert (response.status_code, response.content) == (204, b"")
        assert len(node.mempool.waiting) == 1
        response = await client.post(orjson.dumps([body, {"jsonrpc": "2.0", "method": "eth_nothing"}]))
        assert (response.status_code, response.content) == (204, b"")


@trio_test
async def test_a_batch_is_answered_in_order_each_item_by_itself() -> None:
    async with running(FakeNode()) as client:
        found = await answer(
            client,
            '[{"jsonrpc":"2.0","id":2,"method":"eth_chainId"},1,{"jsonrpc":"2.0","method":"eth_chainId"},'
            '{"jsonrpc":"2.0","id":2,"method":"nope"},{"jsonrpc":"2.0","id":"a","method":"net_version"}]',
        )
        assert [(item["id"], item.get("result"), item.get("error", {}).get("code")) for item in found] == [
            (2, "0x7a69", None),
            (None, None, -32600),
            (2, None, -32601),
            ("a", "31337", None),
        ]


@trio_test
async def test_batch_and_response_limits() -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}
    async with running(
        FakeNode(), {"response_bytes_max": 2_000, "body_bytes_max": 20_000, "batch_items_max": 100}
    ) as client:
        for first, shown in ((call, 1), ({**call, "id": "x"}, "x"), ({**call, "id": []}, None), ("x", None)):
            found = await answer(client, orjson.dumps([first, *[call] * 100]))
            message = "batch too large, at most 100 calls"
            assert found == [{"jsonrpc": "2.0", "id": shown, "error": {"code": -32600, "message": message}}]
        found = await answer(client, orjson.dumps([call] * 100))
        assert len(found) == 100
        codes = [item.get("error", {}).get("code") for item in found]
        assert codes[0] is None and codes[-1] == -32003
        assert codes.index(-32003) == 100 - codes.count(-32003)


@trio_test
async def test_a_batch_of_a_thousand_is_answered_whole() -> None:
    """viem sends as many in one batch; and who asks for one thing meanwhile does not wait for all of them."""
    async with running(FakeNode()) as client:
        calls = [{"jsonrpc": "2.0", "id": number, "method": "eth_chainId"} for number in range(1_001)]
        found = await answer(client, orjson.dumps(calls[:1_000]))
        assert [item["id"] for item in found] == list(range(1_000)) and all("result" in item for item in found)
        (refused,) = await answer(client, orjson.dumps(calls))
        assert (refused["id"], refused["error"]["message"]) == (0, "batch too large, at most 1,000 calls")


def test_a_batch_lets_others_have_their_turn() -> None:
    """Calls that are answered from memory wait for nothing, so the batch itself has to."""

    async def main() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        services: Any = Services(
            FakeNode().backend, RpcLimits(), None, Registry(("eth",), declared()), None, None, None, None  # type: ignore[arg-type]
        )  # fmt: skip
        call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            found = await Dispatcher(services).handle(orjson.dumps([call] * 1_000), Session())
            assert found.body is not None and found.body.count(b'"result"') == 1_000
            nursery.cancel_scope.cancel()
        assert turns > 30

    trio.run(main)


@trio_test
async def test_a_refusal_of_the_node_is_worded_by_it() -> None:
    node = FakeNode()
    node.chain.append()
    for error in (LocalError("the disk is away"), InvalidTransaction("no such thing"), WireError("garbled")):
        node.chain.bug = error
        async with running(node) as client:
            assert await client.error("eth_getBlockByNumber", "0x0", False) == (-32000, str(error))


def test_what_a_method_may_not_be_declared_as() -> None:
    def handler(context: Context) -> str:
        """Never run."""
        return ""

    with pytest.raises(ValueError, match="eth_chainId is declared twice"):
        method("eth_chainId", result="quantity")(handler)
    with pytest.raises(ValueError, match="admin_test is the operator's: what is kept is answered to everybody"):
        method("admin_test", result="quantity", keeps=Keeps.TIP)(handler)
    assert "admin_test" not in {each.name for each in declared()}


@trio_test
async def test_a_response_that_is_too_large_is_an_error() -> None:
    node = FakeNode()
    node.chain.append([signed(number) for number in range(5)])
    async with running(node, {"response_bytes_max": 2_000}) as client:
        assert await client.error("eth_getBlockByNumber", "latest", True) == (-32003, "response too large")


@trio_test
async def test_a_batch_that_takes_too_long_is_cut() -> None:
    async with running(FakeNode(), {"request_timeout_s": -1.0}) as client:
        found = await answer(client, '[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}]')
        assert found == [{"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "request timed out"}}]


@trio_test
async def test_only_namespaces_that_are_on_are_served() -> None:
    async with running(FakeNode(), namespaces=("eth", "rpc")) as client:
        assert await client.call("rpc_modules") == {"eth": "1.0", "rpc": "1.0"}
        assert (await client.error("net_version"))[0] == -32601


@trio_test
async def test_who_waits_too_long_for_a_thread_is_told_so() -> None:
    node = FakeNode()
    release = threading.Event()
    original = node.chain.block_by_hash

    def slow(block_hash: Hash32) -> StoredBlock | None:
        release.wait(30)
        return original(block_hash)

    node.chain.block_by_hash = slow  # type: ignore[method-assign]
    async with running(node, {"calls_max": 1, "request_timeout_s": 0.3}) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.ask, "eth_getLogs", {"blockHash": "0x" + "00" * 32})
        await trio.sleep(0.1)
        assert await client.error("eth_getLogs", {}) == (-32002, "request timed out: too many calls are waiting")
        release.set()


def test_every_method_is_documented() -> None:
    registry = Registry(NAMESPACES, declared())
    assert len(registry.methods) > 60
    for name, found in registry.methods.items():
        assert found.namespace in NAMESPACES
        assert found.summary.endswith("."), name
        assert found.result, name
        optional = [param.required for param in found.params]
        assert optional == sorted(optional, reverse=True), f"{name}: a required parameter follows an optional one"


EXECUTING = (
    "eth_call", "eth_estimateGas", "eth_createAccessList", "eth_fillTransaction", "eth_simulateV1", "eth_getProof",
    "open_trace",
)  # fmt: skip
"""Methods that need a real runtime; test_real_chain.py mutates those."""


def mutated(random_: random.Random, names: list[str]) -> bytes:
    """A request that is nearly right."""
    account, token = "0x" + SENDER.hex(), "0x" + TOKEN.hex()
    atoms: list[Any] = [account, token, "latest", "0x0", "0x1", "0xffff", "0x" + "ab" * 32, True, None, 5, -1, "", "0x"]
    atoms += [[], {}, {"to": token}, {"fromBlock": "0x0"}, {"blockHash": "0x" + "00" * 32}, [10, 50], "0x" + "f" * 64]
    atoms += [1.5, 2**63, "\x00", "\u202e", {"address": account}, [[account]], {"x": [{}]}, "pending", "earliest"]
    request: Any = {
        "jsonrpc": "2.0",
        "id": random_.choice([1, "x", None, 1.5, 2**70, True, []]) if random_.random() < 0.1 else 1,
        "method": random_.choice(names),
        "params": [random_.choice(atoms) for _ in range(random_.randrange(4))],
    }
    if random_.random() < 0.1:
        request[random_.choice(list(request))] = random_.choice(atoms)
    if random_.random() < 0.05:
        request.pop("id", None)
    if random_.random() < 0.1:
        request = [request] * random_.randrange(3)
    try:
        body = bytearray(orjson.dumps(request))
    except TypeError:
        body = bytearray(b"%d" % 2**70)
    if random_.random() < 0.3:
        for _ in range(random_.randint(1, 3)):
            place = random_.randrange(len(body) + 1)
            body[place : place + random_.randint(0, 2)] = random_.randbytes(random_.randint(0, 2))
    return bytes(body)


def check_answer(found: Any) -> None:
    """It is a JSON-RPC answer, and not one of an internal error."""
    if isinstance(found, list):
        assert found
        for item in found:
            check_answer(item)
        return
    assert found["jsonrpc"] == "2.0" and "id" in found
    assert ("result" in found) != ("error" in found)
    if "error" in found:
        assert isinstance(found["error"]["code"], int) and found["error"]["code"] != -32603, found
        assert isinstance(found["error"]["message"], str)


@trio_test
async def test_mutated_requests_always_get_a_json_rpc_answer() -> None:
    seed = 4_242
    random_ = random.Random(seed)
    node = FakeNode()
    node.chain.append([signed(0), signed(1, kind=0)])
    skipped = {"eth_sendRawTransactionSync", *EXECUTING}
    names = [name for name in Registry(NAMESPACES, declared()).methods if name not in skipped]
    async with running(node) as client, trio.open_nursery() as nursery:

        async def ask(count: int) -> None:
            for _ in range(count):
                body = mutated(random_, names)
                response = await client.post(body)
                try:
                    assert response.status_code in (200, 204)
                    if response.status_code == 200:
                        check_answer(orjson.loads(response.content))
                except Exception as error:
                    raise AssertionError(f"seed {seed}: {body!r} got {response.content!r}") from error

        for _ in range(4):
            nursery.start_soon(ask, 750)

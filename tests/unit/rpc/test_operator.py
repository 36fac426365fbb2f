"""The operator's namespaces: who may use them, raw bytes, peers; and the rules that eth_config tells."""

import rlp
from eth_utils.crypto import keccak
from trio.testing import trio_test

from node.rpc.config import NAMESPACES
from node.rpc.transport.access import is_authorized
from tests.unit.rpc.fakes import FakeNode, running
from tests.unit.rpc.test_methods import busy_node, hexed
from tests.unit.rpc.ws_client import WsClient

ALL = (*NAMESPACES, "debug", "admin")
TOKEN = "a-token-of-the-operator"


def test_who_is_the_operator() -> None:
    assert is_authorized(None, None, "127.0.0.1") and is_authorized(None, None, "::1")
    assert is_authorized(None, None, "::ffff:127.0.0.1")
    assert not is_authorized(None, None, "10.0.0.1") and not is_authorized(None, None, "")
    assert not is_authorized(None, None, "::ffff:10.0.0.1") and not is_authorized("Bearer x", None, "10.0.0.1")
    assert is_authorized(f"Bearer {TOKEN}", TOKEN, "10.0.0.1") and is_authorized(f"bearer  {TOKEN}", TOKEN, "")
    for header in (None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer \xff"):
        assert not is_authorized(header, TOKEN, "127.0.0.1"), header


@trio_test
async def test_the_namespaces_are_off_unless_asked_for() -> None:
    async with running(FakeNode()) as client:
        for name in ("debug_getRawBlock", "admin_peers"):
            assert (await client.error(name, "latest"))[0] == -32601


@trio_test
async def test_a_token_is_asked_for_over_http_and_websocket() -> None:
    async with running(FakeNode(), namespaces=ALL, token=TOKEN) as client:
        body = b'{"jsonrpc":"2.0","id":1,"method":"admin_peers"}'
        assert (await client.post(body)).json()["error"]["code"] == -32001
        assert (await client.post(body, authorization="Bearer wrong")).json()["error"]["code"] == -32001
        assert len((await client.post(body, authorization=f"Bearer {TOKEN}")).json()["result"]) == 1
        assert await client.call("eth_blockNumber") == "0x0"
        async with WsClient(client.port) as socket:
            await socket.send({"jsonrpc": "2.0", "id": 1, "method": "admin_peers"})
            assert (await socket.receive())["error"]["code"] == -32001
        async with WsClient(client.port, [(b"Authorization", f"Bearer {TOKEN}".encode())]) as socket:
            assert len(await socket.call("admin_peers")) == 1


@trio_test
async def test_raw_bytes() -> None:
    node = busy_node()
    stored = node.chain.tip()
    async with running(node, namespaces=ALL) as client:
        header = bytes.fromhex((await client.call("debug_getRawHeader", "latest"))[2:])
        assert keccak(header) == stored.hash
        block = bytes.fromhex((await client.call("debug_getRawBlock", hexed(stored.hash)))[2:])
        decoded = rlp.decode(block)
        assert rlp.encode(decoded) == block and rlp.encode(decoded[0]) == header and decoded[2] == []
        found = [item if isinstance(item, bytes) else rlp.encode(item) for item in decoded[1]]
        assert found == list(stored.block.transactions)
        assert hex(len(block)) == (await client.call("eth_getBlockByNumber", "latest"))["size"]
        receipts = await client.call("debug_getRawReceipts", {"blockHash": hexed(stored.hash)})
        assert receipts == [hexed(each.encode()) for each in stored.receipts]
        assert await client.call("debug_getRawTransaction", hexed(stored.transactions[1].hash)) == hexed(found[1])
        assert await client.call("debug_getRawTransaction", "0x" + "00" * 32) is None
        for name in ("Header", "Block", "Receipts"):
            assert await client.error(f"debug_getRaw{name}", "0x77") == (-32000, "header not found")


@trio_test
async def test_peers_are_shown_and_added() -> None:
    async with running(FakeNode(), namespaces=ALL) as client:
        assert (await client.call("admin_nodeInfo"))["id"] == "me"
        assert await client.call("admin_addPeer", "/ip4/127.0.0.1/tcp/2/p2p/other") is True
        assert [each["id"] for each in await client.call("admin_peers")] == ["peer-2", "peer-1"]
        assert await client.error("admin_addPeer", "x") == (-32000, "x is no peer address")


@trio_test
async def test_the_rules_in_force() -> None:
    node = FakeNode()
    async with running(node) as client:
        found = await client.call("eth_config")
        assert found["next"] is None and found["last"] is None
        current = found["current"]
        assert current["chainId"] == hex(node.chain.spec.chain_id) and current["blobSchedule"]["max"] == 0
        assert current["precompiles"]["ECREC"] == "0x" + "01".rjust(40, "0")
        assert current["precompiles"]["P256VERIFY"] == "0x" + "0100".rjust(40, "0")
        assert not any(name.startswith("PRECOMPILE_") for name in current["precompiles"])
        assert set(current["systemContracts"]) == {"BEACON_ROOTS_ADDRESS", "HISTORY_STORAGE_ADDRESS"}

"""Accounts that a devnet's node signs for, and what a node without accounts answers."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from trio.testing import trio_test

from genesis.errors import LocalError
from node.node import _devnet_keys
from tests.unit.rpc.fakes import Client, FakeNode, running
from tests.unit.rpc.real import ACCOUNTS, KEYS, SPEC, RealNode, real_node

OWN = [account.address.lower() for account in ACCOUNTS[:2]]
STRANGER = "0x" + "77" * 20
UNLOCKED = tuple(bytes.fromhex(key[2:]) for key in KEYS[:2])
MAIL = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
        "Mail": [{"name": "to", "type": "address"}, {"name": "lines", "type": "string[]"}],
    },
    "primaryType": "Mail",
    "domain": {"name": "Post", "chainId": 31337},
    "message": {"to": STRANGER, "lines": ["a", "b"]},
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RealNode]:
    with real_node(tmp_path) as made:
        yield made


@asynccontextmanager
async def unlocked(node: RealNode) -> AsyncIterator[Client]:
    async with running(node, account_keys=UNLOCKED, namespaces=("eth", "personal")) as client:
        yield client


async def receipt(client: Client, node: RealNode, sent: str) -> Any:
    await node.produce()
    return await client.call("eth_getTransactionReceipt", sent)


@trio_test
async def test_send(node: RealNode) -> None:
    async with unlocked(node) as client:
        assert await client.call("eth_accounts") == OWN
        sent = await client.call("eth_sendTransaction", {"from": OWN[0], "to": STRANGER, "value": "0x5"})
        assert (await receipt(client, node, sent))["status"] == "0x1"
        assert await client.call("eth_getBalance", STRANGER) == "0x5"
        seen = await client.call("eth_getTransactionByHash", sent)
        assert (seen["type"], seen["gas"], seen["from"]) == ("0x2", "0x5208", OWN[0])
        legacy = await client.call(
            "eth_sendTransaction", {"from": OWN[1], "to": STRANGER, "gasPrice": hex(10**10), "gas": "0x5208"}
        )
        assert (await receipt(client, node, legacy))["type"] == "0x0"
        created = await client.call("eth_sendTransaction", {"from": OWN[0], "data": "0x6001600c60003960016000f300"})
        found = await receipt(client, node, created)
        assert await client.call("eth_getCode", found["contractAddress"]) == "0x00"


@trio_test
async def test_many_at_once_get_nonces_of_their_own(node: RealNode) -> None:
    call = {"method": "eth_sendTransaction", "params": [{"from": OWN[0], "to": STRANGER}]}

    async with unlocked(node) as client:

        async def send() -> None:
            answer = await client.http.post(client.url, json={"jsonrpc": "2.0", "id": 1, **call})
            assert len(answer.json()["result"]) == 66

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(send)
        stored = await node.produce()
        assert sorted(tx.nonce for tx in stored.transactions) == list(range(12))


@trio_test
async def test_refusals_of_sending(node: RealNode) -> None:
    async with unlocked(node) as client:
        assert await client.error("eth_sendTransaction", {"from": STRANGER, "to": OWN[0]}) == (
            -32000,
            "unknown account",
        )
        code, message = await client.error("eth_sendTransaction", {"from": OWN[0]})
        assert (code, message) == (-32000, "contract creation without any data provided")
        code, message = await client.error("eth_sendTransaction", {"from": OWN[0], "to": STRANGER, "chainId": "0x1"})
        assert "chainId does not match node's" in message
        value = {"from": OWN[0], "to": STRANGER, "value": hex(10**30), "gas": "0x5208"}
        code, message = await client.error("eth_sendTransaction", value)
        assert (code, message[:43]) == (-32000, "insufficient funds for gas * price + value:")
        code, message = await client.error("eth_sendTransaction", {"from": OWN[0], "data": "0x60006000fd"})
        assert code == 3
        greedy = {"from": OWN[0], "to": STRANGER, "maxPriorityFeePerGas": "0x" + "f" * 64, "gas": "0x5208"}
        for method in ("eth_sendTransaction", "eth_fillTransaction"):  # found by the fuzzer
            assert await client.error(method, greedy) == (-32602, "max fee per gas higher than 2^256-1")
        low = {"from": OWN[0], "to": STRANGER, "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}
        assert (await client.error("eth_sendTransaction", low))[0] == -32602


@trio_test
async def test_sign_and_fill(node: RealNode) -> None:
    wanted = {"from": OWN[0], "to": STRANGER, "value": "0x1", "nonce": "0x0"}
    access = {
        **wanted,
        "gasPrice": hex(10**10),
        "accessList": [{"address": STRANGER, "storageKeys": ["0x" + "00" * 32]}],
    }
    async with unlocked(node) as client:
        for each, kind in ((wanted, "0x2"), (access, "0x1"), ({**wanted, "gasPrice": hex(10**10)}, "0x0")):
            signed = await client.call("eth_signTransaction", each)
            assert signed["tx"]["type"] == kind
            assert Account.recover_transaction(signed["raw"]).lower() == OWN[0]
            filled = await client.call("eth_fillTransaction", each)
            assert {**filled["tx"], **dict.fromkeys(("hash", "r", "s", "v", "yParity"))} == {
                **signed["tx"],
                **dict.fromkeys(("hash", "r", "s", "v", "yParity")),
            }
        assert await client.call("eth_sendRawTransaction", signed["raw"]) == signed["tx"]["hash"]


@trio_test
async def test_messages(node: RealNode) -> None:
    async with unlocked(node) as client:
        signature = await client.call("eth_sign", OWN[0], "0xdeadbeef")
        message = encode_defunct(hexstr="0xdeadbeef")
        assert Account.recover_message(message, signature=signature).lower() == OWN[0]
        assert await client.call("personal_sign", "0xdeadbeef", OWN[0]) == signature
        for given in (MAIL, json.dumps(MAIL)):
            signature = await client.call("eth_signTypedData_v4", OWN[1], given)
            assert Account.recover_message(encode_typed_data(full_message=MAIL), signature=signature).lower() == OWN[1]
        assert await client.error("eth_sign", STRANGER, "0x00") == (-32000, "unknown account")
        assert await client.error("eth_signTypedData_v4", STRANGER, MAIL) == (-32000, "unknown account")
        for bad in (
            {},
            {**MAIL, "primaryType": "Nothing"},
            {**MAIL, "message": {"to": 5}},
            {**MAIL, "types": [1]},
            "{",
        ):
            assert (await client.error("eth_signTypedData_v4", OWN[0], bad))[0] == -32602


@trio_test
async def test_a_node_without_accounts() -> None:
    async with running(FakeNode()) as client:
        assert await client.call("eth_accounts") == []
        for method, params in (
            ("eth_sendTransaction", [{"from": OWN[0], "to": STRANGER}]),
            ("eth_sign", [OWN[0], "0x"]),
        ):
            assert await client.error(method, *params) == (-32000, "unknown account")


@trio_test
async def test_coinbase(node: RealNode) -> None:
    async with running(FakeNode()) as client:
        assert await client.call("eth_coinbase") == "0x" + "bb" * 20
    async with running(node) as client:  # its status names a validator of another chain
        assert (await client.error("eth_coinbase"))[1].startswith("etherbase must be explicitly specified")


@trio_test
async def test_capabilities_and_storage_values(node: RealNode) -> None:
    slot = "0x" + "00" * 32
    async with running(node, namespaces=("eth", "debug")) as client:
        found = await client.call("eth_capabilities")
        assert found["head"]["number"] == "0x0"
        assert found["state"] == {"disabled": False, "oldestBlock": "0x0"}
        answer = await client.call("eth_getStorageValues", {STRANGER: [slot, "0x1"], OWN[0]: []}, "latest")
        assert answer == {STRANGER: [slot, slot], OWN[0]: []}
        assert (await client.error("eth_getStorageValues", {}))[0] == -32602
        assert (await client.error("eth_getStorageValues", {STRANGER: [slot] * 1_025}))[0] == -32602
        assert await client.call("debug_getBadBlocks") == []


def test_only_a_devnet_has_known_accounts() -> None:
    assert _devnet_keys(SPEC, 0) == ()
    with pytest.raises(LocalError, match="devnets only"):
        _devnet_keys(SPEC, 1)

"""web3.py as the client of a real devnet: every transaction type, a Vyper ERC-20, logs, fees, subscriptions, and errors."""

import json
import random
from functools import partial
from typing import Any

import eth_abi
import pytest
import rlp
import vyper
from devnet_process import DevnetProcess, rpc, wait_until
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_keys import keys
from web3 import Web3
from web3.exceptions import Web3RPCError

from genesis.primitives import keccak256

pytestmark = pytest.mark.e2e

ERC20 = """
# pragma version ^0.4.0
event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

balanceOf: public(HashMap[address, uint256])
totalSupply: public(uint256)

@deploy
def __init__(supply: uint256):
    self.balanceOf[msg.sender] = supply
    self.totalSupply = supply
    log Transfer(sender=empty(address), receiver=msg.sender, value=supply)

@external
def transfer(receiver: address, amount: uint256) -> bool:
    assert self.balanceOf[msg.sender] >= amount, "not enough"
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=msg.sender, receiver=receiver, value=amount)
    return True
"""


@pytest.fixture(scope="module")
def web3(devnet: DevnetProcess) -> Web3:
    return devnet.web3()


@pytest.fixture(scope="module")
def sender(devnet: DevnetProcess) -> LocalAccount:
    return Account.from_key(devnet.key(1))


def fresh() -> LocalAccount:
    return Account.create(str(random.random()))


def send(web3: Web3, account: LocalAccount, **fields: Any) -> Any:
    """Sign, send, wait; returns the receipt."""
    transaction = {
        "chainId": web3.eth.chain_id,
        "nonce": web3.eth.get_transaction_count(account.address, "pending"),
        **fields,
    }
    transaction.setdefault("gas", 100_000)
    if "gasPrice" not in transaction:
        transaction.setdefault("maxFeePerGas", 3 * 10**9)
        transaction.setdefault("maxPriorityFeePerGas", 10**9)
    signed = account.sign_transaction(transaction)
    return web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(signed.raw_transaction), timeout=60)


@pytest.mark.parametrize("kind", ["legacy", "2930", "1559"])
def test_transfer_of_each_type_is_exact_to_the_wei(web3: Web3, sender: LocalAccount, kind: str) -> None:
    receiver = fresh().address
    fields: dict[str, Any] = {"to": receiver, "value": 12_345, "gas": 30_000}
    if kind == "legacy":
        fields["gasPrice"] = 2 * 10**9
    elif kind == "2930":
        key = "0x" + "01".rjust(64, "0")
        fields |= {"gasPrice": 2 * 10**9, "type": 1, "accessList": [{"address": receiver, "storageKeys": [key]}]}
    before = web3.eth.get_balance(sender.address)
    receipt = send(web3, sender, **fields)
    assert receipt["status"] == 1
    assert web3.eth.get_balance(receiver) == 12_345
    spent = 12_345 + receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert web3.eth.get_balance(sender.address) == before - spent
    assert receipt["gasUsed"] == (21_000 + 2_400 + 1_900 if kind == "2930" else 21_000)
    block = web3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert receipt["transactionHash"] in [transaction["hash"] for transaction in block["transactions"]]


def test_base_fee_is_burned_and_the_tip_goes_to_the_proposer(web3: Web3, sender: LocalAccount) -> None:
    receipt = send(web3, sender, to=fresh().address, value=1, gas=21_000)
    number = receipt["blockNumber"]
    block = web3.eth.get_block(number)
    assert len(block["transactions"]) == 1, "the test needs the block for itself"
    tip = receipt["effectiveGasPrice"] - block["baseFeePerGas"]
    rewards = sum(w["amount"] * 10**9 for w in block["withdrawals"] if w["address"] == block["miner"])
    gained = web3.eth.get_balance(block["miner"], number) - web3.eth.get_balance(block["miner"], number - 1)
    assert gained == tip * 21_000 + rewards


def test_authorization_list_delegates_an_account(web3: Web3, sender: LocalAccount) -> None:
    token = deploy_erc20(web3, sender)
    authority = fresh()
    authorization = authority.sign_authorization({"chainId": web3.eth.chain_id, "address": token.address, "nonce": 0})
    receipt = send(web3, sender, to=authority.address, value=0, gas=200_000, authorizationList=[authorization],
                   data=token.encode_abi("totalSupply"))  # fmt: skip
    assert receipt["status"] == 1
    assert receipt["type"] == 4
    assert web3.eth.get_code(authority.address) == b"\xef\x01\x00" + Web3.to_bytes(hexstr=token.address)
    listed = web3.eth.get_transaction(receipt["transactionHash"])["authorizationList"]
    assert [item["address"].lower() for item in listed] == [token.address.lower()]


def test_keyless_deployment_without_a_chain_id(web3: Web3, sender: LocalAccount) -> None:
    # Nick's method: a pre-EIP-155 creation with a made-up signature; whoever it recovers to pays.
    creation = bytes.fromhex("600a600c600039600a6000f3602a60005260206000f3")
    fields = [b"", (100 * 10**9).to_bytes(5, "big"), (200_000).to_bytes(3, "big"), b"", b"", creation]
    digest = keccak256(rlp.encode(fields))
    r = s = int("1820182018201820182018201820182018201820182018201820182018201820", 16)
    payer = keys.Signature(vrs=(0, r, s)).recover_public_key_from_msg_hash(digest).to_checksum_address()
    send(web3, sender, to=payer, value=200_000 * 100 * 10**9, gas=21_000)
    raw = rlp.encode([*fields, b"\x1b", r.to_bytes(32, "big"), s.to_bytes(32, "big")])
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw), timeout=60)
    assert receipt["status"] == 1
    assert receipt["from"] == payer
    assert int.from_bytes(web3.eth.call({"to": receipt["contractAddress"]}), "big") == 42


def deploy_erc20(web3: Web3, owner: LocalAccount) -> Any:
    compiled = vyper.compile_code(ERC20, output_formats=["abi", "bytecode"])
    factory = web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"])
    data = factory.constructor(10**24).data_in_transaction
    receipt = send(web3, owner, data=data, gas=1_500_000)
    assert receipt["status"] == 1
    return web3.eth.contract(address=receipt["contractAddress"], abi=compiled["abi"])


def test_vyper_erc20_with_events_filters_and_revert_reasons(web3: Web3, sender: LocalAccount) -> None:
    token = deploy_erc20(web3, sender)
    receiver = fresh()
    assert token.functions.balanceOf(sender.address).call() == 10**24
    call = token.functions.transfer(receiver.address, 77)
    estimate = call.estimate_gas({"from": sender.address})
    receipt = send(web3, sender, to=token.address, data=call._encode_transaction_data(), gas=estimate)
    assert receipt["status"] == 1
    assert token.functions.balanceOf(receiver.address).call() == 77
    [event] = token.events.Transfer().process_receipt(receipt)
    assert event["args"] == {"sender": sender.address, "receiver": receiver.address, "value": 77}
    logs = token.events.Transfer().get_logs(from_block=0, argument_filters={"receiver": receiver.address})
    assert [log["transactionHash"] for log in logs] == [receipt["transactionHash"]]

    with pytest.raises(Exception, match="not enough") as caught:
        token.functions.transfer(sender.address, 10**30).call({"from": receiver.address})
    assert "execution reverted" in str(caught.value)
    failed = send(web3, sender, to=token.address, data=token.encode_abi("transfer", [receiver.address, 10**30]))
    assert failed["status"] == 0
    assert failed["logs"] == []


def test_fee_history_and_fee_suggestions(web3: Web3) -> None:
    history = web3.eth.fee_history(4, "latest", [10, 50])
    assert len(history["baseFeePerGas"]) == len(history["gasUsedRatio"]) + 1
    assert web3.eth.gas_price >= history["baseFeePerGas"][-1]
    assert web3.eth.max_priority_fee >= 0
    header = web3.eth.get_block("latest")
    assert header["hash"] == web3.eth.get_block("finalized")["hash"] or header["number"] >= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nonce": 0}, "nonce too low"),
        ({"value": 10**30}, "insufficient funds for gas * price + value"),
        ({"gas": 20_999}, "intrinsic gas too low"),
        ({"gas": 30_000_001}, "exceeds block gas limit"),
        ({"chainId": 5}, "chain"),
        ({"maxPriorityFeePerGas": 4 * 10**9}, "max priority fee per gas higher than max fee per gas"),
    ],
)
def test_bad_transactions_are_refused_in_geths_words(
    web3: Web3, sender: LocalAccount, change: dict[str, Any], words: str
) -> None:
    if web3.eth.get_transaction_count(sender.address) == 0:
        send(web3, sender, to=sender.address, gas=21_000)
    fields = {"chainId": web3.eth.chain_id, "nonce": web3.eth.get_transaction_count(sender.address), "to": sender.address,
              "value": 0, "gas": 21_000, "maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9, **change}  # fmt: skip
    signed = sender.sign_transaction(fields)
    with pytest.raises(Web3RPCError, match=words.replace("*", r"\*").replace("+", r"\+")):
        web3.eth.send_raw_transaction(signed.raw_transaction)


def test_transactions_sent_to_one_node_are_seen_by_all(devnet: DevnetProcess) -> None:
    account = Account.from_key(devnet.key(2))
    receiver = fresh().address
    for node in range(4):
        sent = send(devnet.web3(node), account, to=receiver, value=1, gas=21_000)["transactionHash"].to_0x_hex()
        for other in range(4):
            url = devnet.url(other)
            wait_until("the receipt on every node", partial(rpc, url, "eth_getTransactionReceipt", sent))
    assert devnet.web3(3).eth.get_balance(receiver) == 4


async def subscribe(ws: str, kind: list[Any], count: int, trigger: Any) -> list[Any]:
    from web3 import AsyncWeb3, WebSocketProvider

    got: list[Any] = []
    async with AsyncWeb3(WebSocketProvider(ws)) as web3:
        await web3.eth.subscribe(*kind)
        trigger()
        async for message in web3.socket.process_subscriptions():
            got.append(message["result"])
            if len(got) >= count:
                break
    return got


def test_websocket_subscriptions(devnet: DevnetProcess, web3: Web3, sender: LocalAccount) -> None:
    import asyncio

    ws = devnet.info["nodes"][1]["ws"]
    heads = asyncio.run(asyncio.wait_for(subscribe(ws, ["newHeads"], 2, lambda: None), 60))
    assert heads[1]["number"] == heads[0]["number"] + 1
    assert heads[1]["parentHash"] == heads[0]["hash"]

    token = deploy_erc20(web3, sender)
    # The node that is subscribed to may be a block behind the one that answered with the receipt.
    wait_until("the token on node 1", lambda: rpc(devnet.url(1), "eth_getCode", token.address, "latest") != "0x")
    receiver = fresh().address

    def transfer() -> None:
        data = token.encode_abi("transfer", [receiver, 5])
        fields = {"chainId": web3.eth.chain_id, "nonce": web3.eth.get_transaction_count(sender.address), "to": token.address,
                  "data": data, "gas": 100_000, "maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9}  # fmt: skip
        web3.eth.send_raw_transaction(sender.sign_transaction(fields).raw_transaction)

    [log] = asyncio.run(asyncio.wait_for(subscribe(ws, ["logs", {"address": token.address}], 1, transfer), 60))
    assert eth_abi.decode(["uint256"], bytes(log["data"])) == (5,)


def test_json_rpc_errors_are_proper(devnet: DevnetProcess) -> None:
    import urllib.error
    import urllib.request

    def post(body: bytes) -> Any:
        request = urllib.request.Request(devnet.url(), body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)

    assert post(b"{")["error"]["code"] == -32700
    assert post(b'{"jsonrpc":"2.0","id":1,"method":"eth_nonsense"}')["error"]["code"] == -32601
    assert post(b'{"jsonrpc":"2.0","id":"x","method":"eth_getBalance","params":[]}')["error"]["code"] == -32602
    batch = post(b'[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"no"}]')
    assert [("result" in item, item["id"]) for item in batch] == [(True, 1), (False, 2)]

"""The requests that a MetaMask-like wallet makes when a network is added, an account shown, and a transfer sent."""

import json
import urllib.request
from typing import Any

import pytest
from devnet_process import wait_until
from eth_account import Account

pytestmark = pytest.mark.e2e

ORIGIN = "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn"
NO_CONTRACT = "0x" + "b1" * 20
SUPPORTS_ERC721 = "0x01ffc9a7" + "80ac58cd".ljust(64, "0")


class Wallet:
    """Posts as the extension does: with its origin, and a `params` in every call."""

    def __init__(self, url: str) -> None:
        self.url, self.id = url, 8_674_665_223_082_153_551  # the extension's ids begin beyond 2**53

    def post(self, body: Any) -> Any:
        headers = {"Content-Type": "application/json", "Origin": ORIGIN}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)
            return json.load(response)

    def ask(self, method: str, *params: Any) -> Any:
        self.id += 1
        answer = self.post({"id": self.id, "jsonrpc": "2.0", "method": method, "params": list(params)})
        assert answer["id"] == self.id
        assert "error" not in answer, answer
        return answer["result"]


def test_start_up_and_first_transfer(setting: dict[str, Any]) -> None:
    wallet = Wallet(setting["rpc"])
    account = Account.from_key(setting["keys"]["metamask"])
    # -- a network is added: its id is checked, then whether it has EIP-1559
    assert wallet.ask("eth_chainId") == hex(setting["chainId"])
    assert wallet.ask("net_version") == str(setting["chainId"])
    latest = wallet.ask("eth_getBlockByNumber", "latest", False)
    assert int(latest["baseFeePerGas"], 16) > 0
    assert wallet.ask("eth_blockNumber")
    # -- an account is shown: its balance, tokens and names
    assert int(wallet.ask("eth_getBalance", account.address.lower(), "latest"), 16) > 0
    assert wallet.ask("eth_getCode", account.address.lower(), "latest") == "0x"
    assert wallet.ask("eth_call", {"to": NO_CONTRACT, "data": SUPPORTS_ERC721}, "latest") == "0x"
    assert wallet.ask("eth_call", {"to": NO_CONTRACT, "data": "0xf0002ea9"}, latest["number"]) == "0x"
    # -- a transfer is prepared
    target = Account.from_key("0x" + "7e" * 32).address
    message = {"from": account.address.lower(), "to": target, "value": "0x1", "gasPrice": "0x0"}
    assert wallet.ask("eth_getCode", target, "latest") == "0x"
    assert wallet.ask("eth_estimateGas", {"from": account.address.lower(), "to": target, "value": "0x1"}) == "0x5208"
    assert wallet.ask("eth_estimateGas", {**message, "gas": "0x1c9c380"}) == "0x5208"
    history = wallet.ask("eth_feeHistory", "0x5", "latest", [10, 20, 30])
    assert all(len(each) == 3 for each in history["reward"])
    assert int(wallet.ask("eth_gasPrice"), 16) > 0
    nonce = int(wallet.ask("eth_getTransactionCount", account.address.lower(), "pending"), 16)
    # -- and sent, and followed until it is final
    base_fee = int(history["baseFeePerGas"][-1], 16)
    signed = account.sign_transaction(
        {
            "chainId": setting["chainId"],
            "nonce": nonce,
            "to": target,
            "value": 1,
            "gas": 21_000,
            "type": 2,
            "maxFeePerGas": 2 * base_fee + 10**9,
            "maxPriorityFeePerGas": 10**9,
        }
    )
    sent = wallet.ask("eth_sendRawTransaction", "0x" + signed.raw_transaction.hex())
    assert wallet.ask("eth_getTransactionByHash", sent)["hash"] == sent
    receipt = wait_until("the receipt", lambda: wallet.ask("eth_getTransactionReceipt", sent))
    assert receipt["status"] == "0x1"
    block = wallet.ask("eth_getBlockByNumber", receipt["blockNumber"], False)
    assert sent in block["transactions"]
    assert int(wallet.ask("eth_getTransactionCount", account.address.lower(), "latest"), 16) == nonce + 1


def test_batches_and_preflight(setting: dict[str, Any]) -> None:
    wallet = Wallet(setting["rpc"])
    calls = [{"id": n, "jsonrpc": "2.0", "method": "eth_chainId", "params": []} for n in (3, "x", 1)]
    assert [each["id"] for each in wallet.post(calls)] == [3, "x", 1]
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    request = urllib.request.Request(wallet.url, method="OPTIONS", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 204 and "content-type" in response.headers["Access-Control-Allow-Headers"].lower()

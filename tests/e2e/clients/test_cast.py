"""Foundry's cast against a real devnet: deploy, call, send, logs, fees, EIP-7702, access lists, errors."""

import json
import os
import subprocess
from typing import Any

import pytest
from eth_account import Account
from packages import NotAvailableError, foundry

pytestmark = pytest.mark.e2e

FRESH = Account.from_key("0x" + "5e" * 32).address


@pytest.fixture(scope="module")
def cast(setting: dict[str, Any]) -> "Cast":
    try:
        return Cast(str(foundry("cast")), setting)
    except NotAvailableError as error:
        pytest.skip(str(error))


class Cast:
    def __init__(self, path: str, setting: dict[str, Any]) -> None:
        self.path, self.setting, self.key = path, setting, setting["keys"]["cast"]
        self.address = Account.from_key(self.key).address

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ETH_RPC_URL": self.setting["rpc"], "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1"}
        return subprocess.run([self.path, *words], env=environment, capture_output=True, text=True, timeout=60)

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"cast {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def send(self, *words: str) -> dict[str, Any]:
        receipt: dict[str, Any] = json.loads(self("send", "--json", "--private-key", self.key, *words))
        assert receipt["status"] == "0x1", receipt
        return receipt

    def deploy(self, name: str, *arguments: str) -> str:
        contract = self.setting["contracts"][name]
        constructor = ("constructor(uint256)", *arguments) if arguments else ()
        return str(self.send("--create", contract["bytecode"], *constructor)["contractAddress"])


def test_token(cast: Cast) -> None:
    token = cast.deploy("token", "1000")
    assert cast("call", token, "balanceOf(address)(uint256)", cast.address).split()[0] == "1000"
    receipt = cast.send(token, "transfer(address,uint256)", FRESH, "7")
    assert cast("call", token, "balanceOf(address)(uint256)", FRESH) == "7"
    words = ("logs", "--json", "--from-block", "0", "--address", token, "Transfer(address,address,uint256)")
    assert [log["transactionHash"] for log in json.loads(cast(*words))][-1] == receipt["transactionHash"]
    refused = cast.run("call", "--from", FRESH, token, "transfer(address,uint256)", cast.address, "10000")
    assert refused.returncode and "not enough" in refused.stderr
    assert int(cast("estimate", "--from", cast.address, token, "transfer(address,uint256)", FRESH, "1")) > 21_000
    assert cast("receipt", receipt["transactionHash"], "blockNumber") == str(int(receipt["blockNumber"], 16))
    assert json.loads(cast("tx", "--json", receipt["transactionHash"]))["hash"] == receipt["transactionHash"]
    assert json.loads(cast("access-list", "--json", token, "balanceOf(address)", FRESH))["accessList"]


def test_chain(cast: Cast) -> None:
    assert cast("chain-id") == str(cast.setting["chainId"])
    assert int(cast("block-number")) >= 1
    block = json.loads(cast("block", "--json", "finalized"))
    assert cast("age", "latest")
    assert block["hash"] and int(cast("basefee")) > 0 and int(cast("gas-price")) > 0
    assert cast("nonce", FRESH) == "0"
    assert cast("codesize", cast.address) == "0"
    assert json.loads(cast("proof", cast.address, "0x0"))["storageProof"]
    assert cast("storage", FRESH, "0").startswith("0x00")
    assert cast("client").startswith("openledger/")
    assert json.loads(cast("rpc", "eth_feeHistory", "0x4", "latest", "[25, 75]"))["baseFeePerGas"]


def test_transaction_types(cast: Cast) -> None:
    for words in (("--legacy",), ("--access-list", "[]"), ("--gas-price", "5gwei", "--priority-gas-price", "1gwei")):
        assert cast.send(FRESH, "--value", "1", *words)["gasUsed"] == "0x5208"


def test_delegation(cast: Cast) -> None:
    aggregator = cast.deploy("aggregator")
    receipt = cast.send(cast.address, "getEthBalance(address)", FRESH, "--auth", aggregator)
    assert receipt["type"] == "0x4"
    assert cast("code", cast.address) == "0xef0100" + aggregator[2:].lower()
    receipt = cast.send(cast.address, "--auth", "0x" + "00" * 20)
    assert cast("code", cast.address) == "0x"


def test_typed_errors_of_the_attribution_contract(cast: Cast) -> None:
    refused = cast.run("call", cast.setting["attribution"], "quote(uint64,uint32,uint32)", "99999999", "0", "0")
    selector = cast("sig", "UnknownModel(uint64)")
    assert refused.returncode and selector[2:] in refused.stderr, refused.stderr


def test_publish_twice_and_nonce_too_low(cast: Cast) -> None:
    nonce = cast("nonce", cast.address)
    words = ("mktx", "--private-key", cast.key, "--nonce", nonce, FRESH, "--value", "1")
    raw = cast(*words)
    assert json.loads(cast("publish", "--json", raw))["status"] == "0x1"
    again = cast.run("publish", raw)
    assert again.returncode and ("nonce too low" in again.stderr or "already known" in again.stderr)

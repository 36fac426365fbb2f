"""examples/revenue_split on a devnet with web3.py: the Vyper contract, and the Solidity one through solc from npm."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import vyper
from devnet_process import DevnetProcess
from eth_account import Account
from packages import HERE, NotAvailableError, installed
from web3 import Web3

import attribution_precompile

pytestmark = pytest.mark.e2e

FOLDER = HERE.parents[2] / "examples" / "revenue_split"
INTERFACE = Path(attribution_precompile.__file__).parent / "IAttribution.sol"
PRICE = 10**20
TEXT = b"a revenue split is a contract that pays for what it asks and shares whatever it has earned with its partners"


def from_vyper() -> dict[str, Any]:
    return vyper.compile_code((FOLDER / "RevenueSplit.vy").read_text(), output_formats=["abi", "bytecode"])  # type: ignore[no-any-return]


def from_solidity() -> dict[str, Any]:
    try:
        environment = {**os.environ, "CLIENT_PACKAGES": str(installed()), "INTERFACE": str(INTERFACE)}
    except NotAvailableError as error:
        pytest.skip(str(error))
    command = ["node", str(HERE / "solc.mjs"), str(FOLDER / "RevenueSplit.sol"), "RevenueSplit.sol", "RevenueSplit"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # what the script prints


class Person:
    """One account of the devnet, and what it sends."""

    def __init__(self, web3: Web3, key: str) -> None:
        self.web3, self.account = web3, Account.from_key(key)
        self.address = self.account.address

    def send(self, call: Any, value: int = 0) -> Any:
        nonce = self.web3.eth.get_transaction_count(self.address)
        made = call.build_transaction({"from": self.address, "nonce": nonce, "value": value})
        raw = self.account.sign_transaction(made).raw_transaction
        receipt = self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(raw), timeout=60)
        assert receipt["status"] == 1, receipt
        return receipt


@pytest.mark.parametrize("compiled", [from_vyper, from_solidity], ids=["vyper", "solidity"])
def test_a_contract_asks_and_shares(devnet: DevnetProcess, compiled: Any) -> None:
    artifact, web3 = compiled(), devnet.web3()
    first, second = Person(web3, devnet.key(7)), Person(web3, devnet.key(9))
    abi = json.loads(INTERFACE.with_suffix(".json").read_text())
    attribution = web3.eth.contract(address=devnet.info["contracts"]["attribution"], abi=abi)
    words = b"words-v1".ljust(32, b"\0")
    terms = ("split", bytes(32), words, 8, False, True, 0, 0, 0, 10_000, 0, 1_000)
    opened = first.send(attribution.functions.createDatanet(terms))
    net = attribution.events.DatanetCreated().process_receipt(opened)[0]["args"]["datanetId"]
    given = first.send(attribution.functions.contribute(net, TEXT, bytes(32), first.address, bytes(32)))
    contribution = attribution.events.Contributed().process_receipt(given)[0]["args"]["contributionId"]
    first.send(attribution.functions.review(contribution, True, 10_000))
    first.send(attribution.functions.publishVersion(net))
    factory = web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    made = first.send(factory.constructor([first.address, second.address], [7_000, 3_000]))
    split = web3.eth.contract(address=made["contractAddress"], abi=artifact["abi"])
    registered = first.send(split.functions.register("m", bytes(32), PRICE, [(net, 1, 0, 10_000)]))
    model = attribution.events.ModelRegistered().process_receipt(registered)[0]["args"]["modelId"]
    tokens = len(TEXT.split())
    fee = PRICE * tokens // 1_000
    second.send(split.functions.ask(model, bytes(32), 0, TEXT), value=fee + 777)
    assert web3.eth.get_balance(split.address) == 0
    second.send(split.functions.split())
    income = fee * 3_000 // 10_000
    assert split.functions.owed(second.address).call() == income * 3_000 // 10_000
    first.send(split.functions.withdraw())
    second.send(split.functions.withdraw())
    assert web3.eth.get_balance(split.address) == 0

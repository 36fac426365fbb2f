"""Attribution on a real devnet with web3.py: by an account, by a contract, by time-out; and the demo, figure by figure."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import vyper
from devnet_process import OPENLEDGER, DevnetProcess, height, rpc
from eth_account import Account
from eth_account.signers.local import LocalAccount
from test_transactions import send
from web3 import Web3
from web3.exceptions import ContractCustomError

import attribution_precompile

pytestmark = pytest.mark.e2e

WORDS_V1 = b"words-v1".ljust(32, b"\0")
TEXT = b"the quick brown fox jumps over the lazy dog while seventeen other animals look on in mild surprise"
ABI = json.loads((Path(attribution_precompile.__file__).parent / "IAttribution.json").read_text())

BROKER = """
# pragma version ^0.4.0
struct Signed:
    nonce: uint256
    deadline: uint64
    signature: Bytes[65]

struct Call:
    modelId: uint64
    agentId: uint64
    promptHash: bytes32
    inputTokens: uint32
    output: Bytes[1024]
    signed: Signed

interface Attribution:
    def quote(model: uint64, input_tokens: uint32, output_tokens: uint32) -> uint256: view
    def infer(call: Call) -> bytes32: payable

ATTRIBUTION: constant(address) = 0x0000000000000000000000000000000000000A00
last: public(bytes32)

@payable
@external
def report(model: uint64, text: Bytes[1024]) -> bytes32:
    signed: Signed = Signed(nonce=0, deadline=0, signature=b"")
    call: Call = Call(modelId=model, agentId=0, promptHash=empty(bytes32), inputTokens=0, output=text, signed=signed)
    self.last = extcall Attribution(ATTRIBUTION).infer(call, value=msg.value)
    return self.last
"""


def params(review_seconds: int) -> tuple[Any, ...]:
    return ("test", b"\0" * 32, WORDS_V1, 8, False, True, 0, 10**15, 0, 10_000, 0, review_seconds)


class Chain:
    """The contract as one account uses it."""

    def __init__(self, devnet: DevnetProcess, account: int) -> None:
        self.web3 = devnet.web3()
        self.account: LocalAccount = Account.from_key(devnet.key(account))
        self.contract = self.web3.eth.contract(address=devnet.info["contracts"]["attribution"], abi=ABI)

    def do(self, name: str, *arguments: Any, value: int = 0) -> Any:
        """Send a call and return (its return value as eth_call gave it just before, the receipt)."""
        call = self.contract.functions[name](*arguments)
        gas = call.estimate_gas({"from": self.account.address, "value": value})
        fields = {"to": self.contract.address, "data": call._encode_transaction_data(), "gas": gas + gas // 8}
        receipt = send(self.web3, self.account, value=value, **fields)
        assert receipt["status"] == 1
        return receipt

    def event(self, receipt: Any, name: str) -> Any:
        [event] = self.contract.events[name]().process_receipt(receipt, errors=_discard())
        return event["args"]

    def model_on_text(self, *, review_seconds: int = 3_600, review: bool = True) -> tuple[int, int]:
        """(model, contribution): a datanet with TEXT, a version, and a model on it."""
        datanet = self.event(self.do("createDatanet", params(review_seconds)), "DatanetCreated")["datanetId"]
        receipt = self.do("contribute", datanet, TEXT, b"\0" * 32, self.account.address, b"\0" * 32)
        contribution = self.event(receipt, "Contributed")["contributionId"]
        if review:
            self.do("review", contribution, True, 10_000)
        else:
            time.sleep(review_seconds + 1)
        self.do("publishVersion", datanet)
        nobody, uses = "0x" + "00" * 20, [(datanet, 1, 0, 10_000)]
        receipt = self.do("registerModel", "test", b"\0" * 32, 0, nobody, 0, 10**18, 0, [], uses)
        return self.event(receipt, "ModelRegistered")["modelId"], contribution


def _discard() -> Any:
    from web3.logs import DISCARD

    return DISCARD


def test_a_contract_reports_and_pays(devnet: DevnetProcess) -> None:
    chain = Chain(devnet, 7)
    model, contribution = chain.model_on_text()
    compiled = vyper.compile_code(BROKER, output_formats=["abi", "bytecode"])
    receipt = send(chain.web3, chain.account, data=compiled["bytecode"], gas=2_000_000)
    broker = chain.web3.eth.contract(address=receipt["contractAddress"], abi=compiled["abi"])
    fee = chain.contract.functions.quote(model, 0, 20).call()
    before = chain.contract.functions.claimable(chain.account.address).call()[0]
    call = broker.functions.report(model, b"Somebody said: " + TEXT)
    receipt = send(
        chain.web3, chain.account, to=broker.address, data=call._encode_transaction_data(), gas=2_000_000, value=fee + 7
    )
    assert receipt["status"] == 1
    inferred = chain.event(receipt, "Inferred")
    assert inferred["payer"] == broker.address
    assert (inferred["tokens"], inferred["unmatched"], inferred["fee"]) == (20, 2, fee)
    paid = chain.event(receipt, "Attributed")
    assert (paid["contributionId"], paid["weight"]) == (contribution, 18)
    assert broker.functions.last().call() == inferred["receiptId"]
    assert chain.contract.functions.getReceipt(inferred["receiptId"]).call()[2] == broker.address
    receipt_id, genesis = "0x" + inferred["receiptId"].hex(), str(devnet.datadir / "genesis.json")
    command = [OPENLEDGER, "light", "--genesis", genesis, "--rpc", devnet.url(), "--receipt", receipt_id, "--json"]
    proven = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    assert (proven["receipts"][receipt_id]["payer"], proven["receipts"][receipt_id]["fee"]) == (
        broker.address.lower(),
        str(fee),
    )
    assert chain.contract.functions.claimable(chain.account.address).call()[0] > before

    poor = send(
        chain.web3, chain.account, to=broker.address, data=call._encode_transaction_data(), gas=2_000_000, value=1
    )
    assert poor["status"] == 0
    assert poor["logs"] == []


def test_what_nobody_reviews_is_accepted_by_time_out(devnet: DevnetProcess) -> None:
    chain = Chain(devnet, 7)
    model, contribution = chain.model_on_text(review_seconds=1, review=False)
    scores, tokens, unmatched = chain.contract.functions.trace(model, TEXT).call()
    assert (scores, tokens, unmatched) == ([(contribution, 18)], 18, 0)


def test_claims_pay_to_the_wei(devnet: DevnetProcess) -> None:
    chain = Chain(devnet, 7)
    due = chain.contract.functions.claimable(chain.account.address).call()[0]
    assert due > 0, "earlier tests have paid this account"
    receiver = Account.create().address
    chain.do("claim", receiver)
    assert chain.web3.eth.get_balance(receiver) == due
    assert chain.contract.functions.claimable(chain.account.address).call() == [0, 0]


def test_custom_errors_are_decoded_by_web3(devnet: DevnetProcess) -> None:
    chain = Chain(devnet, 7)
    with pytest.raises(ContractCustomError) as caught:
        chain.contract.functions.quote(10**9, 0, 1).call()
    assert caught.value.data is not None
    selector = Web3.keccak(text="UnknownModel(uint64)")[:4].hex()
    data = bytes.fromhex(str(caught.value.data).removeprefix("0x"))
    assert data[:4].hex() == selector and chain.web3.codec.decode(["uint64"], data[4:]) == (10**9,)


def test_open_reads_serve_the_registry(devnet: DevnetProcess) -> None:
    chain = Chain(devnet, 7)
    model, contribution = chain.model_on_text()
    url = devnet.url(2)
    devnet.wait_height(2, height(devnet.url()))
    report = rpc(url, "open_trace", hex(model), "0x" + TEXT.hex())
    assert int(report["unmatched"], 16) == 0
    assert [int(score["contribution"], 16) for score in report["scores"]] == [contribution]
    assert int(rpc(url, "open_model", hex(model))["id"], 16) == model


def test_the_demo_agrees_with_its_reference(devnet: DevnetProcess) -> None:
    result = subprocess.run([OPENLEDGER, "demo", "--rpc", devnet.url()], capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Every figure is equal." in result.stdout
    assert "MISMATCH" not in result.stdout
    assert "cast send" in result.stdout


def test_the_demo_says_what_is_missing(tmp_path: Path) -> None:
    result = subprocess.run(
        [OPENLEDGER, "demo", "--rpc", "http://127.0.0.1:9"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "openledger devnet" in result.stderr
    assert "Traceback" not in result.stderr

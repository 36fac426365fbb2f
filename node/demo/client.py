"""A minimal Ethereum client for the demo: JSON-RPC over HTTP, EIP-1559 transactions signed here, ABI of the contract."""

import time
from typing import Any, Final

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import LocalError
from genesis.primitives import keccak256
from openledger.jsonrpc import JsonRpcClient, NodeSilent

RECEIPT_TIMEOUT_S: Final = 60
DEVNET_MNEMONIC: Final = "test test test test test test test test test test test junk"
ATTRIBUTION: Final = str(to_checksum_address(ATTRIBUTION_ADDRESS))


class RpcClient:
    """Calls one node. Raises LocalError with the node's own words when it refuses."""

    def __init__(self, url: str) -> None:
        self._client = JsonRpcClient(url, timeout_s=60)
        self.url = url
        self.chain_id = int(self.call("eth_chainId"), 16)

    def call(self, method: str, *params: Any) -> Any:
        try:
            return self._client.call(method, *params)
        except NodeSilent as error:
            raise LocalError(f"{error}; is a devnet running? (openledger devnet)") from None

    def balance(self, address: str) -> int:
        return int(self.call("eth_getBalance", address, "latest"), 16)

    def view(self, signature: str, returns: list[str], *arguments: Any) -> tuple[Any, ...]:
        """eth_call of a view method of the attribution contract."""
        data = "0x" + calldata(signature, *arguments).hex()
        result = self.call("eth_call", {"to": ATTRIBUTION, "data": data}, "latest")
        return abi_decode(returns, bytes.fromhex(result[2:]))


class Sender:
    """One account that sends transactions, nonce by nonce, and waits for final receipts."""

    def __init__(self, client: RpcClient, account: LocalAccount, name: str) -> None:
        self.client, self.account, self.name = client, account, name
        self.address: str = account.address

    def send(self, signature: str, *arguments: Any, value: int = 0) -> dict[str, Any]:
        """Call a method of the attribution contract and return the receipt. Raises LocalError if it reverted."""
        return self.wait(self.submit(signature, *arguments, value=value))

    def submit(self, signature: str, *arguments: Any, value: int = 0) -> str:
        """Sign and send without waiting; returns the transaction's hash."""
        client = self.client
        data = "0x" + calldata(signature, *arguments).hex()
        call = {"from": self.address, "to": ATTRIBUTION, "data": data, "value": hex(value)}
        gas = int(client.call("eth_estimateGas", call), 16)
        tip = int(client.call("eth_maxPriorityFeePerGas"), 16)
        base_fee = int(client.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": client.chain_id,
            "nonce": int(client.call("eth_getTransactionCount", self.address, "pending"), 16),
            "to": ATTRIBUTION,
            "data": data,
            "value": value,
            "gas": gas + gas // 8,
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * base_fee + tip,
        }
        signed = self.account.sign_transaction(transaction)
        return str(client.call("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))

    def wait(self, transaction_hash: str) -> dict[str, Any]:
        """The final receipt of a transaction. Raises LocalError if it failed or never came."""
        deadline = time.monotonic() + RECEIPT_TIMEOUT_S
        while time.monotonic() < deadline:
            receipt: dict[str, Any] | None = self.client.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                if int(receipt["status"], 16) != 1:
                    raise LocalError(f"{self.name}'s transaction {transaction_hash} reverted")
                return receipt
            time.sleep(0.05)
        raise LocalError(f"{self.name}'s transaction {transaction_hash} is not final after {RECEIPT_TIMEOUT_S} s")


def devnet_account(place: int) -> LocalAccount:
    """The account at m/44'/60'/0'/0/place of the well-known test mnemonic."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(DEVNET_MNEMONIC, account_path=f"m/44'/60'/0'/0/{place}")
    return account


def calldata(signature: str, *arguments: Any) -> bytes:
    """Selector and ABI-encoded arguments of `name(type,…)`."""
    types = _split_types(signature[signature.index("(") + 1 : -1])
    return keccak256(signature.encode())[:4] + abi_encode(types, arguments)


def events(receipt: dict[str, Any], signature: str, data_types: list[str]) -> list[tuple[list[int], tuple[Any, ...]]]:
    """(indexed topics as integers, decoded data) of each log of the contract with this event signature."""
    topic = "0x" + keccak256(signature.encode()).hex()
    return [
        ([int(t, 16) for t in log["topics"][1:]], abi_decode(data_types, bytes.fromhex(log["data"][2:])))
        for log in receipt["logs"]
        if log["address"].lower() == ATTRIBUTION.lower() and log["topics"][0] == topic
    ]


def _split_types(inner: str) -> list[str]:
    """Split a parameter list at its top-level commas: `uint64,(bool,bytes)[]` -> two types."""
    types, depth, current = [], 0, ""
    for character in inner:
        if character == "," and depth == 0:
            types.append(current)
            current = ""
            continue
        depth += {"(": 1, ")": -1}.get(character, 0)
        current += character
    return [*types, current] if current else types

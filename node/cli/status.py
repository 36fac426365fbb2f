"""What `openledger status` shows of a running node."""

from typing import Any

from openledger.jsonrpc import JsonRpcClient


def node_status(url: str) -> dict[str, Any]:
    """Name and value of each line. Raises LocalError if nobody answers, or with the node's own words; PeerFault."""
    call = JsonRpcClient(url).call
    block = call("eth_getBlockByNumber", "latest", False)
    syncing = call("eth_syncing")
    return {
        "client": call("web3_clientVersion"),
        "chain id": int(call("eth_chainId"), 16),
        "height": int(block["number"], 16),
        "block": block["hash"],
        "block time": int(block["timestamp"], 16),
        "syncing": "no"
        if syncing is False
        else f"{int(syncing['currentBlock'], 16)} of {int(syncing['highestBlock'], 16)}",
        "peers": int(call("net_peerCount"), 16),
    }

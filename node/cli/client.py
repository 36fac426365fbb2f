"""A few calls to a running node, with the standard library only."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Final

from genesis.errors import LocalError

TIMEOUT_S: Final = 10


def call(url: str, method: str, *params: Any) -> Any:
    """One JSON-RPC call. Raises LocalError if nobody answers, or with the node's own words."""
    if not url.startswith(("http://", "https://")):
        raise LocalError(f"{url!r} is not an http:// or https:// URL")
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - checked above
            answer = json.load(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise LocalError(f"no node answers at {url}: {reason}") from None
    if "error" in answer:
        raise LocalError(f"{method}: {answer['error'].get('message')}")
    return answer.get("result")


def node_status(url: str) -> dict[str, Any]:
    """What `openledger status` shows."""
    block = call(url, "eth_getBlockByNumber", "latest", False)
    syncing = call(url, "eth_syncing")
    return {
        "client": call(url, "web3_clientVersion"),
        "chain id": int(call(url, "eth_chainId"), 16),
        "height": int(block["number"], 16),
        "block": block["hash"],
        "block time": int(block["timestamp"], 16),
        "syncing": "no"
        if syncing is False
        else f"{int(syncing['currentBlock'], 16)} of {int(syncing['highestBlock'], 16)}",
        "peers": int(call(url, "net_peerCount"), 16),
    }

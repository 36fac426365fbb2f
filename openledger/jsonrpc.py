"""JSON-RPC over HTTP, blocking, with the standard library alone."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Final

from genesis.codec import decode_json
from genesis.errors import LocalError, PeerFault, WireError

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""More than a node sends: its own answers end at 25 MiB."""


class NodeSilent(LocalError):
    """No node answers at the URL."""


class CallRefused(LocalError):
    """The node answers with an error of its own: its words, its code, and its data if there are any."""

    def __init__(self, method: str, code: object, message: str, data: object = None) -> None:
        self.code = code
        self.data = data
        super().__init__(f"{method}: {message}" + (f" {data}" if data else ""))


class JsonRpcClient:
    """Calls the node at one URL. It may be shared by threads."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, answer_bytes_max: int = ANSWER_BYTES_MAX) -> None:
        """Raises LocalError for what is no http:// or https:// URL."""
        if not url.startswith(("http://", "https://")):
            raise LocalError(f"{url!r} is not an http:// or https:// URL")
        self.url: Final = url
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max

    def call(self, method: str, *params: Any) -> Any:
        """The result of one call. Raises NodeSilent, CallRefused, and PeerFault for what is no JSON-RPC answer."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310 - checked
                content = response.read(self._answer_bytes_max + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NodeSilent(f"no node answers at {self.url}: {getattr(error, 'reason', error)}") from None
        try:
            answer = decode_json(content, size_max=self._answer_bytes_max, what="answer")
        except WireError as error:
            raise PeerFault(f"{self.url} answers {method} with no JSON: {error}") from None
        if not isinstance(answer, dict) or ("result" in answer) is ("error" in answer):
            raise PeerFault(f"{self.url} does not speak JSON-RPC 2.0")
        if "error" in answer:
            refusal = answer["error"] if isinstance(answer["error"], dict) else {"message": answer["error"]}
            raise CallRefused(method, refusal.get("code"), str(refusal.get("message"))[:500], refusal.get("data"))
        return answer["result"]

"""JSON-RPC errors: the codes of the JSON-RPC 2.0 specification, EIP-1474 and geth, each made in one place."""

from typing import Final

from genesis.errors import OpenLedgerError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
"""geth's code for everything that has no code of its own: refused transactions above all."""
UNAUTHORIZED: Final = -32001
TIMEOUT: Final = -32002
RESPONSE_TOO_LARGE: Final = -32003
LIMIT_EXCEEDED: Final = -32005
VM_ERROR: Final = -32015
"""The code of one call inside eth_simulateV1 that failed without reverting."""
EXECUTION_REVERTED: Final = 3
SYNC_TIMEOUT: Final = 4
"""EIP-7966: the transaction was admitted but is not final yet."""


class RpcError(OpenLedgerError):
    """An error answer. `data` is added to it when not None (revert data as 0x-hex, for one)."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


def server_error(message: str) -> RpcError:
    return RpcError(SERVER_ERROR, message)


def invalid_params(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)


def header_not_found() -> RpcError:
    """geth's words for a block that this node does not have."""
    return RpcError(SERVER_ERROR, "header not found")


def limit_exceeded(message: str) -> RpcError:
    return RpcError(LIMIT_EXCEEDED, message)

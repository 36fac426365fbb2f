"""The error answer to a call that reverted."""

from node.rpc.schema.errors import EXECUTION_REVERTED, RpcError
from node.rpc.schema.format import data


def reverted(output: bytes) -> RpcError:
    """Code 3, the reason if there is one, and the output as data."""
    from evm_runtime.reverts import revert_reason

    reason = revert_reason(output)
    message = "execution reverted" if reason is None else f"execution reverted: {reason}"
    return RpcError(EXECUTION_REVERTED, message, data(output))

"""What a revert says: Solidity's `Error(string)` and `Panic(uint256)` in words, anything else as it is."""

from typing import Final

from node.rpc.errors import EXECUTION_REVERTED, RpcError
from node.rpc.format import data

_ERROR: Final = bytes.fromhex("08c379a0")
_PANIC: Final = bytes.fromhex("4e487b71")
_PANICS: Final = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}
_REASON_BYTES_MAX: Final = 4_096


def reverted(output: bytes) -> RpcError:
    """The error answer to a call that reverted: code 3, the reason if there is one, and the output as data."""
    reason = revert_reason(output)
    message = "execution reverted" if reason is None else f"execution reverted: {reason}"
    return RpcError(EXECUTION_REVERTED, message, data(output))


def revert_reason(output: bytes) -> str | None:
    """The reason in words, or None if the output is neither `Error(string)` nor `Panic(uint256)`."""
    selector, body = output[:4], output[4:]
    if selector == _PANIC and len(body) >= 32:
        code = int.from_bytes(body[:32], "big")
        return _PANICS.get(code, f"unknown panic code: {code:#x}")
    if selector != _ERROR or len(body) < 64:
        return None
    offset = int.from_bytes(body[:32], "big")
    if offset > len(body) - 32:
        return None
    size = int.from_bytes(body[offset : offset + 32], "big")
    content = body[offset + 32 : offset + 32 + size]
    if len(content) < size or size > _REASON_BYTES_MAX:
        return None
    return content.decode(errors="replace")

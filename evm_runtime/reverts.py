"""What a revert says: Solidity's `Error(string)` and `Panic(uint256)` in words. The one decoder, for answers and for traces.

It reads as geth's ABI decoder does: padding may be missing or hold anything, and bytes that are no UTF-8 become U+FFFD.
"""

import codecs
from typing import Final

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
_BYTEWISE: Final = "openledger.bytewise"
"""Decoding errors as Go's JSON encoder shows them: Python replaces a broken sequence as a whole."""
_BYTEWISE_MAX: Final = 4_096
"""A number of bytes; more of them are decoded the quick way."""


def revert_reason(output: bytes) -> str | None:
    """The reason in words, maybe none at all (""); None if the output is neither `Error(string)` nor `Panic(uint256)`."""
    selector, body = output[:4], output[4:]
    if len(body) < 32 or selector not in (_ERROR, _PANIC):
        return None
    first = int.from_bytes(body[:32], "big")
    if selector == _PANIC:
        return _PANICS.get(first, f"unknown panic code: {first:#x}")
    if first > len(body) - 32:
        return None
    size, start = int.from_bytes(body[first : first + 32], "big"), first + 32
    return _text(body[start : start + size]) if size <= len(body) - start else None


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode(errors=_BYTEWISE if len(content) <= _BYTEWISE_MAX else "replace")


codecs.register_error(_BYTEWISE, lambda error: ("\ufffd" * (error.end - error.start), error.end))  # type: ignore[attr-defined]

"""Each opcode that is compiled, and the Python that it becomes. One obvious place per opcode.

Templates get the arguments as `{0}`, `{1}`, ..., the top of the stack first. Names in them are those of a unit's local
variables (`codegen.LOCALS`) and of `runtime.HELPERS`. What is in none of the tables but in `BY_REFERENCE` is run by py-evm's
own function: calls, creations, and what looks at other accounts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from evm_runtime.jit.runtime import WORD, byte, sar, sdiv, signed, signextend, smod
from evm_runtime.work import WEIGHTED

ADDRESS_LIMIT: Final = (1 << 160) - 1
SIZE_LIMIT: Final = (1 << 48) - 1
"""Above any size of memory, code or calldata, and any gas, that a transaction can have."""


@dataclass(frozen=True, slots=True)
class Pure:
    """A function of its arguments alone: an expression, its value for constants, and an upper bound of its result."""

    arguments: int
    template: str
    value: Callable[..., int]
    limit: Callable[..., int] = lambda *_limits: WORD


def _all_ones(left: int, right: int) -> int:
    """The greatest number of as many bits as the greater of the two has."""
    return (1 << max(left.bit_length(), right.bit_length())) - 1


PURE: Final[dict[int, Pure]] = {
    0x04: Pure(2, "{0} // {1} if {1} else 0", lambda a, b: a // b if b else 0, lambda a, _: a),  # DIV
    0x05: Pure(2, "sdiv({0}, {1})", sdiv),
    0x06: Pure(2, "{0} % {1} if {1} else 0", lambda a, b: a % b if b else 0, min),  # MOD
    0x07: Pure(2, "smod({0}, {1})", smod),
    0x08: Pure(3, "({0} + {1}) % {2} if {2} else 0", lambda a, b, n: (a + b) % n if n else 0, lambda _a, _b, n: n),
    0x09: Pure(3, "{0} * {1} % {2} if {2} else 0", lambda a, b, n: a * b % n if n else 0, lambda _a, _b, n: n),
    0x0B: Pure(2, "signextend({0}, {1})", signextend),
    0x16: Pure(2, "{0} & {1}", lambda a, b: a & b, min),  # AND
    0x17: Pure(2, "{0} | {1}", lambda a, b: a | b, _all_ones),  # OR
    0x18: Pure(2, "{0} ^ {1}", lambda a, b: a ^ b, _all_ones),  # XOR
    0x19: Pure(1, "{0} ^ WORD", lambda a: a ^ WORD),  # NOT
    0x1A: Pure(2, "byte({0}, {1})", byte, lambda *_: 255),
    0x1B: Pure(2, "{1} << {0} & WORD if {0} < 256 else 0", lambda s, a: a << s & WORD if s < 256 else 0),  # SHL
    0x1C: Pure(2, "{1} >> {0} if {0} < 256 else 0", lambda s, a: a >> s if s < 256 else 0, lambda _, a: a),  # SHR
    0x1D: Pure(2, "sar({0}, {1})", sar),
    0x1E: Pure(1, "256 - ({0}).bit_length()", lambda a: 256 - a.bit_length(), lambda _: 256),  # CLZ, EIP-7939
}

CONDITIONS: Final[dict[int, tuple[str, Callable[[int, int], bool]]]] = {
    0x10: ("{0} < {1}", lambda a, b: a < b),  # LT
    0x11: ("{0} > {1}", lambda a, b: a > b),  # GT
    0x12: ("signed({0}) < signed({1})", lambda a, b: signed(a) < signed(b)),  # SLT
    0x13: ("signed({0}) > signed({1})", lambda a, b: signed(a) > signed(b)),  # SGT
    0x14: ("{0} == {1}", lambda a, b: a == b),  # EQ
}
"""Comparisons: they stay conditions until somebody needs their 0 or 1 as a number."""

CONTEXT: Final[dict[int, tuple[str, int]]] = {
    0x30: ("integer(message.storage_address, 'big')", ADDRESS_LIMIT),  # ADDRESS
    0x32: ("integer(computation.transaction_context.origin, 'big')", ADDRESS_LIMIT),  # ORIGIN
    0x33: ("integer(message.sender, 'big')", ADDRESS_LIMIT),  # CALLER
    0x34: ("message.value", WORD),  # CALLVALUE
    0x36: ("len(data)", SIZE_LIMIT),  # CALLDATASIZE
    0x38: ("len(message.code)", SIZE_LIMIT),  # CODESIZE
    0x3A: ("computation.transaction_context.gas_price", WORD),  # GASPRICE
    0x3D: ("len(computation.return_data)", SIZE_LIMIT),  # RETURNDATASIZE
    0x41: ("integer(state.coinbase, 'big')", ADDRESS_LIMIT),  # COINBASE
    0x42: ("state.timestamp", WORD),  # TIMESTAMP
    0x43: ("state.block_number", WORD),  # NUMBER
    0x44: ("integer(state.mix_hash, 'big')", WORD),  # PREVRANDAO
    0x45: ("state.gas_limit", WORD),  # GASLIMIT
    0x46: ("state.execution_context.chain_id", WORD),  # CHAINID
    0x47: ("state.account_db.get_balance(message.storage_address)", WORD),  # SELFBALANCE
    0x48: ("state.base_fee", WORD),  # BASEFEE
    0x4A: ("state.blob_base_fee", WORD),  # BLOBBASEFEE
    0x59: ("size", SIZE_LIMIT),  # MSIZE
}
"""What is read from around the code, and an upper bound of it."""

STATEMENTS: Final[dict[int, tuple[int, str]]] = {
    0x37: (3, "gas, memory, size = copy(computation, memory, data, ({0}, {1}, {2}), gas)"),  # CALLDATACOPY
    0x39: (3, "gas, memory, size = copy(computation, memory, message.code, ({0}, {1}, {2}), gas)"),  # CODECOPY
    0x3E: (3, "gas, memory, size = copy_returned(computation, memory, ({0}, {1}, {2}), gas)"),  # RETURNDATACOPY
    0x55: (2, "gas = sstore(computation, {0}, {1}, gas)"),  # SSTORE
    0x5D: (2, "tstore(computation, {0}, {1})"),  # TSTORE
    0x5E: (3, "gas, memory, size = copy_within(computation, memory, ({0}, {1}, {2}), gas)"),  # MCOPY
    0xA0: (2, "gas, memory, size = log(computation, memory, ({0}, {1}), (), gas)"),
    0xA1: (3, "gas, memory, size = log(computation, memory, ({0}, {1}), ({2},), gas)"),
    0xA2: (4, "gas, memory, size = log(computation, memory, ({0}, {1}), ({2}, {3}), gas)"),
    0xA3: (5, "gas, memory, size = log(computation, memory, ({0}, {1}), ({2}, {3}, {4}), gas)"),
    0xA4: (6, "gas, memory, size = log(computation, memory, ({0}, {1}), ({2}, {3}, {4}, {5}), gas)"),
}
"""Opcodes that push nothing."""

RESULTS: Final[dict[int, tuple[int, str]]] = {
    0x0A: (2, "{result}, gas = exp({0}, {1}, gas)"),  # EXP
    0x35: (1, "{result} = integer(data[{0}:{0} + 32].ljust(32, b'\\0'), 'big')"),  # CALLDATALOAD
    0x54: (1, "{result}, gas = sload(computation, {0}, gas)"),  # SLOAD
    0x5C: (1, "{result} = tload(computation, {0})"),  # TLOAD
}
"""Opcodes that push one item that is no function of their arguments alone."""

FINISHES: Final[dict[int, str]] = {
    0xF3: "return finish(computation, memory, {0}, {1}, gas)",  # RETURN
    0xFD: "return revert(computation, memory, {0}, {1}, gas)",  # REVERT
}

BY_REFERENCE: Final = frozenset({0x31, 0x3B, 0x3C, 0x3F, 0x40, 0x49, 0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA, 0xFF})
"""BALANCE, EXTCODESIZE, EXTCODECOPY, EXTCODEHASH, BLOCKHASH, BLOBHASH, the creates and calls, SELFDESTRUCT."""

SEGMENT_ENDS: Final = frozenset({0x3E, 0x55, 0x5A, 0x5D, *range(0xA0, 0xA5)}) | WEIGHTED
"""GAS and SSTORE observe the gas that is left; RETURNDATACOPY, TSTORE and the LOGs can fail for another reason than gas; what
has a weight counts only if the gas lasts until there (`evm_runtime/work.py`)."""

SELFDESTRUCT: Final = 0xFF

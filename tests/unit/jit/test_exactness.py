"""What compiled code does with every amount of gas, every arithmetic edge, and at every way out, the reference does too."""

import random
from collections.abc import Callable

import pytest
from eth.vm.computation import BaseComputation
from eth.vm.stack import Stack

from evm_runtime.hardforks import OSAKA, PRAGUE
from evm_runtime.jit import runtime as helpers
from evm_runtime.jit.templates import CONDITIONS, PURE
from evm_runtime.transaction import Transaction
from tests.fuzz.machines import TIERS, Account, Run, run_ours
from tests.unit.evm_runtime.chain import ADDRESSES, signed
from tests.unit.evm_runtime.programs import asm

TARGET, OTHER = b"\xe0" * 20, b"\xe1" * 20
EDGES = [0, 1, 2, 5, 30, 31, 32, 255, 256, 257, (1 << 255) - 1, 1 << 255, (1 << 256) - 1, (1 << 256) - 2, 0xFF80]
WRITER = asm("CALLVALUE", 1, "SSTORE", 7, 0, "MSTORE", 32, 0, "RETURN")
REVERTER = asm(9, 1, "SSTORE", 4, 0, "REVERT")
COUNTDOWN = [5, "JUMPDEST", 1, "SWAP1", "SUB", "DUP1", 2, "JUMPI", "POP"]

PROGRAMS: dict[str, tuple[bytes, bytes]] = {
    "arithmetic": (asm(3, 4, "ADD", 5, "MUL", 2, "SWAP1", "EXP", 0, "MSTORE", 32, 0, "RETURN"), b""),
    "loop": (asm(*COUNTDOWN, "GAS", 0, "SSTORE"), b""),
    "memory": (asm(1, 300, "MSTORE8", 64, 290, "KECCAK256", 1, 900, "MSTORE", "MSIZE", 0, "SSTORE", 400, 2, 700, "MCOPY"), b""),
    "storage": (asm(5, 0, "SSTORE", 0, 0, "SSTORE", 5, 0, "SSTORE", 0, "SLOAD", 1, "SSTORE", 1, "SLOAD", 2, "SLOAD"), b""),
    "logs": (asm(1, 2, 3, 4, 40, 7, "LOG4", 0, 0, "LOG0", "MSIZE", 33, 1, "LOG1", "GAS", 0, "SSTORE"), b""),
    "copies": (asm(9, 3, 5, "CODECOPY", 70, 1, 2, "CALLDATACOPY", 64, 0, "RETURN"), b""),
    "a call": (asm(32, 0, 0, 0, 1, OTHER, 40_000, "CALL", "RETURNDATASIZE", 0, 0, "RETURNDATACOPY", 0, "SSTORE"), WRITER),
    "a reverting call": (asm(32, 0, 0, 0, 0, OTHER, 40_000, "CALL", 0, "SSTORE", "RETURNDATASIZE", 1, "SSTORE"), REVERTER),
    "a static call that writes": (asm(0, 0, 0, 0, OTHER, 30_000, "STATICCALL", 0, "SSTORE"), WRITER),
    "a delegate call": (asm(0, 0, 0, 0, OTHER, 40_000, "DELEGATECALL", 5, "SSTORE"), WRITER),
    "a reading past return data": (asm(5, "POP", 1, 0, 0, "RETURNDATACOPY"), b""),
    "an underflow": (asm(1, "POP", "JUMPDEST", "ADD"), b""),
    "an invalid opcode": (asm(1, 2, "ADD", "INVALID"), b""),
    "an unknown opcode": (asm(1, 2) + b"\x0c" + asm("ADD"), b""),
    "a jump into data": (asm(1, 0, "MSTORE", 9, "JUMP", 0x5B5B, "STOP"), b""),
    "a reckoned jump": (asm("CALLVALUE", "ISZERO", 8, "ADD", "JUMP", "STOP", "STOP", "JUMPDEST", "GAS", 0, "SSTORE"), b""),
    "a jump that is not taken": (asm(0, 999, "JUMPI", 1, 0, "SSTORE"), b""),
    "a bad jump that is taken": (asm(1, 999, "JUMPI", 1, 0, "SSTORE"), b""),
    "self-destruction": (asm(OTHER, "SELFDESTRUCT"), b""),
    "transient storage": (asm(6, 1, "TSTORE", 1, "TLOAD", 1, "SSTORE", 2, "TLOAD", "POP"), b""),
    "accounts": (asm(OTHER, "BALANCE", OTHER, "EXTCODESIZE", OTHER, "EXTCODEHASH", "SELFBALANCE", "ADD", 0, "SSTORE"), WRITER),
}  # fmt: skip


def run(name: str, code: bytes, other: bytes, gas: int, **fields: int) -> Run:
    accounts = {
        bytes(ADDRESSES[0]): Account(10**22),
        TARGET: Account(10**9, 1, code, {1: 3}),
        OTHER: Account(0, 1, other),
    }
    return run_ours(accounts, [transaction(gas)], TIERS[name], OSAKA)


def transaction(gas: int) -> Transaction:
    return signed(0, nonce=0, to=TARGET, gas=gas, data=bytes(range(1, 50)))


@pytest.mark.parametrize("what", PROGRAMS)
def test_every_amount_of_gas_ends_alike(what: str) -> None:
    """Out of gas at each single opcode: same error, same gas, same warm set, same state."""
    code, other = PROGRAMS[what]
    result = run("interpreted", code, other, 200_000).results[0]
    assert result is not None
    least = max(transaction(200_000).intrinsic_gas, transaction(200_000).floor_gas)
    top = max(result.gas_used if result.status else least, least + 60)
    rng = random.Random(what)
    amounts = {*range(least, least + 40), *(rng.randrange(least, top) for _ in range(30)), *range(top - 4, top + 4)}
    for gas in sorted(amounts):
        expected = run("interpreted", code, other, gas)
        for tier in ("compiled", "compiled while running", "native"):
            assert run(tier, code, other, gas) == expected, f"{what} with {gas} gas, {tier}"


def pushed(opcode: int, arguments: list[int]) -> int:
    """What py-evm's opcode makes of `arguments`, the top of the stack first."""

    class Bare(BaseComputation):
        opcodes = OSAKA.opcodes  # type: ignore[assignment]

        def __init__(self) -> None:
            self._stack = Stack()

        def consume_gas(self, amount: int, reason: str) -> None: ...

    computation = Bare()  # type: ignore[abstract]
    for argument in reversed(arguments):
        computation._stack.push_int(argument)
    OSAKA.opcodes[opcode](computation=computation)
    return computation._stack.pop1_int()


@pytest.mark.parametrize("opcode", PURE, ids=hex)
def test_pure_opcodes_compute_what_py_evm_computes(opcode: int) -> None:
    rule = PURE[opcode]
    rng = random.Random(opcode)
    for _ in range(150):
        arguments = [rng.choice([rng.choice(EDGES), rng.getrandbits(256)]) for _ in range(rule.arguments)]
        expected = pushed(opcode, arguments)
        written = eval(rule.template.format(*map(str, arguments)), dict(helpers.HELPERS))
        assert rule.value(*arguments) == written == expected, arguments
        assert expected <= rule.limit(*arguments), arguments


@pytest.mark.parametrize("opcode", CONDITIONS, ids=hex)
def test_comparisons_are_py_evms(opcode: int) -> None:
    template, function = CONDITIONS[opcode]
    for left in EDGES:
        for right in EDGES:
            expected = pushed(opcode, [left, right])
            written: Callable[..., bool] = eval(template.format(left, right), dict(helpers.HELPERS))
            assert int(function(left, right)) == int(written) == expected, (left, right)


def test_clz_is_an_opcode_of_osaka_and_invalid_before() -> None:
    accounts = {bytes(ADDRESSES[0]): Account(10**22), TARGET: Account(0, 1, asm(5) + b"\x1e" + asm(0, "SSTORE"))}
    for fork, status in ((PRAGUE, 0), (OSAKA, 1)):
        runs = [run_ours(accounts, [transaction(100_000)], tiers, fork) for tiers in TIERS.values()]
        assert all(run == runs[0] for run in runs)
        result = runs[0].results[0]
        assert result is not None and result.status == status

"""Every way that a frame can end ends as the reference loop ends it: error, gas, output, logs, refund, warm set, state."""

import random
import subprocess
import sys

import pytest

from evm_runtime.hardforks import OSAKA
from node.chain.worker import STACK_BYTES
from tests.conformance.test_conformance import FIXTURE
from tests.fuzz.machines import TIERS, Account, Run, run_ours
from tests.unit.evm_runtime.chain import ADDRESSES, signed
from tests.unit.evm_runtime.programs import OPS, asm
from tests.unit.llvm.threads import in_threads

TARGET, OTHER = b"\xe0" * 20, b"\xe1" * 20
DATA = bytes(range(1, 50))
HUGE = [
    (1 << 36) - 1,
    1 << 36,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 33,
    (1 << 64) - 1,
    1 << 64,
    1 << 255,
    (1 << 256) - 1,
]
NEAR = [0, 1, 31, 32, 33, 48, 49, 50, 64, 991, 992, 993, 1_023, 1_024, 1_025, 5_000]
RETURNER = asm("CALLDATASIZE", 0, 0, "CALLDATACOPY", "CALLDATASIZE", 0, "RETURN")


def run(tier: str, code: bytes, gas: int, other: bytes = b"", **fields: int) -> Run:
    accounts = {
        bytes(ADDRESSES[0]): Account(10**22),
        TARGET: Account(10**9, 1, code, {1: 3}),
        OTHER: Account(0, 1, other),
    }
    return run_ours(accounts, [signed(0, nonce=0, to=TARGET, gas=gas, data=DATA, **fields)], TIERS[tier], OSAKA)


def check(code: bytes, gas: int, other: bytes = b"") -> Run:
    expected = run("interpreted", code, gas, other)
    assert run("native", code, gas, other) == expected, f"{code.hex()} with {gas} gas"
    return expected


def memory_operations() -> dict[str, int]:
    """Opcodes that take an offset or size, and how many arguments they have."""
    return {
        "MLOAD": 1, "MSTORE": 2, "MSTORE8": 2, "CALLDATALOAD": 1, "CALLDATACOPY": 3, "CODECOPY": 3, "RETURNDATACOPY": 3,
        "MCOPY": 3, "KECCAK256": 2, "LOG0": 2, "LOG2": 4, "RETURN": 2, "REVERT": 2, "JUMP": 1, "JUMPI": 2, "BLOCKHASH": 1,
        "BLOBHASH": 1, "EXTCODECOPY": 4, "CREATE": 3,
    }  # fmt: skip


@pytest.mark.parametrize("name", memory_operations())
def test_no_offset_or_size_is_out_of_bounds(name: str) -> None:
    """Near memory's and call data's ends, and so far that sums would wrap in 64 or 256 bits."""
    rng = random.Random(name)
    count = memory_operations()[name]
    for _ in range(60):
        arguments = [rng.choice([*NEAR, rng.choice(HUGE), rng.choice(HUGE)]) for _ in range(count)]
        before = asm(77, rng.choice([0, 900, 1_100]), "MSTORE")
        after = asm("MSIZE", 0, "SSTORE", 0, "MLOAD", 1, "SSTORE", "GAS", 2, "SSTORE")
        check(before + asm(*reversed(arguments)) + bytes([OPS[name]]) + after, 300_000)


def test_return_data_ends_where_it_ends() -> None:
    call = asm(0, 0, 40, 0, 0, OTHER, "GAS", "CALL", "POP")
    for offset in [0, 1, 39, 40, 41, *HUGE]:
        for size in (0, 1, 40, 41, HUGE[0], HUGE[-1]):
            check(call + asm(size, offset, 3, "RETURNDATACOPY", 3, "MLOAD", 0, "SSTORE"), 200_000, RETURNER)


def stack_of(height: int, op: int) -> bytes:
    """PUSH0 so many times, then an opcode, then a mark that it was passed."""
    return b"\x5f" * height + bytes([op]) + asm(1, 0, "SSTORE") * (height < 1_000)


@pytest.mark.parametrize("first", range(0, 256, 16))
def test_each_opcode_on_each_height_of_the_stack(first: int) -> None:
    """Underflow on short stacks, overflow on full ones, unknown opcodes on both; writes in a static call too."""
    for op in range(first, first + 16):
        for height in (0, 1, 2, 3, 6, 7, 16, 17, 1_023, 1_024):
            if (0x5F < op < 0x90 and 2 < height < 15) or (
                height > 7 and not (op > 0x90 or op % 16 < 2 or height > 1_000)
            ):
                continue
            check(stack_of(height, op), 60_000)


@pytest.mark.parametrize("name", ["SSTORE", "TSTORE", "LOG0", "LOG1", "CREATE", "SELFDESTRUCT", "SLOAD", "TLOAD"])
def test_static_calls_write_nothing(name: str) -> None:
    code = asm(0, 0, 0, 0, OTHER, 50_000, "STATICCALL", 0, "SSTORE", "RETURNDATASIZE", 1, "SSTORE")
    for gas in (90_000, 60_000, 26_000):
        check(code, gas, b"\x5f" * 5 + bytes([OPS[name]]))


@pytest.mark.parametrize("size", range(33))
def test_a_push_may_be_cut_by_the_end_of_the_code(size: int) -> None:
    for there in range(size + 1):
        for gas in (21_700, 22_000):
            check(asm("CALLVALUE") + bytes([0x5F + size]) + b"\xff" * there, gas)
    check(b"\x5f" * 1_024 + bytes([0x5F + size]), 50_000)


def test_code_runs_out_at_its_end() -> None:
    for code in (b"", asm("JUMPDEST"), asm(1), asm(4, "JUMP", "STOP", "JUMPDEST"), asm(1, 5, "JUMPI", "JUMPDEST")):
        check(code, 60_000)


def test_each_amount_of_gas_while_memory_grows() -> None:
    code = asm(1, 0, "MSTORE", 2, 40, "MSTORE", "MSIZE", 1_100, "MSTORE8", 64, 0, 3_000, "MCOPY", 9, 20_000, "MSTORE")
    code += asm(40, 0, "KECCAK256", 0, "SSTORE", 3, 40_000, "MSTORE", 64, 0, "RETURN")
    used = check(code, 200_000).results[0]
    assert used is not None and used.status == 1
    for gas in range(21_800, used.gas_used + 5, 37):
        check(code, gas)
    for gas in range(used.gas_used - 3, used.gas_used + 3):
        check(code, gas)


def test_memory_grows_around_what_python_does_with_it() -> None:
    """Natively past its capacity, then by a call's output, by a log, by creation: none may lose or keep too much."""
    body = asm("MSIZE", "DUP1", "MSTORE", 32, "MSIZE", "LOG0")
    body += asm(96, "MSIZE", 40, 0, 0, OTHER, 9_000, "CALL", "POP", "MSIZE", "DUP1", "MSTORE8")
    body += asm(0, "MSIZE", 0, "CREATE", "POP", 8, 3, "MSIZE", OTHER, "EXTCODECOPY")
    code = body * 6 + asm(17_000, 0, "RETURN")
    for gas in (3_000_000, 1_000_000, 300_000):
        check(code, gas, RETURNER)
    check(body * 4 + asm("MSIZE", 0, "KECCAK256", 0, "SSTORE", "MSIZE", 0, "REVERT"), 1_000_000, RETURNER)


def test_the_own_balance_is_that_of_the_moment() -> None:
    look = asm("SELFBALANCE", 32, "MSIZE", "LOG1")
    give = asm(0, 0, 0, 0, 7, OTHER, "GAS", "CALL", "POP")
    create = asm(0, 0, 5, "CREATE", "POP")
    result = check(look + give + look + look + create + look + give + look, 500_000).results[0]
    assert result is not None and result.status == 1
    balances = [int.from_bytes(topics[0], "big") for _, topics, _ in result.logs]
    assert balances == [10**9, 10**9 - 7, 10**9 - 7, 10**9 - 12, 10**9 - 19]


def test_gas_is_that_of_the_frame_in_every_slice() -> None:
    """The loop is longer than one slice; GAS, and the gas that a call is given, count what is in reserve."""
    count = asm(0, "JUMPDEST", 1, "ADD", "DUP1", 30_000, "GT", 1, "JUMPI")
    code = count + asm("GAS", 0, "SSTORE", 0, 0, 0, 0, 0, OTHER, "GAS", "CALL", "GAS", 1, "SSTORE")
    expected = check(code, 3_000_000, asm("GAS", 0, "SSTORE")).results[0]
    assert expected is not None and expected.status == 1 and expected.gas_used > 800_000
    check(code, 600_000)


def recursion(op: str) -> bytes:
    """Calls itself with all its gas until it can't, and counts the frames in storage."""
    value = [0] if op in ("CALL", "CALLCODE") else []
    call = asm(0, 0, 0, 0, *value, "ADDRESS", "GAS", op, "POP")
    return asm(1, 0, "SLOAD", "ADD", 0, "SSTORE") + call + asm(0, "SLOAD", 0x40, "MSTORE", 32, 0x40, "RETURN")


@pytest.mark.parametrize("op", ["CALL", "DELEGATECALL", "CALLCODE"])
def test_recursion_to_depth_1024(op: str) -> None:
    """In a thread with the stack that the executor's has; the deepest call fails by depth, not for want of gas."""
    accounts = {bytes(ADDRESSES[0]): Account(10**26), TARGET: Account(1, 1, recursion(op))}
    gas = 1 << 40
    runs = in_threads(
        lambda tier: run_ours(accounts, [signed(0, nonce=0, to=TARGET, gas=gas)], TIERS[tier]),
        ["interpreted", "native"],
        STACK_BYTES,
    )
    assert runs[0] == runs[1]
    result = runs[1].results[0]
    assert result is not None and int.from_bytes(result.output, "big") == 1_025, "frames, the outermost one at depth 0"


def test_python_dash_o_changes_nothing() -> None:
    command = [sys.executable, "-O", "-m", "tests.conformance", "--fixtures", str(FIXTURE), "--tier", "native"]
    done = subprocess.run([*command, "--jobs", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.splitlines()[-1].endswith(" passed, 0 failed"), (
        done.stdout + done.stderr
    )

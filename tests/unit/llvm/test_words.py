"""What native code computes with words: the same as Python's integers, on edges, on random words, on hostile divisors."""

import random
from collections.abc import Callable, Sequence

import pytest
from sha3 import keccak_256

from evm_runtime.hardforks import OSAKA
from evm_runtime.jit.templates import CONDITIONS, PURE
from evm_runtime.llvm import engine
from evm_runtime.llvm.keccak import rotations, round_constants
from tests.fuzz.machines import TIERS, Account, run_ours
from tests.unit.evm_runtime.chain import ADDRESSES, signed
from tests.unit.evm_runtime.programs import OPS, asm

TARGET = b"\xe0" * 20
CEILING = 1 << 256
LIMBS = [0, 0, 1, 2, 1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 2]
EDGES = [
    0,
    1,
    2,
    7,
    8,
    30,
    31,
    32,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    257,
    1 << 64,
    (1 << 64) - 1,
    1 << 128,
    (1 << 128) - 1,
]
EDGES += [1 << 192, 1 << 255, (1 << 255) - 1, (1 << 255) + 1, CEILING - 1, CEILING - 2, 0xFF80, CEILING - (1 << 128)]

Function = Callable[..., int]

FUNCTIONS: dict[int, tuple[int, Function]] = {
    OPS["ADD"]: (2, lambda a, b: (a + b) % CEILING),
    OPS["MUL"]: (2, lambda a, b: a * b % CEILING),
    OPS["SUB"]: (2, lambda a, b: (a - b) % CEILING),
    OPS["EXP"]: (2, lambda a, b: pow(a, b, CEILING)),
    OPS["ISZERO"]: (1, lambda a: int(a == 0)),
    **{op: (rule.arguments, rule.value) for op, rule in PURE.items()},
    **{op: (2, lambda a, b, holds=holds: int(holds(a, b))) for op, (_, holds) in CONDITIONS.items()},
}
"""The Python tier's own functions, which its tests hold against py-evm's, and the few that it has no function for."""
DIVISIONS = [OPS[name] for name in ("DIV", "SDIV", "MOD", "SMOD", "ADDMOD", "MULMOD")]


def run(code: bytes, data: bytes = b"") -> bytes:
    """The output of a contract that must succeed."""
    accounts = {bytes(ADDRESSES[0]): Account(10**24), TARGET: Account(0, 1, code)}
    transaction = signed(0, nonce=0, to=TARGET, gas=16_000_000, data=data)
    result = run_ours(accounts, [transaction], TIERS["native"], OSAKA).results[0]
    assert result is not None and result.status == 1
    return result.output


def computed(op: int, cases: Sequence[tuple[int, ...]]) -> list[int]:
    """What native code makes of each case's arguments, the top of the stack first."""
    code = b""
    for place, arguments in enumerate(cases):
        pushes = b"".join(b"\x7f" + argument.to_bytes(32, "big") for argument in reversed(arguments))
        code += pushes + bytes([op]) + asm(32 * place, "MSTORE")
    output = run(code + asm(32 * len(cases), 0, "RETURN"))
    return [int.from_bytes(output[at : at + 32], "big") for at in range(0, len(output), 32)]


def check(op: int, cases: Sequence[tuple[int, ...]]) -> None:
    function = FUNCTIONS[op][1]
    for case, result in zip(cases, computed(op, cases), strict=True):
        assert result == function(*case), f"opcode {op:#x} of {[hex(argument) for argument in case]}"


def hostile(rng: random.Random) -> int:
    """Limbs at which long division has to correct itself."""
    count = rng.randrange(1, 5)
    return sum(rng.choice([*LIMBS, rng.getrandbits(64)]) << 64 * place for place in range(count))


@pytest.mark.parametrize("op", FUNCTIONS, ids=hex)
def test_each_opcode_computes_what_integers_do(op: int) -> None:
    arguments, rng = FUNCTIONS[op][0], random.Random(op)
    cases = [(left, *[right] * (arguments - 1)) for left in EDGES for right in EDGES[:: 1 if arguments > 1 else 99]]
    cases += [
        tuple(rng.choice([rng.choice(EDGES), rng.getrandbits(256), hostile(rng)]) for _ in range(arguments))
        for _ in range(400)
    ]
    check(op, cases)


@pytest.mark.parametrize("op", DIVISIONS, ids=hex)
@pytest.mark.parametrize("seed", range(3))
def test_long_division_is_exact(op: int, seed: int) -> None:
    rng = random.Random(f"{op} {seed}")
    arguments = FUNCTIONS[op][0]
    check(op, [tuple(hostile(rng) for _ in range(arguments)) for _ in range(2_000)])


@pytest.mark.parametrize("op", DIVISIONS[:4], ids=hex)
def test_quotients_next_to_an_exact_one(op: int) -> None:
    """n = q d + r with r at both ends: where a digit is one too great, and must be put back."""
    rng = random.Random(op)
    cases = []
    while len(cases) < 1_500:
        divisor, quotient = hostile(rng), hostile(rng)
        for numerator in (quotient * divisor, quotient * divisor - 1, quotient * divisor + divisor - 1):
            if 0 <= numerator < CEILING:
                cases.append((numerator, divisor))
    check(op, cases)


def test_a_modulus_next_to_the_product() -> None:
    rng = random.Random(9)
    cases = []
    for _ in range(1_000):
        a, b = hostile(rng), hostile(rng)
        modulus = (a * b >> rng.randrange(0, 256)) % CEILING
        cases.append((a, b, modulus + rng.randrange(-1, 2) & CEILING - 1))
    check(OPS["MULMOD"], cases)
    check(OPS["ADDMOD"], [(a, b, a + b + rng.randrange(-1, 2) & CEILING - 1) for a, b, _ in cases])


def test_the_hash_is_keccak_256_at_every_length_around_a_block() -> None:
    data = random.Random(5).randbytes(700)
    lengths = [*range(300), 407, 408, 409, 543, 544, 545, 700]
    code = asm("CALLDATASIZE", 0, 0, "CALLDATACOPY")
    for place, length in enumerate(lengths):
        code += asm(length, 0, "KECCAK256", 1_024 + 32 * place, "MSTORE")
    output = run(code + asm(32 * len(lengths), 1_024, "RETURN"), data)
    for place, length in enumerate(lengths):
        assert output[32 * place : 32 * place + 32] == keccak_256(data[:length]).digest(), length


def test_the_tables_of_keccak_are_those_of_the_standard() -> None:
    assert round_constants()[:3] == [1, 0x8082, 0x800000000000808A] and round_constants()[-1] == 0x8000000080008008
    assert rotations()[:5] == [0, 1, 62, 28, 27] and rotations()[24] == 14


def test_jump_destinations_are_found_natively() -> None:
    from evm_runtime.code import jump_destinations

    ready, rng = engine.load(), random.Random(3)
    for _ in range(300):
        code = bytes(rng.choice([0x5B, 0x60, 0x7F, rng.randrange(256)]) for _ in range(rng.randrange(200)))
        bitmap = ready.jump_bitmap(code)
        found = {place for place in range(len(code)) if bitmap[place // 8] >> place % 8 & 1}
        assert found == jump_destinations(code), code.hex()

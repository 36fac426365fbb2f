"""What is compiled, when, and how much of it: a node that meets hostile code pays little for it."""

from typing import Any

import pytest

from evm_runtime.calls import ExecutionInterrupted
from evm_runtime.hardforks import OSAKA
from evm_runtime.jit.analysis import COST_MAX, Program, make_plan
from evm_runtime.jit.cache import JitLimits, UnitCache
from evm_runtime.jit.codegen import HEIGHT_MAX, generate
from evm_runtime.opcodes import STACK_EFFECT
from evm_runtime.runtime import CallRequest
from evm_runtime.tiers import Tiers
from genesis.primitives import Address
from tests.fuzz.machines import Account, run_ours
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.machines import access_lists
from tests.unit.evm_runtime.programs import asm, deployer

TARGET = Address(b"\xe0" * 20)
STATIC_GAS = {op: OSAKA.opcodes[op].gas_cost for op in STACK_EFFECT}
LOOP = asm(0, "JUMPDEST", 1, "ADD", "DUP1", 0xFFFF, "GT", 1, "JUMPI")


def cache(**limits: int) -> UnitCache:
    return UnitCache(OSAKA.opcodes, JitLimits(**limits))


def test_code_is_compiled_once_its_steps_have_paid_for_it() -> None:
    units = cache(steps_per_line=10)
    compiled = units.find(LOOP)
    assert units.unit(compiled, (0, 0)) is None
    assert compiled.plans == {(0, 0): None}, "it was met once"
    cost = make_plan(compiled.program, (0, 0), HEIGHT_MAX).cost
    compiled.steps = 10 * cost
    assert units.unit(compiled, (0, 0)) is None, "the plan has taken its part"
    assert 0 < compiled.steps < 10 * cost
    compiled.steps = 10 * cost
    assert units.unit(compiled, (0, 0)) is not None
    assert compiled.steps < 100, "it has been spent"
    assert compiled.lines > 0


def test_a_unit_that_became_longer_than_planned_leaves_a_debt() -> None:
    units = cache(steps_per_line=10)
    compiled = units.find(LOOP)
    plan = make_plan(compiled.program, (0, 0), HEIGHT_MAX)
    compiled.plans[0, 0] = plan
    compiled.steps = 10 * plan.cost
    units.unit(compiled, (0, 0))
    assert compiled.steps == 10 * (plan.cost - compiled.lines)


def test_plans_that_are_never_carried_out_are_paid_for() -> None:
    """Else a code could have the node plan for each (pc, height) that it passes, for nothing."""
    units = cache(steps_per_line=10, units_per_code_max=4)
    compiled = units.find(asm("JUMPDEST") * 9_000)
    compiled.steps = 10 * 3_000 - 1
    planned = 0
    for pc in range(1_000):
        before = compiled.steps
        assert units.unit(compiled, (pc, 0)) is None
        assert compiled.steps == before, "it was met once"
        assert units.unit(compiled, (pc, 0)) is None
        planned += compiled.steps != before
        assert len(compiled.plans) <= 4
    assert 1 <= planned <= 5


def test_the_cache_forgets_what_was_used_least_lately() -> None:
    units = cache(steps_per_line=0, codes_max=3)
    codes = [asm(number, 0, "SSTORE") for number in range(1, 6)]
    first = units.find(codes[0])
    units.unit(first, (0, 0))
    for code in codes[1:3]:
        units.find(code)
    assert units.find(codes[0]) is first
    units.find(codes[3])
    assert units.find(codes[0]) is first, "it was used lately"
    for code in codes[1:]:
        units.find(code)
    assert units.find(codes[0]) is not first


def test_the_cache_is_bounded_in_lines() -> None:
    units = cache(steps_per_line=0, lines_max=60)
    first = units.find(asm(1, 0, "SSTORE"))
    units.unit(first, (0, 0))
    units.unit(units.find(asm("GAS", "POP") * 60), (0, 0))
    assert units.find(asm(1, 0, "SSTORE")) is not first


def test_one_code_has_so_many_units_at_most_and_none_for_a_deep_stack() -> None:
    units = cache(steps_per_line=0, units_per_code_max=2)
    compiled = units.find(asm("JUMPDEST", "STOP"))
    assert units.unit(compiled, (0, HEIGHT_MAX + 1)) is None
    assert units.unit(compiled, (0, 0)) and units.unit(compiled, (0, 1))
    assert units.unit(compiled, (0, 2)) is None


def hostile() -> dict[str, bytes]:
    """Codes of the greatest size that make many blocks, long lines, or much of little."""
    size = 24_576
    ladder = b"".join(
        asm("JUMPDEST", "GAS") + b"\x61" + (5 * (7 * i % 4_000)).to_bytes(2, "big") + b"\x57" for i in range(4_000)
    )
    growing = b"".join(
        asm("JUMPDEST", "GAS", "GAS") + b"\x61" + (7 * (11 * i % 3_000)).to_bytes(2, "big") + b"\x57"
        for i in range(3_000)
    )
    head = asm(*["GAS"] * 90)
    wide = head + asm("JUMPDEST") + (asm("SWAP16", "SWAP7", "GAS", len(head), "JUMPI") * 5_000)
    return {
        "destinations": asm("JUMPDEST") * size,
        "gas": asm("GAS", "POP") * (size // 2),
        "stack": asm(1, "POP") * (size // 3),
        "zeros": asm("GAS") + asm("ISZERO") * size,
        "doubling": asm("GAS") + asm("DUP1", "ADD") * (size // 2),
        "balances": asm("GAS") + asm("BALANCE") * size,
        "logs": asm("GAS") + asm(*["DUP1"] * 6, "LOG4") * (size // 7),
        "ladder": ladder,
        "growing": growing,
        "wide": wide,
        "one block again": asm(3, "JUMPDEST", "JUMPDEST", "DUP1", "JUMP"),
    }  # fmt: skip


@pytest.mark.parametrize("what", hostile())
def test_no_code_makes_a_unit_longer_than_the_limit(what: str) -> None:
    code = hostile()[what][:24_576]
    plan = make_plan(Program(code), (0, 0), HEIGHT_MAX)
    source = generate(Program(code), plan, STATIC_GAS)
    compile(source.text, what, "exec")
    assert source.written <= 2 * COST_MAX
    assert source.written <= 3 * plan.cost + 60, "what is written is what was paid for"
    assert len(source.text) < 120 * COST_MAX


@pytest.mark.parametrize("what", hostile())
def test_hostile_code_runs_alike(what: str) -> None:
    accounts = {bytes(ADDRESSES[0]): Account(10**22), bytes(TARGET): Account(0, 1, hostile()[what][:6_000])}
    transactions = [signed(0, nonce=nonce, to=TARGET, gas=35_000) for nonce in range(2)]
    expected = run_ours(accounts, transactions, Tiers(native=False, jit=False))
    assert run_ours(accounts, transactions, Tiers(native=False, jit_limits=JitLimits(steps_per_line=0))) == expected


@pytest.mark.parametrize("what", hostile())
def test_a_compile_bomb_costs_no_more_than_its_gas(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the budgets of a node: every line that is compiled has been paid for by steps, each of which costs gas."""
    written: list[int] = []

    def spy(*arguments: Any) -> Any:
        source = generate(*arguments)
        written.append(source.written)
        return source

    monkeypatch.setattr("evm_runtime.jit.cache.generate", spy)
    limits = JitLimits()
    accounts = {bytes(ADDRESSES[0]): Account(10**22), bytes(TARGET): Account(0, 1, hostile()[what][:24_576])}
    run = run_ours(accounts, [signed(0, nonce=nonce, to=TARGET, gas=300_000) for nonce in range(2)], Tiers())
    gas = sum(result.gas_used - 21_000 for result in run.results if result is not None)
    # The last unit may turn out longer than it was planned, and leaves its code in debt.
    debt = limits.steps_per_line * max(written, default=0)
    assert sum(written) * limits.steps_per_line <= gas + debt, (what, written, gas)


def test_initcode_is_never_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    find = UnitCache.find

    def spy(self: UnitCache, code: bytes) -> Any:
        seen.append(code)
        return find(self, code)

    monkeypatch.setattr(UnitCache, "find", spy)
    runtime_code = asm(1, 0, "SSTORE")
    accounts = {bytes(ADDRESSES[0]): Account(10**22)}
    tx = signed(0, nonce=0, gas=400_000, data=deployer(runtime_code))
    run = run_ours(accounts, [tx], Tiers(native=False, jit_limits=JitLimits(steps_per_line=0)))
    assert run.results[0] is not None and run.results[0].status == 1
    assert seen == []


@pytest.mark.parametrize(
    "tiers",
    [
        Tiers(native=False, jit=False),
        Tiers(native=False),
        Tiers(native=False, jit_limits=JitLimits(steps_per_line=0)),
        Tiers(native=True, jit=False),
    ],
)
def test_an_endless_loop_is_interrupted_in_every_tier(tiers: Tiers) -> None:
    chain = Chain(make_spec(contract(TARGET, asm("JUMPDEST", 0, "JUMP"))))
    chain.runtime = type(chain.runtime)(chain.spec, chain.identity, chain.store, tiers=tiers)
    asked = 0

    def interrupt() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(ExecutionInterrupted):
        chain.runtime.call(chain.tip, CallRequest(to=TARGET), gas_cap=10**12, interrupt=interrupt)
    assert asked == 21


def test_an_access_list_holds_what_came_before_the_gas_ran_out_on_every_tier() -> None:
    """Out of gas in the middle of a segment touches what the opcodes before touched."""
    code = asm("ORIGIN", "BALANCE", "POP", 7, "SLOAD", 8, "SLOAD", 9, 9, "SSTORE", "GAS", "GAS")
    chain = Chain(make_spec(contract(TARGET, code)))
    for gas in (*range(21_100, 32_000, 97), 32_500, 40_000, 60_000):
        access_lists(chain, CallRequest(to=TARGET, gas=gas))
    assert access_lists(chain, CallRequest(to=TARGET, gas=90_000)) == ((TARGET, (7, 8, 9)),)

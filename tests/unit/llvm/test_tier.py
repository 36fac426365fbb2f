"""When native code runs, and when it doesn't: before the engine is there, where there is none, in many threads, for long."""

import random
import sys
import time

import pytest

from evm_runtime import work
from evm_runtime.calls import ExecutionInterrupted
from evm_runtime.computation import Computation, interpret
from evm_runtime.hardforks import OSAKA
from evm_runtime.llvm import engine, frame
from evm_runtime.llvm.tier import NativeTier
from evm_runtime.runtime import CallRequest
from evm_runtime.tiers import DEFAULT_TIERS, Tiers
from evm_runtime.vm_errors import OutOfWork
from genesis.primitives import Address
from tests.fuzz.cases import make_case
from tests.fuzz.machines import TIERS, Account, run_ours
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm
from tests.unit.evm_runtime.test_work import outcome_of
from tests.unit.llvm.threads import in_threads

TARGET = Address(b"\xe0" * 20)
ENDLESS = asm("JUMPDEST", 0, "JUMP")


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not compiled anything."""
    monkeypatch.setattr(engine, "_loaded", [])


def outcome(tiers: Tiers) -> object:
    accounts = {bytes(ADDRESSES[0]): Account(10**22), bytes(TARGET): Account(0, 1, asm("GAS", 0, "SSTORE"))}
    return run_ours(accounts, [signed(0, nonce=0, to=TARGET, gas=90_000)], tiers, OSAKA)


class Spy:
    """A fallback that notes what it is asked to run."""

    def __init__(self) -> None:
        self.frames = 0

    def run(self, computation: Computation) -> None:
        self.frames += 1
        interpret(computation)


@pytest.mark.parametrize(("is_loaded", "frames"), [(False, 1), (True, 0)])
def test_the_fallback_runs_until_the_engine_is_loaded(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, is_loaded: bool, frames: int
) -> None:
    if is_loaded:
        engine.load()
    spy = Spy()
    monkeypatch.setattr(Tiers, "make", lambda self: NativeTier(spy))
    result = outcome(Tiers())
    monkeypatch.undo()
    assert spy.frames == frames
    assert result == outcome(TIERS["interpreted"])


@pytest.mark.parametrize(
    ("attribute", "value"), [("platform", "darwin"), ("implementation", type("Other", (), {"name": "pypy"}))]
)
def test_another_platform_has_no_engine_and_says_so(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, attribute: str, value: object
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, attribute, value)
        with pytest.raises(engine.NoEngine, match="CPython on Linux x86-64"):
            engine.load()
    with pytest.raises(engine.NoEngine):
        engine.load()  # it is not tried again
    assert outcome(DEFAULT_TIERS) == outcome(TIERS["interpreted"])


def test_without_llvmlite_there_is_no_engine(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    with pytest.raises(engine.NoEngine, match="LLVM can't be had"):
        engine.load()


def test_threads_share_engine_and_pool() -> None:
    """Reads run beside a block: each frame has a buffer of its own, however the threads take turns."""
    seeds = list(range(40, 52))
    alone = [run_ours(make_case(seed).accounts(), make_case(seed).transactions, TIERS["native"]) for seed in seeds]
    together = in_threads(
        lambda seed: run_ours(make_case(seed).accounts(), make_case(seed).transactions, TIERS["native"]), seeds
    )
    assert together == alone


def test_the_pool_keeps_few_buffers() -> None:
    frames = [frame.take_frame() for _ in range(200)]
    assert len({one.address for one in frames}) == 200
    for one in frames:
        one.computation = None  # type: ignore[assignment]
        frame.give_back(one)
    assert len(frame._pool) <= 64


def test_a_long_run_lets_other_threads_run() -> None:
    """An endless loop with gas for hours is stopped from outside, by a thread that only gets its turn if others do."""
    chain = Chain(make_spec(contract(TARGET, ENDLESS)))
    chain.runtime = type(chain.runtime)(chain.spec, chain.identity, chain.store, tiers=Tiers(jit=False))
    stop: list[bool] = []

    def call(_: int) -> str:
        try:
            chain.runtime.call(chain.tip, CallRequest(to=TARGET), gas_cap=10**15, interrupt=lambda: bool(stop))
        except ExecutionInterrupted:
            return "interrupted"
        return "ended"

    def stopper(_: int) -> str:
        time.sleep(0.2)
        stop.append(True)
        return "stopped it"

    assert in_threads(lambda job: job(0), [call, stopper]) == ["interrupted", "stopped it"]


def test_a_block_that_nobody_polls_runs_to_the_end_of_its_gas() -> None:
    accounts = {bytes(ADDRESSES[0]): Account(10**22), bytes(TARGET): Account(0, 1, ENDLESS)}
    run = run_ours(accounts, [signed(0, nonce=0, to=TARGET, gas=16_000_000)], TIERS["native"], OSAKA)
    result = run.results[0]
    assert result is not None and (result.status, result.gas_used) == (0, 16_000_000)


def test_states_do_not_share_what_they_know() -> None:
    """Two blocks with other coinbases, numbers and base fees: words of the environment are those of the frame's own."""
    names = (
        "COINBASE",
        "NUMBER",
        "TIMESTAMP",
        "PREVRANDAO",
        "GASLIMIT",
        "CHAINID",
        "BASEFEE",
        "BLOBBASEFEE",
        "ORIGIN",
        "GASPRICE",
    )
    code = b"".join(asm(name, 32 * place, "MSTORE") for place, name in enumerate(names)) + asm(320, 0, "RETURN")
    chain = Chain(make_spec(contract(TARGET, code)))
    outputs: dict[int, set[bytes]] = {}
    for tiers in (Tiers(jit=False), Tiers(native=False, jit=False)):
        runtime = type(chain.runtime)(chain.spec, chain.identity, chain.store, tiers=tiers)
        for price in (0, 10**12):
            request = CallRequest(to=TARGET, sender=ADDRESSES[0], gas_price=price)
            outputs.setdefault(price, set()).add(runtime.call(chain.tip, request, gas_cap=10**6).output)
    assert [len(found) for found in outputs.values()] == [1, 1] and outputs[0] != outputs[10**12]


def test_the_code_of_a_frame_may_be_dropped_and_made_again() -> None:
    """Addresses are kept of objects that are kept: codes that come and go, garbage collected between, in one state."""
    rng = random.Random(8)
    accounts = {bytes(ADDRESSES[0]): Account(10**22)}
    for place in range(30):
        accounts[bytes([place + 1]) * 20] = Account(0, 1, asm(rng.getrandbits(64), 5, "SSTORE", 3, "JUMPDEST", "GAS"))
    transactions = [signed(0, nonce=nonce, to=bytes([nonce % 30 + 1]) * 20, gas=90_000) for nonce in range(60)]
    assert run_ours(accounts, transactions, TIERS["native"]) == run_ours(accounts, transactions, TIERS["interpreted"])


@pytest.mark.parametrize("size", [0, 1, 32, 136, 5_000, 400_000])
def test_hashing_counts_as_work_wherever_it_is_done(size: int) -> None:
    """Small ones natively, counted later; what is too much for that by Python, counted before."""
    body = asm(size, 0, "KECCAK256", "DUP1", 7, "MSTORE")
    chain = Chain(make_spec(contract(TARGET, body * 40 + asm(0, "MLOAD", 0, "SSTORE"))))
    tx = signed(0, nonce=0, to=TARGET, gas=6_000_000)
    expected, _ = outcome_of(chain, tx, work.UNLIMITED, TIERS["interpreted"])
    found, _ = outcome_of(chain, tx, work.UNLIMITED, TIERS["native"])
    assert found == expected and found.succeeded
    needed = found.work - found.gas_peak * work.GAS_WORK
    assert needed >= 40 * (work.KECCAK_WORK + size // 32 * work.KECCAK_WORD_WORK)
    for allowance in (needed // 3, needed - 1):
        short, _ = outcome_of(chain, tx, allowance, TIERS["native"])
        assert isinstance(short.error, OutOfWork) and short.gas_used == tx.gas_limit


def test_a_bad_jump_does_not_have_the_code_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """py-evm's loop, which raises the error, would take milliseconds to look at 24 KB: it gets the bitmap that there is."""

    def read_again(code: bytes) -> frozenset[int]:
        raise AssertionError(f"{len(code)} bytes are read again")

    code = asm(4, "JUMP") + b"\x61\x5b\x5b" + b"\x5b" * 20_000
    accounts = {bytes(ADDRESSES[0]): Account(10**22), bytes(TARGET): Account(0, 1, code)}
    tx = signed(0, nonce=0, to=TARGET, gas=50_000)
    expected = run_ours(accounts, [tx], TIERS["interpreted"])
    monkeypatch.setattr("evm_runtime.code.jump_destinations", read_again)
    found = run_ours(accounts, [tx], TIERS["native"])
    assert found == expected
    assert found.results[0] is not None and found.results[0].error == "InvalidInstruction"


def test_the_most_gas_that_runs_natively() -> None:
    """2^63 - 1 as some official tests have it, which fills a signed field to the brim; one more is left to the fallback."""
    code = asm("GAS", 0, "MSTORE", 32, 0, "RETURN")
    chain = Chain(make_spec(contract(TARGET, code)))
    for gas in ((1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        outputs = set()
        for tiers in (Tiers(native=True, jit=False), Tiers(native=False, jit=False)):
            runtime = type(chain.runtime)(chain.spec, chain.identity, chain.store, tiers=tiers)
            outputs.add(runtime.call(chain.tip, CallRequest(to=TARGET, gas=gas), gas_cap=gas).output)
        (output,) = outputs
        assert int.from_bytes(output, "big") > gas - 30_000

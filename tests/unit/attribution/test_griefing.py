"""Work at others' cost, and money by way of others: the gas comes before the work, and a payment runs no code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import vyper
from eth.exceptions import OutOfGas
from eth_abi import encode

from attribution_precompile import gas
from attribution_precompile.declarations import Method
from attribution_precompile.index.span_index import IndexView
from attribution_precompile.index.vector_index import VectorView
from attribution_precompile.methods import contributions, inference, passages
from genesis.primitives import WEI_PER_OPEN, keccak256
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.world import ALICE, BOB, CAROL, NONE, OWNER, USER, ZERO32, World, words
from tests.unit.native.harness import address

TEXT = words(0, 400).encode()
OUTPUT = words(0, 300).encode()
COPY = words(0, 100).encode()


@pytest.fixture
def world() -> World:
    """Model 1 by SPAN and model 2 by DOT on Alice's contribution; 2 is Bob's copy, which waits."""
    world = World()
    world.datanet()
    world.give(1, ALICE, TEXT)
    world.commitVectors(1, 4, bytes(400), sender=ALICE)
    world.accept(1)
    world.publish(1)
    world.model([(1, 1, 0, 10_000)], output_price=1_000 * WEI_PER_OPEN)
    world.model([(1, 1, 0, 10_000)], kind=Method.DOT)
    world.give(1, BOB, COPY)
    world.finalizeContent(2, sender=BOB)
    world.chain.next_block()
    return world


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> Iterator[list[int]]:
    """Counts how often something is begun."""
    begun: list[int] = []
    real = getattr(where, name)

    def spy(*arguments: Any, **options: Any) -> Any:
        begun.append(1)
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(where, name, spy)
        yield begun


CASES: list[tuple[str, tuple[Any, ...], bytes, Any, str, int]] = [
    ("trace", (1, OUTPUT), USER, IndexView, "owners", gas.output_gas(len(OUTPUT)) + gas.trace_gas(300, 1)),
    ("trace", (1, OUTPUT), USER, inference, "tokenize", gas.output_gas(len(OUTPUT))),
    ("infer", ((1, 0, ZERO32, 0, OUTPUT, NONE),), USER, inference, "tokenize", gas.output_gas(len(OUTPUT))),
    ("contribute", (1, TEXT, ZERO32, ALICE, ZERO32), ALICE, contributions, "tokenize", gas.content_gas(len(TEXT))),
    ("contribute", (1, TEXT, ZERO32, ALICE, ZERO32), ALICE, contributions, "keccak256",
     gas.content_gas(len(TEXT)) + gas.index_gas(400, 0)),
    ("review", (2, True, 1), OWNER, IndexView, "owned_windows", gas.review_gas(100, 1, 0)),
    ("challengePriority", (2, 1, 0, 64, 1, 0, 0), ALICE, passages, "tokenize", gas.passage_gas(100, 0)),
    ("traceVector", (2, bytes(4)), USER, VectorView, "products", gas.products_gas(100, 4)),
]  # fmt: skip
"""Method, arguments, caller; what must not begin before so much gas was taken."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[4]}")
def test_work_begins_when_it_is_paid_for(world: World, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends too little gas loses it, changes nothing, and makes nobody work."""
    name, arguments, sender, where, work, price = case
    data, value = world.data(name, *arguments), 300 * WEI_PER_OPEN if name == "infer" else 0
    before = world.chain.state.make_state_root()
    with watched(monkeypatch, where, work) as begun:
        for given in (0, price // 2, price - 1):
            result = world.chain.call(sender, world.contract.address, data, value, gas=given)
            assert isinstance(result.error, OutOfGas) and result.gas_used == given and not result.logs
        assert not begun and world.chain.state.make_state_root() == before
        result = world.chain.call(sender, world.contract.address, data, value)
        assert result.ok and result.gas_used > price and begun


@pytest.mark.parametrize("name", ["trace", "infer"])
@pytest.mark.parametrize("output", [b"a" * (24 * 1024 + 1), b"a " * 12_289])
def test_outputs_that_are_too_long_are_refused_unread(
    world: World, name: str, output: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask() -> Any:
        return world.trace(1, output) if name == "trace" else world.run(1, output, 0)

    with watched(monkeypatch, inference, "tokenize") as begun:
        refused(world, "TooLong", ask, "output (bytes)", len(output), 24 * 1024)
    assert not begun


# ---------------------------------------------------------------- money by way of others

THIEF = """
ledger: address
calls: public(uint256)
got: public(uint256)

@deploy
def __init__(ledger: address):
    self.ledger = ledger

@internal
def _claim() -> uint256:
    answer: Bytes[32] = raw_call(
        self.ledger, abi_encode(self, method_id=method_id("claim(address)")), max_outsize=32
    )
    return convert(answer, uint256)

@external
@payable
def __default__():
    self.calls += 1
    self._claim()

@external
def steal(ask: Bytes[2000]):
    raw_call(self.ledger, ask)
    self.got = self._claim() + self._claim()
"""


def thief(world: World) -> bytes:
    made = vyper.compile_code(THIEF, output_formats=["bytecode"])["bytecode"]
    code = bytes.fromhex(made.removeprefix("0x")) + encode(["address"], ["0x" + world.contract.address.hex()])
    return world.chain.deploy(address(0x7B1EF), code)


def test_a_payment_runs_no_code_so_nobody_comes_in_again(world: World) -> None:
    """The receiver's code would claim again for every wei that arrives; a call of its own can claim once, and then nothing."""
    at = thief(world)
    world.setPayout(1, at, sender=ALICE)
    world.run(1, OUTPUT, 300 * WEI_PER_OPEN)
    due = world.balance(at)
    assert due > 0
    held = world.chain.state.get_balance(world.contract.address)
    again = encode(["bytes"], [world.data("claimPool", [1])])
    assert world.chain.call(USER, at, keccak256(b"steal(bytes)")[:4] + again).ok

    def read(signature: str) -> int:
        return int.from_bytes(world.chain.call(USER, at, keccak256(signature.encode())[:4]).output, "big")

    assert read("got()") == world.chain.state.get_balance(at) == due, "the second claim had nothing left"
    assert held - world.chain.state.get_balance(world.contract.address) == due and world.balance(at) == 0
    assert read("calls()") == 0, "its code never ran"
    world.run(1, OUTPUT, 300 * WEI_PER_OPEN)
    had = world.chain.state.get_balance(at)
    world.setPayout(1, CAROL, sender=ALICE)
    world.run(1, OUTPUT, 300 * WEI_PER_OPEN)
    mine = world.balance(CAROL)
    world.claim("0x" + at.hex(), sender=CAROL)
    assert world.chain.state.get_balance(at) == had + mine and read("calls()") == 0


@pytest.mark.parametrize("stranger", [BOB, OWNER])
def test_who_calls_for_others_moves_their_money_to_them_alone(world: World, stranger: bytes) -> None:
    world.run(1, OUTPUT + b" and some words more that nobody has given before", 400 * WEI_PER_OPEN)
    due, before = world.balance(ALICE), world.balance(stranger)
    assert due > 0
    assert world.claim("0x" + stranger.hex(), sender=stranger) == before
    assert world.balance(ALICE) == due
    world.claimPool([1], sender=stranger)
    assert world.balance(ALICE) > due and world.balance(stranger) == 0
    refused(world, "NotAllowed", lambda: world.withdrawBond(1, sender=stranger))
    refused(world, "NotAllowed", lambda: world.setPayout(1, stranger, sender=stranger))

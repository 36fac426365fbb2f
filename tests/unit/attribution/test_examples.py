"""The Vyper example in the chain's own EVM: asks, pays exactly, shares to the wei."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import vyper
from eth_abi import decode, encode

from genesis.primitives import WEI_PER_OPEN, keccak256
from tests.unit.attribution.world import ALICE, BOB, CAROL, DEV, USER, ZERO32, World, words
from tests.unit.native.harness import address

SOURCE = Path(__file__).parents[3] / "examples" / "revenue_split" / "RevenueSplit.vy"
PRICE = 1_000 * WEI_PER_OPEN


@cache
def bytecode() -> bytes:
    compiled = vyper.compile_code(SOURCE.read_text(), output_formats=["bytecode"])
    return bytes.fromhex(compiled["bytecode"].removeprefix("0x"))


class Split:
    """The contract deployed, with DEV, BOB and CAROL as partners; it owns model 1."""

    def __init__(self) -> None:
        self.world = world = World()
        world.accept(world.give(world.datanet(), ALICE, words(0, 40)))
        world.publish(1)
        shares = encode(["address[]", "uint256[]"], [[DEV, BOB, CAROL], [5_001, 3_333, 1_666]])
        self.at = world.chain.deploy(address(0x5917), bytecode() + shares)
        uses = [(1, 1, 0, 10_000)]
        register = "register(string,bytes32,uint128,(uint64,uint32,uint8,uint16)[])"
        assert self.call(register, "m", ZERO32, PRICE, uses, sender=DEV).ok

    def call(self, signature: str, *values: Any, sender: bytes = USER, value: int = 0) -> Any:
        inside = signature[signature.index("(") + 1 : -1].replace("(uint64,uint32,uint8,uint16)[]", "USES")
        types = ["(uint64,uint32,uint8,uint16)[]" if kind == "USES" else kind for kind in inside.split(",") if kind]
        data = keccak256(signature.encode())[:4] + encode(types, values)
        return self.world.chain.call(sender, self.at, data, value)

    def number(self, signature: str, *values: Any) -> int:
        return int(decode(["uint256"], self.call(signature, *values).output)[0])

    def ask(self, text: str, value: int) -> Any:
        return self.call("ask(uint64,bytes32,uint32,bytes)", 1, ZERO32, 0, text.encode(), value=value)


@pytest.fixture
def split() -> Split:
    return Split()


def test_the_fee_is_paid_exactly_and_the_income_is_shared_to_the_wei(split: Split) -> None:
    state, fee = split.world.chain.state, 20 * WEI_PER_OPEN
    before = state.get_balance(USER)
    result = split.ask(words(0, 20), fee + 12_345)
    assert result.ok and before - state.get_balance(USER) == fee
    receipt = split.world.getReceipt(result.output)
    assert (receipt[2], receipt[3]) == ("0x" + split.at.hex(), fee)
    income = fee * 3_000 // 10_000
    assert split.number("split()") == income and state.get_balance(split.at) == income
    parts = [split.number("owed(address)", who) for who in (DEV, BOB, CAROL)]
    second, third = (income * share // 10_000 for share in (3_333, 1_666))
    assert parts == [income - second - third, second, third]
    for who, part in zip((DEV, BOB, CAROL), parts, strict=True):
        had = state.get_balance(who)
        assert split.call("withdraw()", sender=who).ok and state.get_balance(who) - had == part
    assert state.get_balance(split.at) == 0 and split.number("split()") == 0


def test_too_little_is_refused_and_costs_nothing(split: Split) -> None:
    before = split.world.chain.state.get_balance(USER)
    assert not split.ask(words(0, 20), 20 * WEI_PER_OPEN - 1).ok
    assert split.world.chain.state.get_balance(USER) == before


def test_only_partners_are_owed(split: Split) -> None:
    assert split.ask(words(0, 20), 20 * WEI_PER_OPEN).ok and split.number("split()") > 0
    had = split.world.chain.state.get_balance(USER)
    assert split.call("withdraw()").ok and split.world.chain.state.get_balance(USER) == had

"""What pools by versions cost in gas, whatever the number of versions: docs/attribution.md has the table."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attribution_precompile.declarations import Call, DatanetParams, Method, Signed, Use
from attribution_precompile.layout import POOL_NODES, POOL_STEPS, POOL_WEIGHTS, PoolNode, PoolStep
from attribution_precompile.methods.pool_books import load_steps, pay_pool, scale_now, take_share
from attribution_precompile.rules import pool
from attribution_precompile.rules.tokens import WORDS_V1
from evm_runtime.native.frame import MeteredSlots
from genesis.chain_spec import ATTRIBUTION_ADDRESS, AttributionParams
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, Wei
from tests.unit.attribution.direct import DictState, Direct
from tests.unit.attribution.walk import ZERO32
from tests.unit.attribution.world import ALICE, BOB, DEV, OWNER, USER, words

PARAMS = AttributionParams()
NET = 1


class ColdState(DictState):
    """A state where each slot is cold at its first touch."""

    def __init__(self) -> None:
        super().__init__()
        self.warm: set[int] = set()

    def is_storage_warm(self, _address: bytes, slot: int) -> bool:
        return slot in self.warm

    def mark_storage_warm(self, _address: bytes, slot: int) -> None:
        self.warm.add(slot)


class Meter:
    """Slots of a pool in a state, and what operations on them cost."""

    def __init__(self) -> None:
        self.used = 0
        self.state = ColdState()
        computation: Any = SimpleNamespace(consume_gas=self._consume)
        self.slots = MeteredSlots(computation, self.state, ATTRIBUTION_ADDRESS, read_only=False)

    def _consume(self, amount: int, _reason: str) -> None:
        self.used += amount

    def cold(self) -> "Meter":
        self.used = 0
        self.state.warm.clear()
        return self


def dearest(versions: int, steps: int) -> Meter:
    """A member with so many steps, at the versions from which most nodes are needed, in a pool of so many versions that
    were never paid and where nobody has died."""
    meter, firsts, touched = Meter(), list[int](), set(pool.path(versions))
    candidates = {first: {place for place, _ in pool.cover(first, versions)} for first in _candidates(versions)}
    for _ in range(min(steps, len(candidates))):
        first = max(candidates, key=lambda each: len(candidates[each] - touched))
        touched |= candidates.pop(first)
        firsts.append(first)
    for place in touched:
        _store(meter, place, PoolNode(0, 0, True))
    steps_made = [PoolStep(first, 10**9 + i, 0) for i, first in enumerate(sorted(firsts))]
    for step, change in zip(steps_made, pool.changes(steps_made), strict=True):
        for place, sign in pool.cover(step.first, versions):
            weight = POOL_NODES.load(meter.slots, NET, _key(place)).weight + sign * change
            _store(meter, place, PoolNode(0, weight % pool.WEIGHT_MODULUS, True))
    POOL_STEPS.replace(meter.slots, steps_made, 1)
    POOL_WEIGHTS.set(meter.slots, steps_made[-1].weight, NET)
    return meter


def _candidates(versions: int) -> list[int]:
    """All, or where these are many, those from which most is needed: 0x8888, 0x18888 and the like, and the first."""
    if versions <= 100:
        return list(range(1, versions + 1))
    tails = [int("0" + "8" * digits, 16) for digits in range(6)]
    tops = [top << 4 * digits for top in range(16) for digits in range(6)]
    return sorted({1, *(top + tail for top in tops for tail in tails if 0 < top + tail <= versions)})


def _key(place: pool.Place) -> int:
    return place[0] << 32 | place[1]


def _store(meter: Meter, place: pool.Place, node: PoolNode) -> None:
    POOL_NODES.store(meter.slots, node, NET, _key(place))


def measured(versions: int) -> tuple[int, int, int, int, int]:
    """(payment, claim and death of a member with one weight, claim and death of one with the most weights) in gas."""
    found = []
    payment = dearest(versions, 1).cold()
    assert pay_pool(payment.slots, NET, versions, Wei(10**18 + 1)) == 0
    found.append(payment.used)
    for steps in (1, PARAMS.pool_steps_max):
        for dying in (False, True):
            meter = dearest(versions, steps)
            pay_pool(meter.slots, NET, versions, Wei(10**18))
            meter.cold()
            assert take_share(meter.slots, 1, NET, versions) > 0
            if dying:
                scale_now(meter.slots, 1, NET, versions, 0, 1)
                assert load_steps(meter.slots, 1) == []
            found.append(meter.used)
    return tuple(found)  # type: ignore[return-value]  # five of them


TEXTS = {ALICE: words(0, 40).encode(), BOB: words(100, 40).encode()}
VERSIONS = (1, 100, 10_000, 1 << 20)
DOCUMENT = (Path(__file__).parents[3] / "docs" / "attribution.md").read_text()


@pytest.mark.parametrize("versions", VERSIONS)
def test_no_number_of_versions_makes_a_pool_dear(versions: int) -> None:
    used = measured(versions)
    assert max(used) < 2_000_000
    row = f"| {versions:,} | {' | '.join(f'{gas:,}' for gas in used)} |"
    assert row in DOCUMENT, f"docs/attribution.md needs the row {row}"


def test_the_table_of_gas_has_no_other_rows() -> None:
    table = DOCUMENT[DOCUMENT.index("| versions | a payment") :]
    rows = re.findall(r"^\| ([\d,]+) \|", table[: table.index("\n\n")], re.MULTILINE)
    assert rows == [f"{versions:,}" for versions in VERSIONS]


@pytest.mark.parametrize("versions", [1, 100, 10_000])
def test_no_number_of_versions_makes_an_inference_a_claim_or_an_erasure_dear(versions: int) -> None:
    """Whole calls of the contract, each on cold slots, with all that they do beside the pool."""
    state = ColdState()
    direct = Direct(state)

    def call(who: bytes, name: str, *arguments: Any, value: int = 0) -> Any:
        state.warm.clear()
        result = direct.call(who, name, *arguments, value=value)
        assert direct.gas_used < 2_000_000, name
        return result

    net = call(
        OWNER, "createDatanet", DatanetParams("", ZERO32, WORDS_V1, 8, False, True, 31, 10**18, 0, BPS, 0, 1_000)
    )
    given = [call(who, "contribute", net, text, ZERO32, who, ZERO32) for who, text in TEXTS.items()]
    direct.next_block()
    for contribution in given:
        call(OWNER, "review", contribution, True, BPS)
    for _ in range(versions):
        call(OWNER, "publishVersion", net)
    direct.next_block()
    uses = (Use(net, versions, 0, BPS),)
    model = call(DEV, "registerModel", "", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, 0, 0, (), uses)
    fee = call(USER, "quote", model, 0, 41)
    state.balances[USER] = fee
    call(USER, "infer", Call(model, 0, ZERO32, 0, words(300, 41).encode(), Signed(0, 0, b"")), value=fee)
    call(USER, "claimPool", (given[0],))
    assert call(USER, "claimable", ALICE)[0] > 0
    call(BOB, "erase", given[1])
    assert call(USER, "claimable", BOB)[0] > 0

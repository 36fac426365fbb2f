"""The indexes learn from final blocks alone: whatever is made up, undone or lost, and whoever is asked what, when."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import vyper
from eth_abi import abi

from attribution_precompile.contract import AttributionContract
from evm_runtime.calls import AccountOverride, CallRequest
from evm_runtime.native import array_slot, mapping_slot
from evm_runtime.native.abi import decode
from evm_runtime.simulate import SimulatedCalls, SimulationOptions
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import ErasedContent, StorageCorrupt
from genesis.primitives import keccak256
from tests.unit.attribution.world import (
    ALICE,
    BOB,
    CAROL,
    COUNCIL,
    REVIEW_SECONDS,
    ZERO32,
    World,
    params,
    words,
)
from tests.unit.evm_runtime.chain import ADDRESSES
from tests.unit.native.harness import address
from tests.unit.node.test_eraser import Registry

TEXT, FAKE = words(0, 60), words(500, 60)
METHODS = {found.signature.name: found.signature for found in AttributionContract.methods.values()}


# ---------------------------------------------------------------- made-up blocks, over a real store


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Registry]:
    """A datanet of account 0 with one contribution in version 1, and model 1 on it."""
    made = Registry(tmp_path / "chain")
    made.do("createDatanet", params())
    made.give(words(900, 60).encode(), key=1)
    made.publish(1)
    made.do("registerModel", "m", ZERO32, 0, bytes(20), 0, 10**18, 0, [], [(1, 1, 0, 10_000)], key=3)
    yield made
    made.close()


def call(data: bytes, key: int = 0) -> CallRequest:
    return CallRequest(sender=ADDRESSES[key], to=ATTRIBUTION_ADDRESS, data=data)


def encoded(name: str, *arguments: Any) -> bytes:
    return World().data(name, *arguments)


def fake_blocks(contribution: int, text: str = FAKE, version: int = 2) -> list[SimulatedCalls]:
    """What takes the next contribution's number with another text, publishes it, and traces it."""
    register = ("registerModel", "m", ZERO32, 0, bytes(20), 0, 0, 0, [], [(1, version, 0, 10_000)])
    return [
        SimulatedCalls((call(encoded("contribute", 1, text.encode(), ZERO32, ADDRESSES[2], ZERO32), 2),)),
        SimulatedCalls((call(encoded("review", contribution, True, 1)),)),
        SimulatedCalls((call(encoded("publishVersion", 1)),)),
        SimulatedCalls((call(encoded(*register), 3),)),
        SimulatedCalls((call(encoded("trace", 2, text.encode())),)),
    ]


def credited(output: bytes) -> list[tuple[int, int]]:
    scores, _, _ = decode([parameter.type for parameter in METHODS["trace"].outputs], output)
    return [tuple(score) for score in scores]


def test_simulated_blocks_leave_no_trace_in_the_indexes(chain: Registry) -> None:
    """Reproduction: simulate the next user's contribution with another text, then do it really."""
    tip = chain.store.tip().header
    blocks = chain.store.runtime.simulate(tip, fake_blocks(2), SimulationOptions())
    assert [outcome.error for block in blocks for outcome in block.outcomes] == [None] * 5
    assert credited(blocks[-1].outcomes[0].output) == [(2, 60)], "within the simulation it is found"
    chain.give(TEXT.encode(), key=1)
    chain.publish(2)
    chain.do("registerModel", "m", ZERO32, 0, bytes(20), 0, 10**18, 0, [], [(1, 2, 0, 10_000)], key=3)
    assert credited(chain.view("trace", 2, TEXT.encode()).output) == [(2, 60)]
    assert credited(chain.view("trace", 2, FAKE.encode()).output) == []
    chain.do("infer", (2, 0, ZERO32, 0, TEXT.encode(), (0, 0, b"")), key=3, value=10**19)
    chain.restart()
    assert credited(chain.view("trace", 2, TEXT.encode()).output) == [(2, 60)]


def test_simulations_see_their_own_blocks_and_what_was_there(chain: Registry) -> None:
    """On an old block as on the newest; a simulated copy owns nothing, a simulated erasure acts in the block after."""
    old = chain.store.tip().header
    chain.give(TEXT.encode(), key=1)
    chain.publish(2)
    for header, contribution, version in ((old, 2, 2), (chain.store.tip().header, 3, 3)):
        text = words(900, 60) if header is old else TEXT
        blocks = chain.store.runtime.simulate(header, fake_blocks(contribution, text, version), SimulationOptions())
        assert credited(blocks[-1].outcomes[0].output) == [(1 if header is old else 2, 60)]
    erase = [
        SimulatedCalls((call(encoded("erase", 1), 1), call(encoded("trace", 1, words(900, 60).encode())))),
        SimulatedCalls((call(encoded("trace", 1, words(900, 60).encode())),)),
    ]
    first, second = chain.store.runtime.simulate(chain.store.tip().header, erase, SimulationOptions())
    assert (credited(first.outcomes[1].output), credited(second.outcomes[0].output)) == ([(1, 60)], [])
    assert credited(chain.view("trace", 1, words(900, 60).encode()).output) == [(1, 60)]


@pytest.mark.parametrize("as_simulation", [False, True])
def test_overridden_storage_is_indexed_anew_and_forgotten(chain: Registry, as_simulation: bool) -> None:
    """As if contribution 1 had never been in version 1: no segments below its watermark."""
    tip, text = chain.store.tip().header, words(900, 60).encode()
    at = mapping_slot(10, 1, 1)
    stored = chain.store.runtime.state().storage(ATTRIBUTION_ADDRESS, at)
    reviewed = mapping_slot(19, 1)
    diff = {at: stored % (1 << 128), reviewed: 0, array_slot(reviewed): 0}
    overrides = {ATTRIBUTION_ADDRESS: AccountOverride(state_diff=diff)}
    request = call(encoded("trace", 1, text))
    if as_simulation:
        [block] = chain.store.runtime.simulate(
            tip, [SimulatedCalls((request,), accounts=overrides)], SimulationOptions()
        )
        output = block.outcomes[0].output
    else:
        output = chain.store.runtime.call(tip, request, gas_cap=10**7, state_overrides=overrides).output
    assert credited(output) == []
    assert credited(chain.view("trace", 1, text).output) == [(1, 60)]


def test_a_block_that_is_taken_back_is_forgotten(chain: Registry) -> None:
    chain.give(TEXT.encode(), key=1)
    chain.publish(2)
    chain.do("registerModel", "m", ZERO32, 0, bytes(20), 0, 10**18, 0, [], [(1, 2, 0, 10_000)], key=3)
    assert credited(chain.view("trace", 2, TEXT.encode()).output) == [(2, 60)]
    for _ in range(4):
        chain.store.rollback()
    assert chain.view("getContribution", 2).status == "revert"
    chain.nonces = [chain.store.runtime.state().nonce(who) for who in ADDRESSES]
    chain.give(FAKE.encode(), key=1)
    chain.publish(2)
    chain.do("registerModel", "m", ZERO32, 0, bytes(20), 0, 10**18, 0, [], [(1, 2, 0, 10_000)], key=3)
    assert credited(chain.view("trace", 2, TEXT.encode()).output) == []
    assert credited(chain.view("trace", 2, FAKE.encode()).output) == [(2, 60)]


# ---------------------------------------------------------------- what is undone


@pytest.fixture
def world() -> World:
    """Bob's text is in version 1 of datanet 1, behind model 1."""
    made = World()
    made.datanet()
    made.accept(made.give(1, BOB, TEXT))
    made.publish(1)
    made.model([(1, 1, 0, 10_000)])
    made.chain.next_block()
    return made


def lost(world: World, *acts: Callable[[], Any]) -> None:
    """Do something in a proposal that loses."""
    go_back = world.chain.checkpoint()
    for act in acts:
        act()
    go_back()


def same_with_a_fresh_index(world: World, model: int, text: str = TEXT) -> dict[int, int]:
    live = world.trace(model, text.encode())[0]
    gas = world.last.gas_used  # type: ignore[union-attr]  # there was a call
    world.contract.index = world.fresh_index()
    assert (world.trace(model, text.encode())[0], world.last.gas_used) == (live, gas)  # type: ignore[union-attr]
    return dict(live)


def test_a_lost_erasure_hides_nobodys_withdrawal(world: World) -> None:
    """Reproduction: erase in a lost proposal and trace there; then Bob withdraws in the same place of the list."""
    mine = world.give(1, ALICE, words(200, 20))
    world.accept(mine)
    second = world.model([(1, world.publish(1), 0, 10_000)])
    world.chain.next_block()
    world.contract.index = world.fresh_index()
    lost(world, lambda: world.erase(mine, sender=ALICE), lambda: world.trace(second, TEXT.encode()))
    world.withdrawConsent(1, 31, sender=BOB)
    third = world.model([(1, world.publish(1), 0, 10_000)])
    world.chain.next_block()
    assert same_with_a_fresh_index(world, third) == {}
    assert same_with_a_fresh_index(world, second) == {1: 60}


def test_a_lost_append_moves_nobodys_deadline(world: World) -> None:
    """Reproduction: append in a lost proposal and trace a version that isn't known yet."""
    waiting = world.give(1, ALICE, words(200, 20))
    world.chain.next_block(REVIEW_SECONDS - 5)
    second = world.model([(1, world.publish(1), 0, 10_000)])
    world.contract.index = world.fresh_index()
    lost(
        world,
        lambda: world.appendContent(waiting, words(300, 20).encode(), sender=ALICE),
        lambda: world.trace(second, TEXT.encode()),
    )
    world.chain.next_block(10)
    third = world.model([(1, world.publish(1), 0, 10_000)])
    world.chain.next_block()
    assert same_with_a_fresh_index(world, third, words(200, 20)) == {waiting: 20}


REVERTER = """
@external
def give(ledger: address, data: Bytes[2000]):
    raw_call(ledger, data)

@external
def run(ledger: address, first: Bytes[2000], second: Bytes[2000]):
    ok: bool = raw_call(
        self,
        abi_encode(ledger, first, second, method_id=method_id("inner(address,bytes,bytes)")),
        revert_on_failure=False,
    )
    assert not ok

@external
def inner(ledger: address, first: Bytes[2000], second: Bytes[2000]):
    raw_call(ledger, first)
    raw_call(ledger, second)
    raise "no"
"""


def test_what_a_reverted_inner_call_did_is_not_learnt(world: World) -> None:
    """Reproduction: [erase own; trace] reverts, and the transaction around it goes on."""
    code = bytes.fromhex(vyper.compile_code(REVERTER, output_formats=["bytecode"])["bytecode"][2:])
    reverter = world.chain.deploy(address(0x5E7E57), code)
    ledger = world.contract.address

    def run(name: str, *data: bytes) -> None:
        types = ",".join(["address", *["bytes"] * len(data)])
        selector = keccak256(f"{name}({types})".encode())[:4]
        assert world.chain.call(ALICE, reverter, selector + abi.encode(types.split(","), [ledger, *data])).ok

    run("give", world.data("contribute", 1, words(200, 20).encode(), ZERO32, ALICE, ZERO32))
    world.accept(2)
    second = world.model([(1, world.publish(1), 0, 10_000)])
    world.chain.next_block()
    world.contract.index = world.fresh_index()
    run("run", world.data("erase", 2), world.data("trace", second, TEXT.encode()))
    world.withdrawConsent(1, 31, sender=BOB)
    third = world.model([(1, world.publish(1), 0, 10_000)])
    world.chain.next_block()
    assert same_with_a_fresh_index(world, third) == {}


# ---------------------------------------------------------------- what is paid, and what is gone


def copies(world: World, count: int, accept: bool) -> list[int]:
    """Contributions that repeat contribution 1, reviewed."""
    given = [world.give(1, CAROL, TEXT) for _ in range(count)]
    world.chain.next_block()
    for contribution in given:
        world.review(contribution, accept, 1 if accept else 0)
    return given


def gas_of_review(world: World, contribution: int) -> int:
    world.review(contribution, True, 1)
    return int(world.last.gas_used)  # type: ignore[union-attr]


def test_rejected_copies_cost_a_review_nothing_once_they_are_gone() -> None:
    """They are taken out with the block that rejects them, so nobody walks over them."""

    def gas_behind(rejected: int) -> int:
        world = World()
        world.datanet()
        copies(world, rejected, accept=False)
        late = world.give(1, ALICE, TEXT)
        world.chain.next_block()
        used = gas_of_review(world, late)
        [part] = world.contract.index._gateway._live.values()
        assert len(part.tables.pending) == 53
        return used

    assert gas_behind(0) == gas_behind(40)


def test_a_purge_waits_for_a_block_that_has_room_and_walks_over_the_rest_are_paid() -> None:
    """Until then each further one of those who have a window is paid for, and changes no count."""
    world = World(purge_tokens=2 * (60 + 256))
    world.datanet()
    copies(world, 8, accept=False)
    late = world.give(1, ALICE, TEXT)
    costs, left = [], []
    for _ in range(5):
        world.chain.next_block()
        go_back = world.chain.checkpoint()
        costs.append(gas_of_review(world, late))
        assert world.getContribution(late)[5] == 53, "who was rejected claims nothing, from the next block on"
        [part] = world.contract.index._gateway._live.values()
        left.append(len(part.tables.pending) // 53 - 1)
        go_back()
    assert left == [6, 4, 2, 0, 0]
    assert [cost - costs[-1] for cost in costs] == [53 * 150 * each for each in left]


def test_dead_copies_are_passed_over_for_pay_until_they_are_purged() -> None:
    world = World(death_blocks=4)
    world.datanet()
    world.accept(world.give(1, BOB, TEXT))
    last = copies(world, 6, accept=True)[-1]
    world.publish(1)
    world.model([(1, 1, 0, 10_000)])
    world.chain.next_block()
    alone = traced(world, {1: 60})
    for contribution in range(1, last):
        world.erase(contribution, sender=COUNCIL)
    assert traced(world, {1: 60}) == alone, "this block is as it was"
    for _ in range(4):
        world.chain.next_block()
        assert traced(world, {last: 60}) == alone + 53 * 150 * 6
    world.chain.next_block()
    assert traced(world, {last: 60}) == alone


def traced(world: World, expected: dict[int, int]) -> int:
    assert same_with_a_fresh_index(world, 1) == expected
    return int(world.last.gas_used)  # type: ignore[union-attr]


def test_states_before_a_death_are_refused_once_it_is_deep() -> None:
    """By what the newest state says: an index that still has everything refuses like one that has just been made."""
    world = World(death_blocks=4)
    world.datanet()
    world.accept(world.give(1, BOB, TEXT))
    world.publish(1)
    world.model([(1, 1, 0, 10_000)])
    world.chain.next_block()
    before = world.chain.state.base
    live, model = world.contract.index, 1
    world.erase(1, sender=BOB)
    for _ in range(4):
        world.chain.next_block()
        for index in (live, world.fresh_index()):
            owners, _ = index.at(before).owners(1, 1, _ids())
            assert set(owners.tolist()) == {1}
            owners, _ = world.view(index).owners(1, 1, _ids())
            assert set(owners.tolist()) == {0}
    died = world.chain.state.base
    world.chain.next_block()
    for index in (live, world.fresh_index()):
        with pytest.raises(ErasedContent, match="erased or slashed in block"):
            index.at(before).owners(model, 1, _ids())
        assert set(index.at(died).owners(1, 1, _ids())[0].tolist()) == {0}


def test_a_node_that_starts_after_a_purge_needs_nothing_of_the_dead() -> None:
    """Not its text, nor the ids that stood for it: whether it kept them, dropped them, or never had them, all say the same."""
    world = World(death_blocks=4)
    world.datanet()
    world.accept(world.give(1, BOB, TEXT))
    copy = world.give(1, CAROL, words(30, 60))
    world.accept(copy)
    world.publish(1)
    world.model([(1, 1, 0, 10_000)])
    world.erase(1, sender=BOB)
    world.chain.next_block()
    before = world.chain.state.base
    late = world.give(1, ALICE, words(0, 37))
    for _ in range(6):
        world.chain.next_block()
    kept = (world.view().owners(1, 1, _ids())[0].tolist(), world.view().owned_windows(late))
    assert kept == ([0] * 30 + [copy] * 23, 30)
    state = world.chain.state
    state.blobs = {key: blob for key, blob in state.blobs.items() if blob != TEXT.encode()}
    fresh = world.view(world.fresh_index())
    assert (fresh.owners(1, 1, _ids())[0].tolist(), fresh.owned_windows(late)) == kept
    with pytest.raises(StorageCorrupt, match="missing"):
        world.fresh_index().at(before).owners(1, 1, _ids())


def _ids() -> bytes:
    from attribution_precompile.rules.tokens import WORDS_V1, tokenize

    return tokenize(TEXT.encode(), WORDS_V1).window_ids(8)

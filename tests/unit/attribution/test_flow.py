"""The straight path, from a datanet to a paid contributor, through py-evm."""

import pytest

from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.world import ALICE, BOB, DEV, OWNER, TREASURY, USER, World, words
from tests.unit.native.harness import Reverted


@pytest.fixture
def world() -> World:
    return World()


def test_a_contributor_is_paid_for_what_an_output_takes(world: World) -> None:
    datanet = world.datanet(curator_bps=1_000)
    first = world.give(datanet, ALICE, words(0, 100))
    second = world.give(datanet, BOB, words(200, 100))
    world.accept(first)
    world.accept(second, 5_000)
    version = world.publish(datanet)
    model = world.model([(datanet, version, 0, 10_000)], output_price=1_000 * WEI_PER_OPEN)
    # 30 tokens of Alice, 10 of Bob, 10 of nobody
    output = f"{words(10, 30)} {words(250, 10)} {words(0, 10, 'x')}"
    assert world.trace(model, output.encode()) == (((first, 30), (second, 10)), 50, 10)
    fee = world.quote(model, 0, 50)
    assert fee == 50 * WEI_PER_OPEN
    receipt = world.run(model, output, fee + 7)
    assert [(e["contributionId"], e["weight"]) for e in world.events("Attributed")] == [(first, 30), (second, 10)]
    contributors = fee * 5_500 // 10_000
    curator = contributors // 10
    net = contributors - curator
    span = net * 40 // 50
    pool = net - span
    assert world.balance(ALICE) == span * 3 // 4
    assert world.balance(BOB) == span // 4
    assert world.balance(OWNER) == curator
    assert world.balance(DEV) == fee * 3_000 // 10_000
    assert world.balance(TREASURY) == fee * 200 // 10_000
    assert world.balance(USER) == 7
    world.claimPool([first, second])
    # the pool's scaled remainder may hold back less than a wei for each
    assert world.balance(ALICE) - span * 3 // 4 in (pool * 2 // 3 - 1, pool * 2 // 3)
    before = world.chain.state.get_balance(BOB)
    owed = world.balance(BOB)
    assert world.claim(BOB, sender=BOB) == owed
    assert world.chain.state.get_balance(BOB) == before + owed
    assert world.balance(BOB) == 0
    assert world.getReceipt(receipt)[3] == fee


def test_a_version_can_be_used_from_the_next_block_on(world: World) -> None:
    datanet = world.datanet()
    world.accept(world.give(datanet, ALICE, words(0, 20)))
    version = world.publishVersion(datanet)
    with pytest.raises(Reverted, match="VersionNotFinal"):
        world.model([(datanet, version, 0, 10_000)])
    world.chain.next_block()
    assert world.model([(datanet, version, 0, 10_000)]) == 1

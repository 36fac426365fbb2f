"""Agents pay for themselves: out of their deposit, within a cap a day, on the models of their list."""

import pytest

from attribution_precompile.reading.queries import Queries
from genesis.primitives import WEI_PER_OPEN
from tests.unit.attribution.test_errors import refused
from tests.unit.attribution.test_interface import Reader
from tests.unit.attribution.world import ALICE, BOB, CAROL, NONE, OWNER, USER, ZERO32, World, words
from tests.unit.native.harness import CHAIN_ID

FEE = WEI_PER_OPEN
WALLET = CAROL


@pytest.fixture
def world() -> World:
    """Models 1 and 2 cost 1 OPEN for ten tokens; agent 1 may spend 2.5 a day of its 4 on model 1."""
    world = World()
    world.datanet()
    world.accept(world.give(1, ALICE, words(0, 40)))
    world.publish(1)
    for _ in range(2):
        world.model([(1, 1, 0, 10_000)], output_price=100 * WEI_PER_OPEN)
    assert world.registerAgent("ipfs://agent", WALLET, 5 * FEE // 2, [1], sender=USER) == 1
    assert world.events("AgentRegistered") == [{"agentId": 1, "wallet": "0x" + WALLET.hex()}]
    world.depositAgent(1, value=4 * FEE, sender=BOB)
    assert world.events("AgentDeposited")[0]["amount"] == 4 * FEE
    return world


def call(model: int = 1, agent: int = 1) -> tuple[object, ...]:
    return (model, agent, ZERO32, 0, words(0, 10).encode(), NONE)


def state(world: World) -> tuple[int, int, int]:
    return tuple(world.getAgent(1)[2:])  # deposit, cap, spent today


def test_an_agent_pays_from_its_deposit_within_its_cap(world: World) -> None:
    receipt = world.infer(call(), sender=WALLET, value=3)
    assert world.balance(WALLET) == 3, "the wallet's wei are not touched"
    assert state(world) == (3 * FEE, 5 * FEE // 2, FEE)
    assert world.getReceipt(receipt)[1:4] == (1, "0x" + WALLET.hex(), FEE)
    world.infer(call(), sender=WALLET)
    refused(world, "DailyCapExceeded", lambda: world.infer(call(), sender=WALLET), 1, 3 * FEE, 5 * FEE // 2)
    day = 86_400
    world.chain.next_block(day - 1 - world.chain.time % day)
    refused(world, "DailyCapExceeded", lambda: world.infer(call(), sender=WALLET))
    world.chain.next_block(1)
    assert world.chain.time % day == 0 and state(world) == (2 * FEE, 5 * FEE // 2, 0)
    world.infer(call(), sender=WALLET)
    world.infer(call(), sender=WALLET)
    world.setAgent(1, WALLET, 10 * FEE, [1], sender=USER)
    assert state(world) == (0, 10 * FEE, 2 * FEE), "what was spent today stays spent"
    refused(world, "DepositTooLow", lambda: world.infer(call(), sender=WALLET), 1, FEE, 0)


def test_only_its_wallet_and_only_the_models_on_its_list(world: World) -> None:
    refused(world, "NotAllowed", lambda: world.infer(call(), sender=USER))
    refused(world, "AgentModelNotAllowed", lambda: world.infer(call(2), sender=WALLET), 1, 2)
    world.setAgent(1, BOB, FEE, [2], sender=USER)
    assert world.events("AgentChanged")[0]["wallet"] == "0x" + BOB.hex()
    refused(world, "NotAllowed", lambda: world.infer(call(2), sender=WALLET))
    refused(world, "AgentModelNotAllowed", lambda: world.infer(call(1), sender=BOB), 1, 1)
    world.infer(call(2), sender=BOB)
    world.setAgent(1, BOB, 2 * FEE, [], sender=USER)
    refused(world, "AgentModelNotAllowed", lambda: world.infer(call(2), sender=BOB), 1, 2)


def test_a_batch_mixes_payers(world: World) -> None:
    world.inferBatch([call(), call(1, 0), call()], sender=WALLET, value=FEE + 9)
    assert world.balance(WALLET) == 9 and state(world)[0] == 2 * FEE
    one_too_many = [call(), call(1, 0)]
    refused(world, "DailyCapExceeded", lambda: world.inferBatch(one_too_many, sender=WALLET, value=FEE))


def test_the_owner_takes_back_what_is_left(world: World) -> None:
    for act in (lambda: world.withdrawAgent(1, 1, sender=WALLET), lambda: world.setAgent(1, BOB, 1, [], sender=WALLET)):
        refused(world, "NotAllowed", act)
    refused(world, "DepositTooLow", lambda: world.withdrawAgent(1, 4 * FEE + 1, sender=USER), 1, 4 * FEE + 1, 4 * FEE)
    world.withdrawAgent(1, FEE, sender=USER)
    assert world.events("AgentWithdrawn") == [{"agentId": 1, "amount": FEE}]
    assert world.balance(USER) == FEE and state(world)[0] == 3 * FEE


def test_registration_is_checked(world: World) -> None:
    zero = "nobody holds the zero address"
    refused(world, "InvalidParameter", lambda: world.registerAgent("", bytes(20), 1, []), "wallet", zero)
    refused(world, "TooLong", lambda: world.registerAgent("u" * 1_025, WALLET, 1, []), "uri", 1_025, 1_024)
    refused(world, "TooLong", lambda: world.registerAgent("", WALLET, 1, [1] * 65), "models", 65, 64)
    at_the_limits = world.registerAgent("u" * 1_024, WALLET, 1, [1] * 64)
    assert at_the_limits == 2 and world.events("AgentRegistered")[0]["agentId"] == 2


def test_typed_queries_show_agents_and_lineage(world: World) -> None:
    world.infer(call(), sender=WALLET)
    child = world.model([(1, 1, 0, 10_000)], parents=[(1, 70)])
    queries = Queries(Reader(world), CHAIN_ID)
    agent = queries.agent(1)
    assert agent is not None and (agent.owner, agent.wallet, agent.uri) == (USER, WALLET, "ipfs://agent")
    assert (agent.deposit, agent.daily_cap, agent.spent) == state(world)
    assert queries.agent(2) is None and queries.royalties(child) == ((1, 70),) and queries.royalties(9) == ()
    assert world.getDatanet(1)[0] == "0x" + OWNER.hex()

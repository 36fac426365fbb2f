"""Parameters by vote: who may, how many it takes, the time lock, the bounds; and whatever is voted, the chain goes on."""

import dataclasses
import random
import re
from pathlib import Path

import pytest

from evm_runtime.native import gas
from evm_runtime.native.storage import Value
from evm_runtime.staking import parameters
from genesis.chain_spec import STAKING_ADDRESS, check_parameters
from genesis.errors import InvalidBlock, LocalError, StorageUnavailable
from genesis.governance import GOVERNED, with_values
from tests.unit.evm_runtime.chain import ADDRESSES, make_spec
from tests.unit.staking.test_staking import reverts
from tests.unit.staking.world import NEW, OLD, OPEN, PARAMS, World

DELAY_MS = 60_000
VOTING_MS = 300_000
VOTED = dataclasses.replace(PARAMS, governance_delay_ms=DELAY_MS, governance_voting_ms=VOTING_MS)
OPEN_STATE, QUEUED, ENACTED = 0, 1, 2


def voted(world: World, parameter: str, value: int) -> int:
    """A proposal that all four are for, enacted after its time lock. Returns its number."""
    world.act(0, "propose", OLD[0], parameter, value)
    number = world.chain.runtime.state().slots(STAKING_ADDRESS).load(40)
    for key in range(4):
        world.queue(key, "vote", number, OLD[key], True)
    world.block()
    world.act(4, "queue", number)
    world.skip_ms(DELAY_MS)
    world.act(4, "enact", number)
    return number


def test_a_change_takes_two_thirds_a_time_lock_and_two_thirds_again() -> None:
    world = World(VOTED)
    world.act(0, "propose", OLD[0], "staking.jail_ms", 5_000)
    reverts("NotEnoughVotes", lambda: world.act(4, "queue", 1))
    for key in (0, 1):
        world.act(key, "vote", 1, OLD[key], True)
    world.act(2, "vote", 1, OLD[2], False)
    info = world.view("proposal", 1)
    assert (info.parameter, info.value, info.yes, info.no, info.total) == ("staking.jail_ms", 5_000, 21, 12, 46)
    reverts("NotEnoughVotes", lambda: world.act(4, "queue", 1))
    reverts("WrongProposalState", lambda: world.act(4, "enact", 1))
    world.act(3, "vote", 1, OLD[3], True)
    assert 3 * 34 > 2 * 46
    world.act(4, "queue", 1)
    assert world.view("proposal", 1).state == QUEUED
    reverts("WrongProposalState", lambda: world.act(4, "queue", 1))
    reverts("TooSoon", lambda: world.act(4, "enact", 1))
    world.skip_ms(DELAY_MS)
    world.act(3, "vote", 1, OLD[3], False)
    reverts("NotEnoughVotes", lambda: world.act(4, "enact", 1))
    world.act(3, "vote", 1, OLD[3], True)
    assert world.chain.runtime.parameters().staking.jail_ms == PARAMS.jail_ms
    world.act(4, "enact", 1)
    assert world.chain.runtime.parameters().staking.jail_ms == 5_000
    assert world.view("proposal", 1).state == ENACTED
    reverts("WrongProposalState", lambda: world.act(4, "enact", 1))
    reverts("WrongProposalState", lambda: world.act(3, "vote", 1, OLD[3], False))


def test_stake_that_moved_away_takes_its_weight_along() -> None:
    world = World(VOTED)
    world.act(4, "delegate", OLD[0], value=100 * OPEN)
    world.act(0, "propose", OLD[0], "staking.slash_bps", 5_000)
    world.act(0, "vote", 1, OLD[0], True)
    world.act(0, "queue", 1)
    world.act(4, "redelegate", OLD[0], OLD[1], 100 * OPEN)
    world.skip_ms(DELAY_MS)
    reverts("NotEnoughVotes", lambda: world.act(0, "enact", 1))
    assert world.view("proposal", 1).yes == 10


def test_only_owners_propose_and_vote_and_proposals_end() -> None:
    world = World(VOTED)
    reverts("NotOwner", lambda: world.act(4, "propose", OLD[0], "staking.jail_ms", 5_000))
    world.create(4, 0, 2 * OPEN)
    world.act(4, "removeSelfStake", NEW[0], 2 * OPEN)
    world.block()
    reverts("InvalidParameter", lambda: world.act(4, "propose", NEW[0], "staking.jail_ms", 5_000))
    world.act(0, "propose", OLD[0], "staking.jail_ms", 5_000)
    reverts("NotOwner", lambda: world.act(4, "vote", 1, OLD[0], True))
    reverts("UnknownProposal", lambda: world.act(0, "vote", 2, OLD[0], True))
    world.act(4, "vote", 1, NEW[0], True)  # it has no power to count
    assert world.view("proposal", 1).yes == 0
    world.skip_ms(VOTING_MS)
    reverts("ProposalExpired", lambda: world.act(0, "vote", 1, OLD[0], True))
    reverts("ProposalExpired", lambda: world.act(0, "queue", 1))
    for key in range(4):
        world.queue(key, "vote", 1, OLD[key], True)
    world.block()


def test_a_queued_proposal_that_nobody_enacts_ends() -> None:
    world = World(VOTED)
    world.act(0, "propose", OLD[0], "staking.jail_ms", 5_000)
    for key in range(4):
        world.queue(key, "vote", 1, OLD[key], True)
    world.block()
    world.act(4, "queue", 1)
    world.skip_ms(DELAY_MS + VOTING_MS)
    reverts("ProposalExpired", lambda: world.act(4, "enact", 1))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("staking.stake_per_power", 10**9),
        ("staking.governance_delay_ms", 0),
        ("staking.downtime_window_blocks", 100),
        ("block.withdrawals_max", 1),
        ("block.base_fee_floor", 10**30),
        ("attribution.burn_bps", 0),
        ("chain_id", 1),
        ("", 0),
        ("block.gas_limit", (1 << 24) - 1),
        ("block.gas_limit", 100_000_001),
        ("block.interval_ms", 0),
        ("block.interval_ms", 10_001),
        ("staking.slash_bps", 5_001),
        ("staking.validators_max", 0),
        ("staking.validators_max", 201),  # above candidates_max
        ("staking.evidence_age_ms", PARAMS.unbonding_ms + 1),
        ("staking.evidence_age_ms", PARAMS.trusting_period_ms),
        ("staking.unbonding_ms", PARAMS.evidence_age_ms - 1),
        ("staking.min_self_stake", OPEN - 1),  # less than a unit of power
        ("staking.jail_ms", 1 << 255),
    ],
)
def test_what_is_fixed_or_cannot_be_is_not_even_proposed(parameter: str, value: int) -> None:
    world = World(VOTED)
    reverts("InvalidParameter", lambda: world.act(0, "propose", OLD[0], parameter, value))


def test_a_change_that_no_longer_fits_when_its_time_comes_is_refused() -> None:
    world = World(VOTED)
    world.act(0, "propose", OLD[0], "staking.evidence_age_ms", 590_000)
    world.act(1, "propose", OLD[1], "staking.unbonding_ms", 550_000)
    for number in (1, 2):
        for key in range(4):
            world.queue(key, "vote", number, OLD[key], True)
        world.block()
        world.act(4, "queue", number)
    world.skip_ms(DELAY_MS)
    world.act(4, "enact", 1)
    reverts("InvalidParameter", lambda: world.act(4, "enact", 2))


def test_block_parameters_act_from_the_next_block() -> None:
    world = World(VOTED)
    limit = world.chain.tip.gas_limit
    voted(world, "block.gas_limit", 20_000_000)
    assert world.chain.tip.gas_limit == limit
    assert world.block().header.gas_limit == 20_000_000
    voted(world, "block.interval_ms", 1_400)
    world.queue(4, "claimRewards", OLD[0])
    with pytest.raises(InvalidBlock, match="time"):
        world.block(step_ms=1_399)
    world.nonces[4] -= 1
    world.queue(4, "claimRewards", OLD[0])
    world.block(step_ms=1_400)


def test_reading_parameters_that_were_changed_is_paid_for_slot_by_slot() -> None:
    """One slot says that nothing was ever changed; after that there is one for each that can be."""
    paid = []
    for parameter in ("block.gas_limit", None):
        world = World(VOTED)
        world.act(3, "delegate", OLD[0], value=OPEN)
        if parameter:
            voted(world, parameter, 20_000_000)
        world.act(3, "claimRewards", OLD[0])
        world.act(3, "delegate", OLD[0], value=OPEN)
        paid.append(world.act(3, "delegate", OLD[0], value=OPEN).receipts[0].cumulative_gas_used)
    assert paid[0] - paid[1] == len(GOVERNED) * gas.COLD_SLOT


def test_staking_parameters_act_on_the_set() -> None:
    world = World(VOTED)
    voted(world, "staking.min_self_stake", 12 * OPEN)
    world.block()
    world.block()
    assert sorted(world.sets()[0]) == sorted([OLD[2], OLD[3]])
    reverts("AmountTooLow", lambda: world.create(4, 0, 11 * OPEN))
    world.act(0, "addSelfStake", OLD[0], value=2 * OPEN)
    world.block()
    assert world.sets()[0][OLD[0]] == 12


def test_a_minimum_that_nobody_has_leaves_the_set_as_it_is() -> None:
    world = World(VOTED)
    voted(world, "staking.min_self_stake", 1_000 * OPEN)
    for _ in range(4):
        world.block()
    assert len(world.sets()[0]) == 4


def test_every_bound_is_of_a_parameter_and_the_defaults_are_inside() -> None:
    spec = make_spec()
    for name, bounds in GOVERNED.items():
        section, _, field = name.partition(".")
        assert bounds.least <= getattr(getattr(spec.parameters, section), field) <= bounds.greatest, name


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_voted_the_chain_goes_on(seed: int) -> None:
    """Random votes of everybody for random values, wild ones too; blocks are built and checked by what is in force."""
    print(f"seed {seed}")
    rng, world = random.Random(seed), World(dataclasses.replace(VOTED, governance_delay_ms=0))
    enacted = 0
    for number in range(1, 1_000):
        if enacted == 8:
            break
        name = rng.choice(list(GOVERNED))
        bounds = GOVERNED[name]
        near = [bounds.least, bounds.greatest, bounds.least - 1, bounds.greatest + 1, rng.getrandbits(256)]
        value = rng.choice([*near, rng.randint(bounds.least, bounds.greatest)]) % (1 << 256)
        now = world.chain.runtime.parameters()
        section, _, field = name.partition(".")
        changed = dataclasses.replace(getattr(now, section), **{field: value})
        possible = bounds.least <= value <= bounds.greatest and _fits(dataclasses.replace(now, **{section: changed}))
        members = list(world.sets()[0])
        key = ADDRESSES.index(world.info(members[0]).owner)
        world.queue(key, "propose", members[0], name, value)
        proposed = advance(world).receipts[-1].status == 1
        assert proposed == possible, (name, value)
        if not proposed:
            continue
        count = world.chain.runtime.state().slots(STAKING_ADDRESS).load(40)
        for member in members:
            world.queue(ADDRESSES.index(world.info(member).owner), "vote", count, member, True)
        advance(world)
        world.queue(4, "queue", count)
        advance(world)
        world.queue(4, "enact", count)
        assert advance(world).receipts[-1].status == 1, (number, name, value)
        enacted += 1
        check_parameters(world.chain.runtime.parameters())
        for _ in range(3):
            assert advance(world).block.consensus.next_validators_hash
    assert enacted == 8


def advance(world: World):  # type: ignore[no-untyped-def]
    """A block as early as may be, by what is in force."""
    return world.block(step_ms=max(1_000, world.chain.runtime.parameters().block.empty_interval_ms))


def _fits(parameters: object) -> bool:
    try:
        check_parameters(parameters)  # type: ignore[arg-type]
    except LocalError:
        return False
    return True


def test_the_documents_table_is_the_codes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "staking.md").read_text().replace(",", "")
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)`[^|]*\| ([0-9^]+) \| ([0-9^]+) \|$", page, re.MULTILINE)
    assert {name: (number(a), number(b)) for name, a, b in rows} == {
        name: (bounds.least, bounds.greatest) for name, bounds in GOVERNED.items()
    }


def number(text: str) -> int:
    base, _, exponent = text.partition("^")
    return int(base) ** int(exponent or 1)


def test_with_values_refuses_what_it_does_not_know() -> None:
    with pytest.raises(LocalError, match="can't be changed by vote"):
        with_values(make_spec().parameters, {"block.bytes_max": 1})


def test_a_state_that_cannot_be_read_is_no_answer_about_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of a disk is a LocalError, like that of a value out of bounds: as an answer it would split the chain."""

    class Unreadable(Value):
        def get(self, *_arguments: object) -> int:
            raise StorageUnavailable("the disk is full")

    in_force = World(VOTED).chain.runtime.parameters
    assert in_force().staking.jail_ms == PARAMS.jail_ms
    world = World(VOTED)
    monkeypatch.setattr(parameters.InForce, "at", lambda self, _slots: self._base)
    monkeypatch.setattr(parameters, "VALUES", Unreadable(39))
    with pytest.raises(StorageUnavailable):
        world.view("propose", OLD[0], "staking.jail_ms", 5_000)

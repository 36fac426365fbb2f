"""The contract's last lines of defence: each invariant, given a state that its own rules exclude, stops the node."""

from dataclasses import replace

import pytest

from attribution_precompile.layout import STAKERS_SLOT
from attribution_precompile.rules import pool
from attribution_precompile.rules.division import Division, UseTerms, divide
from attribution_precompile.rules.fees import split_fee
from attribution_precompile.rules.span import Attribution
from genesis.chain_spec import AttributionParams
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI, Wei
from tests.unit.attribution.world import World

PARAMS = AttributionParams()
USE = UseTerms(bps=10_000, curator_bps=0, soft_cap_bps=10_000)


def shares(**changes: int) -> AttributionParams:
    """Parameters that the chain spec would refuse."""
    params = replace(PARAMS)
    for name, value in changes.items():
        object.__setattr__(params, name, value)
    return params


def test_parts_of_a_fee_above_the_fee_stop_the_node() -> None:
    whole = 10_000 - PARAMS.burn_bps - PARAMS.treasury_bps - PARAMS.stakers_bps
    assert split_fee(Wei(10_000), shares(owner_bps=whole)).contributors == 0
    with pytest.raises(InvariantError, match="the parts of a fee exceed it"):
        split_fee(Wei(10_000), shares(owner_bps=whole + 1))


def test_a_part_for_the_pools_below_zero_stops_the_node() -> None:
    """More tokens credited than there are, and no cap: the payments exceed the amount, though all parts sum to it."""
    found = Attribution(10, ((1, 15),))
    with pytest.raises(InvariantError, match="100 wei were divided out of 100"):
        divide(Wei(100), found, [replace(USE, soft_cap_bps=20_000)], {1: 0}, 64)


def test_wei_that_come_from_nowhere_stop_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Division, "total", property(lambda _division: 101))
    with pytest.raises(InvariantError, match="101 wei were divided out of 100"):
        divide(Wei(100), Attribution(10, ((1, 5),)), [USE], {1: 0}, 64)


def test_a_pool_without_weight_is_never_paid() -> None:
    with pytest.raises(InvariantError, match="a pool without weight was paid"):
        pool.divide(Wei(1), 0, 0)


@pytest.mark.parametrize("missing", [0, 1])
def test_the_stakers_part_is_covered_to_the_wei_or_the_node_stops(missing: int) -> None:
    world = World()
    state, contract = world.chain.state, world.contract
    owed = 5 * WEI_PER_GWEI
    state.set_storage(contract.address, STAKERS_SLOT, owed + 17)
    state.set_balance(contract.address, owed - missing)
    if missing:
        with pytest.raises(InvariantError, match=f"owes the stakers {owed} wei and has {owed - 1}"):
            contract.end_block(state)
    else:
        assert contract.end_block(state) == owed
        assert state.get_balance(contract.address) == 0
        assert state.get_storage(contract.address, STAKERS_SLOT) == 17, "less than a gwei waits"

"""The attribution contract in the chain's own runtime: calls on made-up state keep nothing, and stop nothing."""

import pytest

from evm_runtime.calls import AccountOverride, BlockOverrides, CallRequest
from evm_runtime.genesis_block import build_genesis
from evm_runtime.native import array_slot, mapping_slot
from evm_runtime.runtime import Runtime
from evm_runtime.state.kv import MemoryStore
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from tests.unit.attribution.finals import HeaderFinals, contract_on
from tests.unit.attribution.world import USER, World, make_spec, params


@pytest.fixture
def runtime() -> Runtime:
    spec = make_spec()
    store = MemoryStore()
    genesis, finals = build_genesis(spec), HeaderFinals()
    store.apply(genesis.writes)
    finals.store = store
    finals.add(genesis.header)
    return Runtime(spec, None, store, (contract_on(finals, spec),))


@pytest.mark.parametrize("extreme", [2**64 - 1, 2**63])
def test_overridden_blocks_and_balances_cannot_stop_the_node(runtime: Runtime, extreme: int) -> None:
    header = build_genesis(make_spec()).header
    request = CallRequest(USER, ATTRIBUTION_ADDRESS, data=World().data("createDatanet", params()))
    for changes in (BlockOverrides(number=extreme), BlockOverrides(time=extreme)):
        overrides = {USER: AccountOverride(balance=2**255)}
        result = runtime.call(header, request, gas_cap=10**7, state_overrides=overrides, block_overrides=changes)
        assert result.status == "success"
        huge = CallRequest(USER, ATTRIBUTION_ADDRESS, value=2**254, data=request.data)
        refused = runtime.call(header, huge, gas_cap=10**7, state_overrides=overrides, block_overrides=changes)
        assert refused.status == "revert"


def test_calls_that_make_up_the_contract_run_on_a_contract_of_their_own(runtime: Runtime) -> None:
    genesis = build_genesis(make_spec())
    ask = World().data
    # a datanet 1 owned by 0x…01 with one segment in its list, whose content nobody has, in a version 1 used by a model 1
    made_up = {
        mapping_slot(8, 1): 1 | 8 << 160 | 1 << 168,
        mapping_slot(11, 1): 1 | 1 << 160,
        mapping_slot(11, 1) + 3: int.from_bytes(b"words-v1".ljust(32, b"\0"), "big"),
        mapping_slot(12, 1): 1,
        array_slot(mapping_slot(12, 1)): 1 | 1 << 64 | 10_000 << 104,
        mapping_slot(10, 1, 1): 1 | 1 << 64 | 1 << 128 | 1 << 192,
        mapping_slot(17, 1): 1,
        array_slot(mapping_slot(17, 1)): 1 | 1 << 64 | 1 << 128 | 8 << 192,
        mapping_slot(9, 1): 7,
    }
    request = CallRequest(USER, ATTRIBUTION_ADDRESS, data=ask("trace", 1, b"one two three"))
    overrides = {ATTRIBUTION_ADDRESS: AccountOverride(state_diff=made_up)}
    result = runtime.call(genesis.header, request, gas_cap=10**7, state_overrides=overrides)
    assert result.status == "revert" and b"is missing" in result.output
    plain = runtime.call(genesis.header, request, gas_cap=10**7)
    assert plain.status == "revert" and b"is missing" not in plain.output, "there is no model 1"

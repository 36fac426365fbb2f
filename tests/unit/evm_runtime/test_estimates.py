"""Estimates and access lists of random programs: what they promise holds."""

import random
from typing import Any

import pytest

from evm_runtime.calls import CallRequest
from evm_runtime.estimate import ExecutionReverted
from evm_runtime.runtime import Runtime
from genesis.errors import InvalidTransaction
from genesis.primitives import Address
from tests.fuzz.cases import make_case
from tests.fuzz.machines import TIERS
from tests.fuzz.transactions import CONTRACTS
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, contract, make_spec
from tests.unit.evm_runtime.machines import CAP, access_lists


def chain_of(seed: int) -> Chain:
    case = make_case(seed)
    accounts = [contract(a, code, 10**18, {1: 5, 2: 1 << 200}) for a, code in zip(CONTRACTS, case.codes, strict=True)]
    return Chain(make_spec(*accounts))


@pytest.mark.parametrize("seed", range(5))
def test_an_estimate_is_enough_gas_on_every_tier_and_what_it_refuses_fails(seed: int) -> None:
    chain = chain_of(seed)
    estimated = 0
    for address in CONTRACTS:
        request: dict[str, Any] = {
            "sender": ADDRESSES[0],
            "to": Address(address),
            "data": bytes([seed, 1, 2]),
            "value": 1,
        }
        found = set()
        for tiers in TIERS.values():
            runtime = Runtime(chain.spec, chain.identity, chain.store, tiers=tiers)
            try:
                gas = runtime.estimate_gas(chain.tip, CallRequest(**request), gas_cap=CAP)
            except (ExecutionReverted, InvalidTransaction) as error:
                found.add(str(error))
                result = runtime.call(chain.tip, CallRequest(**request, gas=CAP), gas_cap=CAP)
                assert result.status != "success", f"seed {seed}: {error}"
                continue
            result = runtime.call(chain.tip, CallRequest(**request, gas=gas), gas_cap=CAP)
            assert result.status == "success" and result.gas_used <= gas, f"seed {seed}, {address.hex()}: {gas}"
            found.add(str(gas))
            estimated += 1
        assert len(found) == 1, f"seed {seed}: {found}"
    assert estimated


@pytest.mark.parametrize("seed", range(5))
def test_an_access_list_leaves_out_what_is_warm_anyway(seed: int) -> None:
    chain = chain_of(seed)
    for address in CONTRACTS:
        request = CallRequest(sender=ADDRESSES[0], to=Address(address), data=b"\1")
        found, _ = chain.runtime.create_access_list(chain.tip, request, gas_cap=CAP)
        assert [entry[0] for entry in found] == sorted({entry[0] for entry in found})
        assert ADDRESSES[0] not in dict(found), "the sender is warm anyway"
        assert all(slots for at, slots in found if at == address), "so is who is called, but for its slots"


@pytest.mark.parametrize("seed", range(8))
def test_an_access_list_is_the_same_on_every_tier(seed: int) -> None:
    """However little gas there is: what is touched, and in which order that costs gas, does not depend on the machine."""
    chain, rng = chain_of(seed), random.Random(seed)
    touched = 0
    for address in CONTRACTS:
        for gas in (CAP, *(rng.randrange(21_100, 60_000) for _ in range(6))):
            request = CallRequest(sender=ADDRESSES[0], to=Address(address), data=bytes([seed, 1, 2]), gas=gas)
            touched += len(access_lists(chain, request, f"seed {seed}, gas {gas}"))
    assert touched, f"seed {seed}"

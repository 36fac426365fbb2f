"""Whole blocks are, field by field, what EELS makes of them. (`python -m tests.fuzz.blocks` runs many more.)"""

from dataclasses import replace
from typing import Any

import pytest

from genesis.chain_spec import STAKING_ADDRESS
from tests.fuzz.blocks import RING_READER, Twin, check, make_chain, read_account
from tests.unit.evm_runtime.chain import Chain, contract, make_spec, signed

EXECUTED = {
    "state_root": b"\1" * 32,
    "transactions_root": b"\1" * 32,
    "receipts_root": b"\1" * 32,
    "withdrawals_root": b"\1" * 32,
    "requests_hash": b"\1" * 32,
    "bloom": b"\1" * 256,
    "gas_used": 20_999,
    "base_fee_per_gas": 999_999,
    "blob_gas_used": 131_072,
    "excess_blob_gas": 131_072,
    "parent_beacon_block_root": b"\1" * 32,
    "parent_hash": b"\1" * 32,
}


@pytest.mark.parametrize("seed", [*range(7), 510])  # in 510 a slot of the staking contract becomes empty
def test_random_blocks_are_what_eels_makes_of_them(seed: int) -> None:
    found, chain = check(seed)
    assert not found, f"seed {seed}: {found}"
    assert any(executed.transactions for executed in chain.blocks)


def test_the_blocks_have_something_of_everything() -> None:
    chains = [make_chain(seed, []) for seed in range(8)]
    blocks = [executed for chain in chains for executed in chain.blocks]
    assert {chain.spec.forks[0].fork for chain in chains} == {"prague", "osaka"}
    assert any(executed.block.withdrawals for executed in blocks)
    assert len({executed.header.base_fee_per_gas for executed in blocks}) > len(chains)
    receipts = [receipt for executed in blocks for receipt in executed.receipts]
    assert {receipt.kind for receipt in receipts} >= {0, 2, 4}
    assert any(receipt.logs for receipt in receipts) and {receipt.status for receipt in receipts} == {0, 1}
    ring = [chain.runtime.state().storage(RING_READER, slot) for chain in chains for slot in (0, 10, 12)]
    assert any(ring), "block hashes and beacon roots were read"


@pytest.mark.parametrize("name", EXECUTED)
def test_eels_refuses_a_header_that_is_wrong_in_one_field(name: str) -> None:
    chain = Chain(make_spec(contract(b"\xe0" * 20, b"\x5f\x5f\xa0")))
    executed = chain.advance(signed(nonce=0, to=b"\xe0" * 20, gas=100_000))
    wrong: dict[str, Any] = {name: EXECUTED[name]}
    staking = read_account(chain.store, STAKING_ADDRESS)
    assert Twin(chain).apply(executed, staking) == ""
    assert Twin(chain).apply(replace(executed, header=executed.header.replace(**wrong)), staking).startswith("refused")

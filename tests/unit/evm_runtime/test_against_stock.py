"""Blocks of random transactions give the same receipts, logs and state as stock py-evm."""

import random
import warnings
from typing import Any

import pytest
import rlp
from eth.db.trie import make_trie_root_and_nodes
from eth_account import Account

from evm_runtime.transaction import Transaction
from genesis.chain_spec import BlockParams, ForkActivation
from genesis.primitives import Address, Wei
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import deployer, random_program
from tests.unit.evm_runtime.stock import SYSTEM_CODE, StockBlock

CONTRACTS = [Address(bytes([0xE0 + i]) * 20) for i in range(4)]
EMPTY = Address(b"\x99" * 20)
PRECOMPILES = [bytes(19) + bytes([i]) for i in (1, 2, 3, 4)]


def random_transaction(rng: random.Random, nonces: list[int]) -> Transaction:
    key = rng.randrange(3)
    fields: dict[str, Any] = {
        "nonce": nonces[key],
        "gas": rng.choice([60_000, 150_000, 1_000_000]),
        "value": rng.choice([0, 0, 1, 10**15]),
        "data": rng.randbytes(rng.randrange(70)),
    }
    shape = rng.randrange(6)
    if shape == 0:
        fields |= {"gas": 500_000, "data": deployer(random_program(rng, [*CONTRACTS, EMPTY], 4))}
    elif shape == 1:
        fields |= {"gas": 500_000, "data": random_program(rng, [*CONTRACTS, EMPTY], 4)}
    else:
        fields["to"] = rng.choice([*CONTRACTS, *CONTRACTS, EMPTY, rng.choice(PRECOMPILES), ADDRESSES[rng.randrange(3)]])
    if shape == 2:
        fields["gasPrice"] = rng.choice([10**9, 3 * 10**9])
    if shape == 3:
        slots = ["0x" + slot.to_bytes(32, "big").hex() for slot in range(rng.randrange(3))]
        fields["accessList"] = [{"address": "0x" + rng.choice(CONTRACTS).hex(), "storageKeys": slots}]
    if shape == 4:
        fields["gas"] = 1_000_000
        fields["authorizationList"] = [random_authorization(rng, nonces) for _ in range(rng.randint(1, 3))]
    nonces[key] += 1
    return signed(key, **fields)


def random_authorization(rng: random.Random, nonces: list[int]) -> Any:
    """Mostly valid; authorities 3 and 4 send nothing, so their nonces are known. (Stock py-evm charges initcode twice where
    a sender has delegated to code that creates; test_transition has that case.)"""
    authority = rng.choice([3, 3, 4])
    nonce = rng.choice([nonces[authority], nonces[authority], 7])
    target = rng.choice([*CONTRACTS, EMPTY, bytes(20), PRECOMPILES[3]])
    chain_id = rng.choice([CHAIN_ID, CHAIN_ID, 0, 5])
    authorization = {"chainId": chain_id, "address": "0x" + target.hex(), "nonce": nonce}
    if nonce == nonces[authority] and chain_id != 5:
        nonces[authority] += 1
    return Account.sign_authorization(authorization, KEYS[authority])


def assert_same_state(chain: Chain, stock: StockBlock, addresses: set[bytes], note: str) -> None:
    ours, theirs = chain.runtime.state(), stock.state
    for address in sorted(addresses):
        assert ours.nonce(Address(address)) == theirs.get_nonce(address), note
        assert ours.code(Address(address)) == theirs.get_code(address), note
        assert ours.balance(Address(address)) == theirs.get_balance(address), f"{note}: balance of {address.hex()}"
        for slot in range(8):
            assert ours.storage(Address(address), slot) == theirs.get_storage(address, slot), note
        assert (ours.account(Address(address)) is not None) == theirs.account_exists(address), note


@pytest.mark.parametrize("seed", range(60))
def test_a_random_block_is_executed_as_by_stock_py_evm(seed: int) -> None:
    rng = random.Random(seed)
    note = f"seed {seed}"
    contracts = [
        contract(address, random_program(rng, [*CONTRACTS, EMPTY, *ADDRESSES[3:]], 6), 10**18, {1: 5, 2: 1 << 200})
        for address in CONTRACTS
    ]
    # Stock py-evm has Ethereum's denominator; withdrawals would change balances that it knows nothing of, and block 1 has none.
    params = BlockParams(base_fee_denominator=8, base_fee_floor=Wei(7))
    chain = Chain(make_spec(*contracts, block=params, forks=(ForkActivation("prague"),)))
    nonces = [0] * 5
    transactions = [random_transaction(rng, nonces) for _ in range(12)]
    genesis = chain.tip
    executed = chain.build(transactions)
    assert not executed.skipped, f"{note}: what is left out is compared with nothing: {executed.skipped}"
    chain.accept(executed)
    stock = StockBlock(chain.spec, genesis, executed.header)
    assert stock.header.base_fee_per_gas == executed.header.base_fee_per_gas
    touched: set[bytes] = {*CONTRACTS, *ADDRESSES, EMPTY, executed.header.coinbase, *PRECOMPILES}
    theirs = []
    for index, tx in enumerate(executed.transactions):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # stock py-evm warns at each SELFDESTRUCT
            receipt, computation = stock.apply(tx.raw)
        ours = executed.receipts[index]
        where = f"{note}, transaction {index}"
        assert ours.cumulative_gas_used == receipt.gas_used, where
        assert ours.status == int(computation.is_success), where
        assert receipt.encode() == ours.encode(), where
        theirs.append(receipt)
        if executed.results[index].contract_address:
            touched.add(executed.results[index].contract_address)
    decoded = [stock.decode(tx.raw) for tx in executed.transactions]
    assert make_trie_root_and_nodes(decoded)[0] == executed.header.transactions_root
    assert make_trie_root_and_nodes(theirs)[0] == executed.header.receipts_root
    assert int.from_bytes(executed.header.bloom, "big") == stock.header.bloom
    for address, account in list(chain.store.iterate(b"a")):
        touched.add(address[1:])
        assert rlp.decode(account)
    assert_same_state(chain, stock, touched - set(SYSTEM_CODE), note)


def test_most_random_transactions_succeed() -> None:
    """A fuzzer whose programs all fail tests nothing."""
    succeeded = total = 0
    for seed in range(15):
        rng = random.Random(seed)
        contracts = [contract(a, random_program(rng, [*CONTRACTS, EMPTY], 6), 10**18) for a in CONTRACTS]
        chain = Chain(make_spec(*contracts))
        executed = chain.build([random_transaction(rng, nonces) for nonces in [[0] * 5] for _ in range(12)])
        succeeded += sum(receipt.status for receipt in executed.receipts)
        total += len(executed.receipts)
    assert succeeded > total // 2, (succeeded, total)

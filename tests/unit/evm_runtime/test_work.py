"""The second meter: equal in every tier, a limit that nobody can catch, a block's budget, and what tools are told of it."""

import dataclasses
import random
from typing import Any

import pytest
from eth_account import Account as EthAccount

from evm_runtime import transition, work
from evm_runtime.block import BlockRun
from evm_runtime.calls import CallRequest
from evm_runtime.computation import computation_class
from evm_runtime.hardforks import OSAKA
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.source import FlatSource, stored_root
from evm_runtime.tiers import Tiers
from evm_runtime.tracing import TraceOptions
from evm_runtime.transaction import Transaction
from evm_runtime.vm_errors import OutOfWork
from genesis.chain_spec import WORK_LIMIT_MIN, BlockParams, ForkActivation
from genesis.errors import InvalidBlock, InvalidTransaction, LocalError
from genesis.primitives import Address
from tests.bench.erc20 import TOKEN, TOKEN_GAS, token, transfer
from tests.fuzz.machines import TIERS
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm, random_program

HUNGRY = Address(b"\xe0" * 20)
OTHER = Address(b"\xe1" * 20)
CALLER = Address(b"\xe2" * 20)
FRESH = Address(b"\x22" * 20)
FOREVER = asm("JUMPDEST", 0, 0, 0, 0, 0, FRESH, 0, "CALL", "POP", 0, "JUMP")
"""Calls nobody until the gas is gone: 22 µs of work for 120 gas."""
LITTLE = BlockParams(work_limit=WORK_LIMIT_MIN, transaction_work_limit=2_000_000)
LEAST = BlockParams(work_limit=WORK_LIMIT_MIN, transaction_work_limit=25_000_000)


def loop_of_calls(times: int) -> bytes:
    """`times` calls, and then a slot."""
    body = asm("JUMPDEST", 0, 0, 0, 0, 0, FRESH, 0, "CALL", "POP", 1, "SWAP1", "SUB", "DUP1", 2, "JUMPI")
    return bytes([0x60, times]) + body + asm(1, 0, "SSTORE")


def outcome_of(chain: Chain, tx: Transaction, allowance: int, tiers: Tiers | None = None) -> tuple[Any, AccountDB]:
    """One transaction on the tip, with so much work allowed."""
    db = AccountDB(FlatSource(chain.store), stored_root(chain.store))
    computation = computation_class({}, (tiers or Tiers()).make(), OSAKA)
    run = BlockRun(chain.spec, db, computation, chain.build().header)
    return transition.execute(run.state, tx, chain.tip.base_fee_per_gas, allowance), db


def test_the_limit_is_exact_and_what_passes_it_is_out_of_gas_and_undone() -> None:
    chain = Chain(make_spec(contract(HUNGRY, loop_of_calls(50))))
    tx = signed(0, nonce=0, to=HUNGRY, gas=300_000, value=5)
    done, _ = outcome_of(chain, tx, work.UNLIMITED)
    needed = done.work - done.gas_peak * work.GAS_WORK
    assert done.succeeded and needed > 50 * work.FRAME_WORK
    for tiers in TIERS.values():
        exact, db = outcome_of(chain, tx, needed, tiers)
        assert exact.succeeded and db.get_storage(HUNGRY, 0) == 1
        short, db = outcome_of(chain, tx, needed - 1, tiers)
        assert not short.succeeded and isinstance(short.error, OutOfWork)
        assert short.gas_used == tx.gas_limit and not short.output and not short.logs
        assert short.work == tx.gas_limit * work.GAS_WORK + needed - 1
        assert db.get_storage(HUNGRY, 0) == 0 and db.get_balance(HUNGRY) == 0
        assert db.get_nonce(ADDRESSES[0]) == 1


def test_a_plain_transfer_takes_no_shortcut_past_the_limit() -> None:
    chain = Chain()
    tx = signed(0, nonce=0, to=ADDRESSES[1], value=5)
    sent, _ = outcome_of(chain, tx, work.TRANSACTION_WORK)
    assert sent.succeeded
    refused, db = outcome_of(chain, tx, work.TRANSACTION_WORK - 1)
    assert not refused.succeeded and isinstance(refused.error, OutOfWork)
    assert db.get_balance(ADDRESSES[1]) == chain.runtime.state().balance(ADDRESSES[1])


def test_no_caller_can_catch_it() -> None:
    """A contract that calls a hungry one with little gas, and would note that the call failed."""
    catcher = asm(0, 0, 0, 0, 0, HUNGRY, 20_000_000, "CALL", "ISZERO", 0, "SSTORE")
    chain = Chain(make_spec(contract(HUNGRY, FOREVER), contract(CALLER, catcher), block=LITTLE))
    for gas in (400_000, 16_000_000):
        executed = chain.advance(signed(0, nonce=chain.tip.number, to=CALLER, gas=gas))
        assert executed.receipts[0].status == 0 and executed.header.gas_used == gas
        assert chain.runtime.state().storage(CALLER, 0) == 0


def test_authorizations_are_undone_too() -> None:
    chain = Chain(make_spec(contract(HUNGRY, FOREVER)))
    authorization = EthAccount.sign_authorization(
        {"chainId": CHAIN_ID, "address": "0x" + OTHER.hex(), "nonce": 0}, KEYS[1]
    )
    tx = signed(0, nonce=0, to=HUNGRY, gas=1_000_000, authorizationList=[authorization], type=4)
    allowed, db = outcome_of(chain, tx, work.UNLIMITED)
    assert db.get_code(ADDRESSES[1]) and not allowed.succeeded  # out of gas, but authorized
    for allowance in (work.TRANSACTION_WORK, work.TRANSACTION_WORK + work.AUTHORIZATION_WORK + 10 * work.FRAME_WORK):
        stopped, db = outcome_of(chain, tx, allowance)
        assert isinstance(stopped.error, OutOfWork)
        assert not db.get_code(ADDRESSES[1]) and db.get_nonce(ADDRESSES[1]) == 0


@pytest.mark.parametrize("seed", range(8))
def test_every_tier_counts_the_same_whatever_the_gas(seed: int) -> None:
    """Failing frames too: they end at any opcode, inside what a tier charges at once."""
    rng = random.Random(f"work {seed}")
    targets = [HUNGRY, OTHER, FRESH, bytes(19) + b"\x02", bytes(19) + b"\x04"]
    accounts = [contract(HUNGRY, random_program(rng, targets, 12)), contract(OTHER, random_program(rng, targets, 5))]
    chain = Chain(make_spec(*accounts))
    high = 2_000_000
    amounts = [high, *(rng.randrange(22_000, 300_000) for _ in range(8))]
    for gas in amounts:
        tx = signed(0, nonce=0, to=HUNGRY, gas=gas)
        found = {name: outcome_of(chain, tx, work.UNLIMITED, tiers)[0].work for name, tiers in TIERS.items()}
        assert len(set(found.values())) == 1, (seed, gas, found)


def test_a_block_takes_what_its_work_allows_and_no_more() -> None:
    chain = Chain(make_spec(contract(HUNGRY, FOREVER), block=LEAST))
    hungry = [signed(key, nonce=0, to=HUNGRY, gas=1_000_000) for key in range(5)]
    executed = chain.build(hungry)
    assert len(executed.transactions) == WORK_LIMIT_MIN // work.limit(1_000_000, LEAST) == 3
    assert all("work limit reached" in why for _, why in executed.skipped) and len(executed.skipped) == 2
    crowded = dataclasses.replace(executed.block, transactions=tuple(tx.raw for tx in hungry))
    with pytest.raises(InvalidBlock, match=r"transaction 3 .*work limit reached"):
        chain.runtime.execute_block(chain.tip, chain.time_ms, crowded)
    chain.accept(executed)


@pytest.mark.parametrize(
    ("to", "data", "gas"),
    [
        (FRESH, b"", 21_000),
        (ADDRESSES[1], b"", 21_000),
        (TOKEN, transfer(ADDRESSES[1]), TOKEN_GAS),
        (TOKEN, transfer(FRESH), TOKEN_GAS),
    ],
    ids=["coins to a new account", "coins", "tokens", "tokens to a new holder"],
)
def test_a_block_of_ordinary_transactions_is_full_by_gas(to: Address, data: bytes, gas: int) -> None:
    chain = Chain(make_spec(token(ADDRESSES)))
    tx = signed(0, nonce=0, to=to, data=data, gas=gas, value=0 if data else 1)
    done, _ = outcome_of(chain, tx, work.UNLIMITED)
    assert done.succeeded
    params = chain.spec.block
    others = params.gas_limit // done.gas_used - 1
    assert others * done.work + work.limit(gas, params) <= params.work_limit


def test_gas_that_no_block_has_work_for_is_refused_at_once() -> None:
    block = dataclasses.replace(LEAST, gas_limit=100_000_000)
    chain = Chain(make_spec(block=block, forks=(ForkActivation("prague"),)))
    ((_, why),) = chain.build([signed(0, nonce=0, to=FRESH, gas=30_000_000)]).skipped
    assert "exceeds block work limit" in why


def test_an_estimate_is_enough_for_the_work_and_says_so_where_nothing_is() -> None:
    # 300 calls are 6.6 million units of work: more than the gas that they use would buy.
    calls = asm(0, 0, 0, 0, 0, FRESH, 0, "CALL", "POP") * 300
    chain = Chain(make_spec(contract(HUNGRY, calls), contract(OTHER, FOREVER)))
    gas = chain.runtime.estimate_gas(chain.tip, CallRequest(sender=ADDRESSES[0], to=HUNGRY), gas_cap=30_000_000)
    enough = chain.advance(signed(0, nonce=0, to=HUNGRY, gas=gas))
    assert enough.receipts[0].status == 1 and enough.header.gas_used < gas
    assert chain.advance(signed(0, nonce=1, to=HUNGRY, gas=gas - 1)).receipts[0].status == 0
    with pytest.raises(InvalidTransaction, match="out of gas: work limit reached"):
        chain.runtime.estimate_gas(chain.tip, CallRequest(sender=ADDRESSES[0], to=OTHER), gas_cap=30_000_000)


def test_reads_have_no_limit_of_work() -> None:
    chain = Chain(make_spec(contract(HUNGRY, loop_of_calls(250)), block=LITTLE))
    assert chain.runtime.call(chain.tip, CallRequest(to=HUNGRY), gas_cap=30_000_000).status == "success"
    executed = chain.advance(signed(0, nonce=0, to=HUNGRY, gas=1_000_000))
    assert executed.receipts[0].status == 0


def test_traces_say_why() -> None:
    caller = asm(0, 0, 0, 0, 0, HUNGRY, "GAS", "CALL")
    chain = Chain(make_spec(contract(HUNGRY, FOREVER), contract(CALLER, caller), block=LITTLE))
    executed = chain.advance(signed(0, nonce=0, to=CALLER, gas=1_000_000))
    assert executed.receipts[0].status == 0
    genesis = Chain(chain.spec).tip
    options = TraceOptions("callTracer", {})
    traced = chain.runtime.trace_transaction(genesis, chain.tip, executed.transactions, 0, options)
    assert traced["error"] == "out of gas: work limit reached" and int(traced["gasUsed"], 16) == 1_000_000
    assert traced["calls"][0]["error"] == "out of gas: work limit reached"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (asm(1, "SLOAD"), work.SLOAD_WORK + work.COLD_WORK),
        (asm(1, "SLOAD", 1, "SLOAD"), 2 * work.SLOAD_WORK + work.COLD_WORK),
        (asm(0, 1, "SSTORE"), work.SSTORE_WORK + work.COLD_WORK),
        (asm(7, 1, "SSTORE"), work.SSTORE_WORK + work.SLOT_WRITE_WORK),
        (asm(7, 1, "SSTORE", 8, 1, "SSTORE"), 2 * work.SSTORE_WORK + work.SLOT_WRITE_WORK),
        (asm(7, 1, "SSTORE", 0, 1, "SSTORE"), 2 * work.SSTORE_WORK + work.SLOT_WRITE_WORK),
        (asm(2, 2, "SSTORE"), work.SSTORE_WORK + work.COLD_WORK),
        (asm(3, 2, "SSTORE"), work.SSTORE_WORK + work.SLOT_WRITE_WORK),
        (asm(0, 0, "KECCAK256"), work.KECCAK_WORK),
        (asm(33, 90, "KECCAK256"), work.KECCAK_WORK + 2 * work.KECCAK_WORD_WORK),
        (asm(0, 0, "LOG0", 1, 2, 0, 0, "LOG2"), 2 * work.LOG_WORK + 2 * work.LOG_TOPIC_WORK),
        (asm(FRESH, "BALANCE", FRESH, "BALANCE"), 2 * work.opcode_work(0x31, 100) + work.COLD_WORK),
        (asm(1, 2, "ADD"), 0),
        (asm(1 << 255, "SLOAD", "INVALID"), work.SLOAD_WORK + work.COLD_WORK),
        (asm(1, "SLOAD") + asm(1 << 255, 0, "KECCAK256"), work.SLOAD_WORK + work.COLD_WORK),
    ],
)
def test_what_opcodes_count(code: bytes, expected: int) -> None:
    chain = Chain(make_spec(contract(HUNGRY, code, storage={2: 2})))
    for name, tiers in TIERS.items():
        done, _ = outcome_of(chain, signed(0, nonce=0, to=HUNGRY, gas=200_000), work.UNLIMITED, tiers)
        assert done.work - done.gas_peak * work.GAS_WORK - work.TRANSACTION_WORK == expected, name


@pytest.mark.parametrize(
    "changes", [{"transaction_work_limit": 0}, {"transaction_work_limit": 84_000_000}, {"work_limit": 99_999_999}]
)
def test_a_spec_without_room_for_transactions_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(LocalError, match=r"block\.work_limit must be at least"):
        make_spec(block=BlockParams(**changes))


def test_a_quicker_chain_has_less_work_in_a_block() -> None:
    params = BlockParams()
    assert params.paced(250).work_limit == params.work_limit // 2
    assert params.paced(1_000).transaction_work_limit == 2 * params.transaction_work_limit
    assert params.paced(10).work_limit == WORK_LIMIT_MIN
    assert params.paced(60_000).empty_interval_ms == 60_000

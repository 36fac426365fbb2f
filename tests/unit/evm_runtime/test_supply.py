"""Rewards and supply: over many blocks the sum of all balances equals genesis + minted - burned, to the wei."""

import random
from typing import Any

import pytest
from eth.abc import ComputationAPI

from evm_runtime.rewards import shares
from evm_runtime.staking import sets
from evm_runtime.staking.genesis_state import write_genesis
from evm_runtime.staking.layout import NEXT_SET
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, BlockParams
from genesis.emission import EMISSION_STEP_MS_MAX, emitted, validators_part
from genesis.errors import InvariantError
from genesis.primitives import ZERO_HASH, Address, Height, Power, Round, Wei
from genesis.proposers import advance
from genesis.types import Commit, Validator, ValidatorSet
from tests.unit.evm_runtime.chain import ADDRESSES, VALIDATORS, Chain, contract, make_spec, signed
from tests.unit.evm_runtime.programs import asm

TO = Address(b"\x22" * 20)
DIES_WITH_BALANCE = asm("ADDRESS", "SELFDESTRUCT")
"""As initcode with a value: a contract destroyed in its own creation, naming itself, burns the value."""


class FeeContract:
    """A native contract that keeps a tenth of what it is paid for the stakers, and burns a twentieth."""

    address = ATTRIBUTION_ADDRESS

    def __call__(self, computation: ComputationAPI) -> ComputationAPI:
        state: Any = computation.state
        value = computation.msg.value
        state.set_storage(self.address, 0, state.get_storage(self.address, 0) + value // 10)
        state.set_balance(self.address, state.get_balance(self.address) - value // 20)
        return computation

    def end_block(self, state: Any) -> Wei:
        amount = state.get_storage(self.address, 0)
        state.set_storage(self.address, 0, 0)
        state.set_balance(self.address, state.get_balance(self.address) - amount)
        return Wei(amount)


def check_supply(chain: Chain) -> None:
    supply = chain.runtime.state().supply()
    assert supply.total == supply.genesis + supply.minted - supply.burned == chain.total_balance()
    assert supply.minted <= validators_part(emitted(supply.emission_clock_ms))
    assert supply.reserve + validators_part(emitted(supply.emission_clock_ms)) - emitted(supply.emission_clock_ms) < 100


def test_a_walk_of_fifty_blocks_keeps_every_wei() -> None:
    seed = 11
    rng = random.Random(seed)
    dying = contract(b"\xd1" * 20, asm(b"\x33" * 20, "SELFDESTRUCT"), 10**18)
    chain = Chain(make_spec(dying), natives=(FeeContract(),))
    nonces = [0] * 5
    for height in range(1, 51):
        transactions = []
        for _ in range(rng.randrange(4)):
            key = rng.randrange(5)
            fields: dict[str, Any] = rng.choice(
                [
                    {"to": TO, "value": rng.randrange(10**18)},
                    {"to": ATTRIBUTION_ADDRESS, "value": rng.randrange(10**19), "gas": 100_000},
                    {"data": DIES_WITH_BALANCE, "value": rng.randrange(10**17), "gas": 100_000},
                    {"to": b"\xd1" * 20, "value": 7, "gas": 100_000},
                    {"to": STAKING_ADDRESS, "value": 5, "gas": 50_000},
                ]
            )
            transactions.append(signed(key, nonce=nonces[key], **fields))
            nonces[key] += 1
        absent = frozenset(place for place in range(4) if rng.random() < 0.2)
        step_ms = rng.choice([5_000, 5_001, 60_000, 600_000])
        chain.advance(*transactions, absent=absent, time_ms=chain.time_ms + step_ms)
        check_supply(chain)
        supply = chain.runtime.state().supply()
        state = chain.runtime.state()
        owed = state.slots(STAKING_ADDRESS).load(10) + state.stake_books().held
        assert state.balance(STAKING_ADDRESS) == owed, f"seed {seed}, height {height}"
        paid = sum(w.amount_gwei for b in chain.blocks for w in b.block.withdrawals) * 10**9
        assert supply.minted <= paid
    assert chain.runtime.state().supply().burned > 0


def test_block_1_rolls_over_and_block_2_pays_both_by_power() -> None:
    chain = Chain()
    assert chain.advance().block.withdrawals == ()
    amount = validators_part(emitted(5_000)) + validators_part(emitted(10_000) - emitted(5_000))
    withdrawals = chain.advance().block.withdrawals
    members = chain.spec.validator_set.members
    total = sum(member.power for member in members)
    assert [(w.address, w.amount_gwei) for w in withdrawals] == [
        (member.payout, amount * member.power // total // 10**9) for member in members
    ]
    assert [w.index for w in withdrawals] == [0, 1, 2, 3]
    assert [w.index for w in chain.advance().block.withdrawals] == [4, 5, 6, 7]
    pending = chain.runtime.state().supply().pending_rewards
    assert pending + chain.runtime.state().supply().minted == sum(
        validators_part(emitted(5_000 * n) - emitted(5_000 * (n - 1))) for n in (1, 2, 3)
    )


def test_the_share_of_who_did_not_sign_rolls_into_the_next_block() -> None:
    chain = Chain()
    chain.advance()
    chain.advance(absent=frozenset({0, 1, 2, 3}) - {2})
    members = chain.spec.validator_set.members
    only = chain.advance().block.withdrawals
    assert [w.address for w in only] == [members[2].payout]
    carried = chain.runtime.state().slots(STAKING_ADDRESS).load(12)
    per_block = validators_part(emitted(5_000))
    assert abs(carried - per_block * (46 - members[2].power) // 46) < 100
    everybody = chain.advance().block.withdrawals
    assert sum(w.amount_gwei for w in everybody) > per_block // 10**9 * 3 // 2


def test_a_long_halt_pays_one_minute() -> None:
    chain = Chain()
    chain.advance(time_ms=chain.time_ms + 10**9)
    assert chain.runtime.state().supply().emission_clock_ms == EMISSION_STEP_MS_MAX


def test_payees_wait_in_line_where_a_block_pays_few() -> None:
    chain = Chain(make_spec(block=BlockParams(withdrawals_max=3)))
    chain.advance()
    paid: list[Address] = []
    for _ in range(8):
        withdrawals = chain.advance().block.withdrawals
        assert len(withdrawals) == 3
        paid += [w.address for w in withdrawals]
        check_supply(chain)
    order = [member.payout for member in chain.spec.validator_set.members]
    assert paid[:4] == order
    # Who was paid stands behind who was not, so nobody waits for more than one block.
    assert all(4 <= paid.count(payout) <= 8 for payout in order)
    for at in range(0, len(paid) - 3, 3):
        assert set(order) - set(paid[at : at + 3]) <= set(paid[at + 3 : at + 6])


def test_fees_that_exist_are_paid_out_of_the_escrow_and_not_minted() -> None:
    chain = Chain(natives=(FeeContract(),))
    chain.advance()
    chain.advance()
    before = chain.runtime.state().supply()
    executed = chain.advance(signed(0, nonce=0, to=ATTRIBUTION_ADDRESS, value=10**20, gas=100_000))
    after = chain.runtime.state().supply()
    paid = sum(w.amount_gwei for w in executed.block.withdrawals) * 10**9
    assert after.minted - before.minted == paid - 10**19
    assert after.burned - before.burned == 5 * 10**18 + executed.header.gas_used * executed.header.base_fee_per_gas
    check_supply(chain)


def test_a_contract_destroyed_with_a_balance_burns_it() -> None:
    chain = Chain()
    executed = chain.advance(signed(0, nonce=0, data=DIES_WITH_BALANCE, value=12_345, gas=100_000))
    assert executed.receipts[0].status == 1
    burned = chain.runtime.state().supply().burned
    assert burned == 12_345 + executed.header.gas_used * executed.header.base_fee_per_gas
    check_supply(chain)


def test_wei_from_nowhere_stop_the_node() -> None:
    class Forger(FeeContract):
        def end_block(self, state: Any) -> Wei:
            state.set_balance(TO, state.get_balance(TO) + 1)
            return Wei(0)

    with pytest.raises(InvariantError, match="1 wei appeared"):
        Chain(natives=(Forger(),)).build()


def test_a_native_contract_that_gives_up_less_than_nothing_stops_the_node() -> None:
    class Taker(FeeContract):
        def end_block(self, state: Any) -> Wei:
            return Wei(-1)

    with pytest.raises(InvariantError, match="gives up -1 wei"):
        Chain(natives=(Taker(),)).build()


def test_a_staking_account_that_owes_more_than_it_holds_stops_the_node() -> None:
    """One wei is missing beside an escrow: the stake itself would still be there."""

    class Thief(FeeContract):
        def end_block(self, state: Any) -> Wei:
            state.set_balance(ADDRESSES[0], state.get_balance(ADDRESSES[0]) - 1_000)
            state.set_balance(STAKING_ADDRESS, state.get_balance(STAKING_ADDRESS) - self.stolen)
            return Wei(1_000)

        stolen = 0

    thief = Thief()
    chain = Chain(natives=(thief,))
    chain.build()  # nobody is paid in block 1, so the thousand stay in the escrow
    thief.stolen = 1
    with pytest.raises(InvariantError, match=r"the staking account holds .* wei and owes"):
        chain.build()


def test_an_unexpected_failure_at_the_end_of_a_block_stops_the_node() -> None:
    class Broken(FeeContract):
        def end_block(self, state: Any) -> Wei:
            raise KeyError("oops")

    with pytest.raises(InvariantError, match="the end of block 1 failed"):
        Chain(natives=(Broken(),)).build()


def test_priorities_advance_once_per_height_and_choose_the_proposers() -> None:
    chain = Chain()
    validators = chain.spec.validator_set
    priorities = (0,) * 4
    for _ in range(10):
        executed = chain.build()
        priorities, chosen = advance(validators, priorities)
        assert executed.block.consensus.proposer == chosen
        chain.accept(executed)
        state = chain.runtime.state().validators()
        assert state.priorities == priorities and state.current == state.next == state.last == validators
    genesis_state = Chain().runtime.state().validators()
    assert genesis_state.last is None and genesis_state.current == validators


def test_shares_never_exceed_the_amount() -> None:
    signers = ValidatorSet(VALIDATORS)
    commit = Commit(Height(1), Round(0), ZERO_HASH, (bytes(65), b"", bytes(65), bytes(65)))
    found = shares(signers, commit, 1_000)
    members = signers.members
    assert found == [(members[i], 1_000 * members[i].power // 46) for i in (0, 2, 3)]
    assert shares(None, commit, 1_000) == []


class DictSlots:
    def __init__(self) -> None:
        self.words: dict[int, int] = {}

    def load(self, slot: int) -> int:
        return self.words.get(slot, 0)

    def store(self, slot: int, value: int) -> None:
        assert 0 <= value < 1 << 256
        self.words[slot] = value


def test_a_changed_validator_set_rotates_in_and_keeps_priorities_in_bounds() -> None:
    slots = DictSlots()
    spec = make_spec()
    write_genesis(slots, spec)
    old = ValidatorSet(VALIDATORS)
    for _ in range(3):
        sets.end_height(slots, spec.staking)
    joined = Validator(ADDRESSES[0], Power(50), ADDRESSES[0])
    new = ValidatorSet((*VALIDATORS[1:], joined))
    sets.write_set(slots, new)
    slots.store(NEXT_SET, int.from_bytes(new.hash(), "big"))
    sets.end_height(slots, spec.staking)
    state = sets.read_validators(slots)
    assert (state.last, state.current, state.next) == (old, new, new)
    assert abs(sum(state.priorities)) < len(new)
    place = new.index(ADDRESSES[0])
    assert place is not None and state.priorities[place] == min(state.priorities)
    assert max(map(abs, state.priorities)) < 3 * new.total_power
    sets.end_height(slots, spec.staking)
    assert sets.read_validators(slots).last == new

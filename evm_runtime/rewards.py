"""Rewards and supply at the end of a block: what is emitted, who earns it, who is paid, what was minted and burned.

0. What native contracts drew from the reserve in this block (`native/reserve.py`) is minted first, as one withdrawal to the
   attribution contract, which owes it already.
1. Natives give up the stakers' part of fees, which moves into the staking account's escrow.
2. The emission clock advances by the block's time since its parent (at most a minute) and allots E(new) - E(old) wei: 60 % to
   the reserve, a counter; 40 % to the validators.
3. The validators' part, what is carried from earlier blocks, and the stakers' part of fees are split by power over the members
   of the last set that signed `last_commit`. Shares of absent signers, roundings, and all of block 1 are carried to the next
   block. A validator's share is split by stake between itself and its delegators, who pay it the commission.
4. Evidence is punished, absences are counted, unbonded stake that has waited long enough is released.
5. The validator sets move on.
6. A payee to whom at least one gwei is due stands in a queue. Each block pays the first `withdrawals_max` of them all their
   whole gwei as EIP-4895 withdrawals; less than a gwei stays.
7. Stake that withdrawals pay comes out of the account's balance, rewards out of the escrow first; the rest is minted. Every wei
   that left the sum of balances otherwise (base fees, contracts destroyed with a balance, burns of native contracts, slashed
   stake) is counted as burned.

So at every block: sum of all balances == genesis + minted - burned, and genesis + minted <= SUPPLY_MAX.
"""

from collections.abc import Iterable

from evm_runtime.computation import State
from evm_runtime.native import NativePrecompile, PlainSlots
from evm_runtime.native.reserve import DRAWN, RESERVE
from evm_runtime.native.storage import Slots
from evm_runtime.staking import delegators, downtime, payouts, sets, slashing, unbonding
from evm_runtime.staking.layout import (
    BURNED,
    CARRY,
    EMISSION_CLOCK_MS,
    ESCROW,
    MINTED,
    VALIDATORS,
    WITHDRAWAL_INDEX,
    worth,
)
from evm_runtime.staking.supply import read_books, read_supply
from evm_runtime.state.account_db import AccountDB
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, Parameters, StakingParams
from genesis.emission import BPS, SUPPLY_MAX, block_emission, validators_part
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI
from genesis.types import Commit, Evidence, Validator, ValidatorSet, Withdrawal


def end_block(
    state: State,
    *,
    parent_time_ms: int,
    time_ms: int,
    last_commit: Commit,
    evidence: tuple[Evidence, ...],
    natives: Iterable[NativePrecompile],
    parameters: Parameters,
    burned_min: int,
) -> tuple[Withdrawal, ...]:
    """Run the end-of-block operations, pay the withdrawals, and close the accounts of the block.

    `parameters` are those in force after the parent; `burned_min` is what execution knows to be burned (base fees and destroyed
    contracts), in wei.
    """
    db = state.account_db
    db.begin_transaction()
    slots = PlainSlots(state, STAKING_ADDRESS)
    signers = sets.read_validators(slots).last
    drawn = _pay_drawn(db, slots)
    fees = _collect_fees(state, natives)
    _accrue(slots, fees, _emit(slots, parent_time_ms, time_ms), signers, last_commit)
    slashed = slashing.punish(slots, parameters.staking, evidence)
    if signers is not None:
        attendance = downtime.Attendance(signers, last_commit, time_ms - parent_time_ms)
        downtime.count(slots, parameters.staking, attendance, time_ms)
    slashed += unbonding.mature(slots, time_ms)
    _move_sets(slots, parameters.staking)
    withdrawals, minted = _pay(db, slots, parameters.block.withdrawals_max - len(drawn), slashed)
    minted += sum(withdrawal.amount_gwei for withdrawal in drawn) * WEI_PER_GWEI
    _close_books(db, slots, minted, burned_min + slashed)
    return (*drawn, *withdrawals)


def _pay_drawn(db: AccountDB, slots: Slots) -> tuple[Withdrawal, ...]:
    """Mint what was drawn from the reserve onto the attribution contract's balance."""
    amount = DRAWN.get(slots)
    if not amount:
        return ()
    DRAWN.set(slots, 0)
    index = WITHDRAWAL_INDEX.get(slots)
    WITHDRAWAL_INDEX.set(slots, index + 1)
    db.set_balance(ATTRIBUTION_ADDRESS, db.get_balance(ATTRIBUTION_ADDRESS) + amount)
    MINTED.add(slots, amount)
    return (Withdrawal(index, 0, ATTRIBUTION_ADDRESS, amount // WEI_PER_GWEI),)


def _collect_fees(state: State, natives: Iterable[NativePrecompile]) -> int:
    """Run the natives' own end of block, in order of address; what they give up goes into the escrow. Returns its wei."""
    db = state.account_db
    total = 0
    for native in sorted(natives, key=lambda contract: contract.address):
        amount = native.end_block(state)
        if amount < 0:
            raise InvariantError(f"native contract 0x{native.address.hex()} gives up {amount} wei")
        total += amount
    if total:
        slots = PlainSlots(state, STAKING_ADDRESS)
        db.set_balance(STAKING_ADDRESS, db.get_balance(STAKING_ADDRESS) + total)
        ESCROW.add(slots, total)
    return total


def _emit(slots: Slots, parent_time_ms: int, time_ms: int) -> int:
    """Advance the emission clock. Returns the validators' part, in wei; the reserve has taken the other."""
    clock_ms, emission = block_emission(EMISSION_CLOCK_MS.get(slots), parent_time_ms, time_ms)
    EMISSION_CLOCK_MS.set(slots, clock_ms)
    part = validators_part(emission)
    RESERVE.add(slots, emission - part)
    return part


def _accrue(slots: Slots, fees: int, emission: int, signers: ValidatorSet | None, last_commit: Commit) -> None:
    """Split what the block brings, and what was carried, over who signed."""
    amount = emission + fees + CARRY.get(slots)
    shared = 0
    for member, share in shares(signers, last_commit, amount):
        _reward(slots, member, share)
        shared += share
    CARRY.set(slots, amount - shared)


def shares(signers: ValidatorSet | None, last_commit: Commit, amount: int) -> list[tuple[Validator, int]]:
    """(member, wei) for each that signed: amount * power // total power of the whole set, in set order."""
    if signers is None:
        return []
    if len(last_commit.signatures) != len(signers):
        raise InvariantError("a commit of another validator set reached the rewards")
    return [
        (member, amount * member.power // signers.total_power)
        for member, signature in zip(signers.members, last_commit.signatures, strict=True)
        if signature
    ]


def _reward(slots: Slots, member: Validator, share: int) -> None:
    """Split a validator's share: by stake between it and its delegators, whose part pays the commission."""
    record = VALIDATORS.load(slots, member.address)
    delegated = worth(record.delegated, record.kept_bps)
    theirs = share * delegated // record.tokens if delegated else 0
    theirs -= theirs * record.commission_bps // BPS
    if theirs:
        delegators.credit(slots, member.address, record.delegated, theirs)
    payouts.add_reward(slots, member.payout, share - theirs)


def _move_sets(slots: Slots, params: StakingParams) -> None:
    joined = sets.end_height(slots, params)
    downtime.forget(slots, params, joined)


def _pay(db: AccountDB, slots: Slots, withdrawals_max: int, slashed: int) -> tuple[tuple[Withdrawal, ...], int]:
    """Pay the head of the queue, and destroy what was slashed; returns the withdrawals, and the wei minted for them."""
    payees, payments = payouts.pay(slots, withdrawals_max)
    for payee, amount in payees:
        db.set_balance(payee, db.get_balance(payee) + amount)
    leaving = payments.debited + slashed
    if leaving:
        db.set_balance(STAKING_ADDRESS, db.get_balance(STAKING_ADDRESS) - leaving)
    return payments.withdrawals, payments.minted


def _close_books(db: AccountDB, slots: Slots, minted: int, burned_min: int) -> None:
    """Count what the block burned, and hold the rules of supply and stake. Raises InvariantError if one is broken."""
    burned = minted - db.balance_change()
    if burned < burned_min:
        raise InvariantError(f"{burned_min - burned} wei appeared in this block from nowhere")
    BURNED.add(slots, burned)
    supply, books = read_supply(slots), read_books(slots)
    if supply.genesis + supply.minted > SUPPLY_MAX:
        raise InvariantError(f"genesis and minted wei are {supply.genesis + supply.minted}, above the supply's limit")
    if not books.balanced:
        raise InvariantError(f"the books of stake don't balance: {books}")
    held, owed = db.get_balance(STAKING_ADDRESS), books.held + ESCROW.get(slots)
    if held < owed:
        raise InvariantError(f"the staking account holds {held} wei and owes {owed}")

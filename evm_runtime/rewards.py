"""Rewards and supply at the end of a block: what is emitted, who earns it, who is paid, what was minted and burned.

0. What native contracts drew from the reserve in this block (`native/reserve.py`) is minted first, as one withdrawal to the
   attribution contract, which owes it already.
1. The emission clock advances by the block's time since its parent (at most a minute) and allots E(new) - E(old) wei: 60 % to
   the reserve, a counter; 40 % to the validators.
2. The validators' part, what is carried from earlier blocks, and the stakers' part of fees (given up by native contracts,
   moved into this account's escrow) are split by power over the members of the last set that signed `last_commit`. Shares
   of absent signers, roundings, and all of block 1 are carried to the next block.
3. A payee with at least one gwei pending stands in a queue. Each block pays the first `withdrawals_max` of them all their
   whole gwei as EIP-4895 withdrawals; less than a gwei stays pending.
4. What withdrawals pay comes out of the escrow first; the rest is minted. Every wei that left the sum of balances otherwise
   (base fees, contracts destroyed with a balance, burns of native contracts) is counted as burned.

So at every block: sum of all balances == genesis + minted - burned, and genesis + minted <= SUPPLY_MAX.
"""

from collections.abc import Iterable

from evm_runtime import staking
from evm_runtime.fork import State
from evm_runtime.native import NativePrecompile, PlainSlots
from evm_runtime.native.reserve import DRAWN, RESERVE
from evm_runtime.native.storage import Slots
from evm_runtime.state import AccountDB
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS
from genesis.emission import SUPPLY_MAX, block_emission, validators_part
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI, Address
from genesis.types import Commit, ValidatorSet, Withdrawal


def end_block(
    state: State,
    *,
    parent_time_ms: int,
    time_ms: int,
    last_commit: Commit,
    natives: Iterable[NativePrecompile],
    withdrawals_max: int,
    burned_min: int,
) -> tuple[Withdrawal, ...]:
    """Run the end-of-block operations, pay the withdrawals, and close the accounts of the block.

    `burned_min` is what execution knows to be burned (base fees and destroyed contracts), in wei.
    """
    db = state.account_db
    db.begin_transaction()
    slots = PlainSlots(state, STAKING_ADDRESS)
    matched = _pay_drawn(db, slots)
    fees = _collect_fees(state, natives)
    _accrue(slots, fees, parent_time_ms, time_ms, last_commit)
    staking.end_height(slots)
    withdrawals, minted = _pay(db, slots, withdrawals_max - len(matched))
    _count_supply(db, slots, minted + total_paid(matched), burned_min)
    return (*matched, *withdrawals)


def _pay_drawn(db: AccountDB, slots: Slots) -> tuple[Withdrawal, ...]:
    """Mint what was drawn from the reserve onto the attribution contract's balance."""
    amount = DRAWN.get(slots)
    if not amount:
        return ()
    DRAWN.set(slots, 0)
    index = staking.WITHDRAWAL_INDEX.get(slots)
    staking.WITHDRAWAL_INDEX.set(slots, index + 1)
    db.set_balance(ATTRIBUTION_ADDRESS, db.get_balance(ATTRIBUTION_ADDRESS) + amount)
    staking.MINTED.add(slots, amount)
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
        staking.ESCROW.add(slots, total)
    return total


def _accrue(slots: Slots, fees: int, parent_time_ms: int, time_ms: int, last_commit: Commit) -> None:
    clock_ms, emission = block_emission(staking.EMISSION_CLOCK_MS.get(slots), parent_time_ms, time_ms)
    staking.EMISSION_CLOCK_MS.set(slots, clock_ms)
    part = validators_part(emission)
    RESERVE.add(slots, emission - part)
    amount = part + fees + staking.CARRY.get(slots)
    signers = staking.read_validators(slots).last
    paid = 0
    for payout, share in shares(signers, last_commit, amount):
        _credit(slots, payout, share)
        paid += share
    staking.CARRY.set(slots, amount - paid)
    staking.PENDING_TOTAL.add(slots, paid)


def shares(signers: ValidatorSet | None, last_commit: Commit, amount: int) -> list[tuple[Address, int]]:
    """(payout, wei) for each member that signed: amount * power // total power of the whole set, in set order."""
    if signers is None:
        return []
    if len(last_commit.signatures) != len(signers):
        raise InvariantError("a commit of another validator set reached the rewards")
    return [
        (member.payout, amount * member.power // signers.total_power)
        for member, signature in zip(signers.members, last_commit.signatures, strict=True)
        if signature
    ]


def _credit(slots: Slots, payout: Address, amount: int) -> None:
    """Add to a payee's pending reward; with its first whole gwei it enters the queue."""
    total = staking.PENDING.add(slots, amount, payout)
    if total - amount < WEI_PER_GWEI <= total:
        tail = staking.QUEUE_TAIL.get(slots)
        staking.QUEUE.set(slots, int.from_bytes(payout, "big"), tail)
        staking.QUEUE_TAIL.set(slots, tail + 1)


def _pay(db: AccountDB, slots: Slots, withdrawals_max: int) -> tuple[tuple[Withdrawal, ...], int]:
    """Take payees from the head of the queue and credit their balances; returns what they got, and the wei minted for it."""
    head, tail = staking.QUEUE_HEAD.get(slots), staking.QUEUE_TAIL.get(slots)
    index = staking.WITHDRAWAL_INDEX.get(slots)
    withdrawals: list[Withdrawal] = []
    while head < tail and len(withdrawals) < withdrawals_max:
        payout = Address(staking.QUEUE.get(slots, head).to_bytes(20, "big"))
        staking.QUEUE.set(slots, 0, head)
        head += 1
        gwei, rest = divmod(staking.PENDING.get(slots, payout), WEI_PER_GWEI)
        staking.PENDING.set(slots, rest, payout)
        # Rewards are paid per payout address, which several validators may share: no validator index fits, so it is 0.
        withdrawals.append(Withdrawal(index + len(withdrawals), 0, payout, gwei))
        db.set_balance(payout, db.get_balance(payout) + gwei * WEI_PER_GWEI)
    staking.QUEUE_HEAD.set(slots, head)
    staking.WITHDRAWAL_INDEX.set(slots, index + len(withdrawals))
    paid = total_paid(withdrawals)
    staking.PENDING_TOTAL.add(slots, -paid)
    debit = min(paid, staking.ESCROW.get(slots))
    if debit:
        db.set_balance(STAKING_ADDRESS, db.get_balance(STAKING_ADDRESS) - debit)
        staking.ESCROW.add(slots, -debit)
    staking.MINTED.add(slots, paid - debit)
    return tuple(withdrawals), paid - debit


def total_paid(withdrawals: Iterable[Withdrawal]) -> int:
    """Wei that withdrawals credit."""
    return sum(withdrawal.amount_gwei for withdrawal in withdrawals) * WEI_PER_GWEI


def _count_supply(db: AccountDB, slots: Slots, minted: int, burned_min: int) -> None:
    """Count what the block burned, and hold the two rules of the supply. Raises InvariantError if one is broken."""
    burned = minted - db.balance_change()
    if burned < burned_min:
        raise InvariantError(f"{burned_min - burned} wei appeared in this block from nowhere")
    staking.BURNED.add(slots, burned)
    supply = staking.read_supply(slots)
    if supply.genesis + supply.minted > SUPPLY_MAX:
        raise InvariantError(f"genesis and minted wei are {supply.genesis + supply.minted}, above the supply's limit")

"""Credits, pools and claims. Everybody is credited, no code runs; only `claim` moves wei, to the address its caller names.

At the end of each block the contract's balance covers, to the wei: what is claimable, what pools, bonds, deposits, disputes and
attested scores hold, and the stakers' part that is less than a gwei. Within a block it may be short by what receipts were
matched with (`payments.py`): that arrives with the block's withdrawals.
"""

from collections.abc import Mapping
from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile import pool
from attribution_precompile.base import AttributionBase, check, require_contribution
from attribution_precompile.layout import (
    BONDS,
    BURNED,
    CLAIMABLE,
    POOL_ENTRIES,
    POOLS,
    STAKERS,
    VERSIONS,
    Contribution,
    PoolEntry,
)
from evm_runtime.native import Frame, NativeState, PlainSlots, Slots, method
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI, ZERO_ADDRESS, Address, Wei


def credit(slots: Slots, amounts: Mapping[Address, int]) -> None:
    """Add to what accounts may claim; zero amounts touch nothing."""
    for who, amount in amounts.items():
        if amount:
            CLAIMABLE.add(slots, amount, who)


def pay_pool(slots: Slots, datanet_id: int, amount: Wei) -> Wei:
    """Pay a datanet's pool; returns what it could not take for want of weight (all or nothing): the treasury's."""
    if amount == 0:
        return Wei(0)
    state = POOLS.load(slots, datanet_id)
    if state.weight == 0:
        return amount
    POOLS.store(slots, pool.pay(state, amount), datanet_id)
    return Wei(0)


def pool_share(
    slots: Slots, contribution_id: int, record: Contribution, windows_max: int
) -> tuple[PoolEntry | None, Wei]:
    """What a contribution's pool entry is owed, and the entry after taking it; None and nothing before its first version."""
    entry = POOL_ENTRIES.load(slots, contribution_id)
    if record.accepted_version == 0 or (record.quality == 0 and entry.until_version == 0):
        return None, Wei(0)
    if not entry.started:
        version = VERSIONS.load(slots, record.datanet_id, record.accepted_version)
        if version.block_number == 0:
            return None, Wei(0)
        entry = PoolEntry(version.pool_accumulator, 0, True)
    due, quality = 0, record.quality
    if entry.until_version:
        turn = VERSIONS.load(slots, record.datanet_id, entry.until_version)
        old_weight = pool.weight_of(entry.old_quality, record.owned_windows, windows_max)
        if turn.block_number:
            entry, due = pool.settle(turn.pool_accumulator, entry, old_weight)
            entry = replace(entry, old_quality=0, until_version=0)
        else:
            quality = entry.old_quality
    weight = pool.weight_of(quality, record.owned_windows, windows_max)
    entry, rest = pool.settle(POOLS.load_field(slots, "accumulator", record.datanet_id), entry, weight)
    return entry, Wei(due + rest)


def take_pool_share(slots: Slots, contribution_id: int, record: Contribution, windows_max: int) -> Wei:
    """Settle a contribution's pool entry: what it is owed leaves the pool."""
    entry, due = pool_share(slots, contribution_id, record, windows_max)
    if entry is not None:
        POOL_ENTRIES.store(slots, entry, contribution_id)
    return due


def change_quality(
    frame: Frame, contribution_id: int, record: Contribution, versions: int, quality: int, windows_max: int
) -> Contribution:
    """Give a contribution another quality, which acts with the next version: its record, for the caller to store."""
    slots = frame.storage
    if record.accepted_version == 0:
        return record
    if record.accepted_version <= versions:
        settle_entry(frame, contribution_id, record, windows_max)
        entry = POOL_ENTRIES.load(slots, contribution_id)
        if not entry.started:
            entry = PoolEntry(POOLS.load_field(slots, "accumulator", record.datanet_id), 0, True)
        if not entry.until_version:
            entry = replace(entry, old_quality=record.quality, until_version=versions + 1)
        POOL_ENTRIES.store(slots, entry, contribution_id)
    new, old = (pool.weight_of(q, record.owned_windows, windows_max) for q in (quality, record.quality))
    state = POOLS.load(slots, record.datanet_id)
    POOLS.store(slots, pool.add_pending(state, new, instead_of=old), record.datanet_id)
    return replace(record, quality=quality)


def drop_weight(
    frame: Frame, contribution_id: int, record: Contribution, versions: int, windows_max: int
) -> Contribution:
    """Take a contribution out of its pool at once, paid up to now: its record, for the caller to store."""
    slots = frame.storage
    if record.accepted_version == 0:
        return record
    settle_entry(frame, contribution_id, record, windows_max)
    entry, state = POOL_ENTRIES.load(slots, contribution_id), POOLS.load(slots, record.datanet_id)
    declared = pool.weight_of(record.quality, record.owned_windows, windows_max)
    if record.accepted_version > versions:
        state = pool.add_pending(state, 0, instead_of=declared)
    elif entry.until_version:
        in_force = pool.weight_of(entry.old_quality, record.owned_windows, windows_max)
        state = pool.add_pending(state, in_force, instead_of=declared)
        state = replace(state, weight=state.weight - in_force)
        POOL_ENTRIES.store(slots, replace(entry, old_quality=0, until_version=0), contribution_id)
    else:
        state = replace(state, weight=state.weight - declared)
    POOLS.store(slots, state, record.datanet_id)
    return replace(record, quality=0)


def settle_entry(frame: Frame, contribution_id: int, record: Contribution, windows_max: int) -> None:
    """Move a contribution's pool share to its payout's balance."""
    due = take_pool_share(frame.storage, contribution_id, record, windows_max)
    if due:
        credit(frame.storage, {record.payout: due})
        frame.emit(d.POOL_CLAIMED, contribution_id, record.payout, due)


def burn(frame: Frame, amount: Wei) -> None:
    """Destroy wei of the contract's balance, and count them for the supply."""
    if amount:
        frame.burn(amount)
        BURNED.add(frame.storage, amount)


def drain_stakers(state: NativeState) -> Wei:
    """The stakers' whole gwei so far, taken out of the contract's balance; the rest waits for the next block."""
    slots = PlainSlots(state, ATTRIBUTION_ADDRESS)
    owed = STAKERS.get(slots)
    whole = owed - owed % WEI_PER_GWEI
    if whole:
        balance = state.get_balance(ATTRIBUTION_ADDRESS)
        if balance < whole:
            raise InvariantError(f"the attribution contract owes the stakers {whole} wei and has {balance}")
        STAKERS.set(slots, owed - whole)
        state.set_balance(ATTRIBUTION_ADDRESS, balance - whole)
    return Wei(whole)


class MoneyMethods(AttributionBase):
    """The part of the contract that pays out."""

    @method("claimPool(uint64[] contributionIds)")
    def claim_pool(self, frame: Frame, contribution_ids: tuple[int, ...]) -> None:
        """Move contributions' pool shares to their payouts' balances. Anyone may."""
        for contribution_id in contribution_ids:
            record = require_contribution(frame.storage, contribution_id)
            settle_entry(frame, contribution_id, record, self.params.pool_windows_max)

    @method("claim(address to) returns (uint256 paid)")
    def claim(self, frame: Frame, to: Address) -> int:
        """Pay the caller's whole balance to an address, without running its code. What the block's own receipts were matched
        with arrives at its end: `NotCoveredYet` asks to wait for that."""
        check(to not in (ZERO_ADDRESS, frame.address), "to", "wei sent there would be lost")
        amount = Wei(CLAIMABLE.get(frame.storage, frame.sender))
        if amount:
            balance = frame.balance
            if balance < amount:
                raise d.NOT_COVERED_YET(amount, balance)
            CLAIMABLE.set(frame.storage, 0, frame.sender)
            frame.pay(to, amount)
            frame.emit(d.CLAIMED, frame.sender, to, amount)
        return amount

    @method("claimable(address who) returns (uint256 available, uint256 locked)", view=True)
    def claimable(self, frame: Frame, who: Address) -> tuple[int, int]:
        """What an account may claim now, and what is locked: its bond as an attestor, which `unbond` frees. Pool shares appear
        once `claimPool` has moved them."""
        bond = BONDS.load(frame.storage, who)
        return CLAIMABLE.get(frame.storage, who), bond.free + bond.locked

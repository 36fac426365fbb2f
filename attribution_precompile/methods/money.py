"""Credits, pools and claims. Everybody is credited, no code runs; only `claim` moves wei, to the address its caller names.

At the end of each block the contract's balance covers, to the wei: what is claimable, what pools, bonds, deposits, disputes and
attested scores hold, and the stakers' part that is less than a gwei. Within a block it may be short by what receipts were
matched with (`payments.py`): that arrives with the block's withdrawals.
"""

from collections.abc import Mapping
from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile.layout import BONDS, BURNED, CLAIMABLE, DATANETS, STAKERS, Contribution
from attribution_precompile.methods.base import AttributionBase, check_payee, require_contribution
from attribution_precompile.methods.pool_books import scale_now, take_share, weigh_next
from attribution_precompile.rules import pool
from evm_runtime.native import Frame, NativeState, PlainSlots, Slots, method
from genesis.chain_spec import ATTRIBUTION_ADDRESS, AttributionParams
from genesis.errors import InvariantError
from genesis.primitives import WEI_PER_GWEI, Address, Wei


def credit(slots: Slots, amounts: Mapping[Address, int]) -> None:
    """Add to what accounts may claim; zero amounts touch nothing."""
    for who, amount in amounts.items():
        if amount:
            CLAIMABLE.add(slots, amount, who)


def settle_entry(frame: Frame, contribution_id: int, record: Contribution) -> None:
    """Move a contribution's pool share to its payout's balance."""
    slots, datanet_id = frame.storage, record.datanet_id
    due = take_share(slots, contribution_id, datanet_id, _versions(slots, datanet_id))
    if due:
        credit(slots, {record.payout: due})
        frame.emit(d.POOL_CLAIMED, contribution_id, record.payout, due)


def set_weight_next(frame: Frame, contribution_id: int, record: Contribution, params: AttributionParams) -> None:
    """Let a reviewed contribution's quality and owned windows count from the next version on; earlier ones keep theirs.

    Refuses one change too many with `TooLong` (`pool_steps_max`); the change to no weight is never refused.
    """
    slots, datanet_id = frame.storage, record.datanet_id
    weight = pool.weight_of(record.quality, record.owned_windows, params.pool_windows_max)
    weigh_next(slots, contribution_id, datanet_id, _versions(slots, datanet_id), weight, params.pool_steps_max)


def cut_weight_now(
    frame: Frame, contribution_id: int, record: Contribution, owned_windows: int, *, kept: int, of: int
) -> Contribution:
    """Leave a contribution fewer owned windows, and `kept` parts of `of` of its weight in all versions from now on.

    It is paid up to now. Returns its record, for the caller to store.
    """
    if kept < of:
        _scale(frame, contribution_id, record, kept, of)
    return replace(record, owned_windows=owned_windows)


def drop_weight(frame: Frame, contribution_id: int, record: Contribution) -> Contribution:
    """Take a contribution out of its pool in all versions, paid up to now: its record, for the caller to store."""
    _scale(frame, contribution_id, record, 0, 1)
    return replace(record, quality=0)


def _scale(frame: Frame, contribution_id: int, record: Contribution, kept: int, of: int) -> None:
    slots, datanet_id = frame.storage, record.datanet_id
    settle_entry(frame, contribution_id, record)
    scale_now(slots, contribution_id, datanet_id, _versions(slots, datanet_id), kept, of)


def _versions(slots: Slots, datanet_id: int) -> int:
    return int(DATANETS.load_field(slots, "versions", datanet_id))


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
            settle_entry(frame, contribution_id, require_contribution(frame.storage, contribution_id))

    @method("claim(address to) returns (uint256 paid)")
    def claim(self, frame: Frame, to: Address) -> int:
        """Pay the caller's whole balance to an address, without running its code. What the block's own receipts were matched
        with arrives at its end: `NotCoveredYet` asks to wait for that."""
        check_payee("to", to)
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

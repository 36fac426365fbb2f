"""Delegating stake to a validator, moving it, taking it back, and the rewards of it."""

from evm_runtime.native.contract import method
from evm_runtime.native.frame import Frame
from evm_runtime.staking import declarations as d
from evm_runtime.staking import delegators
from evm_runtime.staking.base import (
    StakingBase,
    begin_unbonding,
    check,
    destroy,
    note_stake_in,
    now_ms,
    require_alive,
    require_validator,
    settle,
    stake_changed,
)
from evm_runtime.staking.delegators import Taken
from evm_runtime.staking.layout import DELEGATIONS, NO_REDELEGATION, REDELEGATIONS, Redelegation
from genesis.primitives import Address


class DelegationMethods(StakingBase):
    """The part of the contract that delegators use."""

    @method("delegate(address validator)", payable=True)
    def delegate(self, frame: Frame, validator: Address) -> None:
        """Bond what is sent with a validator. It shares in its rewards, less commission, and in its slashing."""
        require_alive(require_validator(frame.storage, validator), validator)
        least = self.params(frame).min_delegation
        if frame.value < least:
            raise d.AMOUNT_TOO_LOW(frame.value, least)
        settle(frame, validator, frame.sender)
        delegators.add_principal(frame.storage, validator, frame.sender, frame.value)
        note_stake_in(frame)
        frame.emit(d.DELEGATED, validator, frame.sender, frame.value)
        stake_changed(frame, validator)

    @method("undelegate(address validator, uint256 amount) returns (uint64 unbonding)")
    def undelegate(self, frame: Frame, validator: Address, amount: int) -> int:
        """Begin to unbond a delegation, or part of it, of `amount` wei as they came in. What it is worth is paid to the
        caller by withdrawal after the unbonding time; until then it answers for what the validator did before."""
        require_validator(frame.storage, validator)
        taken = self._take(frame, validator, amount)
        place = begin_unbonding(frame, self.params(frame), validator, taken.amount)
        frame.emit(d.UNDELEGATED, validator, frame.sender, taken.amount, place)
        stake_changed(frame, validator)
        return place

    @method("redelegate(address from, address to, uint256 amount)")
    def redelegate(self, frame: Frame, source: Address, to: Address, amount: int) -> None:
        """Move a delegation, or part of it, to another validator at once. For the unbonding time it answers for what the
        first one did before, and can't be moved or taken out; meanwhile no other delegation can be moved to its place."""
        slots = frame.storage
        from_record = require_validator(slots, source)
        require_alive(require_validator(slots, to), to)
        check(source != to, "to", "the delegation is there already")
        settle(frame, to, frame.sender)
        held = delegators.locked(slots, to, frame.sender, now_ms(frame))
        if held != NO_REDELEGATION:
            raise d.REDELEGATION_OPEN(held.completes_ms)
        taken = self._take(frame, source, amount)
        delegators.add_principal(slots, to, frame.sender, taken.amount)
        moved = NO_REDELEGATION
        if not from_record.tombstoned:
            completes_ms = now_ms(frame) + self.params(frame).unbonding_ms
            moved = Redelegation(source, frame.block_number, taken.amount, completes_ms)
        REDELEGATIONS.store(slots, moved, to, frame.sender)
        frame.emit(d.REDELEGATED, source, to, frame.sender, taken.amount)
        stake_changed(frame, source)
        stake_changed(frame, to)

    @method("claimRewards(address validator) returns (uint256 amount)")
    def claim_rewards(self, frame: Frame, validator: Address) -> int:
        """Have the caller's rewards so far paid out, by withdrawal in one of the next blocks (whole gwei)."""
        require_validator(frame.storage, validator)
        return settle(frame, validator, frame.sender)

    @method("settle(address validator, address delegator)")
    def settle_for(self, frame: Frame, validator: Address, delegator: Address) -> None:
        """Bring somebody's delegation up to date: its rewards are paid to them, and what it moved away from a validator that
        was slashed since is slashed too. By anybody."""
        require_validator(frame.storage, validator)
        settle(frame, validator, delegator)

    def _take(self, frame: Frame, validator: Address, amount: int) -> Taken:
        """Take principal out of the caller's delegation, as far as it is not locked."""
        slots = frame.storage
        settle(frame, validator, frame.sender)
        principal = DELEGATIONS.load_field(slots, "principal", validator, frame.sender)
        free = principal - delegators.locked(slots, validator, frame.sender, now_ms(frame)).principal
        if amount > free:
            raise d.AMOUNT_TOO_HIGH(amount, free)
        least = min(self.params(frame).min_delegation, free)
        if amount < least or amount == 0:
            raise d.AMOUNT_TOO_LOW(amount, least)
        taken = delegators.take_principal(slots, validator, frame.sender, amount)
        destroy(frame, taken.burned)
        return taken

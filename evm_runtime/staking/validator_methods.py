"""Registering a validator, its own stake, its commission, leaving, and coming back from jail."""

from dataclasses import replace

from evm_runtime.native.contract import method
from evm_runtime.native.frame import Frame
from evm_runtime.staking import declarations as d
from evm_runtime.staking.base import (
    SET_CHANGE_GAS,
    SIGNATURE_GAS,
    StakingBase,
    begin_unbonding,
    bond_self,
    check,
    enlist,
    note_stake_in,
    require_alive,
    require_owned,
    require_validator,
    stake_changed,
)
from evm_runtime.staking.candidates import delist
from evm_runtime.staking.layout import BONDED, VALIDATORS, ValidatorRecord
from evm_runtime.staking.proof import possession_digest
from genesis.chain_spec import is_held
from genesis.crypto import recover
from genesis.emission import BPS
from genesis.errors import WireError
from genesis.primitives import Address


class ValidatorMethods(StakingBase):
    """The part of the contract that validators' owners use."""

    @method(
        "createValidator(address validator, address payout, uint16 commissionBps, uint16 commissionMaxBps, "
        "uint16 commissionStepBps, bytes proof)",
        payable=True,
        gas=SIGNATURE_GAS + SET_CHANGE_GAS,
    )
    def create_validator(
        self,
        frame: Frame,
        validator: Address,
        payout: Address,
        commission_bps: int,
        commission_max_bps: int,
        commission_step_bps: int,
        proof: bytes,
    ) -> None:
        """Register a validator, owned by the caller, with what is sent as its own stake. `proof` is the consensus key's
        signature over chain, validator and caller; `commissionMaxBps` and `commissionStepBps` never change."""
        slots, limits = frame.storage, self.params(frame)
        if VALIDATORS.load(slots, validator).exists:
            raise d.VALIDATOR_EXISTS(validator)
        self._check_proof(frame, validator, proof)
        check(is_held(payout), "payout", "name an address that somebody holds")
        check(
            commission_max_bps <= limits.commission_bps_max,
            "commissionMaxBps",
            f"at most {limits.commission_bps_max} on this chain",
        )
        check(commission_bps <= commission_max_bps, "commissionBps", "above commissionMaxBps")
        check(commission_step_bps <= commission_max_bps, "commissionStepBps", "above commissionMaxBps")
        if frame.value < limits.min_self_stake:
            raise d.AMOUNT_TOO_LOW(frame.value, limits.min_self_stake)
        record = ValidatorRecord(
            owner=frame.sender,
            place=0,
            commission_bps=commission_bps,
            commission_max_bps=commission_max_bps,
            commission_step_bps=commission_step_bps,
            kept_bps=BPS,
            jailed=False,
            tombstoned=False,
            payout=payout,
            jailed_until=0,
            missed_blocks=0,
            self_stake=frame.value,
            delegated=0,
            commission_changed=frame.timestamp,
            infraction_height=0,
            missed_ms=0,
            created_height=frame.block_number,
        )
        VALIDATORS.store(slots, record, validator)
        note_stake_in(frame)
        BONDED.add(slots, frame.value)
        frame.emit(d.VALIDATOR_CREATED, validator, frame.sender, payout, frame.value)
        enlist(frame, limits, validator)

    def _check_proof(self, frame: Frame, validator: Address, proof: bytes) -> None:
        digest = possession_digest(self.chain_id, validator, frame.sender)
        try:
            signer = recover(digest, proof)
        except WireError as error:
            raise d.BAD_PROOF(str(error)) from None
        if signer != validator:
            raise d.BAD_PROOF(f"signed by 0x{signer.hex()}, or for another owner or chain")

    @method("addSelfStake(address validator)", payable=True, gas=SET_CHANGE_GAS)
    def add_self_stake(self, frame: Frame, validator: Address) -> None:
        """Add what is sent to the validator's own stake, by its owner; who has the minimum again becomes a candidate."""
        record, limits = require_owned(frame, validator), self.params(frame)
        require_alive(record, validator)
        if frame.value == 0:
            raise d.AMOUNT_TOO_LOW(0, 1)
        record = bond_self(frame, validator, frame.value)
        note_stake_in(frame)
        BONDED.add(frame.storage, frame.value)
        frame.emit(d.SELF_STAKED, validator, frame.value)
        if record.place:
            stake_changed(frame, validator)
        elif not record.jailed and record.self_stake >= limits.min_self_stake:
            enlist(frame, limits, validator)

    @method("removeSelfStake(address validator, uint256 amount) returns (uint64 unbonding)")
    def remove_self_stake(self, frame: Frame, validator: Address, amount: int) -> int:
        """Begin to unbond own stake, by the owner. With less than the minimum left the validator is no candidate any more:
        removing all is how a validator leaves."""
        record, limits = require_owned(frame, validator), self.params(frame)
        if amount == 0:
            raise d.AMOUNT_TOO_LOW(0, 1)
        if amount > record.self_stake:
            raise d.AMOUNT_TOO_HIGH(amount, record.self_stake)
        record = bond_self(frame, validator, -amount)
        BONDED.add(frame.storage, -amount)
        place = begin_unbonding(frame, limits, validator, amount)
        frame.emit(d.SELF_UNSTAKED, validator, amount, place)
        stake_changed(frame, validator)
        if record.self_stake < limits.min_self_stake:
            delist(frame.storage, validator)
        return place

    @method("setCommission(address validator, uint16 commissionBps)")
    def set_commission(self, frame: Frame, validator: Address, commission_bps: int) -> None:
        """Change the commission, by the owner: within its maximum, by at most its step, once in a chain parameter's time."""
        record = require_owned(frame, validator)
        check(commission_bps <= record.commission_max_bps, "commissionBps", "above the validator's maximum")
        step = abs(commission_bps - record.commission_bps)
        check(step <= record.commission_step_bps, "commissionBps", f"a step of at most {record.commission_step_bps}")
        earliest = record.commission_changed + self.params(frame).commission_change_ms // 1_000
        if frame.timestamp < earliest:
            raise d.TOO_SOON(record.commission_changed, earliest)
        changed = replace(record, commission_bps=commission_bps, commission_changed=frame.timestamp)
        VALIDATORS.store(frame.storage, changed, validator)
        frame.emit(d.COMMISSION_SET, validator, commission_bps)

    @method("setPayout(address validator, address payout)")
    def set_payout(self, frame: Frame, validator: Address, payout: Address) -> None:
        """Change who is paid, by the owner. It acts with the validator set, two heights later."""
        record = require_owned(frame, validator)
        check(is_held(payout), "payout", "name an address that somebody holds")
        VALIDATORS.store(frame.storage, replace(record, payout=payout), validator)
        frame.emit(d.PAYOUT_SET, validator, payout)
        stake_changed(frame, validator)

    @method("unjail(address validator)", gas=SET_CHANGE_GAS)
    def unjail(self, frame: Frame, validator: Address) -> None:
        """Let a validator back in after its time in jail, by its owner."""
        record = require_owned(frame, validator)
        require_alive(record, validator)
        if not record.jailed:
            raise d.NOT_JAILED(validator)
        if frame.timestamp < record.jailed_until:
            raise d.STILL_JAILED(validator, record.jailed_until)
        VALIDATORS.store(frame.storage, replace(record, jailed=False, jailed_until=0), validator)
        frame.emit(d.UNJAILED, validator)
        limits = self.params(frame)
        if record.self_stake >= limits.min_self_stake:
            enlist(frame, limits, validator)

    @method("enlist(address validator)", gas=SET_CHANGE_GAS)
    def enlist(self, frame: Frame, validator: Address) -> None:
        """Make a validator that was displaced a candidate again, once more is at stake with it. By anybody."""
        record = require_validator(frame.storage, validator)
        require_alive(record, validator)
        if record.place:
            raise d.ALREADY_CANDIDATE(validator)
        if record.jailed:
            raise d.STILL_JAILED(validator, record.jailed_until)
        limits = self.params(frame)
        if record.self_stake < limits.min_self_stake:
            raise d.AMOUNT_TOO_LOW(record.self_stake, limits.min_self_stake)
        enlist(frame, limits, validator)

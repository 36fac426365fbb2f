"""What the contract's method groups share: its parameters, and the steps that several methods consist of."""

from dataclasses import replace
from typing import Final

from evm_runtime.native.frame import Frame
from evm_runtime.native.storage import Slots
from evm_runtime.staking import candidates, delegators, payouts, unbonding
from evm_runtime.staking import declarations as d
from evm_runtime.staking.layout import STAKED, VALIDATORS, ValidatorRecord, candidate_count
from evm_runtime.staking.parameters import InForce
from genesis.chain_spec import StakingParams
from genesis.primitives import Address, Wei

SET_CHANGE_GAS: Final = 40_000
"""For a call that may change the validator set: choosing it anew at the end of the block, and writing it."""
UNBONDING_GAS: Final = 40_000
"""For stake that begins to unbond: releasing and paying it when it matures."""
SIGNATURE_GAS: Final = 9_000


class StakingBase:
    """Attributes of the contract that every method group may use."""

    in_force: InForce
    fixed: StakingParams
    """The spec's: for what no vote changes."""
    chain_id: int

    def params(self, frame: Frame) -> StakingParams:
        """What is in force now."""
        return self.in_force.at(frame.storage).staking


def require_validator(slots: Slots, validator: Address) -> ValidatorRecord:
    record = VALIDATORS.load(slots, validator)
    if not record.exists:
        raise d.UNKNOWN_VALIDATOR(validator)
    return record


def require_owned(frame: Frame, validator: Address) -> ValidatorRecord:
    record = require_validator(frame.storage, validator)
    if record.owner != frame.sender:
        raise d.NOT_OWNER(validator, frame.sender)
    return record


def require_alive(record: ValidatorRecord, validator: Address) -> None:
    if record.tombstoned:
        raise d.TOMBSTONED(validator)


def check(good: bool, name: str, reason: str) -> None:
    """Refuse an argument with `InvalidParameter(name, reason)`."""
    if not good:
        raise d.INVALID_PARAMETER(name, reason)


def now_ms(frame: Frame) -> int:
    """The end of the header's second: no earlier than the block's own time in milliseconds, which calls don't see."""
    return frame.timestamp * 1_000 + 999


def enlist(frame: Frame, params: StakingParams, validator: Address) -> None:
    """Make a validator a candidate; where the list is full, in place of the weakest. Raises CandidatesFull."""
    slots = frame.storage
    if candidate_count(slots) >= params.candidates_max:
        stake = VALIDATORS.load(slots, validator).tokens
        least, weakest = candidates.weakest(slots)
        if stake <= least:
            raise d.CANDIDATES_FULL(stake, least)
        candidates.delist(slots, weakest)
        frame.emit(d.DISPLACED, weakest)
    candidates.enlist(slots, validator)
    frame.emit(d.ENLISTED, validator)


def stake_changed(frame: Frame, validator: Address) -> None:
    """After every change of a validator's stake: the set is chosen anew if the validator is a candidate."""
    if VALIDATORS.load_field(frame.storage, "place", validator):
        frame.charge(SET_CHANGE_GAS, "validator set")
        candidates.mark_changed(frame.storage)


def begin_unbonding(frame: Frame, params: StakingParams, validator: Address, amount: int) -> int:
    """Queue `amount` wei for the caller. Returns the place in the queue."""
    frame.charge(UNBONDING_GAS, "unbonding")
    completes_ms = now_ms(frame) + params.unbonding_ms
    leaving = unbonding.Leaving(frame.sender, validator, amount, frame.block_number, completes_ms)
    return unbonding.begin(frame.storage, leaving)


def settle(frame: Frame, validator: Address, delegator: Address) -> int:
    """Bring a delegation up to date before anything else is done with it: pay its rewards, make it answer for where it came
    from. Returns the rewards in wei, on their way by withdrawal."""
    slots = frame.storage
    amount = delegators.take_rewards(slots, validator, delegator)
    if amount:
        payouts.add_reward(slots, delegator, amount)
        frame.emit(d.REWARDS_CLAIMED, validator, delegator, amount)
    lost = delegators.answer_for_source(slots, validator, delegator, now_ms(frame))
    if lost:
        frame.burn(Wei(lost))
        frame.emit(d.REDELEGATION_SLASHED, validator, delegator, lost)
        stake_changed(frame, validator)
    return amount


def bond_self(frame: Frame, validator: Address, amount: int) -> ValidatorRecord:
    """Add to a validator's own stake what has come in."""
    slots = frame.storage
    record = VALIDATORS.load(slots, validator)
    record = replace(record, self_stake=record.self_stake + amount)
    VALIDATORS.store(slots, record, validator)
    return record


def note_stake_in(frame: Frame) -> None:
    """What was sent with this call is stake from now on."""
    STAKED.add(frame.storage, frame.value)


def destroy(frame: Frame, amount: int) -> None:
    """Destroy wei that rounding left over; they count as slashed already."""
    if amount:
        frame.burn(Wei(amount))

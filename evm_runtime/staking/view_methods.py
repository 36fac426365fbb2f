"""What the staking contract tells."""

from evm_runtime.native.contract import method
from evm_runtime.native.frame import Frame
from evm_runtime.staking import declarations as d
from evm_runtime.staking import delegators, sets, unbonding
from evm_runtime.staking.base import StakingBase, check, now_ms, require_validator
from evm_runtime.staking.declarations import Books, DelegationInfo, UnbondingInfo, ValidatorInfo
from evm_runtime.staking.layout import (
    DELEGATIONS,
    POOLS,
    UNBONDINGS,
    VALIDATORS,
    candidate,
    candidate_count,
    worth,
)
from evm_runtime.staking.proof import possession_digest
from evm_runtime.staking.supply import read_books
from genesis.primitives import ZERO_ADDRESS, Address, Hash32

_PAGE_MAX = 200


class ViewMethods(StakingBase):
    """Getters. All are views: calls and contracts may use them."""

    @method("validator(address validator) returns (ValidatorInfo info)", view=True)
    def validator(self, frame: Frame, validator: Address) -> ValidatorInfo:
        """A validator's stake, terms and behaviour. `power` is what its stake would give it; it votes if it is in the set."""
        record = require_validator(frame.storage, validator)
        return ValidatorInfo(
            owner=record.owner,
            payout=record.payout,
            power=sets.power_of(record, self.fixed),
            self_stake=record.self_stake,
            delegated=worth(record.delegated, record.kept_bps),
            commission_bps=record.commission_bps,
            commission_max_bps=record.commission_max_bps,
            commission_step_bps=record.commission_step_bps,
            kept_bps=record.kept_bps,
            candidate=bool(record.place),
            jailed=record.jailed,
            tombstoned=record.tombstoned,
            jailed_until=record.jailed_until,
            missed_blocks=record.missed_blocks,
            missed_ms=record.missed_ms,
        )

    @method("candidateCount() returns (uint256 count)", view=True)
    def candidate_count(self, frame: Frame) -> int:
        """How many validators could be in the set."""
        return candidate_count(frame.storage)

    @method("candidates(uint256 first, uint256 count) returns (address[] validators)", view=True)
    def candidates(self, frame: Frame, first: int, count: int) -> tuple[Address, ...]:
        """Candidates by place, at most 200 at once."""
        check(count <= _PAGE_MAX, "count", f"at most {_PAGE_MAX}")
        end = min(first + count, candidate_count(frame.storage))
        return tuple(candidate(frame.storage, place) for place in range(first, end))

    @method("delegation(address validator, address delegator) returns (DelegationInfo info)", view=True)
    def delegation(self, frame: Frame, validator: Address, delegator: Address) -> DelegationInfo:
        """A delegation's principal, its rewards so far, and what of it is locked by a redelegation."""
        slots = frame.storage
        record = DELEGATIONS.load(slots, validator, delegator)
        rewards = delegators.earned(record, POOLS.load(slots, validator)) >> delegators.SCALE_BITS
        held = delegators.locked(slots, validator, delegator, now_ms(frame))
        return DelegationInfo(record.principal, rewards, held.principal, held.completes_ms)

    @method("unbonding(uint64 id) returns (UnbondingInfo info)", view=True)
    def unbonding(self, frame: Frame, place: int) -> UnbondingInfo:
        """Stake on its way out: the wei that will be paid by what is known now, and when it completes (milliseconds)."""
        entry = UNBONDINGS.load(frame.storage, place)
        if entry.owner == ZERO_ADDRESS:
            raise d.UNKNOWN_UNBONDING(place)
        amount = unbonding.value_after_faults(frame.storage, entry)
        return UnbondingInfo(entry.owner, entry.validator, amount, entry.completes_ms)

    @method("books() returns (Books books)", view=True)
    def books(self, frame: Frame) -> Books:
        """All stake: staked == bonded + unbonding + owed + slashed + withdrawn."""
        found = read_books(frame.storage)
        return Books(found.staked, found.bonded, found.unbonding, found.owed, found.slashed, found.withdrawn)

    @method("registrationDigest(address validator, address owner) returns (bytes32 digest)", view=True)
    def registration_digest(self, frame: Frame, validator: Address, owner: Address) -> Hash32:
        """What the consensus key signs, as 65 bytes r, s, v with v 0 or 1, so that `owner` may register it."""
        if VALIDATORS.load(frame.storage, validator).exists:
            raise d.VALIDATOR_EXISTS(validator)
        return possession_digest(self.chain_id, validator, owner)

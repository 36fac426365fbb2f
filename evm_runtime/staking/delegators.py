"""A validator's delegators: principal, rewards by an accumulator, what is left after slashing. Over `Slots`, exact to the wei.

Rewards: a pool holds scaled wei (2**128 to one) per wei of principal, so crediting all delegators costs the same for one as for
a million: `x = amount * 2**128 + remainder; accumulator += x // principal; remainder = x % principal`. A delegation remembers
the accumulator it was settled at and its own residue below one wei. Nothing is lost, and nothing is paid twice.

Slashing: a validator is slashed at most once, so principal has two values in its life: whole, and `kept_bps` of it. What is
taken out is rounded down; what rounding leaves over is slashed too.
"""

from dataclasses import dataclass, replace
from typing import Final

from evm_runtime.native.storage import Slots
from evm_runtime.staking.layout import (
    BONDED,
    DELEGATIONS,
    NO_REDELEGATION,
    POOLS,
    REDELEGATIONS,
    SLASHED,
    UNCLAIMED,
    VALIDATORS,
    Delegation,
    Redelegation,
    RewardPool,
    ValidatorRecord,
    worth,
)
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, Address

SCALE_BITS: Final = 128
SCALE: Final = 1 << SCALE_BITS


@dataclass(frozen=True, slots=True)
class Taken:
    """What leaving with principal gives: `amount` wei for the delegator; `burned` wei to be destroyed by the caller."""

    amount: int
    burned: int


def credit(slots: Slots, validator: Address, principal: int, amount: int) -> None:
    """Share `amount` wei of rewards among the delegators, who have `principal` > 0 together."""
    pool = POOLS.load(slots, validator)
    gained, remainder = divmod(amount * SCALE + pool.remainder, principal)
    POOLS.store(slots, RewardPool(pool.accumulator + gained, remainder), validator)
    UNCLAIMED.add(slots, amount)


def earned(delegation: Delegation, pool: RewardPool) -> int:
    """Scaled wei that a delegation has earned and not been paid."""
    return delegation.principal * (pool.accumulator - delegation.settled_at) + delegation.residue


def take_rewards(slots: Slots, validator: Address, delegator: Address) -> int:
    """Settle a delegation's rewards up to now. Returns the whole wei, which no longer count as unclaimed."""
    delegation, pool = DELEGATIONS.load(slots, validator, delegator), POOLS.load(slots, validator)
    amount, residue = divmod(earned(delegation, pool), SCALE)
    DELEGATIONS.store(slots, Delegation(delegation.principal, residue, pool.accumulator), validator, delegator)
    if amount:
        UNCLAIMED.add(slots, -amount)
    return amount


def add_principal(slots: Slots, validator: Address, delegator: Address, amount: int) -> None:
    """Bond more with a validator that was never slashed. The delegation's rewards are settled already."""
    _change_principal(slots, validator, delegator, amount)
    record = VALIDATORS.load(slots, validator)
    VALIDATORS.store(slots, replace(record, delegated=record.delegated + amount), validator)
    BONDED.add(slots, amount)


def take_principal(slots: Slots, validator: Address, delegator: Address, principal: int) -> Taken:
    """Unbond. The delegation has that much, and its rewards are settled already."""
    _change_principal(slots, validator, delegator, -principal)
    record = VALIDATORS.load(slots, validator)
    left = record.delegated - principal
    VALIDATORS.store(slots, replace(record, delegated=left), validator)
    freed = worth(record.delegated, record.kept_bps) - worth(left, record.kept_bps)
    amount = value_of(record, principal)
    BONDED.add(slots, -freed)
    if freed > amount:
        SLASHED.add(slots, freed - amount)
    return Taken(amount, freed - amount)


def value_of(record: ValidatorRecord, principal: int) -> int:
    """Wei that a delegator gets for principal."""
    return principal * record.kept_bps // BPS


def locked(slots: Slots, validator: Address, delegator: Address, now_ms: int) -> Redelegation:
    """The redelegation that still locks part of a delegation; NO_REDELEGATION if there is none."""
    found = REDELEGATIONS.load(slots, validator, delegator)
    if found.source == ZERO_ADDRESS or found.completes_ms <= now_ms:
        return NO_REDELEGATION
    return found


def answer_for_source(slots: Slots, validator: Address, delegator: Address, now_ms: int) -> int:
    """Slash what was redelegated from a validator that has turned out guilty of something from before.

    Returns the wei to be destroyed by the caller. The delegation's rewards are settled already. A redelegation that is over is
    forgotten, so principal may leave only after this: what a redelegation answers with is always there.
    """
    found = REDELEGATIONS.load(slots, validator, delegator)
    if found.source == ZERO_ADDRESS:
        return 0
    source = VALIDATORS.load(slots, found.source)
    guilty = answers(source, found.height)
    if guilty or found.completes_ms <= now_ms:
        REDELEGATIONS.store(slots, NO_REDELEGATION, validator, delegator)
    if not guilty:
        return 0
    lost = found.principal - value_of(source, found.principal)
    taken = take_principal(slots, validator, delegator, lost)
    SLASHED.add(slots, taken.amount)
    return taken.amount + taken.burned


def answers(record: ValidatorRecord, left_height: int) -> bool:
    """Did stake that left in block `left_height` stand behind the fault for which the validator was slashed?

    The stake after block H - 2 votes at H, so what left in H - 1 or later was still at stake for a fault at H.
    """
    return record.tombstoned and left_height + 1 >= record.infraction_height


def _change_principal(slots: Slots, validator: Address, delegator: Address, change: int) -> None:
    delegation = DELEGATIONS.load(slots, validator, delegator)
    changed = replace(delegation, principal=delegation.principal + change)
    DELEGATIONS.store(slots, changed, validator, delegator)

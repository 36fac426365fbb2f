"""The unbonding queue: stake on its way out, first in, first out. It answers for faults until it is paid out."""

from dataclasses import dataclass
from typing import Final

from evm_runtime.native.storage import Slots
from evm_runtime.staking import payouts
from evm_runtime.staking.delegators import answers, value_of
from evm_runtime.staking.layout import (
    NO_UNBONDING,
    SLASHED,
    UNBONDING_HEAD,
    UNBONDING_TAIL,
    UNBONDING_TOTAL,
    UNBONDINGS,
    VALIDATORS,
    Unbonding,
)
from genesis.primitives import Address

MATURED_PER_BLOCK_MAX: Final = 64
"""As many as a block can pay; the others wait for the next block."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Stake that begins to unbond in a block of `height`, and completes at a time of ConsensusData."""

    owner: Address
    validator: Address
    amount: int
    height: int
    completes_ms: int


def begin(slots: Slots, leaving: Leaving) -> int:
    """Queue stake that is not bonded any more. Returns its place."""
    place = UNBONDING_TAIL.get(slots)
    UNBONDING_TAIL.set(slots, place + 1)
    whole = not VALIDATORS.load_field(slots, "tombstoned", leaving.validator)
    entry = Unbonding(leaving.owner, whole, leaving.validator, leaving.amount, leaving.completes_ms, leaving.height)
    UNBONDINGS.store(slots, entry, place)
    UNBONDING_TOTAL.add(slots, leaving.amount)
    return place


def mature(slots: Slots, time_ms: int) -> int:
    """Release what has waited long enough at `time_ms`. Returns the wei that were slashed, for the caller to destroy."""
    head, tail = UNBONDING_HEAD.get(slots), UNBONDING_TAIL.get(slots)
    burned, first = 0, head
    while head < tail and head - first < MATURED_PER_BLOCK_MAX:
        entry = UNBONDINGS.load(slots, head)
        if entry.completes_ms > time_ms:
            break
        UNBONDINGS.store(slots, NO_UNBONDING, head)
        kept = value_after_faults(slots, entry)
        UNBONDING_TOTAL.add(slots, -entry.amount)
        payouts.add_stake(slots, entry.owner, kept)
        burned += entry.amount - kept
        head += 1
    if head != first:
        UNBONDING_HEAD.set(slots, head)
    if burned:
        SLASHED.add(slots, burned)
    return burned


def value_after_faults(slots: Slots, entry: Unbonding) -> int:
    """Wei of an entry that will be paid, by what is known of its validator now."""
    record = VALIDATORS.load(slots, entry.validator)
    return value_of(record, entry.amount) if entry.whole and answers(record, entry.height) else entry.amount

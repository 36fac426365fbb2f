"""The staking account in the genesis state."""

from evm_runtime.native.storage import Slots
from evm_runtime.staking import sets
from evm_runtime.staking.candidates import enlist
from evm_runtime.staking.layout import (
    BONDED,
    CURRENT_SET,
    GENESIS_SUPPLY,
    NEXT_SET,
    SPEC_HASH,
    STAKED,
    VALIDATORS,
    ValidatorRecord,
)
from genesis.chain_spec import ChainSpec
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS
from genesis.proposers import initial_priorities
from genesis.types import Validator


def write_genesis(slots: Slots, spec: ChainSpec) -> None:
    """The account's storage: the spec's validators vote at heights 1 and 2, with stake of their own to match their power.

    The account's balance must be `spec.genesis_stake`. A validator's stake belongs to its payout address.
    """
    slots.store(SPEC_HASH, int.from_bytes(spec.hash(), "big"))
    GENESIS_SUPPLY.set(slots, spec.genesis_supply)
    validators = spec.validator_set
    for member in validators.members:
        VALIDATORS.store(slots, _record(spec, member), member.address)
        enlist(slots, member.address)
    STAKED.set(slots, spec.genesis_stake)
    BONDED.set(slots, spec.genesis_stake)
    sets.write_set(slots, validators)
    for place in (CURRENT_SET, NEXT_SET):
        slots.store(place, int.from_bytes(validators.hash(), "big"))
    sets.write_priorities(slots, initial_priorities(validators))


def _record(spec: ChainSpec, member: Validator) -> ValidatorRecord:
    return ValidatorRecord(
        owner=member.payout if member.payout != ZERO_ADDRESS else member.address,
        place=0,
        commission_bps=0,
        commission_max_bps=spec.staking.commission_bps_max,
        commission_step_bps=spec.staking.commission_bps_max,
        kept_bps=BPS,
        jailed=False,
        tombstoned=False,
        payout=member.payout,
        jailed_until=0,
        missed_blocks=0,
        self_stake=member.power * spec.staking.stake_per_power,
        delegated=0,
        commission_changed=0,
        infraction_height=0,
        missed_ms=0,
        created_height=0,
    )

"""The staking account 0x…0A01: everything of consensus and supply that lives in state.

Storage (slots of the account; arrays and mappings where Solidity would put them):

     0  hash of the chain spec                      8  burned, wei
     1  hash of the last validator set              9  reserve for attribution payments, wei (a counter, not minted)
     2  hash of the current validator set          10  escrow: wei on this account's balance that rewards are owed from
     3  hash of the next validator set             11  pending: sum of all payees' rewards not yet paid, wei
     4  emission clock, milliseconds               12  carry: rewards that nobody has earned yet, wei
     5  genesis supply, wei                        13  payment queue: place of the first payee
     6  minted, wei                                14  payment queue: place behind the last payee
     7  next withdrawal index                      15  payment queue: mapping place => payee
    16  mapping payee => pending reward, wei       17  priorities of the current set, array of int256
    18  mapping set hash => array of (address, payout ‖ power): two slots per validator
    64  wei of the reserve drawn in this block (`native/reserve.py`, as slot 9)

A validator set is written once under its hash, and the three places of 1..3 point to sets. In the state after block H,
*current* votes at H + 1, *next* at H + 2, and *last* voted at H (it signs the commit that H + 1 carries; zero in genesis).
"""

from dataclasses import dataclass
from typing import Final

from evm_runtime.native.reserve import RESERVE
from evm_runtime.native.storage import Slots, Value, array_slot, mapping_slot
from genesis.chain_spec import ChainSpec
from genesis.errors import InvariantError, StorageCorrupt
from genesis.primitives import Address, Hash32, Power, Wei
from genesis.proposers import Priorities, advance, initial_priorities
from genesis.types import Validator, ValidatorSet

SPEC_HASH: Final = 0
LAST_SET: Final = 1
CURRENT_SET: Final = 2
NEXT_SET: Final = 3
EMISSION_CLOCK_MS: Final = Value(4)
GENESIS_SUPPLY: Final = Value(5)
MINTED: Final = Value(6)
WITHDRAWAL_INDEX: Final = Value(7)
BURNED: Final = Value(8)
ESCROW: Final = Value(10)
PENDING_TOTAL: Final = Value(11)
CARRY: Final = Value(12)
QUEUE_HEAD: Final = Value(13)
QUEUE_TAIL: Final = Value(14)
QUEUE: Final = Value(15)
PENDING: Final = Value(16)
PRIORITIES: Final = 17
SETS: Final = 18

_SIGN_BIT: Final = 1 << 255
_POWER_BITS: Final = 64
_KNOWN_SETS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class ValidatorsState:
    """Who votes next, after which block these were read: `current` at its height + 1, `next` at + 2, `last` at its own."""

    current: ValidatorSet
    next: ValidatorSet
    priorities: Priorities
    """Of `current`; they choose the proposers of the next height."""
    last: ValidatorSet | None
    """Who signs the commit that the next block carries; None in genesis."""


@dataclass(frozen=True, slots=True)
class SupplyState:
    """Wei, and the emission clock in milliseconds. `total` equals the sum of all balances."""

    genesis: Wei
    minted: Wei
    burned: Wei
    total: Wei
    reserve: Wei
    """Allotted to attribution payments and not minted."""
    emission_clock_ms: int
    pending_rewards: Wei
    """Earned or rolled over, and not yet paid by a withdrawal."""


def write_genesis(slots: Slots, spec: ChainSpec) -> None:
    """The account's storage in the genesis state: the spec's validators vote at heights 1 and 2."""
    slots.store(SPEC_HASH, int.from_bytes(spec.hash(), "big"))
    GENESIS_SUPPLY.set(slots, spec.genesis_supply)
    validators = spec.validator_set
    write_set(slots, validators)
    for place in (CURRENT_SET, NEXT_SET):
        slots.store(place, int.from_bytes(validators.hash(), "big"))
    write_priorities(slots, initial_priorities(validators))


def read_validators(slots: Slots) -> ValidatorsState:
    current = _read_set(slots, CURRENT_SET)
    following = _read_set(slots, NEXT_SET)
    if current is None or following is None:
        raise InvariantError("the state names no validator set")
    return ValidatorsState(current, following, read_priorities(slots, len(current)), _read_set(slots, LAST_SET))


def read_supply(slots: Slots) -> SupplyState:
    genesis, minted, burned = GENESIS_SUPPLY.get(slots), MINTED.get(slots), BURNED.get(slots)
    return SupplyState(
        genesis=Wei(genesis),
        minted=Wei(minted),
        burned=Wei(burned),
        total=Wei(genesis + minted - burned),
        reserve=Wei(RESERVE.get(slots)),
        emission_clock_ms=EMISSION_CLOCK_MS.get(slots),
        pending_rewards=Wei(PENDING_TOTAL.get(slots) + CARRY.get(slots)),
    )


def read_priorities(slots: Slots, count: int) -> Priorities:
    start = array_slot(PRIORITIES)
    words = [slots.load(start + place) for place in range(count)]
    return tuple(word - 2 * _SIGN_BIT if word & _SIGN_BIT else word for word in words)


def write_priorities(slots: Slots, priorities: Priorities) -> None:
    """Two's complement, in set order; the array's length stands in its own slot as in Solidity."""
    before = slots.load(PRIORITIES)
    slots.store(PRIORITIES, len(priorities))
    start = array_slot(PRIORITIES)
    for place in range(max(before, len(priorities))):
        value = priorities[place] if place < len(priorities) else 0
        slots.store(start + place, value % (2 * _SIGN_BIT))


def end_height(slots: Slots) -> None:
    """One step of proposer rotation; then who voted becomes last, and next becomes current."""
    state = read_validators(slots)
    priorities, _ = advance(state.current, state.priorities)
    if state.next != state.current:
        priorities = _carry_over(state.current, priorities, state.next)
    write_priorities(slots, priorities)
    slots.store(LAST_SET, slots.load(CURRENT_SET))
    slots.store(CURRENT_SET, slots.load(NEXT_SET))


def _carry_over(before: ValidatorSet, priorities: Priorities, after: ValidatorSet) -> Priorities:
    """Priorities of a changed set: members keep theirs, who joins starts at -9/8 of the total power (so that leaving and
    joining again wins nothing), and all are shifted so that they sum to about zero."""
    old = {member.address: priority for member, priority in zip(before.members, priorities, strict=True)}
    joining = -(after.total_power + after.total_power // 8)
    raw = [old.get(member.address, joining) for member in after.members]
    mean = sum(raw) // len(raw)
    return tuple(priority - mean for priority in raw)


def write_set(slots: Slots, validators: ValidatorSet) -> None:
    """Write a set under its hash."""
    at = mapping_slot(SETS, validators.hash())
    slots.store(at, len(validators))
    start = array_slot(at)
    for place, member in enumerate(validators.members):
        slots.store(start + 2 * place, int.from_bytes(member.address, "big"))
        slots.store(start + 2 * place + 1, int.from_bytes(member.payout, "big") << _POWER_BITS | member.power)


_known_sets: dict[Hash32, ValidatorSet] = {}
"""Sets read before, by hash. A set is immutable and its hash is checked, so it does not matter in which state it was read."""


def _read_set(slots: Slots, place: int) -> ValidatorSet | None:
    pointer = slots.load(place)
    if not pointer:
        return None
    set_hash = Hash32(pointer.to_bytes(32, "big"))
    known = _known_sets.get(set_hash)
    if known is None:
        known = _load_set(slots, set_hash)
        if len(_known_sets) >= _KNOWN_SETS_MAX:
            _known_sets.clear()
        _known_sets[set_hash] = known
    return known


def _load_set(slots: Slots, set_hash: Hash32) -> ValidatorSet:
    at = mapping_slot(SETS, set_hash)
    start = array_slot(at)
    members = []
    for place in range(slots.load(at)):
        address = slots.load(start + 2 * place)
        payout, power = divmod(slots.load(start + 2 * place + 1), 1 << _POWER_BITS)
        members.append(
            Validator(Address(address.to_bytes(20, "big")), Power(power), Address(payout.to_bytes(20, "big")))
        )
    try:
        validators = ValidatorSet(tuple(members))
    except ValueError as error:
        raise StorageCorrupt(f"validator set {set_hash.hex()}: {error}") from None
    if validators.hash() != set_hash:
        raise StorageCorrupt(f"validator set {set_hash.hex()} does not match its hash")
    return validators

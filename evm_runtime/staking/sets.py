"""Validator sets in state: who votes when, in which order they propose, and how a set follows from the candidates.

A set is written once under its hash, and the three places LAST, CURRENT, NEXT point to sets. In the state after block H,
*current* votes at H + 1, *next* at H + 2, and *last* voted at H (it signs the commit that H + 1 carries; zero in genesis).
So what a block changes among the candidates acts two heights later, all at once. A set that nothing points to any more is
cleared: who votes at an old height stands in the state of that height.
"""

from dataclasses import dataclass
from typing import Final

from evm_runtime.native.storage import Slots, array_slot, mapping_slot
from evm_runtime.staking.layout import (
    CANDIDATES_CHANGED,
    CURRENT_SET,
    LAST_SET,
    NEXT_SET,
    PRIORITIES,
    SETS,
    VALIDATORS,
    ValidatorRecord,
    candidate,
    candidate_count,
)
from genesis.chain_spec import StakingParams
from genesis.errors import InvariantError, StorageCorrupt
from genesis.primitives import Address, Hash32, Power
from genesis.proposers import Priorities, advance
from genesis.types import Validator, ValidatorSet

_SIGN_BIT: Final = 1 << 255
_POWER_BITS: Final = 64
_KNOWN_SETS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class ValidatorsState:
    """Who votes next, after which block these were read: `current` at its height + 1, `next` at + 2, `last` at its own."""

    current: ValidatorSet
    next: ValidatorSet
    priorities: Priorities
    """The priorities of `current`; they choose the proposers of the next height."""
    last: ValidatorSet | None
    """Who signs the commit that the next block carries; None in genesis."""


def read_current(slots: Slots) -> ValidatorSet:
    """Who votes on the next block. Once the set is known, that reads one slot."""
    current = _read_set(slots, CURRENT_SET)
    if current is None:
        raise InvariantError("the state names no validator set")
    return current


def read_validators(slots: Slots) -> ValidatorsState:
    """All sets, and a slot for each member of the current one."""
    current, following = read_current(slots), _read_set(slots, NEXT_SET)
    if following is None:
        raise InvariantError("the state names no validator set")
    return ValidatorsState(current, following, read_priorities(slots, len(current)), _read_set(slots, LAST_SET))


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


def end_height(slots: Slots, params: StakingParams) -> frozenset[Address]:
    """One step of proposer rotation; who voted becomes last, next becomes current, and next is chosen anew if need be.

    Returns who voted here and not at the height before: their downtime is counted from here.
    """
    state = read_validators(slots)
    priorities, _ = advance(state.current, state.priorities)
    if state.next != state.current:
        priorities = _carry_over(state.current, priorities, state.next)
    write_priorities(slots, priorities)
    changed = CANDIDATES_CHANGED.get(slots)
    chosen = choose(slots, params) if changed else state.next
    CANDIDATES_CHANGED.set(slots, max(changed - 1, 0))
    pointers = (state.current, state.next, chosen)
    if state.last is not None and state.last not in pointers:
        _clear_set(slots, state.last)
    if chosen not in pointers[:2]:
        write_set(slots, chosen)
    for place, members in zip((LAST_SET, CURRENT_SET, NEXT_SET), pointers, strict=True):
        slots.store(place, int.from_bytes(members.hash(), "big"))
    if state.last is None or state.last == state.current:
        return frozenset()
    return frozenset(member.address for member in state.current.members if member.address not in state.last)


def choose(slots: Slots, params: StakingParams) -> ValidatorSet:
    """The candidates of most power, ties by address. Without any candidate everything stays as it is."""
    found: list[Validator] = []
    for place in range(candidate_count(slots)):
        address = candidate(slots, place)
        record = VALIDATORS.load(slots, address)
        if record.self_stake >= params.min_self_stake:  # the minimum may have been raised since it became a candidate
            found.append(Validator(address, power_of(record, params), record.payout))
    found.sort(key=lambda member: (-member.power, member.address))
    if not found:
        return read_validators(slots).next
    return ValidatorSet(tuple(found[: params.validators_max]))


def power_of(record: ValidatorRecord, params: StakingParams) -> Power:
    """Whole units of stake; a candidate has at least one."""
    return Power(record.tokens // params.stake_per_power)


def _carry_over(before: ValidatorSet, priorities: Priorities, after: ValidatorSet) -> Priorities:
    """Priorities of a changed set: members keep theirs, who joins starts at -9/8 of the total power (so that leaving and
    joining again wins nothing). They are scaled into twice the total power, or a large validator that left would leave turns
    behind that nobody could make up for in a long time, and shifted so that they sum to about zero."""
    old = {member.address: priority for member, priority in zip(before.members, priorities, strict=True)}
    joining = -(after.total_power + after.total_power // 8)
    raw = [old.get(member.address, joining) for member in after.members]
    scale = max(1, -(-(max(raw) - min(raw)) // (2 * after.total_power)))
    scaled = [priority // scale for priority in raw]
    mean = sum(scaled) // len(scaled)
    return tuple(priority - mean for priority in scaled)


def write_set(slots: Slots, validators: ValidatorSet) -> None:
    """Write a set under its hash."""
    at = mapping_slot(SETS, validators.hash())
    slots.store(at, len(validators))
    start = array_slot(at)
    for place, member in enumerate(validators.members):
        slots.store(start + 2 * place, int.from_bytes(member.address, "big"))
        slots.store(start + 2 * place + 1, int.from_bytes(member.payout, "big") << _POWER_BITS | member.power)


def _clear_set(slots: Slots, validators: ValidatorSet) -> None:
    at = mapping_slot(SETS, validators.hash())
    slots.store(at, 0)
    start = array_slot(at)
    for place in range(2 * len(validators)):
        slots.store(start + place, 0)


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

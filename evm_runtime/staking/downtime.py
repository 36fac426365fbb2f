"""Who is absent too much is jailed: it is out of the set until its owner lets it back in. Nothing is slashed for it.

For each member of a set a bit says whether its signature is missing in the commit of a height, at place `height % window`; and
the time that each of the last `window` blocks took is kept once for all. So both sums of a validator, missed blocks and missed
milliseconds, follow the window exactly, and a height where nobody was or is absent costs one slot. A validator is jailed when
more than half of the window's blocks *and* `downtime_ms` at least were missed: neither fast blocks nor a long halt suffice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from evm_runtime.native.storage import Slots
from evm_runtime.staking.candidates import delist
from evm_runtime.staking.layout import DURATIONS, MISSED, VALIDATORS
from genesis.chain_spec import StakingParams
from genesis.errors import InvariantError
from genesis.primitives import Address
from genesis.types import Commit, ValidatorSet

_DURATION_BITS: Final = 32
_DURATION_MS_MAX: Final = (1 << _DURATION_BITS) - 1
_WORD_BITS: Final = 256


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who signed a height: its set, its commit, and how long the block that carries the commit took (milliseconds)."""

    signers: ValidatorSet
    commit: Commit
    duration_ms: int


def count(slots: Slots, params: StakingParams, attendance: Attendance, time_ms: int) -> tuple[Address, ...]:
    """Count one height in a block at `time_ms`, jail who missed too much. Returns the jailed."""
    commit, window = attendance.commit, params.downtime_window_blocks
    if len(commit.signatures) != len(attendance.signers):
        raise InvariantError("a commit of another validator set reached the count of absences")
    place = commit.height % window
    duration_ms = min(attendance.duration_ms, _DURATION_MS_MAX)
    old_ms = _replace_duration(slots, place, duration_ms)
    jailed = []
    for member, signature in zip(attendance.signers.members, commit.signatures, strict=True):
        if _count_one(slots, member.address, place, absent=not signature, was_ms=old_ms, is_ms=duration_ms) and (
            _jail_if_due(slots, params, member.address, time_ms)
        ):
            jailed.append(member.address)
    return tuple(jailed)


def forget(slots: Slots, params: StakingParams, validators: Iterable[Address]) -> None:
    """Start anew for who comes into the set: what was counted of an earlier time does not fit the window any more."""
    for address in validators:
        record = VALIDATORS.load(slots, address)
        if record.missed_blocks:
            VALIDATORS.store(slots, replace(record, missed_blocks=0, missed_ms=0), address)
            for word in range(-(-params.downtime_window_blocks // _WORD_BITS)):
                MISSED.set(slots, 0, address, word)


def _replace_duration(slots: Slots, place: int, duration_ms: int) -> int:
    per_word = _WORD_BITS // _DURATION_BITS
    word, shift = place // per_word, place % per_word * _DURATION_BITS
    packed = DURATIONS.get(slots, word)
    old = packed >> shift & _DURATION_MS_MAX
    DURATIONS.set(slots, packed ^ (old ^ duration_ms) << shift, word)
    return old


def _count_one(slots: Slots, address: Address, place: int, *, absent: bool, was_ms: int, is_ms: int) -> bool:
    """Put one height into a validator's window. True if it was missed."""
    word, bit = divmod(place, _WORD_BITS)
    bits = MISSED.get(slots, address, word)
    was_absent = bool(bits >> bit & 1)
    if absent or was_absent:
        record = VALIDATORS.load(slots, address)
        blocks = record.missed_blocks + absent - was_absent
        missed_ms = record.missed_ms + (is_ms if absent else 0) - (was_ms if was_absent else 0)
        VALIDATORS.store(slots, replace(record, missed_blocks=blocks, missed_ms=missed_ms), address)
    if absent is not was_absent:
        MISSED.set(slots, bits ^ 1 << bit, address, word)
    return absent


def _jail_if_due(slots: Slots, params: StakingParams, address: Address, time_ms: int) -> bool:
    record = VALIDATORS.load(slots, address)
    if 2 * record.missed_blocks <= params.downtime_window_blocks or record.missed_ms < params.downtime_ms:
        return False
    if record.jailed or record.tombstoned:
        return False
    delist(slots, address)
    record = VALIDATORS.load(slots, address)
    until = -(-(time_ms + params.jail_ms) // 1_000)
    VALIDATORS.store(slots, replace(record, jailed=True, jailed_until=until), address)
    forget(slots, params, (address,))
    return True

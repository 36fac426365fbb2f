"""The candidates: the validators that could be in the set. A bounded list, kept by place so that leaving it costs as little.

Exactly those stand in it that have their minimum of own stake, are neither jailed nor tombstoned, and were not displaced: when
the list is full, who has more at stake takes the place of who has least (and may be enlisted again with more).
"""

from dataclasses import replace

from evm_runtime.native.storage import Slots
from evm_runtime.staking.layout import (
    CANDIDATES,
    CANDIDATES_CHANGED,
    VALIDATORS,
    candidate,
    candidate_count,
    set_candidate,
)
from genesis.primitives import ZERO_ADDRESS, Address


def enlist(slots: Slots, address: Address) -> None:
    """Add a validator that is no candidate. The caller has made room."""
    count = candidate_count(slots)
    slots.store(CANDIDATES, count + 1)
    set_candidate(slots, count, address)
    VALIDATORS.store(slots, replace(VALIDATORS.load(slots, address), place=count + 1), address)
    mark_changed(slots)


def delist(slots: Slots, address: Address) -> None:
    """Take a validator off the list, if it is on it; the last one takes its place."""
    record = VALIDATORS.load(slots, address)
    if not record.place:
        return
    last_place = candidate_count(slots) - 1
    last = candidate(slots, last_place)
    if last != address:
        set_candidate(slots, record.place - 1, last)
        VALIDATORS.store(slots, replace(VALIDATORS.load(slots, last), place=record.place), last)
    set_candidate(slots, last_place, ZERO_ADDRESS)
    slots.store(CANDIDATES, last_place)
    VALIDATORS.store(slots, replace(record, place=0), address)
    mark_changed(slots)


def weakest(slots: Slots) -> tuple[int, Address]:
    """(wei at stake, address) of the candidate that has least; of equals the highest address. One must be there."""
    best: tuple[int, int] | None = None
    for place in range(candidate_count(slots)):
        address = candidate(slots, place)
        key = (VALIDATORS.load(slots, address).tokens, -int.from_bytes(address, "big"))
        best = key if best is None or key < best else best
    if best is None:
        raise ValueError("there is no candidate")
    return best[0], Address((-best[1]).to_bytes(20, "big"))


def mark_changed(slots: Slots, blocks: int = 1) -> None:
    """The set after next is chosen anew at the end of this block, and of the following ones as asked for."""
    if CANDIDATES_CHANGED.get(slots) < blocks:
        CANDIDATES_CHANGED.set(slots, blocks)

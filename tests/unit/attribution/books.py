"""The books that a random walk keeps of the contract's state: records decoded once, and pools by the slow reference."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from attribution_precompile import declarations as d
from attribution_precompile import layout
from attribution_precompile.declarations import Status
from attribution_precompile.methods import pool_books
from attribution_precompile.methods.base import places_of
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules import reference
from attribution_precompile.rules.pool import SCALE_BITS
from evm_runtime.native import Records, mapping_slot
from tests.unit.attribution.direct import DictState, Direct

T = TypeVar("T")


class Memo:
    """Records of a state, decoded once until a slot of theirs changes: a step changes few of all."""

    def __init__(self, state: DictState) -> None:
        self._state = state
        self._decoded: dict[tuple[Any, ...], Any] = {}
        self._record_at: dict[int, tuple[Any, ...]] = {}

    def load(self, records: Records[T], *keys: int | bytes) -> T:
        while self._state.changed:
            self._decoded.pop(self._record_at.get(self._state.changed.pop(), ()), None)
        where = (records.slot, *keys)
        known = self._decoded.get(where)
        if known is None:
            known = self._decoded[where] = records.load(ReaderSlots(self._state), *keys)
            first = mapping_slot(records.slot, *keys)
            self._record_at.update((first + i, where) for i in range(records.size))
        return known  # type: ignore[no-any-return]  # what this type of record decodes to


class PoolBooks:
    """The datanets' pools by the reference, told by events and records: a payment goes at once to its version's members.

    `follow()` after each call, `check()` whenever: what the contract owes each member, what each version has of weight
    and carries, and that each payment is what the members of its version got and what is carried.
    """

    def __init__(self, direct: Direct, memo: Memo) -> None:
        self._direct, self._memo = direct, memo
        self._pools: defaultdict[int, reference.Pool] = defaultdict(reference.Pool)
        self._members: defaultdict[int, set[int]] = defaultdict(set)
        self._dead: set[int] = set()
        self._places: dict[int, int] = {}
        """Window places that a challenged contribution had left when it was last cut."""
        self._read = 0
        self._held = 0

    def follow(self, contributions: Sequence[int]) -> None:
        """Take in what a successful call has done. No call both pays and changes weights; a death pays first."""
        logs, self._read = self._direct.logs[self._read :], len(self._direct.logs)
        for _, (kind, *topics), data in logs:
            words = [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)]
            if kind == d.VERSION_PUBLISHED.topic:
                self._pools[topics[0]].publish()
            elif kind == d.POOLED.topic:
                self._paid(topics[1], *words)
            elif kind == d.POOL_CLAIMED.topic:
                net = self._memo.load(layout.CONTRIBUTIONS, topics[0]).datanet_id
                assert self._pools[net].claim(topics[0]) == words[0], "a claim is what the reference says"
                self._held -= words[0]
            elif kind == d.WINDOWS_LOST.topic:
                self._cut(topics[0], lost=words[-1])
        for contribution in contributions:
            self._weigh(contribution)

    def _paid(self, net: int, version: int, amount: int) -> None:
        told = self._pools[net]
        before = sum(told.owed.values()) + told.waiting[version - 1]
        assert told.pay(version, amount) == 0, "only who has weight is paid"
        assert sum(told.owed.values()) + told.waiting[version - 1] - before == amount, "the version's identity"
        self._held += amount

    def _cut(self, contribution: int, *, lost: int) -> None:
        """A challenge has taken so many owned windows; where none was left, its part of the places counts."""
        record = self._memo.load(layout.CONTRIBUTIONS, contribution)
        whole = places_of(record, self._memo.load(layout.DATANETS, record.datanet_id).min_span)
        places = whole - self._memo.load(layout.STANDINGS, contribution).lost
        before, self._places[contribution] = self._places.get(contribution, whole), places
        kept, of = record.owned_windows, record.owned_windows + lost
        kept, of = (kept, of) if of else (places, before)
        if of and contribution not in self._dead:
            self._pools[record.datanet_id].cut(contribution, kept, of)

    def _weigh(self, contribution: int) -> None:
        record = self._memo.load(layout.CONTRIBUTIONS, contribution)
        told = self._pools[record.datanet_id]
        self._members[record.datanet_id].add(contribution)
        if record.status in (Status.ERASED, Status.SLASHED):
            if contribution not in self._dead:
                self._dead.add(contribution)
                told.cut(contribution, 0, 1)
        elif record.accepted_version:
            told.next_weights[contribution] = record.quality * min(record.owned_windows, 1_000_000)

    def check(self, net: int) -> int:
        """Compare one datanet; returns the wei in all pools."""
        slots, told = ReaderSlots(self._direct.state), self._pools[net]
        for contribution in self._members[net]:
            owed = pool_books.share_of(slots, contribution, net, len(told.weights))
            assert owed == int(told.owed.get(contribution, 0)), f"contribution {contribution} is owed"
        for version, weights in enumerate(told.weights, 1):
            weight = pool_books.version_weight(slots, net, version)
            assert weight == sum(weights.values()), f"weight of version {version} of {net}"
            carried = layout.POOL_REMAINDERS.get(slots, net, version)
            assert carried == told.waiting[version - 1] * 2**SCALE_BITS, f"carried in version {version} of {net}"
        assert pool_books.next_weight(slots, net) == sum(told.next_weights.values()), f"next weight of {net}"
        return self._held

"""What a contribution keeps of its bond and weight when window places of it are lost to priority challenges.

Of w window places the places lost so far are a part; bond and weight fall by the same part, each rounded down over all places
lost so far. So it makes no difference in how many challenges they were lost. A place that was the earlier contribution's anyway
isn't counted: it brought the later one nothing.
"""

from dataclasses import dataclass, replace

from attribution_precompile.layout import STANDINGS, UPLOADS, Contribution
from evm_runtime.native import Slots
from genesis.primitives import Wei


@dataclass(frozen=True, slots=True)
class Cut:
    """What is taken: wei of the bond, and owned windows; and how many window places were left before, and are left now."""

    bond: Wei
    windows: int
    places_left: int
    places_before: int


def share_lost(amount: int, before: int, after: int, of: int) -> int:
    """What `amount` loses when the places lost, of so many, grow from `before` to `after`."""
    return amount * after // of - amount * before // of


def lose_places(slots: Slots, contribution_id: int, record: Contribution, places: int, of: int) -> Cut:
    """Count places as lost, of so many, and take the bond's part. The windows of the result are the caller's to take."""
    upload, standing = UPLOADS.load(slots, contribution_id), STANDINGS.load(slots, contribution_id)
    if standing.lost == 0:
        standing = replace(standing, first_bond=upload.bond, counted=record.owned_windows)
    before, after = standing.lost, standing.lost + places
    bond = min(upload.bond, share_lost(standing.first_bond, before, after, of))
    start = standing.lost_before
    left = of - start
    windows = share_lost(standing.counted, before - start, after - start, left) if left else 0
    STANDINGS.store(slots, replace(standing, lost=after), contribution_id)
    if bond:
        UPLOADS.store(slots, replace(upload, bond=upload.bond - bond), contribution_id)
    return Cut(Wei(bond), windows, of - after, of - before)


def start_count(slots: Slots, contribution_id: int, owned: int) -> None:
    """Measure what is lost from now on against a new count, which has left out what was lost before."""
    standing = STANDINGS.load(slots, contribution_id)
    if standing.lost:
        started = replace(standing, counted=owned, lost_before=standing.lost)
        STANDINGS.store(slots, started, contribution_id)


def bar(slots: Slots, contribution_id: int) -> None:
    """A dispute about the contribution was upheld: it can challenge nobody any more."""
    STANDINGS.store(slots, replace(STANDINGS.load(slots, contribution_id), barred=True), contribution_id)

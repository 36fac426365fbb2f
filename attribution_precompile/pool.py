"""A datanet's pool: an O(1) accumulator of scaled wei per unit of weight, exact whatever the weights do (rule 12).

    pay:    x = amount * 2**128 + remainder;  accumulator += x // W;  remainder = x % W
    settle: x = weight * (accumulator - settled_at) + residue;  due = x // 2**128;  residue = x % 2**128

The accumulator's remainder and each entry's residue are scaled wei, so nothing is lost when weights change:
`paid in * 2**128 == remainder + sum(weight * (accumulator - settled_at) + residue) + paid out * 2**128`.

Weight given by a review waits in `pending_weight` until the next version; an entry starts at the accumulator which that version
recorded. A change of weight works the same way: the entry is settled with the old weight up to the accumulator of the version
that the change acts with, and from there with the new one. Weight that is erased leaves at once.
"""

from dataclasses import replace
from typing import Final

from attribution_precompile.layout import Pool, PoolEntry
from genesis.errors import InvariantError
from genesis.primitives import Wei

SCALE_BITS: Final = 128
_RESIDUE_MASK: Final = (1 << SCALE_BITS) - 1


def weight_of(quality: int, owned_windows: int, windows_max: int) -> int:
    """A reviewed contribution's weight: quality (0 .. 10,000) times its owned windows, capped by the chain."""
    return quality * min(owned_windows, windows_max)


def pay(pool: Pool, amount: Wei) -> Pool:
    """Pay into a pool whose weight isn't zero (with no weight the amount is the treasury's)."""
    if pool.weight == 0:
        raise InvariantError("a pool without weight was paid")
    scaled = (amount << SCALE_BITS) + pool.remainder
    return replace(pool, accumulator=pool.accumulator + scaled // pool.weight, remainder=scaled % pool.weight)


def add_pending(pool: Pool, weight: int, instead_of: int = 0) -> Pool:
    """Weight that counts from the next version on, in place of other weight that ends then."""
    return replace(pool, pending_weight=pool.pending_weight + weight, pending_cut=pool.pending_cut + instead_of)


def fold(pool: Pool) -> Pool:
    """Publish a version: what was pending counts from here on."""
    return replace(pool, weight=pool.weight + pool.pending_weight - pool.pending_cut, pending_weight=0, pending_cut=0)


def settle(accumulator: int, entry: PoolEntry, weight: int) -> tuple[PoolEntry, Wei]:
    """What a started entry is owed up to a state of the accumulator, and the entry after taking it."""
    scaled = weight * (accumulator - entry.settled_at) + entry.residue
    if scaled < 0:
        raise InvariantError("a pool's accumulator went back")
    settled = replace(entry, settled_at=accumulator, residue=scaled & _RESIDUE_MASK)
    return settled, Wei(scaled >> SCALE_BITS)

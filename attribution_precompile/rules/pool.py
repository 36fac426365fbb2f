"""A datanet's pool by versions: what a use pays reaches its version's members, to the wei (rule 12). Pure arithmetic.

A payment to version v gives each unit of v's weight the same, in parts of 2**-64 wei, and carries what doesn't divide:

    x = amount * 2**64 + remainder of v;  sum of v += x // weight of v;  remainder of v = x % weight of v

A contribution's weight is constant over stretches of versions. It is kept as *steps*: from version `first` on it has
`weight`, until the next step. With S(f) the sum of all versions from f on, it is owed

    x = residue + sum over its steps of (weight - weight of the step before) * (S(first) - S(first) when last settled)

which is due // 2**64 in wei, and keeps the rest as its residue. So nothing is lost, however weights change:
`paid in * 2**64 == sum of remainders + what all members are owed and have as residues + paid out * 2**64`.

Sums and weights live in one tree of radix 16. The node (level, index) stands for the 16**level versions from index *
16**level on. Its `sum` is that of these versions; its `weight` is weight that all of them have, so that a version's
weight is the sum over the nodes above it. A payment changes the nodes above its version (`path`), one a level. S(f),
and a change of weight from version f on, touch at most 8 nodes a level, or 15 where f is among the first 15 (`cover`).
Versions count from 1, so no node of index 0 is ever needed: the tree has no root, and grows without being rebuilt.

Sums are kept modulo 2**160, weights modulo 2**64, as differences of them are all that counts: what a member is owed is
at most all wei there are, 2**90, times 2**64; a datanet's weight is kept below 2**64 (`pool_books.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from attribution_precompile.layout import PoolStep
from genesis.errors import InvariantError
from genesis.primitives import Wei

SCALE_BITS: Final = 64
SUM_MODULUS: Final = 1 << 160
WEIGHT_MODULUS: Final = 1 << 64
_RADIX_BITS: Final = 4
_RADIX: Final = 1 << _RADIX_BITS
_RESIDUE_MASK: Final = (1 << SCALE_BITS) - 1

Place = tuple[int, int]
"""A node's level and index."""


def weight_of(quality: int, owned_windows: int, windows_max: int) -> int:
    """A reviewed contribution's weight: quality (0 .. 10,000) times its owned windows, capped by the chain."""
    return quality * min(owned_windows, windows_max)


# ---------------------------------------------------------------- the tree


def path(version: int) -> Iterator[Place]:
    """The nodes above a version, from its own on."""
    level = 0
    while version:
        yield level, version
        version >>= _RADIX_BITS
        level += 1


def begun_by(version: int) -> int:
    """How many of the nodes above a version begin with it, from its own on: those are new when it is published."""
    begun = 1
    while version % _RADIX == 0:
        version >>= _RADIX_BITS
        begun += 1
    return begun


def cover(first: int, last: int) -> Iterator[tuple[Place, int]]:
    """Nodes with signs (1 or -1) that add up to the versions from `first` on, `last` being the newest published one.

    At each level the nodes from `first` to the end of their parent are taken; or, where these are more, the parent less
    the nodes before `first`. A node with versions yet to come stands for these too.
    """
    level = 0
    while first <= last:
        parent, place = divmod(first, _RADIX)
        if parent and place <= _RADIX // 2:
            yield from (((level, index), -1) for index in range(first - place, first))
            first = parent
        else:
            yield from (((level, index), 1) for index in range(first, min(last + 1, first - place + _RADIX)))
            first = parent + 1
        last >>= _RADIX_BITS
        level += 1


# ---------------------------------------------------------------- payments and members


def divide(amount: Wei, remainder: int, weight: int) -> tuple[int, int]:
    """What a payment adds to its version's sum, and the remainder after it. The weight isn't zero."""
    if weight == 0:
        raise InvariantError("a pool without weight was paid")
    return divmod((amount << SCALE_BITS) + remainder, weight)


def changes(steps: Sequence[PoolStep]) -> list[int]:
    """By how much each step changes the weight."""
    before = (0, *(step.weight for step in steps))
    return [step.weight - earlier for step, earlier in zip(steps, before, strict=False)]


def settle(steps: Sequence[PoolStep], sums: Sequence[int], residue: int) -> tuple[list[PoolStep], int, Wei]:
    """What a contribution is owed, given S(first) of each step: the steps settled at these, the residue, the due."""
    owed = sum(change * (now - step.settled) for change, step, now in zip(changes(steps), steps, sums, strict=True))
    scaled = owed % SUM_MODULUS + residue
    settled = [replace(step, settled=now) for step, now in zip(steps, sums, strict=True)]
    return settled, scaled & _RESIDUE_MASK, Wei(scaled >> SCALE_BITS)


def step_to(steps: Sequence[PoolStep], version: int, weight: int) -> list[PoolStep]:
    """The steps with another weight from a version on that isn't published yet (whose sum is therefore 0)."""
    kept = [step for step in steps if step.first < version]
    before = kept[-1].weight if kept else 0
    return kept if weight == before else [*kept, PoolStep(version, weight, 0)]


def scale(steps: Sequence[PoolStep], kept: int, of: int) -> list[PoolStep]:
    """The steps with `kept` parts of `of` of each weight, rounded down."""
    return [replace(step, weight=step.weight * kept // of) for step in steps]

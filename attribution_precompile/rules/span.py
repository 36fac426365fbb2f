"""Rules 4 to 11: from windows that have an owner to tokens credited to contributions.

Input is, for each use of the model, the owner of every window of the output (`owner_u` of rule 5, from the span index). A run
is a stretch of windows with one owner; it covers its windows' tokens and nothing beyond. Each token goes to the longest run
that covers it. Everything is integer arithmetic on columns (NumPy), and the result does not depend on the order of evaluation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

U64s: TypeAlias = npt.NDArray[np.uint64]
I64s: TypeAlias = npt.NDArray[np.int64]

NOBODY: Final = 0
"""In place of a contribution's id: the window has no owner. Ids start at 1."""


@dataclass(frozen=True, slots=True, eq=False)
class UseHits:
    """Rule 7 for one use: `owners[i]` is the owner of window i of the output, or NOBODY; `k` its window length.

    `priorities[i]` is that owner's priority (rule 4): smaller is better, no two contributions' are equal.
    """

    k: int
    owners: U64s
    priorities: U64s


class Span(NamedTuple):
    """Tokens [start, start + length) credited to a contribution through a use of the model."""

    start: int
    length: int
    use: int
    contribution: int


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs as columns (rule 8). Run r is of use `uses[r]` and covers tokens [starts[r], ends[r])."""

    uses: I64s
    contributions: U64s
    priorities: U64s
    starts: I64s
    ends: I64s

    @classmethod
    def of(cls, number: int, hits: UseHits) -> "Runs":
        """The maximal runs of one use, left to right."""
        owners = hits.owners
        firsts, behind = _stretches(owners)
        owned = owners[firsts] != NOBODY
        firsts, behind = firsts[owned], behind[owned]
        uses = np.full(len(firsts), number, np.int64)
        return cls(uses, owners[firsts], hits.priorities[firsts], firsts, behind + (hits.k - 1))

    @classmethod
    def joined(cls, parts: Sequence["Runs"]) -> "Runs":
        """Those of all uses, in the order given; of none, none."""
        none = cls.of(0, UseHits(1, np.zeros(0, np.uint64), np.zeros(0, np.uint64)))
        return cls(*map(np.concatenate, zip(none.columns, *(part.columns for part in parts), strict=True)))

    @property
    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.uses, self.contributions, self.priorities, self.starts, self.ends

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, places: I64s) -> "Runs":
        return Runs(*(column[places] for column in self.columns))

    def best_first(self) -> I64s:
        """Rule 9's order: by length, then priority, use, first window."""
        return np.lexsort((self.starts, self.uses, self.priorities, self.starts - self.ends))

    def spans(self) -> Iterator[Span]:
        return map(
            Span,
            self.starts.tolist(),
            (self.ends - self.starts).tolist(),
            self.uses.tolist(),
            self.contributions.tolist(),
        )


@dataclass(frozen=True, slots=True)
class Attribution:
    """What an output of `tokens` tokens owes to whom: scores in order of payment (rule 11)."""

    tokens: int
    scores: tuple[tuple[int, int], ...]
    """(contribution, tokens credited), best first."""

    @property
    def matched(self) -> int:
        return sum(tokens for _, tokens in self.scores)

    @property
    def unmatched(self) -> int:
        return self.tokens - self.matched


def credit(tokens: int, uses: Sequence[UseHits], parts: Sequence[Runs]) -> Runs:
    """Rule 9 for an output, given the runs of each use: those that get any tokens, in token order, each cut down to these.

    A token is covered by the runs of the k windows that it lies in, so the best of them is the least of k ranks in a row.
    What a run gets is one stretch: whatever takes tokens from it is at least as long as it is, so it can bite into an end of
    the run, not leave holes on both sides of a piece.
    """
    runs = Runs.joined(parts)
    order = runs.best_first()
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    best = np.full(tokens, len(runs), np.int64)
    first = 0
    for hits, part in zip(uses, parts, strict=True):
        windows = part.ends - part.starts - (hits.k - 1)
        around = np.full(tokens + hits.k - 1, len(runs), np.int64)
        around[hits.k - 1 :][: len(hits.owners)][hits.owners != NOBODY] = np.repeat(
            ranks[first : first + len(part)], windows
        )
        np.minimum(best, _least_in_a_row(around, hits.k), out=best)
        first += len(part)
    starts, ends = _stretches(best)
    taken = best[starts] < len(runs)
    starts, ends = starts[taken], ends[taken]
    return replace(runs.take(order[best[starts]]), starts=starts, ends=ends)


def score(credited: Runs) -> tuple[tuple[int, int], ...]:
    """Rules 10 and 11: the tokens of each contribution, in order of payment."""
    contributions, which = np.unique(credited.contributions, return_inverse=True)
    tokens = np.zeros(len(contributions), np.int64)
    np.add.at(tokens, which, credited.ends - credited.starts)
    priorities = np.zeros(len(contributions), np.uint64)
    priorities[which] = credited.priorities
    order = np.lexsort((priorities, -tokens))
    return tuple(zip(contributions[order].tolist(), tokens[order].tolist(), strict=True))


def _stretches(values: npt.NDArray[np.generic]) -> tuple[I64s, I64s]:
    """The maximal stretches of equal values: [first, behind) of each."""
    cuts = np.flatnonzero(values[1:] != values[:-1]) + 1
    firsts = np.concatenate(([0], cuts)) if len(values) else cuts
    behind = np.concatenate((cuts, [len(values)])) if len(values) else cuts
    return firsts, behind


def _least_in_a_row(values: I64s, count: int) -> I64s:
    """The least of values[i : i + count], for each i that has so many."""
    width = 1
    while width < count:
        step = min(width, count - width)
        values = np.minimum(values[:-step], values[step:])
        width += step
    return values

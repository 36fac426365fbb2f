"""Rules 4 to 10: from windows that have an owner to tokens credited to contributions.

Input is, for each use of the model, the owner of every window of the output (`owner_u` of rule 5, from the span index). A run
is a stretch of windows with one owner; it covers its windows' tokens and nothing beyond. Each token goes to the longest run
that covers it. Everything is integer arithmetic, and the result does not depend on the order of evaluation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

NOBODY: Final = 0
"""In place of a contribution's id: the window has no owner. Ids start at 1."""


@dataclass(frozen=True, slots=True)
class Run:
    """Rule 8: windows [first .. last] of one use with one owner; covers tokens [start, end)."""

    use: int
    contribution: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [start, start + length) credited to a contribution through a use of the model."""

    start: int
    length: int
    use: int
    contribution: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """What an output of `tokens` tokens owes to whom: spans in token order, scores in order of payment (rule 11)."""

    tokens: int
    spans: tuple[Span, ...]
    scores: tuple[tuple[int, int], ...]
    """(contribution, tokens credited), best first."""

    @property
    def matched(self) -> int:
        return sum(tokens for _, tokens in self.scores)

    @property
    def unmatched(self) -> int:
        return self.tokens - self.matched


@dataclass(frozen=True, slots=True)
class UseHits:
    """Rule 7 for one use: `owners[i]` is the owner of window i of the output, or NOBODY; `k` its window length."""

    k: int
    owners: Sequence[int]


def attribute(tokens: int, uses: Sequence[UseHits], priority: Callable[[int], int]) -> Attribution:
    """Rules 8 to 11's order. `priority(contribution)`: smaller is better, no two are equal (rule 4)."""
    runs = [run for number, use in enumerate(uses) for run in runs_of(number, use)]
    spans = credit(tokens, runs, priority)
    scores: dict[int, int] = {}
    for span in spans:
        scores[span.contribution] = scores.get(span.contribution, 0) + span.length
    ordered = sorted(scores.items(), key=lambda score: (-score[1], priority(score[0])))
    return Attribution(tokens, tuple(spans), tuple(ordered))


def runs_of(number: int, use: UseHits) -> list[Run]:
    """Rule 8: the maximal runs of one use, left to right."""
    runs = []
    owner, first = NOBODY, 0
    for i, found in enumerate(use.owners):
        if found != owner:
            if owner != NOBODY:
                runs.append(Run(number, owner, first, i - 1 + use.k))
            owner, first = found, i
    if owner != NOBODY:
        runs.append(Run(number, owner, first, len(use.owners) - 1 + use.k))
    return runs


def credit(tokens: int, runs: Sequence[Run], priority: Callable[[int], int]) -> list[Span]:
    """Rule 9: each token to the covering run of greatest length; ties by priority, lower use, lower first window.

    Runs are laid down best first onto free tokens. A run's free tokens are one stretch: whatever was laid over it before is at
    least as long as it is, so it can bite into an end of the run, not leave holes on both sides of a piece.
    """
    best_first = sorted(runs, key=lambda run: (run.start - run.end, priority(run.contribution), run.use, run.start))
    next_free = list(range(tokens + 1))
    spans = []
    for run in best_first:
        start = _find(next_free, run.start)
        end = start
        while end < run.end and next_free[end] == end:
            next_free[end] = end + 1
            end += 1
        if end > start:
            spans.append(Span(start, end - start, run.use, run.contribution))
    spans.sort(key=lambda span: span.start)
    return spans


def _find(next_free: list[int], at: int) -> int:
    """The first free token at or behind `at`, shortening the path for the next search."""
    root = at
    while next_free[root] != root:
        root = next_free[root]
    while next_free[at] != root:
        next_free[at], at = root, next_free[at]
    return root

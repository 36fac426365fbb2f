"""The campaign: draw mutants by a seed, run the tests that execute the changed line, and judge what survives."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation.operators import Mutant, mutants
from tests.mutation.table import Area, Equivalent, path_of
from tests.mutation.trial import NO_TESTS, Crew, Line, Outcome, Run

BASELINE_LIMIT_S: Final = 900.0
PATIENCE_S: Final = 10.0
LIMIT_FACTOR: Final = 2.0
"""A mutant may take PATIENCE_S and so many times what its tests took without it, under the tracer."""


class TestsFail(Exception):
    """The tests fail without any mutant, so nothing can be learned."""

    __test__ = False


@dataclass
class Baseline:
    """What the tests of an area do on the code as it is."""

    seconds: dict[str, float] = field(default_factory=dict)
    running: dict[Line, set[str]] = field(default_factory=dict)
    """Line -> the tests that execute it. Lines that run at import lead to all tests."""
    at_import: set[Line] = field(default_factory=set)

    def take(self, outcome: Outcome) -> None:
        self.seconds |= outcome.seconds
        for test, lines in outcome.lines.items():
            if test:
                for line in lines:
                    self.running.setdefault(line, set()).add(test)
            else:
                self.at_import |= lines

    def tests_for(self, mutant: Mutant) -> list[str]:
        """The tests that may notice it, file by file, the quickest files first; all, where none runs the line by itself."""
        path = path_of(mutant.module)
        lines = [(path, line) for line in range(mutant.first_line, mutant.last_line + 1)]
        found = set().union(*(self.running.get(line, set()) for line in lines))
        if not found or not self.at_import.isdisjoint(lines):
            found = set(self.seconds)
        cost: Counter[str] = Counter()
        for test in found:
            cost[test.partition("::")[0]] += self.seconds[test]
        order = {name: place for place, name in enumerate(self.seconds)}
        return sorted(found, key=lambda test: (cost[test.partition("::")[0]], test.partition("::")[0], order[test]))


@dataclass
class Tally:
    """The figures of one module."""

    killed: int = 0
    by_time: int = 0
    elsewhere: int = 0
    survived: list[Mutant] = field(default_factory=list)
    equivalent: int = 0
    """Mutants of the whole module that are listed as equivalent; they are not run."""

    @property
    def tried(self) -> int:
        return self.killed + len(self.survived)


@dataclass
class Campaign:
    """One run of `make mutation`. `samples`: mutants a module; `until`: time.monotonic() after which none is begun, put off by
    what tests take without mutants."""

    root: Path
    crew: Crew
    areas: list[Area]
    equivalents: list[Equivalent]
    seed: int
    samples: int
    until: float | None = None
    with_rest: bool = False
    patience_s: float = PATIENCE_S
    tallies: dict[str, Tally] = field(default_factory=dict)

    def run(self) -> Iterator[str]:
        """Do it all, from another area on with each seed; what it finds, line by line. TestsFail: they do without a mutant."""
        first = self.seed % len(self.areas)
        for area in self.areas[first:] + self.areas[:first]:
            if self.until is not None and time.monotonic() >= self.until:
                return
            yield f"# {area.name}: {', '.join(area.modules)}"
            yield from self._area(area)

    def _area(self, area: Area) -> Iterator[str]:
        drawn = [mutant for module in area.modules for mutant in self._drawn(module)]
        drawn.sort(key=lambda mutant: mutant.rank(self.seed))
        began = time.monotonic()
        baseline = self._baseline(area)
        if self.until is not None:
            self.until += time.monotonic() - began
        runs = (self._trial(mutant, baseline) for mutant in drawn)
        survivors = []
        for run, outcome in self.crew.work(runs, self.until):
            mutant = run.subject
            assert isinstance(mutant, Mutant)
            if self._is_killed(mutant, outcome):
                continue
            survivors.append(mutant)
            if not (self.with_rest and area.rest):
                yield f"SURVIVED {mutant}"
        if self.with_rest and area.rest:
            yield from self._rest(area, survivors)

    def _rest(self, area: Area, survivors: list[Mutant]) -> Iterator[str]:
        """Ask the other tests about what survived the area's own."""
        runs = [self._changed(mutant, area.rest, BASELINE_LIMIT_S) for mutant in survivors]
        for run, outcome in self.crew.work(runs):
            mutant = run.subject
            assert isinstance(mutant, Mutant)
            if outcome.code == 0:
                yield f"SURVIVED {mutant}"
            else:
                tally = self.tallies[mutant.module]
                tally.survived.remove(mutant)
                tally.killed += 1
                tally.elsewhere += 1
                yield f"ELSEWHERE {mutant}: {outcome.failed or 'time limit'}"

    def _drawn(self, module: str) -> list[Mutant]:
        """The mutants of a module that come first by this seed."""
        known = [each for each in self.equivalents if each.module == module]
        every = mutants(module, (self.root / path_of(module)).read_text())
        wanted = [mutant for mutant in every if not any(each.covers(mutant) for each in known)]
        self.tallies[module] = Tally(equivalent=len(every) - len(wanted))
        return sorted(wanted, key=lambda mutant: mutant.rank(self.seed))[: self.samples]

    def _baseline(self, area: Area) -> Baseline:
        """Run the area's tests on the code as it is, a file at a time, and note which test runs which line."""
        traced = tuple(path_of(module) for module in area.modules)
        runs = [Run((path,), BASELINE_LIMIT_S, traced=traced) for path in _files(self.root, area.tests)]
        found = dict(self.crew.work(runs))
        for run in [run for run in runs if found[run].code not in (0, NO_TESTS)]:
            # once more, alone: a tracer and a busy machine may be too much for a test that has a clock
            found |= self.crew.work([run])
            if found[run].code != 0:
                outcome = found[run]
                raise TestsFail(f"{run.targets[0]} fails without a mutant: {outcome.failed}\n{outcome.output[-4000:]}")
        baseline = Baseline()
        for run in runs:
            baseline.take(found[run])
        return baseline

    def _trial(self, mutant: Mutant, baseline: Baseline) -> Run:
        ids = baseline.tests_for(mutant)
        limit = self.patience_s + LIMIT_FACTOR * sum(baseline.seconds[test] for test in ids)
        return self._changed(mutant, tuple(dict.fromkeys(test.partition("::")[0] for test in ids)), limit, tuple(ids))

    def _changed(
        self, mutant: Mutant, targets: tuple[str, ...], limit_s: float, ids: tuple[str, ...] | None = None
    ) -> Run:
        path = path_of(mutant.module)
        changed = mutant.applied_to((self.root / path).read_text())
        return Run(targets, limit_s, ids, changed=(path, changed), subject=mutant)

    def _is_killed(self, mutant: Mutant, outcome: Outcome) -> bool:
        tally = self.tallies[mutant.module]
        if outcome.code == NO_TESTS:
            raise TestsFail(f"no test was run on {mutant}:\n{outcome.output[-4000:]}")
        if outcome.code == 0:
            tally.survived.append(mutant)
            return False
        tally.killed += 1
        tally.by_time += outcome.code is None
        return True


def _files(root: Path, targets: tuple[str, ...]) -> list[str]:
    """The test files under the targets."""
    found = []
    for target in targets:
        path = root / target
        files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
        found += [file.relative_to(root).as_posix() for file in files]
    return list(dict.fromkeys(found))

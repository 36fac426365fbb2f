"""Many seeds on all cores. A failing seed is printed with the command that replays it."""

import argparse
import multiprocessing
import time
from dataclasses import dataclass, field
from functools import partial

from tests.sim.cluster import Cluster
from tests.sim.keys import toy_signatures
from tests.sim.monitor import Violation
from tests.sim.plan import plan_of

HEIGHTS_PER_SEED = 4
BATCH = 64


@dataclass(frozen=True)
class Result:
    """How one seed ended."""

    seed: int
    heights: int
    max_round: int
    crashes: int
    evidence: int
    failure: str = ""


@dataclass
class Total:
    """A campaign's sum."""

    passed: int = 0
    heights: int = 0
    max_round: int = 0
    crashes: int = 0
    evidence: int = 0
    failures: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.heights += result.heights
        self.max_round = max(self.max_round, result.max_round)
        self.crashes += result.crashes
        self.evidence += result.evidence
        if result.failure:
            self.failures.append(result)
        else:
            self.passed += 1


def run_seed(seed: int, *, n: int | None = None, byzantine: str | None = None) -> Result:
    """One seed, start to end."""
    cluster = Cluster(seed, plan_of(seed, n=n, byzantine=byzantine, heights=HEIGHTS_PER_SEED))
    failure = ""
    with toy_signatures():
        try:
            cluster.run()
        except Violation as violation:
            failure = str(violation)
        except Exception as error:  # a bug of the simulator, or one that no check expected: a failure as well
            failure = f"{cluster}: {error!r}"
    monitor = cluster.monitor
    crashes = cluster.crash_points.total()
    return Result(seed, len(monitor.decided), monitor.max_round, crashes, monitor.evidence_seen, failure)


def run_campaign(arguments: argparse.Namespace) -> Total:
    """Seeds from `arguments.seed` on, until enough heights are decided or the time is up."""
    total = Total()
    end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    last = arguments.seed + max(1, arguments.heights // HEIGHTS_PER_SEED)
    work = partial(run_seed, n=arguments.n, byzantine=arguments.byzantine)
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        for first in range(arguments.seed, last, BATCH):
            if end is not None and time.monotonic() > end:
                break
            for result in pool.imap_unordered(work, range(first, min(first + BATCH, last))):
                total.add(result)
                if result.failure:
                    _print_failure(result, arguments)
    return total


def _print_failure(result: Result, arguments: argparse.Namespace) -> None:
    options = f" --n {arguments.n}" if arguments.n else ""
    options += f" --byzantine '{arguments.byzantine}'" if arguments.byzantine else ""
    print(f"replay: python -m tests.sim --seed {result.seed}{options}\n  {result.failure}", flush=True)

"""Running chosen cases in processes of their own, each within a limit of processor time: a busy machine fails none."""

import multiprocessing
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from evm_runtime.computation import Tier
from tests.conformance.fixture import Case, FixtureError, cases, load, read
from tests.conformance.selection import Work
from tests.conformance.state_test import TIERS, run

STACK_BYTES = 256 << 20
"""For a depth of 1024 with every frame interpreted."""


@dataclass(frozen=True, slots=True)
class Result:
    """One case on one tier, or a whole file that can't be read. `problem` is empty if it passed."""

    path: Path
    fork: str
    name: str
    problem: str
    seconds: float


class TimeLimit(BaseException):
    """A case took too long. (No Exception: the executor makes an invalid transaction of those.)"""


def run_work(work: Work, fork: str | None, tiers: list[str], seconds: float) -> list[Result]:
    """Each chosen case of a file on each tier. For the main thread of a process: its stack is big, and signals reach it."""
    signal.signal(signal.SIGPROF, _on_limit)
    by_name = {name: TIERS[name]() for name in tiers}
    results = []
    try:
        for place, case in enumerate(cases(load(work.path), fork)):
            if work.places is None or place in work.places:
                results += [
                    _run_case(work.path, case, f"{case.name} [{name}]", tier, seconds) for name, tier in by_name.items()
                ]
    except FixtureError as error:
        results.append(Result(work.path, "", "", f"malformed fixture: {error}", 0.0))
    return results


def _run_case(path: Path, case: Case, name: str, tier: Tier | None, seconds: float) -> Result:
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        problem = run(read(case), case.fork, tier).problem
    except FixtureError as error:
        problem = f"malformed fixture: {error}"
    except TimeLimit:
        problem = f"took more than {seconds:g} s of processor time"
    except Exception as error:
        problem = f"the executor raised {type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Result(path, case.fork, name, problem, time.process_time() - began)


def _on_limit(_signal: int, _frame: FrameType | None) -> None:
    raise TimeLimit


def run_all(works: list[Work], fork: str | None, tiers: list[str], *, seconds: float, jobs: int) -> Iterator[Result]:
    """Everything, as it is done, in processes of their own whose main thread has a stack that is deep enough.

    A KeyboardInterrupt ends the processes and passes through.
    """
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES if hard < 0 else min(STACK_BYTES, hard), hard))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures: dict[Future[list[Result]], Work] = {
            pool.submit(run_work, work, fork, tiers, seconds): work for work in works
        }
        try:
            for future in as_completed(futures):
                yield from _results_of(future, futures[future])
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _results_of(future: Future[list[Result]], work: Work) -> list[Result]:
    try:
        return future.result()
    except BrokenProcessPool:
        return [Result(work.path, "", "", "not run: a process of the runner died", 0.0)]

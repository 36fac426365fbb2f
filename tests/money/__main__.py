"""`make money`: random walks over the whole attribution contract; after every call the books must balance to the wei, and at
the end of each walk everything but rounding can be taken out.

Each walk is a world of its own with its own seed, printed if it fails: `python -m tests.money --seed N --walks 1` replays it.
A run of a million steps also fails if a method that changes something has never succeeded.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice

from tests.unit.attribution.walk import Walk, mutating_methods

STEPS_OF_A_WALK = 2_000
"""Walks are short, since the books are added up anew after each call."""
ENOUGH_STEPS = 50_000
"""In so many steps each method succeeds many times, the rarest some hundred."""
REPORT_SECONDS = 30

Done = tuple[int, Counter[str], str]
"""Steps done, successful calls by method, what went wrong or nothing."""


def walk(seed: int) -> Done:
    made = Walk(random.Random(seed))
    for step in range(STEPS_OF_A_WALK):
        try:
            made.step()
            made.check()
        except Exception as error:
            return step, made.direct.done, f"seed {seed}, step {step}: {type(error).__name__}: {error}"
    try:
        made.drain()
    except Exception as error:
        return STEPS_OF_A_WALK, made.direct.done, f"seed {seed}, at the end: {type(error).__name__}: {error}"
    return STEPS_OF_A_WALK, made.direct.done, ""


def all_walks(seeds: range, jobs: int) -> Iterator[Done]:
    """Walks in any order, twice as many in hand as there are processes. Raises BrokenProcessPool if one of these dies."""
    waiting = iter(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        running = {pool.submit(walk, seed) for seed in islice(waiting, 2 * jobs)}
        try:
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(walk, seed) for seed in islice(waiting, len(ended))}
                yield from (each.result() for each in ended)
        finally:
            pool.shutdown(cancel_futures=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--walks", type=int, default=0, help="so many walks from the seed on, instead of --steps")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    walks = options.walks or -(-options.steps // STEPS_OF_A_WALK)
    began = reported = time.monotonic()
    steps, failed, calls = 0, 0, Counter[str]()

    def report() -> None:
        passed = time.monotonic() - began
        print(f"{steps} steps, {calls.total()} successful calls, {failed} failures, {passed:.0f} s", flush=True)

    for done, called, wrong in all_walks(range(options.seed, options.seed + walks), options.jobs):
        steps, calls = steps + done, calls + called
        if wrong:
            failed += 1
            print(wrong, flush=True)
        if time.monotonic() - began >= options.seconds:
            break
        if time.monotonic() - reported >= REPORT_SECONDS:
            reported = time.monotonic()
            report()
    report()
    print(", ".join(f"{name} {times}" for name, times in calls.most_common()))
    missing = mutating_methods() - calls.keys() if steps >= ENOUGH_STEPS else set()
    if missing:
        print(f"never succeeded: {', '.join(sorted(missing))}")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make money`: random walks over the whole attribution contract; after every call the books must balance to the wei.

Each walk has its own seed, printed if it fails: `python -m tests.money --seed N --walks 1` replays it.
"""

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter

from tests.unit.attribution.walk import Walk

STEPS_OF_A_WALK = 2_000
"""Walks are short, since the books are added up anew after each step."""


def walk(seed: int) -> tuple[int, Counter[str], str]:
    """(steps done, successful calls by method, what went wrong or nothing)."""
    made = Walk(random.Random(seed))
    for step in range(STEPS_OF_A_WALK):
        try:
            made.step()
            made.check()
        except Exception as error:
            return step, made.direct.done, f"seed {seed}, step {step}: {type(error).__name__}: {error}"
    return STEPS_OF_A_WALK, made.direct.done, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--walks", type=int, default=0, help="so many walks from the seed on, instead of --steps")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    walks = options.walks or -(-options.steps // STEPS_OF_A_WALK)
    began, steps, calls, failed = time.monotonic(), 0, Counter[str](), 0
    with multiprocessing.Pool() as pool:
        for done, called, wrong in pool.imap_unordered(walk, range(options.seed, options.seed + walks)):
            steps, calls = steps + done, calls + called
            if wrong:
                failed += 1
                print(wrong, flush=True)
            if time.monotonic() - began >= options.seconds:
                break
    print(f"{steps} steps, {sum(calls.values())} successful calls, {failed} failures, {time.monotonic() - began:.0f} s")
    print(", ".join(f"{name} {times}" for name, times in calls.most_common()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

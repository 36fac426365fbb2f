"""Compare attribution with the reference: `python -m tests.reference --seed S --cases N`.

A case is an output that the node's fast path and the reference attribute and pay alike; cases come from random histories, one
after the other from the seed on, so that the seed of a failure is enough to repeat it.
"""

import argparse
import sys
import time

from tests.reference.equality import check_history


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.reference", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, default=100_000)
    options = parser.parse_args()
    began, cases, seed = time.monotonic(), 0, options.seed
    while cases < options.cases:
        cases += check_history(seed)
        seed += 1
        if seed % 500 == 0:
            print(f"{cases} cases equal, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{cases} cases equal, histories {options.seed} to {seed - 1}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

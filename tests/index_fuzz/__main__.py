"""Four nodes beside an index that is built anew after every block: `python -m tests.index_fuzz --seed S --blocks N`.

Random histories, with proposals that lose, calls that revert at any depth, simulations, overrides, questions about old blocks,
warmers that come late or are killed between two reads, restarts, blocks that are taken back, content that some nodes drop as
soon as they may, losses, erasures and withdrawals. After every block all nodes, whatever they were asked, must answer all that
can be asked, and charge for it, as an index that has just read the final state; and owners must be those of the reference.
"""

import argparse
import sys
import time

from tests.index_fuzz.campaign import run_history


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.index_fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=100_000)
    options = parser.parse_args()
    began, blocks, seed = time.monotonic(), 0, options.seed
    while blocks < options.blocks:
        blocks += run_history(seed)
        seed += 1
        if seed % 100 == 0:
            print(f"{blocks} blocks without a difference, {time.monotonic() - began:.0f} s", flush=True)
    print(
        f"{blocks} blocks without a difference, histories {options.seed} to {seed - 1}, {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

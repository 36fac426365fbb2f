"""Fuzz JSON-RPC over real sockets: `python -m tests.fuzz_rpc --seed S --seconds T`.

A real chain, one server, several clients at once, over HTTP (whole, in pieces, pipelined, cut off) and WebSocket. Every answer
must be a JSON-RPC answer of the declared shape and none of an internal error; afterwards nothing may be left behind.
"""

import argparse
import logging
import resource
import sys
import tempfile
from pathlib import Path

import trio

from tests.fuzz_rpc.campaign import run


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz_rpc", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        report = trio.run(run, Path(folder), options.seed, options.seconds)
    for line in report.failures:
        print(line, flush=True)
    print(f"seed {options.seed}: {report.results} results and {report.errors} errors answered")
    rate = report.passed / options.seconds
    print(
        f"{rate:,.0f} requests/s; the slowest block took {report.slowest_block_s:.2f} s; peak RSS {_peak_mb():,.0f} MB"
    )
    print(f"{report.passed} passed, {len(report.failures)} failed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())

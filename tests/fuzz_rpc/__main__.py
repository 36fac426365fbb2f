"""Fuzz JSON-RPC over real sockets: `python -m tests.fuzz_rpc --seed S --seconds T` or `--requests N`.

A real chain, one server, several clients at once, over HTTP (whole, in pieces, pipelined, cut off) and WebSocket. Every answer
must be a JSON-RPC answer of the declared shape and none of an internal error; afterwards nothing may be left behind.
"""

import argparse
import logging
import math
import resource
import sys
import tempfile
import time
from pathlib import Path

import trio

from tests.fuzz_rpc.campaign import Report, run

RSS_MAX_MB = 512


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def _tell(report: Report) -> None:
    """Say how it stands, and of each failure once what it was."""
    for line in report.failures[report.told :]:
        print(line)
    report.told = len(report.failures)
    print(
        f"{report.passed} passed, {len(report.failures)} failed; {report.blocks} blocks, the slowest took "
        f"{report.slowest_block_s:.2f} s; peak RSS {_peak_mb():,.0f} MB",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz_rpc", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="60, if no number of requests is given")
    parser.add_argument("--requests", type=float, default=math.inf, help="stop once so many are answered")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    seconds = options.seconds or (60.0 if math.isinf(options.requests) else math.inf)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = trio.run(run, Path(folder), options.seed, seconds, options.requests, _tell)
    if _peak_mb() > RSS_MAX_MB:
        report.failures.append(f"server and clients took {_peak_mb():,.0f} MB, more than {RSS_MAX_MB}")
    print(f"seed {options.seed}: {report.results} results and {report.errors} errors answered")
    print(f"{report.passed / (time.monotonic() - began):,.0f} requests/s")
    _tell(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())

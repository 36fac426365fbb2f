"""`python -m tests.chaos kill|points|tails|soak`: what the node survives, tried on real processes and real files."""

import argparse
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="where data directories go (a temporary folder)")
    commands = parser.add_subparsers(dest="command", required=True)
    kill = commands.add_parser("kill", help="kill -9 validators of a devnet under load")
    kill.add_argument("--cycles", type=int, default=20)
    tails = commands.add_parser("tails", help="truncate and garble a stopped node's files")
    tails.add_argument("--cases", type=int, default=500)
    points = commands.add_parser("points", help="die at any boundary of the real files, and start again")
    points.add_argument("--points", type=int, default=500)
    points.add_argument("--jobs", type=int, default=None, help="processes (default: one a core)")
    soak = commands.add_parser("soak", help="steady load, and what it makes of memory, files, threads and latency")
    soak.add_argument("--seconds", type=float, default=60)
    soak.add_argument("--stall-seconds", type=float, default=15, help="the longest time without a new block")
    for command in (kill, points, tails, soak):
        command.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given = parser.parse_args()
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    if given.command == "kill":
        from tests.chaos.kill import run as run_kill

        return run_kill(given.cycles, given.seed, given.folder)
    if given.command == "tails":
        from tests.chaos.tails import run as run_tails

        return run_tails(given.cases, given.seed, given.folder)
    if given.command == "points":
        from tests.chaos.points import run as run_points

        return run_points(given.points, given.seed, given.jobs, given.folder)
    from tests.chaos.soak import run as run_soak

    return run_soak(given.seconds, given.seed, given.stall_seconds, given.folder)


if __name__ == "__main__":
    sys.exit(main())

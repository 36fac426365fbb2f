"""`python -m tests.conformance --fixtures DIR`: run state tests through the executor, and say how many pass.

The last line is `N passed, M failed`; the failing cases are listed before it. The exit code is 0 if none failed. A case that
takes longer than its limit of processor time fails, and so does a file that is malformed; neither ends the run.
"""

import argparse
import signal
import sys
from collections import Counter, defaultdict
from pathlib import Path

from tests.conformance.fixture import FORKS
from tests.conformance.runner import Result, run_all
from tests.conformance.selection import select
from tests.conformance.state_test import TIERS


def print_folders(results: list[Result], root: Path) -> None:
    """Passed and failed by folder and fork, and the seconds of processor time they took."""
    rows: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        rows[str(result.path.parent.relative_to(root) if root.is_dir() else root.name), result.fork].append(result)
    for (folder, fork), found in sorted(rows.items()):
        failed = sum(1 for result in found if result.problem)
        seconds = sum(result.seconds for result in found)
        print(f"{folder:70} {fork:7} {len(found) - failed:6} passed {failed:4} failed {seconds:8.1f} s")


def print_slowest(results: list[Result], count: int = 10) -> None:
    for result in sorted(results, key=lambda result: -result.seconds)[:count]:
        print(f"{result.seconds:8.1f} s  {result.path.name}: {result.name}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--fixtures", type=Path, required=True, help="a folder of state tests, or one file")
    parser.add_argument("--fork", choices=FORKS, help="one fork; all three by default")
    parser.add_argument("--limit", type=int, help="a sample of so many cases, spread over the folders, always the same")
    parser.add_argument(
        "--tier",
        choices=[*TIERS, "each"],
        default="all",
        help="all tiers as nodes run them, one alone, or each in turn",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=600, help="of processor time, the limit of a case")
    parser.add_argument("--folders", action="store_true", help="print the counts of each folder and the slowest cases")
    options = parser.parse_args()
    if not options.fixtures.exists():
        parser.error(f"{options.fixtures} does not exist")
    return options


def main() -> int:
    options = parse_options()
    works = select(options.fixtures, options.fork, options.limit)
    if not works:
        print(f"no fixtures under {options.fixtures}", file=sys.stderr)
        return 2
    tiers = [name for name in TIERS if name != "all"] if options.tier == "each" else [options.tier]
    results = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for result in run_all(works, options.fork, tiers, seconds=options.seconds, jobs=options.jobs):
            results.append(result)
            if result.problem:
                print(f"FAILED {result.path.name}: {result.name} {result.problem}", flush=True)
        interrupted = False
    except KeyboardInterrupt:
        interrupted = True
    if options.folders:
        print_folders(results, options.fixtures)
        print_slowest(results)
    failures = sorted(f"{result.path.name}: {result.name}" for result in results if result.problem)
    if failures:
        print("\nfailing cases:", *failures, sep="\n  ")
    counts = Counter(result.fork for result in results if not result.problem)
    print("passed by fork:", ", ".join(f"{fork} {counts[fork]}" for fork in FORKS))
    if interrupted:
        print("interrupted: not every case was run")
    print(f"{len(results) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures or interrupted else 0


if __name__ == "__main__":
    sys.exit(main())

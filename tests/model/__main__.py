"""`python -m tests.model`: check the Promela model with Spin, and show that it finds what its mutants break.

Needs `spin` and `gcc` (Debian: packages spin and gcc); without them it says so and ends well, having checked nothing.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("tendermint.pml")


@dataclass(frozen=True)
class Check:
    """One run of Spin: which defines, how the search goes, and whether it must find a fork."""

    name: str
    defines: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    forks: bool = False


CHECKS = (
    Check("agreement, 2 rounds"),
    Check("mutant: locks are ignored", ("NO_LOCK",), forks=True),
    Check("mutant: half is a quorum", ("SMALL_QUORUM",), forks=True),
    Check("mutant: a stale polka unlocks", ("STALE_POLKA", "ROUNDS=3"), ("T_REVERSE",), forks=True),
)


def check(item: Check, folder: Path, *, show: bool) -> bool:
    """Run one check; True if it ended as it must."""
    defines = [f"-D{name}" for name in item.defines]
    _run(["spin", *defines, "-a", str(MODEL)], folder)
    search = [f"-D{name}" for name in item.search]
    _run(["gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", *search, "-o", "pan", "pan.c"], folder)
    report = _run(["./pan", "-E", "-m100000"], folder)
    found, whole = "errors: 0" not in report, "Search not completed" not in report
    good = found if item.forks else whole and not found
    states = next((line.split()[0] for line in report.splitlines() if "states, stored" in line), "?")
    outcome = "a fork is found" if found else "no fork" if whole else "not searched to the end"
    print(f"{'ok  ' if good else 'FAIL'}  {item.name}: {outcome}, {states} states", flush=True)
    if found and (show or not good):
        print(_run(["spin", *defines, "-t", "-p", "-g", str(MODEL)], folder))
    return good


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--show", action="store_true", help="print the steps to each fork")
    arguments = parser.parse_args()
    missing = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not found (Debian: apt install spin gcc). Nothing was checked.")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        results = [check(item, Path(folder), show=arguments.show) for item in CHECKS]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())

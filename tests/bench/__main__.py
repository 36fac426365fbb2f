"""`python -m tests.bench [name…]`: run the named benches, or all but the long ones, each in a process of its own.

A bench is a module of this folder with `run(report)`, which adds figures to the report. A process each, so that the memory one
has filled doesn't slow the garbage collector of the next.
"""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench.harness import ROOT, Report

HELPERS = {"__main__", "harness", "rivals", "workload", "worst_cases", "worst_natives"}
ORDER = ("admission", "execution", "evm", "block", "attribution", "settlement", "gas", "devnet", "consensus", "rpc")
LONG = {"memory", "worst", "worst_states"}
"""Minutes each: run by name only."""


def names() -> list[str]:
    found = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])} - HELPERS
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def main(arguments: Sequence[str]) -> int:
    known = names()
    unknown = [name for name in arguments if name not in known]
    if unknown:
        print(f"no bench is called {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    wanted = list(arguments) or [name for name in known if name not in LONG]
    if len(wanted) == 1:
        report = Report(wanted[0])
        importlib.import_module(f"tests.bench.{wanted[0]}").run(report)
        print(report.table())
        print(f"  -> {report.write().relative_to(ROOT)}", flush=True)
        return 0
    codes = [subprocess.run([sys.executable, "-m", "tests.bench", name], cwd=ROOT).returncode for name in wanted]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make mutation`: break a line, and see that a test notices. Options: --seed, --samples, --seconds, --module, --rest.

Ends with `N passed, M failed`: mutants that the tests killed, and survivors that equivalents.toml doesn't list with a reason.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation import table
from tests.mutation.campaign import PATIENCE_S, Campaign, TestsFail
from tests.mutation.trial import Crew


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=25, help="mutants of each module")
    parser.add_argument("--seconds", type=float, help="for so long, beside the tests without mutants")
    parser.add_argument("--module", default="*", help="an import path, a package, or a pattern")
    parser.add_argument("--rest", action="store_true", help="ask further tests about what survives")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_S, help="seconds that a mutant has beside its tests'"
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2], help="the project")
    parser.add_argument("--table", type=Path, default=table.MODULES)
    parser.add_argument("--equivalents", type=Path, default=table.EQUIVALENTS)
    chosen = parser.parse_args()

    signal.signal(
        signal.SIGTERM, lambda _number, _frame: sys.exit(143)
    )  # so that running tests are ended on the way out
    areas = list(table.matching(table.areas(chosen.table), chosen.module))
    if not areas:
        parser.error(f"no module of {chosen.table.name} is {chosen.module}")
    print(f"seed {chosen.seed}, {chosen.samples} mutants a module, {chosen.jobs} at a time", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        crew = Crew(chosen.root, Path(folder), chosen.jobs)
        started = time.monotonic()
        campaign = Campaign(
            root=chosen.root,
            crew=crew,
            areas=areas,
            equivalents=table.equivalents(chosen.equivalents),
            seed=chosen.seed,
            samples=chosen.samples,
            until=None if chosen.seconds is None else started + chosen.seconds,
            with_rest=chosen.rest,
            patience_s=chosen.patience,
        )
        try:
            for line in campaign.run():
                print(line, flush=True)
        except TestsFail as error:
            print(error)
            return 1
    return report(campaign, time.monotonic() - started)


def report(campaign: Campaign, seconds: float) -> int:
    """The figures, and the exit code."""
    passed = failed = 0
    for module, tally in sorted(campaign.tallies.items()):
        if tally.tried:
            passed += tally.killed
            failed += len(tally.survived)
            extra = f"{tally.by_time} by time, {tally.elsewhere} elsewhere, {tally.equivalent} listed as equivalent"
            print(
                f"{module:44} {tally.killed:4} of {tally.tried:4} killed, {100 * tally.killed // tally.tried:3} % ({extra})"
            )
    print(f"{passed + failed} mutants in {seconds:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

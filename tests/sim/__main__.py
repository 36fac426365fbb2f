"""`python -m tests.sim --seed S` replays one seed; `--campaign --heights N` runs many on all cores."""

import argparse
import sys
import time
from dataclasses import replace

from tests.sim.campaign import run_campaign
from tests.sim.cluster import Cluster
from tests.sim.keys import toy_signatures
from tests.sim.monitor import Violation
from tests.sim.plan import Plan, plan_of


def replay(seed: int, plan: Plan, *, show: bool) -> int:
    """Run one seed; print how it ended."""
    cluster = Cluster(seed, plan, show=show)
    print(cluster)
    failure = ""
    with toy_signatures():
        try:
            cluster.run()
        except Violation as violation:
            failure = str(violation)
    if failure:
        print(*([] if show else cluster.trace.last), failure, sep="\n")
    print(
        f"{len(cluster.monitor.decided)} heights in {cluster.elapsed} simulated ms, highest round "
        f"{cluster.monitor.max_round}, {cluster.trace.count} events, digest {cluster.trace.digest()}"
    )
    print(f"{int(not failure)} passed, {int(bool(failure))} failed")
    return int(bool(failure))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the seed to replay, or the first of a campaign")
    parser.add_argument("--campaign", action="store_true", help="many seeds, on all cores")
    parser.add_argument("--heights", type=int, default=1_000, help="heights that a campaign decides in all")
    parser.add_argument("--seconds", type=float, default=None, help="end a campaign after this time")
    parser.add_argument("--jobs", type=int, default=None, help="processes (default: one a core)")
    parser.add_argument("--n", type=int, default=None, help="validators (default: the seed chooses)")
    parser.add_argument("--byzantine", default=None, help="what all cheats do, e.g. twin (default: the seed chooses)")
    parser.add_argument("--quiet", action="store_true", help="do not print the trace of a replay")
    arguments = parser.parse_args()
    if arguments.campaign:
        start = time.monotonic()
        total = run_campaign(arguments)
        print(f"{total.heights} heights, highest round {total.max_round}, {time.monotonic() - start:.0f} s")
        print(f"{total.crashes} crashes at boundaries, {total.evidence} equivocations found")
        print(f"{total.passed} passed, {len(total.failures)} failed")
        return int(bool(total.failures))
    plan = plan_of(arguments.seed, n=arguments.n, byzantine=arguments.byzantine)
    return replay(arguments.seed, replace(plan), show=not arguments.quiet)


if __name__ == "__main__":
    sys.exit(main())

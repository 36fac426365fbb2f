"""`python -m tests.conformance --fixtures DIR`: run state tests through the executor, and say how many pass.

The exit code is 0 when none fails. Cases of transactions that the chain has no place for (blobs) are skipped and counted.
"""

import argparse
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from evm_runtime.fork import Tier
from evm_runtime.jit.cache import JitLimits
from evm_runtime.jit.tier import JitTier
from evm_runtime.llvm import engine
from evm_runtime.llvm.tier import NativeTier
from tests.conformance.state_test import TESTED_FORKS, cases, run_case

TIERS = ("reference", "jit", "native")
STACK_BYTES = 256 * 1024 * 1024
"""For a depth of 1024 with every frame interpreted."""


def make_tier(name: str) -> Tier | None:
    """The JIT compiles at once here, so that every test runs compiled code; and the native tier's engine is there."""
    if name == "native":
        engine.load()
        return NativeTier()
    return JitTier(JitLimits(steps_per_line=0)) if name == "jit" else None


def run_file(path: Path, fork: str | None, tiers: tuple[str, ...], limit: int | None) -> list[tuple[str, str, str]]:
    """(case, outcome, detail) of each case in a file, on each tier."""
    results = []
    try:
        document = json.loads(path.read_text())
    except ValueError as error:
        return [(str(path), "failed", f"not JSON: {error}")]
    tier_by_name = {name: make_tier(name) for name in tiers}
    for number, case in enumerate(cases(document, fork)):
        if limit is not None and number >= limit:
            break
        for name, tier in tier_by_name.items():
            label = f"{path.name}: {case.name} [{name}]"
            try:
                result = run_case(case, tier)
                results.append((label, result.outcome, result.detail))
            except Exception as error:
                results.append((label, "failed", f"{type(error).__name__}: {error}"))
    return results


def in_deep_thread(
    path: Path, fork: str | None, tiers: tuple[str, ...], limit: int | None
) -> list[tuple[str, str, str]]:
    """`run_file` with a stack that is big enough."""
    threading.stack_size(STACK_BYTES)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(run_file, path, fork, tiers, limit).result()


def all_results(options: argparse.Namespace, files: list[Path]) -> Iterator[tuple[str, str, str]]:
    tiers = TIERS if options.tier == "all" else (options.tier,)
    count = len(files)
    with ProcessPoolExecutor(max_workers=options.workers) as pool:
        for found in pool.map(
            in_deep_thread, files, [options.fork] * count, [tiers] * count, [options.limit] * count, chunksize=4
        ):
            yield from found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "--fixtures", type=Path, required=True, help="a folder of GeneralStateTest JSON files, or one file"
    )
    parser.add_argument("--fork", choices=list(TESTED_FORKS), help="one fork; all three by default")
    parser.add_argument("--limit", type=int, help="at most so many cases of each file")
    parser.add_argument("--tier", choices=[*TIERS, "all"], default="all")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    files = [options.fixtures] if options.fixtures.is_file() else sorted(options.fixtures.rglob("*.json"))
    if not files:
        print(f"no fixtures under {options.fixtures}", file=sys.stderr)
        return 2
    counts: Counter[str] = Counter()
    failures = []
    for label, outcome, detail in all_results(options, files):
        counts[outcome] += 1
        if outcome == "failed":
            failures.append(label)
            print(f"FAILED {label}: {detail}", flush=True)
    if failures:
        print("\nfailing cases:", *failures, sep="\n  ")
    if counts["skipped"]:
        print(f"{counts['skipped']} skipped (blob transactions have no place on this chain)")
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Differential fuzzing of the EVM: `python -m tests.fuzz --seed S --seconds T`, or `--seed N --cases 1` for one case again.

Case n of a run has the seed S + n. A difference is printed with its seed, and shrunk.
"""

import argparse
import gc
import sys
import threading
import time
import traceback
from collections import Counter

from node.chain.worker import prepare_threads
from tests.fuzz.cases import Case, check, make_case, shrink

PROGRESS_EVERY = 250


def run(options: argparse.Namespace) -> int:
    """Run cases until the time is up; returns how many failed."""
    begin, cpu = time.monotonic(), time.process_time()
    cases = failed = 0
    counts: Counter[str] = Counter()
    while time.monotonic() < begin + options.seconds and cases < options.cases:
        seed = options.seed + cases
        cases += 1
        try:
            case = make_case(seed)
            verdict = check(case, stock=not options.no_stock)
        except Exception:
            failed += 1
            print(f"case {seed} raised:\n{traceback.format_exc()}", flush=True)
            continue
        counts.update(dict.fromkeys(verdict.machines, verdict.ran))
        counts["steps"] += verdict.steps
        kind = "starved" if case.starved else "fed"
        counts[kind] += verdict.ran
        counts[f"{kind}, succeeded"] += verdict.succeeded
        if verdict.difference:
            failed += 1
            _report(case, verdict.difference, stock=not options.no_stock)
        if cases % PROGRESS_EVERY == 0:
            print(f"{cases} cases, {counts['fed'] + counts['starved']} transactions, {failed} failed", flush=True)
    _summary(options.seed, cases, counts, time.monotonic() - begin, time.process_time() - cpu)
    print(f"{cases - failed} passed, {failed} failed")
    return failed


def _summary(seed: int, cases: int, counts: Counter[str], seconds: float, cpu: float) -> None:
    ran = counts["fed"] + counts["starved"]
    print(
        f"{cases} cases from seed {seed}, {ran} transactions in {seconds:.0f} s ({ran / max(cpu, 0.01):.0f} a CPU second)"
    )
    for kind in ("fed", "starved"):
        if counts[kind]:
            share = 100 * counts[f"{kind}, succeeded"] / counts[kind]
            print(f"  {counts[kind]} {kind}, of which {share:.1f} % succeeded")
    print(f"  {counts['steps']} steps in traces; transactions by machine, beside the reference loop:")
    for name, count in counts.items():
        if name.split(",")[0] not in ("fed", "starved", "steps"):
            print(f"    {name}: {count}")


def _report(case: Case, difference: str, *, stock: bool) -> None:
    kinds = [name for name in ("has_native", "starved", "senders_delegate") if getattr(case, name)]
    print(f"case {case.seed} ({case.fork.name}{', '.join(['', *kinds])}): {difference}", flush=True)
    stock, eels = stock and "stock" in difference, "EELS" in difference

    def fails(smaller: Case) -> bool:
        try:
            return bool(check(smaller, stock=stock, eels=eels).difference)
        except Exception:
            return True

    small = shrink(case, fails)
    for index, code in enumerate(small.codes):
        if code:
            print(f"  contract {index}: {code.hex()}")
    for tx in small.transactions:
        to = tx.to.hex() if tx.to else "creation"
        print(f"  transaction to {to} gas {tx.gas_limit} value {tx.value} data {tx.data.hex()}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=1 << 60, help="at most so many")
    parser.add_argument("--no-stock", action="store_true", help="leave stock py-evm out, which is faster")
    options = parser.parse_args()
    failed: list[int] = []
    gc.freeze()  # modules live as long as the process: a quarter of the time would go into looking at them again
    # In a thread with the stack of the node's own: programs recurse.
    prepare_threads()
    thread = threading.Thread(target=lambda: failed.append(run(options)))
    thread.start()
    thread.join()
    return 0 if failed == [0] else 1


if __name__ == "__main__":
    sys.exit(main())

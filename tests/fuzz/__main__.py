"""Differential fuzzing of the EVM: `python -m tests.fuzz --seed S --seconds T`, or `--case N` for one case again.

Case n of a run has the seed S + n. A difference is printed with its seed, and shrunk.
"""

import argparse
import sys
import time
import traceback

from tests.fuzz.cases import Case, check, make_case, shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=1 << 60, help="at most so many")
    parser.add_argument("--no-stock", action="store_true", help="compare our tiers only, which is much faster")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    passed = failed = cases = succeeded = 0
    while time.monotonic() < end and cases < options.cases:
        seed = options.seed + cases
        cases += 1
        case = make_case(seed)
        try:
            verdict = check(case, stock=not options.no_stock)
        except Exception:
            failed += 1
            print(f"case {seed} raised:\n{traceback.format_exc()}", flush=True)
            continue
        succeeded += verdict.succeeded
        if verdict.difference:
            failed += 1
            _report(case, verdict.difference, stock=not options.no_stock)
        else:
            passed += verdict.programs
    print(f"{cases} cases, {passed} transactions equal on all machines, {succeeded} of them successful")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _report(case: Case, difference: str, *, stock: bool) -> None:
    print(f"case {case.seed}: {difference}", flush=True)
    stock = stock and "stock" in difference

    def fails(smaller: Case) -> bool:
        try:
            return bool(check(smaller, stock=stock).difference)
        except Exception:
            return True

    small = shrink(case, fails)
    for index, code in enumerate(small.codes):
        if code:
            print(f"  contract {index}: {code.hex()}")
    for tx in small.transactions:
        to = tx.to.hex() if tx.to else "creation"
        print(f"  transaction to {to} gas {tx.gas_limit} value {tx.value} data {tx.data.hex()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

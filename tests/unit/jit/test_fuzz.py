"""A short run of the differential fuzzer; `python -m tests.fuzz` is the long one."""

import pytest

from tests.fuzz.cases import Case, check, make_case, shrink
from tests.fuzz.machines import TIERS, run_ours


@pytest.mark.parametrize("seed", range(24))
def test_all_tiers_do_what_stock_py_evm_does(seed: int) -> None:
    verdict = check(make_case(seed))
    assert not verdict.difference, f"seed {seed}: {verdict.difference}"


@pytest.mark.parametrize("first", range(100, 190, 15))
def test_the_compiled_tier_does_what_the_reference_loop_does(first: int) -> None:
    for seed in range(first, first + 15):
        verdict = check(make_case(seed), stock=False)
        assert not verdict.difference, f"seed {seed}: {verdict.difference}"


def test_most_transactions_succeed() -> None:
    """A fuzzer whose programs fail early tests little."""
    succeeded = total = 0
    for seed in range(12):
        case = make_case(seed)
        results = [
            result for result in run_ours(case.accounts(), case.transactions, TIERS["interpreted"]).results if result
        ]
        succeeded += sum(result.status for result in results)
        total += len(results)
    assert succeeded > total * 6 // 10, (succeeded, total)


def test_shrinking_keeps_what_fails_and_drops_the_rest() -> None:
    case = make_case(3)
    marker = case.codes[2]

    def fails(smaller: Case) -> bool:
        return smaller.codes[2] == marker and len(smaller.transactions) > 0

    small = shrink(case, fails)
    assert small.codes == (b"", b"", marker, b"", b"")
    assert len(small.transactions) == 1

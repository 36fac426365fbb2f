"""A short run of the differential fuzzer; `python -m tests.fuzz` is the long one."""

import pytest

from tests.fuzz.cases import Case, check, make_case, shrink
from tests.fuzz.machines import TIERS, run_ours
from tests.fuzz.model import Result, Run, Step, difference


@pytest.mark.parametrize("seed", range(24))
def test_all_machines_do_the_same(seed: int) -> None:
    """Every tier, stock py-evm, and EELS in every tenth case: results, traces and states."""
    verdict = check(make_case(seed))
    assert not verdict.difference, f"seed {seed}: {verdict.difference}"


@pytest.mark.parametrize("first", range(100, 160, 10))
def test_all_tiers_do_what_the_reference_loop_does(first: int) -> None:
    for seed in range(first, first + 10):
        verdict = check(make_case(seed), stock=False, eels=False, traced=False)
        assert not verdict.difference, f"seed {seed}: {verdict.difference}"


def test_most_transactions_succeed() -> None:
    """A fuzzer whose programs fail early tests little."""
    succeeded = total = 0
    for seed in range(16):
        case = make_case(seed)
        if case.starved:
            continue
        run = run_ours(case.accounts(), case.transactions, TIERS["interpreted"], case.fork, natives=case.natives())
        results = [result for result in run.results if result is not None]
        succeeded += sum(result.status for result in results)
        total += len(results)
    assert succeeded > total * 7 // 10, (succeeded, total)


def test_cases_have_something_of_everything() -> None:
    """Forks, natives, starved and self-delegating senders, and each machine beside the reference loop."""
    cases = [make_case(seed) for seed in range(80)]
    assert {case.fork.name for case in cases} == {"prague", "osaka"}
    for kind in ("has_native", "starved", "senders_delegate"):
        assert 5 <= sum(getattr(case, kind) for case in cases) <= 60, kind
    kinds = {tx.kind for case in cases for tx in case.transactions}
    assert kinds == {0, 2, 4} | {1} & kinds
    assert "EELS" in check(cases[30], eels=True).machines or cases[30].has_native


@pytest.mark.parametrize("wrong", ["status", "gas_used", "output", "logs", "refund", "error", "warm"])
def test_a_difference_in_any_field_is_found(wrong: str) -> None:
    result = Result(1, 21_000, b"", (), 0, "NoneType", ())
    changed = result._replace(**{wrong: {"status": 0, "gas_used": 1, "refund": 1}.get(wrong, "other")})
    assert difference("another", Run((result,), b""), Run((changed,), b"")).startswith(
        f"transaction 0 by another: {wrong}"
    )
    assert not difference("another", Run((result,), b""), Run((result._replace(refund=None, error=None),), b""))
    assert difference("another", Run((result,), b""), Run((None,), b""))


@pytest.mark.parametrize("wrong", ["pc", "opcode", "gas", "depth", "stack", "memory", "cost", "refund"])
def test_a_difference_in_any_step_is_found(wrong: str) -> None:
    step = Step(0, 1, 100, 1, (5,), (0, 0), 3, 0)
    changed = step._replace(**{wrong: 77})
    expected = Run((), b"", ((step, step),))
    assert f"step 1 (pc 0, opcode 0x1): {wrong}" in difference("another", expected, Run((), b"", ((step, changed),)))
    assert "2 steps expected, 1 found" in difference("another", expected, Run((), b"", ((step,),)))
    assert "state roots" in difference("another", expected, Run((), b"other"))


def test_shrinking_keeps_what_fails_and_drops_the_rest() -> None:
    case = make_case(3)
    marker = case.codes[2]

    def fails(smaller: Case) -> bool:
        return smaller.codes[2] == marker and len(smaller.transactions) > 0

    small = shrink(case, fails)
    assert small.codes == (b"", b"", marker, b"", b"")
    assert len(small.transactions) == 1

"""The state tests of our own, whose results EELS computed, on every tier; and the runner's manners."""

import copy
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import TIERS, make_tier
from tests.conformance.state_test import Case, cases, run_case

FIXTURE = Path(__file__).parent / "fixtures" / "prague_osaka.json"
CASES = list(cases(json.loads(FIXTURE.read_text())))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_own_state_tests(case: Case, tier: str) -> None:
    result = run_case(case, make_tier(tier))
    assert result.outcome == "passed", result.detail


def test_both_forks_are_there_and_they_differ() -> None:
    assert Counter(case.fork for case in CASES) == {"Prague": len(CASES) // 2, "Osaka": len(CASES) // 2}
    by_fork = {
        fork: {c.name.split()[0]: c.post["hash"] for c in CASES if c.fork == fork} for fork in ("Prague", "Osaka")
    }
    differing = {name for name, root in by_fork["Prague"].items() if by_fork["Osaka"][name] != root}
    assert {"clz", "p256verify", "modexp", "modexp_small", "modexp_long", "gas_cap"} <= differing


def test_the_runner_tells_a_wrong_root_and_wrong_logs() -> None:
    for key in ("hash", "logs"):
        case = copy.deepcopy(CASES[0])
        case.post[key] = "0x" + "00" * 32
        result = run_case(case)
        assert result.outcome == "failed" and ("state root" if key == "hash" else "logs hash") in result.detail
    expected = copy.deepcopy(CASES[0])
    expected.post["expectException"] = "TransactionException.SOMETHING"
    assert "not refused" in run_case(expected).detail


def test_the_command_ends_with_the_counts_and_lists_failures(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        name: test for name, test in json.loads(FIXTURE.read_text()).items() if name in ("clz", "logs")
    }
    document["clz"]["post"]["Osaka"][0]["hash"] = "0x" + "00" * 32
    (tmp_path / "tests.json").write_text(json.dumps(document))
    command = [
        sys.executable,
        "-m",
        "tests.conformance",
        "--fixtures",
        str(tmp_path),
        "--fork",
        "Osaka",
        "--workers",
        "1",
    ]
    done = subprocess.run([*command, "--tier", "reference"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and lines[-1] == "1 passed, 1 failed", done.stdout + done.stderr
    assert any("clz Osaka d0g0v0" in line for line in lines)


@pytest.mark.parametrize("optimized", [False, True])
def test_python_dash_o_changes_nothing(optimized: bool) -> None:
    command = [sys.executable, *(["-O"] if optimized else []), "-m", "tests.conformance", "--fixtures", str(FIXTURE)]
    done = subprocess.run(
        [*command, "--workers", "1", "--tier", "reference"], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == f"{len(CASES)} passed, 0 failed", done.stdout + done.stderr

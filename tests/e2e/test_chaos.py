"""A short run of each chaos campaign; `python -m tests.chaos` runs the long ones."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["kill", "--cycles", "4", "--seed", "7"],
        ["tails", "--cases", "60", "--seed", "7"],
        ["soak", "--seconds", "15", "--seed", "7"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_short_campaign(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--folder", str(tmp_path / "chaos"), *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].endswith(" passed, 0 failed")

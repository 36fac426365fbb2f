"""`python -O` removes asserts, and nothing that decides anything: random cases, blocks and bad proofs end alike."""

import subprocess
import sys


def outcome(*options: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, *options, "-m", "tests.unit.evm_runtime.outcomes"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout.splitlines()


def test_python_dash_o_changes_nothing() -> None:
    plain, optimized = outcome(), outcome("-O")
    assert plain[0] == "asserts: True" and optimized[0] == "asserts: False"
    assert plain[1:] == optimized[1:] and len(plain) > 20

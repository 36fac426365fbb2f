"""A short run of the fuzzer; `python -m tests.fuzz_rpc --seconds 600` is a long one."""

from pathlib import Path

from trio.testing import trio_test

from tests.fuzz_rpc.campaign import run


@trio_test
async def test_some_seconds_of_fuzzing(tmp_path: Path) -> None:
    seed = 4
    report = await run(tmp_path, seed, 10)
    assert not report.failures, f"seed {seed}\n" + "\n".join(report.failures)
    assert report.results and report.errors

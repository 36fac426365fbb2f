"""The bench harness: what it writes is a flat object of numbers, what it prints names every figure, and clocks are put back."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.bench.__main__ import main, names
from tests.bench.harness import Report, Stopwatch, median_s, paired_ratio, percentile


def test_a_report_is_written_as_a_flat_object_of_numbers(tmp_path: Path) -> None:
    report = Report("sample")
    report.add("transfers_s", 12_345.678, "tx/s", "of this and that")
    report.add("ratio", 3.14159265, "x")
    path = report.write(tmp_path / "build" / "bench")
    assert path.name == "sample.json"
    assert json.loads(path.read_text()) == {"transfers_s": 12_346, "ratio": 3.142}
    table = report.table()
    assert "12,346 tx/s" in table
    assert "of this and that" in table
    assert "CPUs" in table.splitlines()[0]
    assert len(table.splitlines()) == 3


def test_a_figure_has_one_value() -> None:
    report = Report("sample")
    report.add("ratio", 1, "x")
    with pytest.raises(ValueError, match="ratio already"):
        report.add("ratio", 2, "x")


def test_medians_ratios_and_percentiles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paired_ratio([1.0, 2.0, 4.0], [3.0, 6.0, 4.0]) == 3.0
    hundred = [float(value) for value in range(100, 0, -1)]
    assert (percentile(hundred, 50), percentile(hundred, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)
    clock = iter([0.0, 9.0, 10.0, 12.0, 20.0, 25.0])
    monkeypatch.setattr("tests.bench.harness.time.perf_counter", lambda: next(clock))
    calls: list[int] = []
    assert median_s(lambda: calls.append(1), repeats=3) == 5.0
    assert len(calls) == 3


def test_a_stopwatch_times_calls_and_leaves_no_trace() -> None:
    def work() -> str:
        return "done"

    owner = SimpleNamespace(work=work)
    watch = Stopwatch()
    with watch.around(owner, "work", "working"):
        assert owner.work() == "done"
    assert owner.work is work
    assert watch.total_s["working"] > 0


def test_benches_are_found_and_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"admission", "execution", "block", "attribution", "devnet"} <= set(names())
    assert main(["no-such-bench"]) == 2
    assert "no-such-bench" in capsys.readouterr().err

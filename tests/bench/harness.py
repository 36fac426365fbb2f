"""What all benches share: repeat and take the median, a readable table, and `build/bench/NAME.json`.

Nothing here fails because something is slow: figures of one machine say little about another. Compare ratios of one run, or
two runs of one machine that did nothing else.
"""

import contextlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Figure:
    key: str
    value: float
    unit: str
    note: str = ""


@dataclass
class Report:
    """The figures of one bench, in the order in which they are printed."""

    name: str
    figures: list[Figure] = field(default_factory=list)

    def add(self, key: str, value: float, unit: str, note: str = "") -> None:
        if any(figure.key == key for figure in self.figures):
            raise ValueError(f"{self.name} has the figure {key} already")
        self.figures.append(Figure(key, value, unit, note))

    def table(self) -> str:
        rows = [(figure.key, _readable(figure.value), figure.unit, figure.note) for figure in self.figures]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = [f"{self.name}  ({machine()})"]
        for key, value, unit, note in rows:
            line = f"  {key:<{widths[0]}}  {value:>{widths[1]}} {unit:<{widths[2]}}  {note}"
            lines.append(line.rstrip())
        return "\n".join(lines)

    def write(self, folder: Path = RESULTS) -> Path:
        """A flat object of figure name to number. Returns the file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        values = {figure.key: _short(figure.value) for figure in self.figures}
        path.write_text(json.dumps(values, indent=2) + "\n")
        return path


def machine() -> str:
    """What the figures depend on most."""
    usable = len(os.sched_getaffinity(0))
    return f"{usable} CPUs, {platform.python_implementation()} {platform.python_version()}, {platform.machine()}"


def seconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def median_s(function: Callable[[], Any], repeats: int = 5) -> float:
    """The median duration of `repeats` calls."""
    return statistics.median(seconds(function) for _ in range(repeats))


def paired_ratio(ours_s: list[float], theirs_s: list[float]) -> float:
    """How many times faster `ours` is: the median of the ratios of runs that followed each other, so that a machine that was
    busy for a while slowed both."""
    return statistics.median(theirs / ours for ours, theirs in zip(ours_s, theirs_s, strict=True))


def percentile(values: list[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed."""
    ordered = sorted(values)
    place = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, int(place) - 1)]


class Stopwatch:
    """Adds up the time spent inside functions that are replaced by timed ones for a while."""

    def __init__(self) -> None:
        self.total_s: dict[str, float] = {}

    @contextlib.contextmanager
    def around(self, owner: Any, attribute: str, label: str) -> Iterator[None]:
        """Time every call of `owner.attribute` under `label`. Calls inside calls count once only if labels differ."""
        original = getattr(owner, attribute)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                self.total_s[label] = self.total_s.get(label, 0.0) + time.perf_counter() - began

        setattr(owner, attribute, timed)
        try:
            yield
        finally:
            setattr(owner, attribute, original)


def _short(value: float) -> float:
    """Four significant digits: more would pretend."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else round(value)


def _readable(value: float) -> str:
    short = _short(value)
    return f"{short:,.0f}" if abs(short) >= 1_000 else f"{short:g}"

"""Test runs in copies of the project, many at once, each in a process of its own with a time limit.

pytest and the tests' libraries are imported once, here; a run is a fork of this process, in which nothing of the project has
been imported yet. So a run costs little more than its tests. The checkout is read and never written.
"""

import contextlib
import importlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

PRELOADED: Final = ("hypothesis", "trio", "coincurve", "msgpack", "rusty_rlp", "numpy")
_NOT_COPIED: Final = (".git", ".venv", "build", "dist", "node_modules", "devnet-data", ".hypothesis", "*_cache")
NO_TESTS: Final = 5
"""pytest's exit code when it ran none."""

Line = tuple[str, int]
"""A file's path in the project and a line of it."""


@dataclass(frozen=True)
class Run:
    """What one process is asked to do. `ids`: run these only, in this order. `traced`: files whose executed lines are noted."""

    targets: tuple[str, ...]
    limit_s: float
    ids: tuple[str, ...] | None = None
    changed: tuple[str, str] | None = None
    """A file's path in the project and its text for this run."""
    traced: tuple[str, ...] = ()
    subject: object = None
    """Anything: the caller's own."""


@dataclass
class Outcome:
    """What a run showed. `code`: pytest's, or None if the time limit ended it."""

    code: int | None
    failed: str = ""
    """The first test that failed."""
    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, set[Line]] = field(default_factory=dict)
    """Test -> lines that it executed; under the empty name what ran outside of all tests, at import."""
    output: str = ""


class _Watcher:
    """A plugin of pytest that selects tests, times them, and notes which lines of the traced files each of them executes."""

    def __init__(self, root: Path, run: Run) -> None:
        self._ids = run.ids
        self._files = {str(root / path): path for path in run.traced}
        self._now: set[Line] = set()
        self.outcome = Outcome(code=None, lines={"": self._now})

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if self._ids is not None:
            wanted = {name: place for place, name in enumerate(self._ids)}
            chosen = sorted((item for item in items if item.nodeid in wanted), key=lambda item: wanted[item.nodeid])
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
            items[:] = chosen

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        before = self._now
        self._now = self.outcome.lines.setdefault(item.nodeid, set())
        try:
            return (yield)
        finally:
            self._now = before

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcome.seconds[report.nodeid] = self.outcome.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed and not self.outcome.failed:
            self.outcome.failed = report.nodeid

    def trace(self) -> None:
        if self._files:
            threading.settrace(self._called)
            sys.settrace(self._called)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self._now.add((self._files[frame.f_code.co_filename], frame.f_lineno))
        return self._line


@dataclass(frozen=True)
class _Busy:
    """A run under way: its process, the copy that it stands in, and until when (time.monotonic)."""

    run: Run
    process: BaseProcess
    copy: Path
    until: float


class Crew:
    """As many copies of the project as there are hands, and a run at a time in each."""

    def __init__(self, root: Path, folder: Path, hands: int) -> None:
        for name in PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        self._checkout = root
        self._copies = [folder / f"copy{each}" for each in range(hands)]
        shutil.copytree(root, self._copies[0], ignore=shutil.ignore_patterns(*_NOT_COPIED))
        subprocess.run([sys.executable, "-m", "compileall", "-q", self._copies[0]], check=False, capture_output=True)
        for copy in self._copies[1:]:
            shutil.copytree(self._copies[0], copy)
        self._context = multiprocessing.get_context("fork")

    def work(self, runs: Iterable[Run], deadline: float | None = None) -> Iterator[tuple[Run, Outcome]]:
        """Do the runs; the answers come as they are ready. After the deadline (time.monotonic) no run is begun."""
        waiting = iter(runs)
        free = list(self._copies)
        busy: dict[Connection, _Busy] = {}
        more = True
        try:
            while more or busy:
                while more and free:
                    run = next(waiting, None) if deadline is None or time.monotonic() < deadline else None
                    more = run is not None
                    if run is not None:
                        connection, started = self._begin(run, free.pop())
                        busy[connection] = started
                if not busy:
                    return
                first = min(each.until for each in busy.values())
                ready = set(wait(list(busy), max(0.0, first - time.monotonic())))
                for connection, each in list(busy.items()):
                    if connection in ready or time.monotonic() >= each.until:
                        del busy[connection]
                        outcome = self._end(connection, each)
                        free.append(each.copy)
                        yield each.run, outcome
        finally:  # nobody asks for the rest: whatever still runs would run on
            for connection, each in busy.items():
                self._end(connection, each)

    def _begin(self, run: Run, copy: Path) -> tuple[Connection, _Busy]:
        if run.changed is not None:
            path = copy / run.changed[0]
            path.write_text(run.changed[1])
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                compiled.unlink()
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_run_pytest, args=(there, self._checkout, copy, run))
        process.start()
        there.close()
        return here, _Busy(run, process, copy, time.monotonic() + run.limit_s)

    def _end(self, connection: Connection, busy: _Busy) -> Outcome:
        try:
            outcome = Outcome(**connection.recv()) if connection.poll() else Outcome(code=None)
        except EOFError:  # it died without a word
            outcome = Outcome(code=-1, failed="the process died")
        busy.process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(busy.process.pid or 0, signal.SIGKILL)  # and whatever its tests have started
        busy.process.join()
        connection.close()
        output, changed = _output(busy.copy), busy.run.changed
        outcome.output = output.read_text(errors="replace") if output.exists() else ""
        if changed is not None:
            (busy.copy / changed[0]).write_text((self._checkout / changed[0]).read_text())
        return outcome


def _output(copy: Path) -> Path:
    return copy.with_suffix(".output")


def _run_pytest(answer: Connection, checkout: Path, copy: Path, run: Run) -> None:
    """Runs in the fork: become a process that stands in the copy, and run pytest there."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sink = os.open(_output(copy), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.chdir(copy)
    left_out = {"", str(checkout), str(Path.cwd())}
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in left_out)]
    os.environ["PYTHONPATH"] = str(copy)
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    if run.changed is not None:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    watcher = _Watcher(copy, run)
    watcher.trace()
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "--hypothesis-seed=0", f"--basetemp={copy}.tmp"]
    options += ["-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"]
    options += ["-x"] if run.changed else []
    watcher.outcome.code = int(pytest.main([*options, *run.targets], plugins=[watcher]))
    sys.settrace(None)
    answer.send(vars(watcher.outcome))  # as a plain dict: the module of this class has just been forgotten
    answer.close()
    sys.stdout.flush()
    os._exit(0)

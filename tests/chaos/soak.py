"""Steady load for a while: what memory, open files, threads, latency and the pace of blocks make of it."""

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.harness import Report, percentile
from tests.chaos.load import Load
from tests.chaos.network import ChaosError, Network, height

RSS_GROWTH_MAX_MB = 64
"""From the middle to the end; caches and the KZG set-up are filled before, in a soak that lasts."""
RSS_MAX_MB = 512
FILES_GROWTH_MAX = 16
THREADS_GROWTH_MAX = 8
MOMENTS = ("start", "middle", "end")
WATCH_S = 0.2


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    rss_mb: float
    files: int
    threads: int

    @staticmethod
    def of(pid: int) -> "Sample":
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Sample(int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]))


class Watch:
    """Follows the highest block of the network; remembers the longest time without a new one."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stall_s = 0.0
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        best, since = -1, time.monotonic()
        while not self._stop.wait(WATCH_S):
            try:
                now = max(height(self._network.url(node)) for node in self._network.nodes)
            except (OSError, ValueError):
                now = best
            self.stall_s = max(self.stall_s, time.monotonic() - since)
            if now > best:
                best, since = now, time.monotonic()


def run(seconds: float, seed: int, stall_max_s: float, folder: Path | None = None) -> int:
    """Returns the exit code."""
    print(f"soak: {seconds:g} s, seed {seed}", flush=True)
    report = Report("soak")
    checks: list[tuple[str, bool]] = []
    with (
        tempfile.TemporaryDirectory(prefix="openledger-soak-", dir=folder) as home,
        Network(Path(home) / "d") as network,
    ):
        network.start_all()
        load = Load(network, str(seed), accounts=4, poll_s=0.05, pause_s=0.1)
        load.prepare_model()
        load.start()
        time.sleep(min(5.0, seconds / 4))  # what a first block fills is not growth
        began, first, watch = time.monotonic(), height(network.url(0)), Watch(network)
        samples = {"start": _sample(network)}
        for moment in MOMENTS[1:]:
            time.sleep(seconds / 2)
            samples[moment] = _sample(network)
        took, blocks = time.monotonic() - began, height(network.url(0)) - first
        watch.stop()
        load.abandon()
        _check(checks, "no node ended, no fatal error", network.check_alive)
        _check(checks, "every transaction became final", load.check)
        _figures(report, samples, load, took, blocks, watch.stall_s)
    middle, end = samples["middle"], samples["end"]
    checks += [
        (f"no stall longer than {stall_max_s:g} s", watch.stall_s <= stall_max_s),
        ("blocks and receipts came", blocks > 0 and bool(load.latencies_s)),
        (f"RSS grows less than {RSS_GROWTH_MAX_MB} MB", _growth(middle, end, "rss_mb") < RSS_GROWTH_MAX_MB),
        (f"RSS below {RSS_MAX_MB} MB", all(sample.rss_mb < RSS_MAX_MB for sample in end.values())),
        ("no leak of open files", _growth(middle, end, "files") <= FILES_GROWTH_MAX),
        ("no leak of threads", _growth(middle, end, "threads") <= THREADS_GROWTH_MAX),
    ]
    print(report.table())
    print(f"  -> {report.write()}")
    for what, good in checks:
        print(f"  {'ok    ' if good else 'FAILED'} {what}")
    failed = sum(not good for _, good in checks)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _sample(network: Network) -> dict[int, Sample]:
    return {node: Sample.of(pid) for node, pid in network.pids.items()}


def _growth(before: dict[int, Sample], after: dict[int, Sample], what: str) -> float:
    return max((getattr(after[node], what) - getattr(before[node], what) for node in after), default=0)


def _check(checks: list[tuple[str, bool]], what: str, look: Callable[[], None]) -> None:
    try:
        look()
    except ChaosError as error:
        print(error)
        checks.append((what, False))
    else:
        checks.append((what, True))


def _figures(
    report: Report, samples: dict[str, dict[int, Sample]], load: Load, took_s: float, blocks: int, stall_s: float
) -> None:
    for node in samples["end"]:
        for moment in MOMENTS:
            sample = samples[moment][node]
            report.add(f"node{node}_rss_{moment}_mb", sample.rss_mb, "MB")
            report.add(f"node{node}_files_{moment}", sample.files, "files")
            report.add(f"node{node}_threads_{moment}", sample.threads, "threads")
    report.add("blocks_per_s", blocks / took_s, "1/s")
    report.add(
        "transactions_per_s", len(load.seen()) / took_s, "1/s", "acknowledged, steady load, not the most there is"
    )
    report.add("stall_max_s", stall_s, "s", "longest time without a new block")
    for share in (50, 90, 99):
        if load.latencies_s:
            name = f"final_p{share}_ms"
            report.add(
                name, 1000 * percentile(load.latencies_s, share), "ms", "from sending a burst to its first receipt"
            )

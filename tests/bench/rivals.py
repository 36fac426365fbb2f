"""What the JSON-RPC bench compares with and measures by: a devnet of one validator, anvil from npm, and wrk from Debian.

anvil and wrk are installed here where they are missing (npm into build/, wrk with apt-get where that is allowed).
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.home.hdwallet import DEVNET_MNEMONIC, ethereum_keys
from tests.bench.harness import ROOT
from tests.bench.workload import Sender
from tests.e2e.devnet_process import DevnetProcess, free_port_base, height, wait_until

ANVIL_VERSION = "1.7.1"
ACCOUNTS = 20
GAS_LIMIT = 30_000_000
INSTALL_TIMEOUT_S = 300


@dataclass(frozen=True)
class Rival:
    """A node that answers JSON-RPC at `url`; `pid` is its process."""

    name: str
    url: str
    pid: int

    @property
    def accounts(self) -> list[Sender]:
        return [Sender(key) for key in ethereum_keys(DEVNET_MNEMONIC, ACCOUNTS)]


@contextlib.contextmanager
def our_node(folder: Path, interval_ms: int) -> Iterator[Rival]:
    """A devnet of a single validator."""
    extra = ("--accounts", str(ACCOUNTS), "--block-interval-ms", str(interval_ms))
    devnet = DevnetProcess(folder / "devnet", validators=1, extra=extra).start()
    try:
        yield Rival("ours", devnet.url(), int(devnet.info["nodes"][0]["pid"]))
    finally:
        devnet.stop()


@contextlib.contextmanager
def anvil(folder: Path, interval_ms: int) -> Iterator[Rival]:
    """anvil with the same accounts, gas limit and interval."""
    port = free_port_base(1)
    command = [str(_anvil()), "--port", str(port), "--accounts", str(ACCOUNTS), "--silent"]
    command += ["--gas-limit", str(GAS_LIMIT), "--block-time", str(interval_ms / 1_000)]
    with (folder / "anvil.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until("anvil's first block", lambda: height(url) >= 1, timeout_s=30)
        yield Rival("anvil", url, process.pid)
    finally:
        process.kill()
        process.wait()


def _anvil() -> Path:
    """The native program: the npm wrapper's child would outlive it."""
    folder = ROOT / "build" / f"anvil-{ANVIL_VERSION}"
    program = folder / "node_modules" / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        command.append(f"@foundry-rs/anvil@{ANVIL_VERSION}")
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
    program.chmod(0o755)
    return program


# ---------------------------------------------------------------- wrk


_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local requests, place = {}, 0
function init(args)
  for body in io.lines("%s/bodies") do requests[#requests + 1] = wrk.format(nil, nil, nil, body) end
end
function request()
  place = place %% #requests + 1
  return requests[place]
end
"""


@dataclass(frozen=True)
class Reads:
    """What wrk saw."""

    per_s: float
    p99_ms: float


def wrk(url: str, bodies: list[bytes], connections: int, seconds: float) -> Reads:
    """Post `bodies` in turn on `connections` kept-alive connections. Raises RuntimeError if any answer was no success."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bodies").write_bytes(b"\n".join(bodies))
        script = Path(folder) / "script.lua"
        script.write_text(_SCRIPT % folder)
        command = [_wrk(), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if rate is None or p99 is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk saw failures:\n{done.stdout}{done.stderr}")
    unit_ms = {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99[2]]
    return Reads(float(rate[1]), float(p99[1]) * unit_ms)


def _wrk() -> str:
    found = shutil.which("wrk")
    if found is None and os.geteuid() == 0:
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "wrk"]):
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S)
        found = shutil.which("wrk")
    if found is None:
        raise RuntimeError("wrk is needed: apt-get install wrk")
    return found

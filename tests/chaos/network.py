"""Four validators as processes that can be killed and brought back one by one, over the data directories of a devnet."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from node.devnet.plan import Devnet, DevnetOptions, make_devnet, write_data_directories
from node.process import FATAL_FILE
from tests.e2e.devnet_process import OPENLEDGER, free_port_base

ROOT = Path(__file__).resolve().parents[2]
VALIDATORS = 4
CALL_TIMEOUT_S = 30
BATCH_MAX = 100
LOG_TAIL_BYTES = 3_000


class ChaosError(Exception):
    """A check failed: the network did what it must not, or did not do what it must."""


class NoAnswerError(OSError):
    """The node can't be reached, or was killed while it answered."""


def call(url: str, method: str, *params: Any) -> Any:
    """One JSON-RPC call. Raises NoAnswerError, or ValueError with the error object that the node answered."""
    return _result(_post(url, _request(method, params)))


def call_all(url: str, method: str, each: Iterable[tuple[Any, ...]]) -> list[Any]:
    """The same method with many parameters, in JSON-RPC batches; the results in order. Raises as `call`."""
    wanted = list(each)
    results = []
    for first in range(0, len(wanted), BATCH_MAX):
        answer = _post(url, [_request(method, params) for params in wanted[first : first + BATCH_MAX]])
        results += [_result(item) for item in answer]
    return results


def _request(method: str, params: tuple[Any, ...]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}


def _result(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["result"]


def _post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as response:
            return json.load(response)
    except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
        raise NoAnswerError(f"no answer from {url}: {error!r}") from None


def height(url: str) -> int:
    return int(call(url, "eth_blockNumber"), 16)


class Network:
    """The processes. Use it as a context manager: leaving it kills what is left."""

    def __init__(self, folder: Path, validators: int = VALIDATORS) -> None:
        options = DevnetOptions(folder, validators=validators, rpc_port=free_port_base(64))
        self.devnet: Devnet = make_devnet(options)
        self.folder = folder
        write_data_directories(self.devnet)
        self.pids: dict[int, int] = {}
        """The processes that must be alive; a killed node isn't here."""
        self._cold: list[subprocess.Popen[bytes]] = []
        self._forker = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.forker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_exc: object) -> None:
        for node in list(self.pids):
            self.kill(node)
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.close()
        self._forker.wait(30)
        self._forker.stdout.close()

    def _answer(self) -> str:
        assert self._forker.stdout is not None
        line = self._forker.stdout.readline()
        if not line:
            raise ChaosError("the process that forks the nodes has ended")
        return line.strip()

    @property
    def nodes(self) -> range:
        return range(len(self.devnet.nodes))

    def url(self, node: int) -> str:
        return self.devnet.nodes[node].rpc

    def datadir(self, node: int) -> Path:
        return self.devnet.nodes[node].directory

    def start(self, node: int, *, cold: bool = False) -> None:
        """Run `openledger start --datadir …`; with `cold`, in a new interpreter."""
        place = self.devnet.nodes[node]
        if cold:
            with place.log.open("ab") as log:
                command = [OPENLEDGER, "start", "--datadir", str(place.directory)]
                process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            self._cold.append(process)
            self.pids[node] = process.pid
            return
        assert self._forker.stdin is not None
        self._forker.stdin.write(f"{place.directory}\t{place.log}\n")
        self._forker.stdin.flush()
        self.pids[node] = int(self._answer())

    def start_all(self) -> None:
        for node in self.nodes:
            self.start(node)
        self.wait("block 1 on every node", lambda: all(height(self.url(node)) >= 1 for node in self.nodes))

    def kill(self, node: int) -> None:
        """kill -9; returns when the process is gone. Raises ChaosError if it had ended by itself."""
        pid = self.pids.pop(node)
        if not self._is_alive(pid):
            raise ChaosError(f"node {node} ended by itself:\n{self.log_tail(node)}")
        os.kill(pid, signal.SIGKILL)
        while self._is_alive(pid):
            time.sleep(0.005)

    def check_alive(self) -> None:
        """Raises ChaosError if a node ended that nobody killed, or wrote down a fatal error."""
        for node, pid in self.pids.items():
            if not self._is_alive(pid):
                raise ChaosError(f"node {node} ended by itself:\n{self.log_tail(node)}")
        for node in self.nodes:
            fatal = self.datadir(node) / FATAL_FILE
            if fatal.exists():
                raise ChaosError(f"node {node} had a fatal error:\n{fatal.read_text()}")

    def wait(self, what: str, condition: Callable[[], Any], *, timeout_s: float = 90, every_s: float = 0.1) -> Any:
        """Poll until `condition()` is truthy. Raises ChaosError at the timeout, or when a node ends meanwhile."""
        deadline, last = time.monotonic() + timeout_s, ""
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                if result := condition():
                    return result
            except (OSError, ValueError) as error:
                last = f" (last: {error})"
            time.sleep(every_s)
        logs = "\n".join(f"--- node {node}\n{self.log_tail(node)}" for node in self.nodes)
        raise ChaosError(f"stall: {what}: not within {timeout_s:g} s{last}\n{logs}")

    def _is_alive(self, pid: int) -> bool:
        """True until the last thread is gone: a killed process holds its lock and ports a little longer than it is a zombie."""
        self._cold = [process for process in self._cold if process.poll() is None]  # reaps them
        return Path(f"/proc/{pid}").exists()

    def log_tail(self, node: int) -> str:
        path = self.devnet.nodes[node].log
        return path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if path.exists() else "(no log)"

"""A real devnet in real processes, as a person would start it; used by the end-to-end tests and the benches."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from web3 import HTTPProvider, Web3

OPENLEDGER = str(Path(sys.executable).parent / "openledger")


class StillWaitingError(AssertionError):
    """What a test waited for did not happen in time."""


def wait_until(what: str, condition: Callable[[], Any], *, timeout_s: float = 60, every_s: float = 0.1) -> Any:
    """Poll until `condition()` is truthy and return it; the timeout is a last resort against hanging, not a measurement."""
    deadline = time.monotonic() + timeout_s
    last_error: Exception | None = None
    while time.monotonic() < deadline:
        try:
            result = condition()
        except (OSError, ValueError, KeyError) as error:
            last_error, result = error, None
        if result:
            return result
        time.sleep(every_s)
    raise StillWaitingError(f"{what}: not after {timeout_s} s (last error: {last_error!r})")


def free_port_base(count: int) -> int:
    """A base such that base … base+count-1 are free right now on loopback."""
    for base in range(20_000 + os.getpid() % 8_000, 32_000, count):
        sockets = []
        try:
            for offset in range(count):
                sock = socket.socket()
                sockets.append(sock)
                sock.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        finally:
            for sock in sockets:
                sock.close()
        return base
    raise RuntimeError("no free ports")


def rpc(url: str, method: str, *params: Any) -> Any:
    """One JSON-RPC call; raises ValueError with the error object if the node answers with one."""
    import urllib.request

    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer = json.load(response)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["result"]


def height(url: str) -> int:
    return int(rpc(url, "eth_blockNumber"), 16)


@dataclass
class DevnetProcess:
    """`openledger devnet` on its own ports; `info` is its devnet.json."""

    datadir: Path
    validators: int = 4
    rpc_port: int = 0
    extra: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    restarted: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log_path(self) -> Path:
        return self.datadir.with_name(self.datadir.name + ".log")

    def start(self, *, timeout_s: float = 90) -> "DevnetProcess":
        self.rpc_port = self.rpc_port or free_port_base(64)
        ready = self.datadir / "devnet.json"
        ready.unlink(missing_ok=True)
        command = [OPENLEDGER, "devnet", "--validators", str(self.validators), "--datadir", str(self.datadir)]
        command += ["--rpc-port", str(self.rpc_port), *self.extra]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        process = self.process

        def is_ready() -> bool:
            if process.poll() is not None:
                raise StillWaitingError(f"devnet ended with {process.returncode}:\n{self.log()}")
            return ready.exists()

        try:
            wait_until("devnet.json", is_ready, timeout_s=timeout_s)
        except StillWaitingError as error:
            self.stop()
            raise StillWaitingError(f"{error}\n{self.log()}") from None
        self.info = json.loads(ready.read_text())
        return self

    def stop(self, *, timeout_s: float = 30) -> int | None:
        """SIGTERM, as an operator would; returns the exit code."""
        for process in [*self.restarted, self.process]:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [*self.restarted, self.process]:
            if process is not None:
                try:
                    process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise
        return self.process.returncode if self.process else None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-6_000:] if self.log_path.exists() else ""

    def url(self, node: int = 0) -> str:
        return str(self.info["nodes"][node]["rpc"])

    def web3(self, node: int = 0) -> Web3:
        return Web3(HTTPProvider(self.url(node), request_kwargs={"timeout": 30}))

    def key(self, account: int) -> str:
        return str(self.info["accounts"][account]["private_key"])

    def kill(self, node: int) -> None:
        """kill -9 of one node's process."""
        os.kill(self.info["nodes"][node]["pid"], signal.SIGKILL)

    def restart(self, node: int) -> subprocess.Popen[bytes]:
        """Bring a killed node back by itself, as the README says."""
        with self.log_path.open("ab") as log:
            command = [OPENLEDGER, "start", "--datadir", self.info["nodes"][node]["datadir"]]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.restarted.append(process)
        return process

    def wait_height(self, node: int, target: int, *, timeout_s: float = 60) -> int:
        return int(
            wait_until(
                f"height {target} on node {node}",
                lambda: (h := height(self.url(node))) >= target and h,
                timeout_s=timeout_s,
            )
        )

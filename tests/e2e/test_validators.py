"""Validators in real processes: a key with a twin, a node that is short of descriptors, names that are never
answered.
"""

import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devnet_process import OPENLEDGER, DevnetProcess, height, rpc, wait_until

pytestmark = [pytest.mark.e2e]


def ready(port: int) -> str:
    """The answer of `/ready`."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=10) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


class Lone:
    """One node of a devnet, or a copy of one, started by itself."""

    def __init__(self, net: DevnetProcess, folder: Path) -> None:
        self.net, self.folder = net, folder
        self.log_path = net.datadir / f"{folder.name}-by-itself.log"
        first = net.rpc_port + 8 + 3 * len(net.restarted)  # of those that the devnet was given and does not use
        self.metrics_port, self.rpc_port, self.p2p_port = first, first + 1, first + 2
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, wrapper: tuple[str, ...] = (), **options: Any) -> "Lone":
        command = [*wrapper, OPENLEDGER, "start", "--datadir", str(self.folder)]
        command += ["--metrics.port", str(self.metrics_port), *more]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options
            )
        self.net.restarted.append(self.process)
        return self

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_log(self, words: str, *, timeout_s: float = 60) -> None:
        def said() -> bool:
            assert self.is_alive, self.log()
            return words in self.log()

        wait_until(f"{words!r} in {self.log_path.name}", said, timeout_s=timeout_s)


def folder_of(net: DevnetProcess, node: int) -> Path:
    return Path(net.info["nodes"][node]["datadir"])


def kill(net: DevnetProcess, node: int) -> None:
    net.kill(node)
    pid = net.info["nodes"][node]["pid"]
    wait_until(f"the end of process {pid}", lambda: not Path(f"/proc/{pid}/fd").exists() or not is_running(pid))


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


def copy_of(net: DevnetProcess, node: int, name: str) -> Path:
    """A data directory as it would be on another machine: its own p2p identity, the same validator key."""
    source, target = folder_of(net, node), net.datadir / name
    shutil.copytree(source, target)
    (target / "LOCK").unlink(missing_ok=True)
    (target / "keystore" / "node.key").unlink()
    return target


def make_blocks(net: DevnetProcess, count: int, *, by: int = 0) -> int:
    """Bring the chain on by transfers, a block each; returns its height."""
    url = net.url(by)
    sender, other = (account["address"] for account in net.info["accounts"][:2])
    start = height(url)
    for _ in range(count):
        now = height(url)
        rpc(url, "eth_sendTransaction", {"from": sender, "to": other, "value": "0x1"})
        wait_until(f"block {now + 1}", lambda h=now: height(url) > h, timeout_s=60, every_s=0.05)
    assert height(url) >= start + count
    return height(url)


def tombstoned(net: DevnetProcess, node: int) -> bool:
    found = rpc(net.url(0), "open_validator", net.info["nodes"][node]["validator"])
    assert isinstance(found["tombstoned"], bool)
    return bool(found["tombstoned"])


@pytest.mark.parametrize("signer", ["in the node", "in its own process"])
def test_a_restored_validator_whose_twin_runs_finds_out_before_it_signs(own_devnet: DevnetProcess, signer: str) -> None:
    net = own_devnet
    make_blocks(net, 3)
    kill(net, 2)
    twin = Lone(net, copy_of(net, 2, "twin"))
    twin.start("--http.port", str(twin.rpc_port), "--p2p.port", str(twin.p2p_port))
    twin.wait_log("validator 0x")
    make_blocks(net, 12)
    restored = Lone(net, folder_of(net, 2))
    restored.start(*(("--validator.signer-socket", start_signer(net, 2)) if signer == "in its own process" else ()))
    restored.wait_log("SIGNING STOPPED")
    address = net.info["nodes"][2]["validator"].lower()
    lines = [line for line in restored.log().splitlines() if "SIGNING STOPPED" in line]
    assert len(lines) == 1 and "CRITICAL" in lines[0] and address in lines[0].lower()
    tip = make_blocks(net, 12)  # three times round all proposers
    assert not tombstoned(net, 2)
    wait_until("the restored node follows", lambda: height(net.url(2)) >= tip)
    assert "not ready: validator key" in ready(restored.metrics_port)
    assert "SIGNING STOPPED" not in twin.log() and twin.is_alive
    assert len([line for line in restored.log().splitlines() if "WARNING" in line and "not signed" in line]) < 10


def start_signer(net: DevnetProcess, node: int) -> str:
    """A signer with the key and the record of a node, which the node then does without; returns its socket."""
    folder, home = folder_of(net, node), net.datadir / "signer-home"
    for part in ("keystore", "consensus"):
        shutil.copytree(folder / part, home / part)
    for name in ("genesis.json", "config.toml"):
        shutil.copy(folder / name, home / name)
    config = folder / "config.toml"
    text = re.sub(r"(?m)^(keystore|password_file) = .*\n", "", config.read_text())
    config.write_text(text)
    path = str(net.datadir / "signer-socket" / "s")
    with (net.datadir / "signer.log").open("ab") as log:
        command = [OPENLEDGER, "signer", "--datadir", str(home), "--socket", path]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    net.restarted.append(process)
    wait_until("the signer's socket", lambda: process.poll() is None and Path(path).exists())
    return path


def test_restarts_keep_no_key_from_signing_and_all_are_ready_again(own_devnet: DevnetProcess) -> None:
    """One alone, whose network goes on; then all at once, whose network stood still."""
    net = own_devnet
    make_blocks(net, 2)
    kill(net, 3)
    make_blocks(net, 2)
    lone = Lone(net, folder_of(net, 3)).start()
    lone.wait_log("validator 0x")
    wait_for_all_signatures(net)
    for node in (0, 1, 2):
        kill(net, node)
    assert lone.process is not None
    lone.process.kill()
    lone.process.wait()
    nodes = [Lone(net, folder_of(net, 0)).start()]
    nodes[0].wait_log("validator 0x")
    assert ready(nodes[0].metrics_port) == "not ready: no peers\n"
    for node in (1, 2, 3):
        nodes.append(Lone(net, folder_of(net, node)).start())
    for each in nodes:
        each.wait_log("validator 0x")
    wait_for_all_signatures(net)
    for each in nodes:
        wait_until("ready again", lambda port=each.metrics_port: ready(port) == "ok\n")
        assert "SIGNING STOPPED" not in each.log()
    data = rpc(net.url(0), "open_consensusData", hex(height(net.url(0))))
    missing = sum(not signature for signature in data["lastCommit"]["signatures"])
    assert f"missing_validators_power {10.0 * missing}" in metrics(nodes[0].metrics_port) or missing != 0
    for each in nodes[2:]:
        assert each.process is not None
        each.process.terminate()
        each.process.wait()
    wait_until("a standstill is told", lambda: "stalled: block" in ready(nodes[0].metrics_port), timeout_s=60)


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def wait_for_all_signatures(net: DevnetProcess) -> None:
    """Until a block's last commit holds everybody's."""

    def all_signed() -> bool:
        make_blocks(net, 1)
        commit = rpc(net.url(0), "open_consensusData", hex(height(net.url(0))))["lastCommit"]
        return all(commit["signatures"])

    wait_until("a commit with all signatures", all_signed, timeout_s=60)


@pytest.fixture
def many_sockets() -> Iterator[list[socket.socket]]:
    """Sockets to be opened by the test, more than a process may have by default; closed at its end."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 4_096:
        pytest.skip(f"this machine lets a process open {before[1]} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 4_096), before[1]))
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


SILENT_NAMES = """
import os, socket, threading
asked = socket.getaddrinfo
def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    name = host.decode() if isinstance(host, bytes) else host
    if name and name.endswith(".example") and not flags & socket.AI_NUMERICHOST:
        with open(os.environ["ASKED"], "a") as file:
            file.write(name + chr(10))
        threading.Event().wait()
    return asked(host, port, family, type, proto, flags)
socket.getaddrinfo = getaddrinfo
"""


def test_neither_idle_callers_nor_silent_names_keep_a_validator_from_signing(
    own_devnet: DevnetProcess, many_sockets: list[socket.socket], tmp_path: Path
) -> None:
    """More connections than it may open files, more names that are never answered than trio has threads; and the others
    need its signature for every block."""
    from p2p.identity import identity_of

    net, asked = own_devnet, tmp_path / "asked"
    kill(net, 2)
    kill(net, 3)
    (tmp_path / "sitecustomize.py").write_text(SILENT_NAMES)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    names = [f"/dns4/name{i}.example/tcp/30303/p2p/{identity_of(bytes([i + 1]) * 32).peer_id}" for i in range(60)]
    node = Lone(net, folder_of(net, 3)).start(
        *(word for name in names for word in ("--peer", name)),
        wrapper=("bash", "-c", 'ulimit -n 1024; exec "$0" "$@"'),
        env={**os.environ, "PYTHONPATH": path, "ASKED": str(asked)},
    )
    node.wait_log("validator 0x")
    host, port = net.url(3).removeprefix("http://").split(":")
    for _ in range(1_100):
        connection = socket.socket()
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.connect((host, int(port)))
        many_sockets.append(connection)
    wait_until("names are asked for", asked.exists)
    make_blocks(net, 8)
    assert node.process is not None and node.is_alive, node.log()
    assert len(list(Path(f"/proc/{node.process.pid}/fd").iterdir())) <= 1_024 - 64, "some are kept"
    assert 1 <= len(asked.read_text().split()) <= 8
    assert "Traceback" not in node.log() and node.log().count("can't be accepted") <= 1
    while many_sockets:
        many_sockets.pop().close()
    wait_until("JSON-RPC answers again", lambda: height(net.url(3)) >= height(net.url(0)) - 1)

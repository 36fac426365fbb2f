"""`openledger light` against a devnet, and a validator whose key is with `openledger signer`."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from devnet_process import OPENLEDGER, DevnetProcess, free_port_base, height, rpc, wait_until

pytestmark = pytest.mark.e2e


def light(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([OPENLEDGER, "light", *arguments], capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def urls(net: DevnetProcess) -> str:
    return ",".join(net.url(node) for node in range(4))


def trust(net: DevnetProcess, number: int = 1) -> str:
    return f"{number}:{rpc(net.url(), 'eth_getBlockByNumber', hex(number), False)['hash']}"


def test_it_follows_four_nodes_and_proves_balances(devnet: DevnetProcess) -> None:
    devnet.wait_height(0, 3)
    rich = devnet.info["accounts"][9]["address"]
    nobody = "0x" + "00" * 19 + "77"
    done = light("--trust", trust(devnet), "--rpc", urls(devnet), "--balance", rich, "--balance", nobody, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["height"] >= 3 and found["confirmedBy"] == found["witnesses"] == 3
    block = rpc(devnet.url(1), "eth_getBlockByNumber", hex(found["height"]), False)
    assert (found["hash"], found["stateRoot"]) == (block["hash"], block["stateRoot"])
    balance = int(rpc(devnet.url(1), "eth_getBalance", rich, hex(found["height"])), 16)
    assert found["accounts"][rich.lower()]["balance"] == str(balance)
    assert found["accounts"][nobody] == {"nonce": 0, "balance": "0"}


def test_it_begins_at_the_genesis_file_and_may_verify_every_height(devnet: DevnetProcess) -> None:
    devnet.wait_height(0, 3)
    genesis = str(devnet.datadir / "genesis.json")
    done = light("--genesis", genesis, "--rpc", devnet.url(2), "--height", "3", "--sequential")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("block 3 0x")
    assert "confirmed by 0 of 0 witnesses" in done.stdout


def test_it_goes_on_until_it_is_stopped(devnet: DevnetProcess) -> None:
    command = [OPENLEDGER, "light", "--trust", trust(devnet), "--rpc", urls(devnet), "--follow", "--interval-ms", "200"]
    following = subprocess.Popen(
        [*command, "--json"], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert following.stdout is not None
        heights = [json.loads(following.stdout.readline())["height"] for _ in range(3)]
        assert heights == sorted(set(heights))
    finally:
        following.send_signal(signal.SIGINT)
        try:
            following.communicate(timeout=30)
        finally:
            following.kill()
            following.communicate()


def test_wrong_trust_and_silent_nodes_end_with_clear_words(devnet: DevnetProcess) -> None:
    devnet.wait_height(0, 2)
    done = light("--trust", f"1:{'ab' * 32}", "--rpc", devnet.url())
    assert (done.returncode, done.stdout) == (3, "")
    assert "the trusted hash is wrong" in done.stderr
    done = light("--trust", trust(devnet), "--rpc", "http://127.0.0.1:1")
    assert done.returncode == 1 and "no node answers" in done.stderr
    done = light("--trust", trust(devnet), "--rpc", f"{devnet.url()},http://127.0.0.1:1", "--height", "2")
    assert done.returncode == 0 and "confirmed by 0 of 1 witnesses" in done.stdout


# ---------------------------------------------------------------- a validator with its key elsewhere


@dataclass
class SplitValidator:
    """A chain of one validator: the node in one directory, key and sign record in another, a socket between them."""

    folder: Path
    port: int = field(default_factory=lambda: free_port_base(2))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        password = self.folder / "password"
        password.write_text("p\n")
        password.chmod(0o600)
        made = self.run("init", "--datadir", str(self.key_dir), "--validator", "--password-file", str(password))
        assert made.returncode == 0, made.stderr
        genesis = str(self.key_dir / "genesis.json")
        made = self.run("init", "--datadir", str(self.node_dir), "--genesis", genesis)
        assert made.returncode == 0, made.stderr

    @property
    def key_dir(self) -> Path:
        return self.folder / "k"

    @property
    def node_dir(self) -> Path:
        return self.folder / "n"

    @property
    def socket(self) -> Path:
        return self.key_dir / "signer" / "signer.sock"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([OPENLEDGER, *arguments], capture_output=True, text=True, timeout=120)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name: str) -> None:
        ports = ["--http.port", str(self.port), "--p2p.port", str(self.port + 1), "--p2p.addr", "127.0.0.1"]
        commands = {
            "signer": ["signer", "--datadir", str(self.key_dir)],
            "node": ["start", "--datadir", str(self.node_dir), "--validator.signer-socket", str(self.socket), *ports],
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [OPENLEDGER, *commands[name]], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait(30)

    def height_above(self, least: int) -> Any:
        return wait_until(f"height {least + 1}", lambda: height(self.url) > least, timeout_s=120)

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(30)


@pytest.fixture
def split() -> Iterator[SplitValidator]:
    folder = Path(tempfile.mkdtemp(prefix="ols-"))  # a Unix socket's path must be short
    made = SplitValidator(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def test_a_validator_signs_through_its_signer_and_survives_its_absence(split: SplitValidator) -> None:
    split.start("signer")
    wait_until("the signer's socket", split.socket.exists)
    split.start("node")
    split.height_above(1)
    assert not list(split.node_dir.glob("**/*.signed")), "the node has no sign record of its own"
    address = rpc(split.url, "open_status")["validator"]
    assert address == rpc(split.url, "open_validators")["validators"][0]["address"]

    split.kill("signer")
    time.sleep(2)
    stalled = height(split.url)
    wait_until("a refusal in the node's log", lambda: "not signed" in split.log("node"), timeout_s=60)
    assert height(split.url) <= stalled + 1
    stalled = height(split.url)

    split.start("signer")
    split.height_above(stalled + 1)

    split.kill("node")
    before = rpc_height_from_record(split)
    split.start("node")
    split.height_above(before)
    assert "FATAL" not in split.log("node") + split.log("signer")


def rpc_height_from_record(split: SplitValidator) -> int:
    """The height that the signer signed last, from its file (the node is down)."""
    from consensus.signer import SignRecord
    from genesis.codec import decode
    from node.home.sign_record import SignRecordFile

    path = next(split.key_dir.glob("consensus/*.signed"))
    data = SignRecordFile(path).load()
    assert data is not None
    return int(decode(SignRecord, data, size_max=1 << 20).height)


def test_keystore_and_signer_exclude_each_other(split: SplitValidator) -> None:
    both = ["start", "--datadir", str(split.key_dir), "--validator.signer-socket", str(split.socket)]
    done = split.run(*both)
    assert done.returncode == 1
    assert "unset one" in done.stderr and "Traceback" not in done.stderr

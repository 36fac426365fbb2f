"""A real `openledger signer` in its own process, over a data directory as `openledger init` makes it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evm_runtime.genesis_block import build_genesis
from genesis.chain_spec import ChainSpec, GenesisAccount
from genesis.crypto import address_of_private_key
from genesis.primitives import Power, Wei
from genesis.types import ChainIdentity, Validator
from node.home import keystore
from node.home.config import CONFIG_FILE, to_toml
from node.home.datadir import GENESIS_FILE
from node.signer.client import RemoteSigner

OPENLEDGER = str(Path(sys.executable).parent / "openledger")
KEY = b"\x5a" * 32
ADDRESS = address_of_private_key(KEY)
SPEC = ChainSpec(
    name="signer-test",
    chain_id=4_545,
    genesis_time_ms=1_700_000_000_000,
    validators=(Validator(ADDRESS, Power(1), ADDRESS),),
    treasury=ADDRESS,
    alloc=(GenesisAccount(ADDRESS, Wei(10**20)),),
)
CHAIN = ChainIdentity(SPEC.chain_id, build_genesis(SPEC).header.hash)


def make_datadir(folder: Path) -> None:
    """genesis.json, a key with its empty sign record, and a config.toml that names it."""
    folder.mkdir(parents=True)
    (folder / GENESIS_FILE).write_bytes(SPEC.to_json())
    keystore.write_private(
        folder / "keystore/validator.json", keystore.encrypt(KEY, "p", scrypt_n=keystore.SCRYPT_N_LIGHT)
    )
    keystore.write_private(folder / "keystore/password.txt", b"p\n")
    keystore.start_sign_record(folder, ADDRESS)
    settings = {"validator.keystore": "keystore/validator.json", "validator.password_file": "keystore/password.txt"}
    (folder / CONFIG_FILE).write_text(to_toml(settings))


@dataclass
class SignerProcess:
    """Start it, kill it, start it again: the data directory and the socket's path stay."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    clients: list[RemoteSigner] = field(default_factory=list)

    @property
    def datadir(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "s" / "signer.sock"

    @property
    def record(self) -> Path:
        return keystore.sign_record_path(self.datadir, ADDRESS)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def command(self) -> list[str]:
        return [OPENLEDGER, "signer", "--datadir", str(self.datadir), "--socket", str(self.socket)]

    def start(self) -> "SignerProcess":
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(30)

    def client(self, **options: Any) -> RemoteSigner:
        options.setdefault("answer_timeout_s", 20.0)  # a busy machine is no reason to fail
        found = RemoteSigner(self.socket, CHAIN, patience_s=60, **options)
        self.clients.append(found)
        return found

    def close_clients(self) -> None:
        """A signer serves a few connections only."""
        while self.clients:
            self.clients.pop().close()

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + 60
        while not self.socket.exists():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)


@contextmanager
def signer_process() -> Iterator[SignerProcess]:
    """A Unix socket's path must be short, so not under pytest's own folder."""
    folder = Path(tempfile.mkdtemp(prefix="ols-"))
    made = SignerProcess(folder)
    make_datadir(made.datadir)
    try:
        yield made
    finally:
        made.close_clients()
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        shutil.rmtree(folder)

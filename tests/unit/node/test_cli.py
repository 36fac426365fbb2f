"""The command line as a person meets it: one clear line on stderr, no traceback; real processes where nodes run."""

import contextlib
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from evm_runtime.staking.proof import possession_digest
from genesis.crypto import recover
from genesis.primitives import Address
from node.cli import main
from node.home.lock import DirectoryLock
from tests.unit.node.local_chain import LocalChain, make_spec, transfer

OPENLEDGER = [sys.executable, "-c", "from node.cli import main; main()"]
KEY = "0x" + "11" * 32
ADDRESS = "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, stdin: str = "", **environment: str) -> Done:
    """The command in this process: as fast as it is, and exactly what the entry point does."""
    out, err = io.StringIO(), io.StringIO()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENLEDGER_")}
    with (
        mock.patch.dict(os.environ, kept | environment, clear=True),
        mock.patch.object(sys, "argv", ["openledger", *map(str, arguments)]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def run_process(*arguments: object) -> Done:
    """The command in a process of its own."""
    command = [*OPENLEDGER, *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OPENLEDGER_")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=env, stdin=subprocess.DEVNULL, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def fails(message: str, *arguments: object, code: int = 1, **environment: str) -> str:
    return refused(message, run(*arguments, **environment), code)


def refused(message: str, done: Done, code: int = 1) -> str:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    return done.stderr


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password.txt"
    path.write_text("secret\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def datadir(tmp_path: Path, password: Path) -> Path:
    """A chain of one validator, with a light keystore."""
    directory = tmp_path / "data"
    done = run("keys", "import", "-", "--datadir", directory, "--password-file", password, "--light", stdin=KEY)
    assert done.stdout.startswith(ADDRESS), done.stderr
    genesis = tmp_path / "genesis.json"
    built = run(
        "genesis", "build", "--chain-id", 77, "--validator", ADDRESS, "--alloc", f"{ADDRESS}=5", "--out", genesis
    )
    assert built.returncode == 0, built.stderr
    done = run("init", "--datadir", directory, "--genesis", genesis)
    assert done.returncode == 0, done.stderr
    config = directory / "config.toml"
    config.write_text(f'[validator]\nkeystore = "keystore/validator.json"\npassword_file = "{password}"\n')
    return directory


def test_version_and_help_are_quick_to_import() -> None:
    program = (
        "import sys; import node.cli; sys.exit(str({'eth', 'libp2p', 'trio', 'web3', 'plyvel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
    assert run("version").stdout.startswith("openledger ")
    shown = run("--help").stdout
    for command in ("init", "start", "devnet", "demo", "keys", "genesis", "config", "status", "version"):
        assert command in shown


def test_a_wrong_command_line_is_told_with_code_2() -> None:
    fails("No such option", "start", "--http.prot", "1", code=2)
    fails("No such command", "strat", code=2)


def test_config_show_says_what_holds_and_why(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[http]\nport = 1\n")
    done = run("config", "show", "--datadir", tmp_path, "--p2p.port", 9, "--json", OPENLEDGER_HTTP_ADDR="10.0.0.1")
    settings = json.loads(done.stdout)["settings"]
    assert settings["http.port"] == {"value": 1, "source": "config.toml"}
    assert settings["http.addr"] == {"value": ["10.0.0.1"], "source": "environment OPENLEDGER_HTTP_ADDR"}
    assert settings["p2p.port"] == {"value": 9, "source": "flag --p2p.port"}
    text = run("config", "show", OPENLEDGER_DATADIR=str(tmp_path)).stdout
    assert f"# data directory: {tmp_path}" in text
    assert "# http.port: from config.toml" in text


def test_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[http]\nprot = 1\n")
    fails("did you mean 'http.port'?", "start", "--datadir", tmp_path)
    (tmp_path / "config.toml").unlink()
    fails("flag --http.port", "config", "show", "--datadir", tmp_path, "--http.port", "high")
    fails("OPENLEDGER_HALT_HEIGHT", "config", "show", "--datadir", tmp_path, OPENLEDGER_HALT_HEIGHT="-1")


def test_keys_new_list_and_import(tmp_path: Path, password: Path) -> None:
    arguments = ("--datadir", tmp_path / "d", "--password-file", password)
    first = run("keys", "new", *arguments, "--light")
    assert first.returncode == 0, first.stderr
    fails("exists already", "keys", "new", *arguments, "--light")
    fails("no name for a key", "keys", "new", *arguments, "--name", "../x")
    keystore = tmp_path / "d" / "keystore" / "validator.json"
    again = run("keys", "import", keystore, *arguments, "--name", "copy", "--light")
    assert again.stdout.split()[0] == first.stdout.split()[0]
    listed = run("keys", "list", "--datadir", tmp_path / "d").stdout.splitlines()
    assert [line.split()[1] for line in listed] == ["copy", "validator"]
    wrong = tmp_path / "wrong"
    wrong.write_text("not it")
    wrong.chmod(0o600)
    fails("wrong password", "keys", "import", keystore, "--datadir", tmp_path, "--password-file", wrong)
    fails("--password-file", "keys", "new", "--datadir", tmp_path)
    assert KEY[2:] not in fails("64 hex digits", "keys", "import", wrong, *arguments, "--name", "x")


def test_genesis_build_and_validate(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    build = ("genesis", "build", "--chain-id", 5, "--validator", f"{ADDRESS}:7", "--out", path)
    assert run(*build).returncode == 0
    fails("exists already", *build)
    shown = run("genesis", "validate", path).stdout
    assert "chain id 5" in shown
    assert "total power 7" in shown
    path.write_text(path.read_text().replace('"name"', '"nmae"'))
    fails("unknown key 'nmae'", "genesis", "validate", path)
    fails("there is no genesis file", "genesis", "validate", tmp_path / "none.json")
    fails("is not an address", "genesis", "build", "--chain-id", 5, "--validator", "0x12")
    fails("whole OPEN", "genesis", "build", "--chain-id", 5, "--validator", ADDRESS, "--alloc", f"{ADDRESS}=x")
    fails(
        "600,000,000 OPEN",
        "genesis",
        "build",
        "--chain-id",
        5,
        "--validator",
        ADDRESS,
        "--alloc",
        f"{ADDRESS}=600000001",
    )


def test_init_refuses_what_is_there(datadir: Path, tmp_path: Path) -> None:
    fails("is a data directory already", "init", "--datadir", datadir, "--genesis", tmp_path / "genesis.json")


def test_status_without_a_node_is_one_line(tmp_path: Path) -> None:
    text = fails("no node answers at", "status", "--rpc", "http://127.0.0.1:9")
    assert len(text.splitlines()) == 1
    fails("is not an http", "status", "--rpc", "file:///etc/passwd")


def test_start_refuses_with_one_clear_line(datadir: Path, tmp_path: Path, password: Path) -> None:
    start = ("start", "--datadir", datadir, "--p2p.port", 0, "--log.level", "error")
    fails("has no genesis.json", "start", "--datadir", tmp_path / "empty")

    other = tmp_path / "other.json"
    run("genesis", "build", "--chain-id", 78, "--validator", ADDRESS, "--out", other)
    assert "chain_id: 78 here, 77 there" in fails("is of another chain", *start, "--genesis", other)

    password.write_text("something else\n")
    fails("wrong password", *start)
    password.chmod(0o644)
    fails("chmod 600", *start)
    password.unlink()
    fails("there is no password file", *start)
    password.write_text("secret\n")
    password.chmod(0o600)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flags in (("--http.port", port), ("--http.port", 0, "--p2p.addr", "127.0.0.1", "--p2p.port", port)):
            text = refused(str(port), run_process(*start[:3], "--p2p.port", 0, "--log.level", "error", *flags))
            assert len(text.splitlines()) == 1

    with DirectoryLock(datadir):
        refused("is in use by another node", run_process(*start))

    record = datadir / "consensus" / f"{ADDRESS[2:]}.signed"
    kept = record.read_bytes()
    record.unlink()
    refused("sign record", run_process(*start, "--http.port", 0))
    record.write_bytes(kept)


def test_a_node_halts_stops_knows_an_old_sign_record_and_sits_out_a_block_taken_back(datadir: Path) -> None:
    start = ("start", "--datadir", datadir, "--http.port", 0, "--p2p.port", 0, "--p2p.addr", "127.0.0.1")
    done = run_process(*start, "--halt-height", 1, "--log.format", "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert any("height 1 is final: halting" in line["message"] for line in lines)

    record = datadir / "consensus" / f"{ADDRESS[2:]}.signed"
    old = record.read_bytes()
    assert "stopped at block" in run_until("commit: block", *start)

    latest = record.read_bytes()
    record.write_bytes(old)
    refused("signed block 2, but its sign record ends at height 1", run_process(*start))
    record.write_bytes(latest)

    assert run("rollback", "--datadir", datadir).returncode == 0
    assert "stopped at block 1" in run_until("The node follows this height without a vote", *start)


def run_until(words: str, *arguments: object) -> str:
    """Start a node, stop it by SIGTERM once it logs these words, and return what it says after them."""
    process = subprocess.Popen(
        [*OPENLEDGER, *map(str, arguments)], stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stderr is not None
    with process.stderr:
        said = list(itertools.takewhile(lambda line: words not in line, process.stderr))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.wait(60) == 0, "".join(said) + rest
    assert time.monotonic() - began < 60
    return rest


def test_the_last_block_is_taken_back_and_the_log_set_aside(tmp_path: Path) -> None:
    fails("holds no chain yet", "rollback", "--datadir", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    spec = make_spec()
    (tmp_path / "genesis.json").write_bytes(spec.to_json())
    fails("holds no chain yet", "rollback", "--datadir", tmp_path)
    chain = LocalChain(tmp_path / "chain", spec)
    first, second = chain.extend(transfer(0, 0)), chain.extend(transfer(0, 1))
    chain.close()
    log = tmp_path / "consensus" / "wal"
    log.parent.mkdir()
    log.write_bytes(b"records")
    with DirectoryLock(tmp_path):
        fails("in use", "rollback", "--datadir", tmp_path)
    done = run("rollback", "--datadir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"took back block 2 ({second.hash.hex()}); the tip is block 1 ({first.hash.hex()})" in done.stdout
    assert not log.exists() and (log.parent / "wal.before-rollback-of-2").read_bytes() == b"records"
    chain = LocalChain(tmp_path / "chain", spec)
    assert chain.store.tip().hash == first.hash and chain.extend(transfer(0, 1)) == second
    chain.close()
    for _ in range(2):
        assert run("rollback", "--datadir", tmp_path).returncode == 0
    fails("nothing to take back", "rollback", "--datadir", tmp_path)


def test_a_proof_of_a_consensus_key_is_for_one_owner_and_chain(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("p\n")
    secret.chmod(0o600)
    data = ("--datadir", tmp_path / "v", "--password-file", secret)
    assert run("init", *data, "--validator", "--chain-id", 77).returncode == 0
    done = run("keys", "prove", *data, "--owner", ADDRESS)
    assert done.returncode == 0, done.stderr
    validator, proof = (Address(bytes.fromhex(word[2:])) for word in done.stdout.split())
    owner = Address(bytes.fromhex(ADDRESS[2:]))
    assert recover(possession_digest(77, validator, owner), proof) == validator
    assert recover(possession_digest(78, validator, owner), proof) != validator
    fails("is not an address", "keys", "prove", *data, "--owner", "0x12")
    fails("validator2.json", "keys", "prove", *data, "--owner", ADDRESS, "--name", "validator2")

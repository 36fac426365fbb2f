"""A node as a service of a machine: both families of addresses, its log file, hang-ups. Real processes."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genesis.errors import LocalError
from node.home.config import check_environment, host_port, http_url, resolve
from node.telemetry.logs import ReopenedFile, set_up_logging
from tests.unit.node.test_cli import OPENLEDGER, datadir, fails, password, run

__all__ = ["datadir", "password"]

LIMIT_S = 60


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def until(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """The bound only keeps a broken test from hanging."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert process.poll() is None, "the node has ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def node(*arguments: object) -> Iterator["subprocess.Popen[str]"]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("OPENLEDGER_")}
    command = [*OPENLEDGER, *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=env) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.bind(("::", 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_node_serves_both_families_and_status_finds_it_over_ipv6(datadir: Path) -> None:
    ports = {name: free_port() for name in ("http", "p2p", "metrics")}
    config = (datadir / "config.toml").read_text()
    both = 'addr = ["[::1]", "127.0.0.1"]'
    for name, port in ports.items():
        config += f"\n[{name}]\n{both}\nport = {port}\n"
    (datadir / "config.toml").write_text(config)
    log = datadir / "log"
    with node("start", "--datadir", datadir, "--log.file", "log") as process:
        until(lambda: log.exists() and "p2p on" in log.read_text(), process)
        shown = run("status", "--datadir", datadir, "--json")
        assert json.loads(shown.stdout)["chain id"] == 77, shown.stderr
        assert run("status", "--rpc", f"http://127.0.0.1:{ports['http']}").returncode == 0
        for host in ("::1", "127.0.0.1"):
            for port in ports.values():
                socket.create_connection((host, port), 5).close()
        said = log.read_text()
    assert f"JSON-RPC on http://[::1]:{ports['http']}, http://127.0.0.1:{ports['http']}" in said
    assert f"/ip6/::1/tcp/{ports['p2p']}/p2p/" in said and f"/ip4/127.0.0.1/tcp/{ports['p2p']}/p2p/" in said


def test_a_hang_up_opens_the_log_file_anew_and_ends_nothing(datadir: Path) -> None:
    log, old = datadir / "logs" / "node.log", datadir / "logs" / "node.log.1"
    start = ("start", "--datadir", datadir, "--http.port", 0, "--p2p.port", 0, "--p2p.addr", "127.0.0.1")
    with node(*start, "--log.file", log) as process:
        until(lambda: log.exists() and "p2p on" in log.read_text(), process)
        log.rename(old)
        process.send_signal(signal.SIGHUP)
        until(lambda: log.exists() and log.read_text(), process)
        size = old.stat().st_size
        length = len(log.read_text())
        until(lambda: len(log.read_text()) > length, process)
        assert old.stat().st_size == size
    assert "stopped at block" in log.read_text()


def test_a_hang_up_without_a_log_file_is_nothing(datadir: Path) -> None:
    start = ("start", "--datadir", datadir, "--http.port", 0, "--p2p.port", 0, "--p2p.addr", "127.0.0.1")
    with node(*start) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "commit: block" in line:
                break
        process.send_signal(signal.SIGHUP)
        assert any("commit: block" in line for line in process.stderr)


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "old"
    handler = ReopenedFile(path)
    handler.setFormatter(logging.Formatter("%(message)s"))
    path.rename(old)
    path.mkdir()
    handler.reopen()
    for text in ("first", "second"):
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, text, (), None))
    handler.close()
    lines = old.read_text().splitlines()
    assert lines[1:] == ["first", "second"] and "goes on in the old file" in lines[0] and "Is a directory" in lines[0]
    with pytest.raises(LocalError, match=r"cannot write the log file .*Is a directory"):
        set_up_logging("info", "text", file=path)


def test_an_unknown_variable_of_ours_is_refused_by_every_command(tmp_path: Path) -> None:
    hint = "unknown environment variable OPENLEDGER_HTTP_PROT; did you mean 'OPENLEDGER_HTTP_PORT'?"
    with pytest.raises(LocalError) as caught:
        resolve(tmp_path, {}, {"OPENLEDGER_HTTP_PROT": "1"})
    assert str(caught.value) == hint
    fails(hint, "start", "--datadir", tmp_path, OPENLEDGER_HTTP_PROT="1")
    fails("did you mean 'OPENLEDGER_DATADIR'", "keys", "list", OPENLEDGER_DATADIRR=str(tmp_path))
    assert not list(tmp_path.iterdir())
    check_environment({"OPENLEDGER_DATADIR": "x", "OPENLEDGER_HTTP_PORT": "1", "OTHER": "2"})


def test_addresses_are_lists_and_urls_have_brackets(tmp_path: Path) -> None:
    settings = resolve(tmp_path, {"http.addr": "127.0.0.1,[::1]"}, {})
    assert settings["http.addr"] == ("127.0.0.1", "::1") and settings["p2p.addr"] == ("0.0.0.0",)
    for wrong in ("", "::1,::1", "::1,[::1]"):
        with pytest.raises(LocalError, match=r"http\.addr"):
            resolve(tmp_path, {"http.addr": wrong}, {})
    assert http_url("::1", 1) == "http://[::1]:1" and http_url("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert http_url("::", 1) == "http://[::1]:1" and http_url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert host_port("::", 1) == "[::]:1"

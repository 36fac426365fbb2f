"""The devnet's processes. Everything is imported once, here; the nodes are forked before any event loop or thread starts.

The supervisor runs no node itself. It waits for block 1, writes devnet.json, says when a node ends (the others go on), and on
Ctrl-C or SIGTERM stops them all. A node whose supervisor dies gets a SIGTERM from the kernel.
"""

import contextlib
import ctypes
import faulthandler
import gc
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.crypto import address_of_private_key
from genesis.errors import LocalError, OpenLedgerError, PeerFault
from node.devnet.plan import (
    ACCOUNT_OPEN,
    CREATE2_DEPLOYER,
    Devnet,
    DevnetNode,
    DevnetOptions,
    check_ports,
    make_devnet,
    write_data_directories,
)
from node.home.lock import DirectoryLock
from node.os_errors import explain, told
from node.rpc.schema.format import checksum
from openledger.jsonrpc import JsonRpcClient

DESCRIPTION_FILE: Final = "devnet.json"
POLL_S: Final = 0.1
STOP_S_MAX: Final = 15.0
LOG_BYTES_MAX: Final = 64 * 1024 * 1024
LOG_TAIL_BYTES: Final = 2_000
_PR_SET_PDEATHSIG: Final = 1

Say = Callable[[str], None]
WhenReady = Callable[[Devnet], int]
"""Work to do on the devnet once it runs; its result is the exit code, and then the devnet stops."""


def run_devnet(options: DevnetOptions, say: Say, when_ready: WhenReady | None = None) -> int:
    """Run a devnet until it is stopped; returns the exit code. Raises LocalError if it can't be started."""
    options.check()
    with DirectoryLock(options.directory):
        with told(f"remove {options.directory / DESCRIPTION_FILE}"):
            (options.directory / DESCRIPTION_FILE).unlink(missing_ok=True)  # of a run that was killed
        devnet = make_devnet(options)
        check_ports(devnet)
        write_data_directories(devnet)
        _import_everything()
        return Supervisor(devnet, say).run(when_ready)


class Supervisor:
    """Parent of the node processes."""

    def __init__(self, devnet: Devnet, say: Say) -> None:
        self._devnet = devnet
        self._say = say
        self._alive: dict[int, DevnetNode] = {}
        self._description = devnet.options.directory / DESCRIPTION_FILE
        self._stopping = False

    def run(self, when_ready: WhenReady | None) -> int:
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in wanted}
        before_fd = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        try:
            pids = [self._fork(node) for node in self._devnet.nodes]
            self._say(banner(self._devnet))
            return self._supervise(read_end, pids, when_ready)
        finally:
            self._stop_all()
            with contextlib.suppress(OSError):
                self._description.unlink(missing_ok=True)  # it describes a network that runs
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(read_end)
            os.close(write_end)

    def _supervise(self, signals: int, pids: list[int], when_ready: WhenReady | None) -> int:
        ready = False
        while True:
            if self._stop_asked(signals, POLL_S if not ready else 1.0):
                self._say("stopping")
                return 0 if self._stop_all() else 1
            self._reap(ready)
            if not self._alive:
                self._say("every node has ended")
                return 1
            if not ready and self._block_one_is_final():
                ready = True
                _write_atomically(self._description, json.dumps(self._devnet.description(pids), indent=2) + "\n")
                self._say(f"ready: block 1 is final; {self._description} describes the network. Ctrl-C stops it.")
                if when_ready is not None:
                    code = when_ready(self._devnet)
                    return code if self._stop_all() else 1

    def _stop_asked(self, signals: int, timeout_s: float) -> bool:
        readable, _, _ = select.select([signals], [], [], timeout_s)
        numbers = os.read(signals, 64) if readable else b""
        return any(number in numbers for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    # ------------------------------------------------------------ processes

    def _fork(self, node: DevnetNode) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _be_node(node)
        self._alive[pid] = node
        return pid

    def _reap(self, ready: bool) -> None:
        """Take note of nodes that have ended. Before the network is ready that is a failure to start."""
        for pid, node in list(self._alive.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if not ended:
                continue
            del self._alive[pid]
            how = _how_it_ended(status)
            if not ready:
                raise LocalError(f"{node.name} {how} at start; the end of {node.log}:\n{_tail(node.log)}")
            if not self._stopping:
                self._say(
                    f"{node.name} (pid {pid}) {how}; the others go on. Bring it back with: "
                    f"openledger start --datadir {node.directory}"
                )

    def _stop_all(self) -> bool:
        """SIGTERM, and SIGKILL to what is still there after a while. False if that was needed."""
        self._stopping = True
        for pid in self._alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S_MAX
        while self._alive and time.monotonic() < deadline:
            self._reap(ready=True)
            time.sleep(0.02)
        killed = bool(self._alive)
        for pid, node in self._alive.items():
            self._say(f"{node.name} (pid {pid}) did not stop within {STOP_S_MAX:g} s and is killed")
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self._alive.clear()
        return not killed

    def _block_one_is_final(self) -> bool:
        return all(_height(node.rpc) >= 1 for node in self._alive.values())


def banner(devnet: Devnet) -> str:
    """What a user needs to know, as anvil would show it."""
    spec = devnet.spec
    lines = ["", f"OpenLedger devnet: {len(devnet.nodes)} validators, chain id {spec.chain_id}", "", "Nodes"]
    lines += [
        f"  {node.name:<8} {node.rpc}   {node.ws}   validator {checksum(node.validator)}" for node in devnet.nodes
    ]
    lines += ["", f"Accounts ({ACCOUNT_OPEN:,} OPEN each)"]
    for index, key in enumerate(devnet.account_keys):
        lines.append(f"  ({index}) {checksum(address_of_private_key(key))}  0x{key.hex()}")
    lines += ["", "Everybody knows these keys: never send anything of value to these accounts on another chain.", ""]
    lines += [
        f"Attribution contract  {checksum(ATTRIBUTION_ADDRESS)}",
        f"CREATE2 deployer      {checksum(CREATE2_DEPLOYER)}",
        f"Block interval        {spec.block.interval_ms} ms with transactions, {spec.block.empty_interval_ms} ms without",
        f"Data directory        {devnet.options.directory}",
        "",
    ]
    return "\n".join(lines)


def _import_everything() -> None:
    """What every node needs, once: four processes that import at the same time need ten times as long.

    Collecting garbage meanwhile finds none; frozen, what was imported stays shared among the processes.
    """
    gc.disable()
    import node.node
    import node.process
    import p2p.libp2p_parts
    from evm_runtime.llvm import engine

    del node, p2p
    with contextlib.suppress(engine.NoEngine):  # the nodes say so, if there is none
        engine.load()
    gc.freeze()
    gc.enable()


def _be_node(node: DevnetNode) -> NoReturn:
    """The child: becomes a node and never returns into the supervisor's code."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # Ctrl-C reaches the whole group; the supervisor passes on a SIGTERM
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _die_with_parent(os.getppid())
        _log_to(node.log)
        code = _run_child(node)
    except BaseException:
        logging.getLogger(__name__).exception("%s failed", node.name)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _run_child(node: DevnetNode) -> int:
    from node.home.config import resolve
    from node.process import run_node

    try:
        return run_node(resolve(node.directory, {}, {}))
    except OpenLedgerError as error:
        sys.stderr.write(f"openledger: {error}\n")
        return 1


def _die_with_parent(parent: int) -> None:
    """Ask the kernel for a SIGTERM when the supervisor dies (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _log_to(path: Path) -> None:
    """Standard output and error of this process go to the end of a file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        flags |= os.O_TRUNC
    file = os.open(path, flags, 0o644)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.enable()


def _height(url: str) -> int:
    """The height of a node; -1 while it doesn't answer."""
    try:
        return int(JsonRpcClient(url, timeout_s=2).call("eth_blockNumber"), 16)
    except (LocalError, PeerFault, ValueError, TypeError):
        return -1


def _write_atomically(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    with told(f"write {path}"):
        fresh.write_text(text)
        fresh.replace(path)


def _how_it_ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"(cannot be read: {explain(error)})"

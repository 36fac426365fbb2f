"""The whole node: a devnet of four validator processes on loopback, and one client on the same machine.

Time until ready, time to finality of single transfers on an idle chain, transfers a second that become final under load, and
JSON-RPC reads a second over keep-alive connections. All processes and the client share this machine's CPUs.
"""

import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.harness import RESULTS, Report, percentile
from tests.bench.workload import Sender, receiver
from tests.e2e.devnet_process import DevnetProcess

IDLE_TRANSFERS = 25
IDLE_PAUSE_S = 0.2
POLL_S = 0.005
FINAL_TIMEOUT_S = 20
LOAD_S = 12
LOAD_SENDERS = 8
BATCH = 100
"""Calls in one JSON-RPC batch: the most that a node takes."""
IN_FLIGHT_MAX = 300
"""Transfers of one sender that are not final yet."""
READ_S = 1.5
READ_CONNECTIONS = 16


def run(report: Report) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        began = time.perf_counter()
        devnet = DevnetProcess(Path(folder) / "devnet").start()
        report.add("ready_s", time.perf_counter() - began, "s", "from the command to block 1 final on 4 validators")
        try:
            _measure(report, devnet)
        finally:
            devnet.stop()


def _measure(report: Report, devnet: DevnetProcess) -> None:
    chain_id = int(devnet.info["chain_id"])
    accounts = [Sender(bytes.fromhex(account["private_key"][2:])) for account in devnet.info["accounts"]]
    client = Client(devnet.url(0))
    _reads(report, devnet.url(0), accounts[0])
    measure_finality(report, client, accounts[9], chain_id)
    _load(report, devnet, accounts[:LOAD_SENDERS], chain_id)
    client.close()


class Client:
    """JSON-RPC over one keep-alive connection, with as little work per call as Python allows."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = f"{parts.hostname}:{parts.port}"
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def call(self, method: str, *params: Any) -> Any:
        return _result(self.post(_call(method, *params)))

    def batch(self, calls: list[dict[str, Any]]) -> list[Any]:
        answer = self.post(calls)
        if not isinstance(answer, list):
            raise RuntimeError(f"the batch was refused: {answer}")
        return [_result(item) for item in answer]

    def post(self, body: Any) -> Any:
        self.send(self.request(body))
        return json.loads(self.receive())

    def request(self, body: Any) -> bytes:
        data = json.dumps(body).encode()
        head = f"POST / HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self) -> bytes:
        """The body of the next response, which must have a Content-Length."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._more()
        head = self._received[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"the node answered {self._received[:200]!r}")
        _, _, rest = head.partition(b"content-length:")
        length = int(rest.split(b"\r\n", 1)[0])
        while len(self._received) < end + 4 + length:
            self._more()
        body = self._received[end + 4 : end + 4 + length]
        self._received = self._received[end + 4 + length :]
        return body

    def _more(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the node closed the connection")
        self._received += data

    def close(self) -> None:
        self._socket.close()


def _call(method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}


def _result(answer: Any) -> Any:
    if "error" in answer:
        raise RuntimeError(f"the node answered {answer['error']}")
    return answer["result"]


# ---------------------------------------------------------------- reads


def _reads(report: Report, url: str, account: Sender) -> None:
    calls = {
        "getbalance": ("eth_getBalance", "0x" + account.address.hex(), "latest"),
        "blocknumber": ("eth_blockNumber",),
    }
    for name, call in calls.items():
        report.add(f"{name}_1_s", _reads_s(url, call, 1), "reads/s", f"{call[0]}, one connection, one call at a time")
        note = f"{call[0]}, {READ_CONNECTIONS} connections of one client"
        report.add(f"{name}_{READ_CONNECTIONS}_s", _reads_s(url, call, READ_CONNECTIONS), "reads/s", note)


def _reads_s(url: str, call: tuple[str, ...], connections: int) -> float:
    """One call is under way on each connection at any time."""
    clients = [Client(url) for _ in range(connections)]
    request = clients[0].request(_call(*call))
    done = 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < READ_S:
        for client in clients:
            client.send(request)
        for client in clients:
            client.receive()
        done += connections
    for client in clients:
        client.close()
    return done / passed


# ---------------------------------------------------------------- finality


def measure_finality(report: Report, client: Client, account: Sender, chain_id: int) -> None:
    """Sending to receipt, one transfer at a time. A receipt exists for final blocks only."""
    took_ms = []
    for nonce in range(IDLE_TRANSFERS):
        time.sleep(IDLE_PAUSE_S + nonce * 0.037 % 0.25)  # no fixed relation to the rhythm of blocks
        raw = account.sign(chain_id, nonce, receiver(nonce), value=1)
        began = time.perf_counter()
        sent = client.call("eth_sendRawTransaction", "0x" + raw.hex())
        while client.call("eth_getTransactionReceipt", sent) is None:
            if time.perf_counter() - began > FINAL_TIMEOUT_S:
                raise RuntimeError(f"transfer {sent} is not final after {FINAL_TIMEOUT_S} s")
            time.sleep(POLL_S)
        took_ms.append((time.perf_counter() - began) * 1e3)
    note = f"sent to final receipt, idle chain, {IDLE_TRANSFERS} transfers"
    report.add("final_p50_ms", percentile(took_ms, 50), "ms", note)
    report.add("final_p99_ms", percentile(took_ms, 99), "ms", "the slowest of them")


# ---------------------------------------------------------------- load


def _load(report: Report, devnet: DevnetProcess, accounts: list[Sender], chain_id: int) -> None:
    """Each sender keeps some transfers under way to a node of its own; what counts is what became final."""
    prepared = [_presign(account, chain_id) for account in accounts]
    watcher = Client(devnet.url(0))
    first = int(watcher.call("eth_blockNumber"), 16)
    stop = threading.Event()
    loads = [
        _Load(devnet.url(place % len(devnet.info["nodes"])), account.address, calls, stop)
        for place, (account, calls) in enumerate(zip(accounts, prepared, strict=True))
    ]
    cpu_before_s = _cpu_s(devnet)
    began = time.perf_counter()
    for load in loads:
        load.start()
    # Counted from the first block that holds load to the last one that is final in time, so that ramps don't count.
    marks: list[tuple[float, int, int]] = []
    number = first
    while time.perf_counter() - began < LOAD_S:
        tip = int(watcher.call("eth_blockNumber"), 16)
        now = time.perf_counter()
        while number < tip:
            number += 1
            block = watcher.call("eth_getBlockByNumber", hex(number), False)
            marks.append((now, len(block["transactions"]), int(block["gasUsed"], 16)))
        time.sleep(0.02)
    cpu_s, whole_s = _cpu_s(devnet) - cpu_before_s, time.perf_counter() - began
    stop.set()
    for load in loads:
        load.join()
    watcher.close()
    failed = [load.error for load in loads if load.error]
    if failed:
        raise RuntimeError(f"a sender failed: {failed[0]}")
    busy = [mark for mark in marks if mark[1]]
    if len(busy) < 2:
        raise RuntimeError("fewer than two blocks with transfers became final under load")
    span_s = busy[-1][0] - busy[0][0]
    transfers = sum(mark[1] for mark in busy[1:])
    note = f"final, over {span_s:.0f} s, {len(accounts)} senders, {transfers:,} transfers"
    report.add("transfers_s", transfers / span_s, "tx/s", note)
    report.add("load_blocks_s", (len(busy) - 1) / span_s, "blocks/s", "while loaded")
    report.add("load_block_transfers", transfers / (len(busy) - 1), "tx/block", "mean while loaded")
    cpu_us = cpu_s / sum(mark[1] for mark in busy) * 1e6
    report.add("load_cpu_us_per_transfer", cpu_us, "us", "processor time of all nodes together, per final transfer")
    report.add(
        "load_cpus", cpu_s / whole_s, "CPUs", "kept busy by all nodes together; the rest went to the client and others"
    )


def _cpu_s(devnet: DevnetProcess) -> float:
    """Processor time that the nodes have taken so far."""
    ticks = 0
    for node in devnet.info["nodes"]:
        fields = Path(f"/proc/{node['pid']}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def _presign(account: Sender, chain_id: int) -> list[dict[str, Any]]:
    raws = (account.sign(chain_id, nonce, receiver(nonce % 50), value=1) for nonce in range(LOAD_S * 110))
    return [_call("eth_sendRawTransaction", "0x" + raw.hex()) for raw in raws]


class _Load(threading.Thread):
    """One sender: batches of signed transfers, as many as may be under way."""

    def __init__(self, url: str, address: bytes, calls: list[dict[str, Any]], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._client = Client(url)
        self._address = "0x" + address.hex()
        self._calls = calls
        self._halt = stop
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._send()
        except Exception as error:
            self.error = error
        finally:
            self._client.close()

    def _send(self) -> None:
        sent = 0
        while not self._halt.is_set() and sent < len(self._calls):
            final = int(self._client.call("eth_getTransactionCount", self._address, "latest"), 16)
            room = min(BATCH, IN_FLIGHT_MAX - (sent - final), len(self._calls) - sent)
            if room < BATCH // 4:
                time.sleep(0.05)
                continue
            self._client.batch(self._calls[sent : sent + room])
            sent += room

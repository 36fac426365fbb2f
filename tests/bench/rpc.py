"""JSON-RPC beside anvil: the same load on a devnet of one validator and on anvil, in turns, while both make blocks.

Block gas limit and interval are the same. Reads are wrk's, so that no client is measured: ids differ from call to call, and so
do the accounts asked about. Transactions are signed beforehand and sent in batches over kept connections, with a bounded number
in flight, and what counts is what becomes final once the load is steady. Every ratio is ours over anvil's, the median of the
rounds: what slows the machine for a while slows both. Where both fill every block, the ratio is 1 to half a percent: blocks are
seen some milliseconds early or late.

This node remembers what it answered at a tip (node/rpc/result_cache.py) and anvil doesn't. `read_call_fresh_64` asks
for something else each time, so that nothing can be remembered.
"""

import contextlib
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vyper
from eth_abi import encode

from genesis.primitives import Address, keccak256
from tests.bench.devnet import Client
from tests.bench.erc20 import TOKEN_GAS, transfer
from tests.bench.harness import RESULTS, Report
from tests.bench.rivals import Rival, anvil, our_node, wrk
from tests.bench.workload import Sender, receiver
from tests.e2e.clients.contracts import TOKEN

INTERVAL_MS = int(os.environ.get("INTERVAL_MS", "500"))
"""The chain's default."""
ROUNDS = int(os.environ.get("ROUNDS", "3"))
READ_S = float(os.environ.get("READ_S", "3"))
LOAD_S = float(os.environ.get("LOAD_S", "20"))
WARM_UP_S = 2.0
"""The first blocks under load are not counted: they come early or hold the few that were sent by then."""
ONLY = os.environ.get("ONLY", "")
"""`reads` or `load`: half of the bench."""
SENDERS = 10
BATCH = 100
IN_FLIGHT_MAX = 400
"""Transactions of one sender that are not final yet."""
RATE_MAX = 4_000
"""Transactions a second that are signed beforehand: more than the gas limit lets through."""
TRANSFER_GAS = 21_000
TICK_S = 0.1
IDS = 1_000
FRESH = 50_000
"""Different calls: more than are made in one round between two blocks."""
SUPPLY = 10**30


def run(report: Report) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=RESULTS)))
        rivals = [
            stack.enter_context(our_node(folder, INTERVAL_MS)),
            stack.enter_context(anvil(folder, INTERVAL_MS)),
        ]
        chains = [Chain(rival) for rival in rivals]
        if ONLY != "load":
            with contextlib.ExitStack() as ticking:
                for chain in chains:
                    ticking.enter_context(chain.blocks_go_on())
                _reads(report, chains)
        if ONLY != "reads":
            _load(report, chains)


# ---------------------------------------------------------------- one chain


@dataclass(frozen=True)
class Read:
    """Requests that are repeated in turn: their name in the figures, and at how many connections they are compared."""

    name: str
    connections: int
    calls: list[tuple[Any, ...]]


class Chain:
    """A rival with a token on it, and the nonces of its accounts."""

    def __init__(self, rival: Rival) -> None:
        self.rival = rival
        self.client = Client(rival.url)
        self.chain_id = int(self.client.call("eth_chainId"), 16)
        self.accounts = rival.accounts
        self._nonces = {account.address: self._nonce(account) for account in self.accounts}
        compiled = vyper.compile_code(TOKEN, output_formats=["bytecode"])
        creation = bytes.fromhex(compiled["bytecode"][2:]) + encode(["uint256"], [SUPPLY])
        self.token = Address(
            bytes.fromhex(self.send(self.accounts[0], b"", creation, 3_000_000)["contractAddress"][2:])
        )
        shares = [
            self.sign(self.accounts[0], self.token, transfer(account.address, 10**24), TOKEN_GAS * 2)
            for account in self.accounts
        ]
        self.block = self._all_final(shares)

    def _nonce(self, account: Sender) -> int:
        return int(self.client.call("eth_getTransactionCount", "0x" + account.address.hex(), "latest"), 16)

    def sign(self, account: Sender, to: bytes, data: bytes = b"", gas: int = TRANSFER_GAS, value: int = 0) -> str:
        nonce = self._nonces[account.address]
        self._nonces[account.address] += 1
        return "0x" + account.sign(self.chain_id, nonce, to, data=data, gas=gas, value=value).hex()

    def send(self, account: Sender, to: bytes, data: bytes, gas: int) -> Any:
        sent = self.client.call("eth_sendRawTransaction", self.sign(account, to, data, gas))
        return self._receipt(sent)

    def _receipt(self, transaction_hash: str) -> Any:
        for _ in range(2_000):
            receipt = self.client.call("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                if receipt["status"] != "0x1":
                    raise RuntimeError(f"{self.rival.name}: transaction {transaction_hash} failed")
                return receipt
            time.sleep(0.01)
        raise RuntimeError(f"{self.rival.name}: transaction {transaction_hash} is not final after 20 s")

    def _all_final(self, raws: list[str]) -> int:
        """Send them; the number of the block that holds the last one."""
        sent = [self.client.call("eth_sendRawTransaction", raw) for raw in raws]
        return int([self._receipt(each) for each in sent][-1]["blockNumber"], 16)

    def reads(self) -> list[Read]:
        token = "0x" + self.token.hex()
        owners = [account.address for account in self.accounts]
        logs = {"address": token, "fromBlock": hex(max(0, self.block - 10)), "toBlock": hex(self.block)}
        balances = [("eth_getBalance", "0x" + owner.hex(), "latest") for owner in owners]
        return [
            Read("balance", 1, balances),
            Read("balance", 64, balances),
            Read("call", 64, [self._balance_of(owner) for owner in owners]),
            Read("call_fresh", 64, [self._balance_of(receiver(place)) for place in range(FRESH)]),
            Read("block", 64, [("eth_getBlockByNumber", hex(self.block), False)]),
            Read("logs", 64, [("eth_getLogs", logs)]),
        ]

    def _balance_of(self, owner: bytes) -> tuple[Any, ...]:
        data = "0x" + _selector("balanceOf(address)", owner).hex()
        return "eth_call", {"to": "0x" + self.token.hex(), "data": data}, "latest"

    @contextlib.contextmanager
    def blocks_go_on(self) -> Iterator[None]:
        """A transfer every now and then from an account of its own, so that there is something in each block."""
        stop = threading.Event()
        client = Client(self.rival.url)

        def tick() -> None:
            while not stop.wait(TICK_S):
                client.call("eth_sendRawTransaction", self.sign(self.accounts[-1], receiver(1), value=1))

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            client.close()


def _selector(signature: str, *addresses: bytes) -> bytes:
    return keccak256(signature.encode())[:4] + b"".join(bytes(12) + address for address in addresses)


# ---------------------------------------------------------------- reads


def _reads(report: Report, chains: list[Chain]) -> None:
    p99s: dict[str, float] = {}
    for ours, theirs in zip(*(chain.reads() for chain in chains), strict=True):
        rates: list[tuple[float, float]] = []
        worst = [0.0, 0.0]
        for _ in range(ROUNDS):
            seen = [
                wrk(chain.rival.url, _bodies(each), each.connections, READ_S)
                for chain, each in zip(chains, (ours, theirs), strict=True)
            ]
            rates.append((seen[0].per_s, seen[1].per_s))
            worst = [max(before, each.p99_ms) for before, each in zip(worst, seen, strict=True)]
        if ours.connections == 64:
            p99s[ours.name] = worst[0]
        mine, other = (statistics.median(rate[place] for rate in rates) for place in (0, 1))
        ratio = statistics.median(first / second for first, second in rates)
        note = f"{ours.calls[0][0]}, {ours.connections} connections: {mine:,.0f}/s, anvil {other:,.0f}/s"
        note += f"; p99 {worst[0]:.0f} ms, anvil {worst[1]:.0f} ms"
        report.add(f"read_{ours.name}_vs_anvil_{ours.connections}", ratio, "x", note)
    report.add("p99_ms_fresh_64", p99s.pop("call_fresh"), "ms", "of eth_calls that nobody made before, worst round")
    report.add("p99_ms_64", max(p99s.values()), "ms", "the slowest of the other reads at 64 connections, worst round")


def _bodies(read: Read) -> list[bytes]:
    """At least IDS of them, each with an id of its own."""
    count = max(IDS, len(read.calls))
    calls = (read.calls[place % len(read.calls)] for place in range(count))
    return [
        json.dumps({"jsonrpc": "2.0", "id": place, "method": method, "params": params}).encode()
        for place, (method, *params) in enumerate(calls)
    ]


# ---------------------------------------------------------------- transactions


def _load(report: Report, chains: list[Chain]) -> None:
    kinds = {"transfers": _plain, "erc20": _token}
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(max(1, ROUNDS - 1)):
        for name, make in kinds.items():
            rates[name].append((_final_s(chains[0], make(chains[0])), _final_s(chains[1], make(chains[1]))))
    for name, pairs in rates.items():
        mine, other = (statistics.median(pair[place] for pair in pairs) for place in (0, 1))
        ratio = statistics.median(first / second for first, second in pairs)
        note = f"final a second, single validator, {INTERVAL_MS} ms blocks: {mine:,.0f}, anvil {other:,.0f}"
        report.add(f"{name}_vs_anvil", ratio, "x", note)


def _plain(chain: Chain) -> list[list[str]]:
    count = int(RATE_MAX * LOAD_S) // SENDERS
    return [
        [chain.sign(account, receiver(place % 50), value=1) for place in range(count)]
        for account in chain.accounts[:SENDERS]
    ]


def _token(chain: Chain) -> list[list[str]]:
    count = int(RATE_MAX / 2 * LOAD_S) // SENDERS
    return [
        [chain.sign(account, chain.token, transfer(receiver(place % 50)), TOKEN_GAS) for place in range(count)]
        for account in chain.accounts[:SENDERS]
    ]


def _final_s(chain: Chain, raws: list[list[str]]) -> float:
    """Send for LOAD_S; transactions a second that became final after the warm-up: the slope of their number over time.

    Nonces that were signed and not sent are taken back, so that the next load goes on where this one ended.
    """
    stop = threading.Event()
    loads = [_Load(chain, account, own, stop) for account, own in zip(chain.accounts, raws, strict=False)]
    number = int(chain.client.call("eth_blockNumber"), 16)
    began = time.perf_counter()
    for load in loads:
        load.start()
    times_s: list[float] = []
    totals = [0]
    while time.perf_counter() - began < LOAD_S:
        tip, now_s = int(chain.client.call("eth_blockNumber"), 16), time.perf_counter() - began
        while number < tip:
            number += 1
            count = int(chain.client.call("eth_getBlockTransactionCountByNumber", hex(number)), 16)
            if now_s > WARM_UP_S:
                times_s.append(now_s)
                totals.append(totals[-1] + count)
        time.sleep(0.005)
    stop.set()
    for load in loads:
        load.join()
        if load.error is not None:
            raise RuntimeError(f"{chain.rival.name}: {load.error}") from load.error
        chain._nonces[load.account.address] -= len(load.left)
    if len(times_s) < 2 or not totals[-1]:
        raise RuntimeError(f"{chain.rival.name}: fewer than two blocks with transactions became final under load")
    _wait_until_all_final(chain)
    return statistics.linear_regression(times_s, totals[1:]).slope


def _wait_until_all_final(chain: Chain) -> None:
    for account in chain.accounts[:SENDERS]:
        deadline = time.monotonic() + 60
        while chain._nonce(account) < chain._nonces[account.address]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{chain.rival.name}: transactions that were admitted are not final after 60 s")
            time.sleep(0.05)


class _Load(threading.Thread):
    """One sender: batches of signed transactions, as many as may be in flight."""

    def __init__(self, chain: Chain, account: Sender, raws: list[str], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._client = Client(chain.rival.url)
        self.account = account
        self.left = raws
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
        who = "0x" + self.account.address.hex()
        first = int(self._client.call("eth_getTransactionCount", who, "latest"), 16)
        sent = 0
        while not self._halt.is_set() and self.left:
            final = int(self._client.call("eth_getTransactionCount", who, "latest"), 16) - first
            room = min(BATCH, IN_FLIGHT_MAX - (sent - final))
            if room < BATCH // 4:
                time.sleep(0.02)
                continue
            batch, self.left = self.left[:room], self.left[room:]
            calls = [{"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]} for raw in batch]
            self._client.send(self._client.request(calls))
            answer = self._client.receive()
            if b'"error"' in answer:
                raise RuntimeError(answer[answer.index(b'"error"') :][:200].decode())
            sent += len(batch)

"""Clients that keep sending, through nodes that come and go, and remember every receipt that they were shown."""

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import keccak256
from node.demo.client import RpcClient, calldata
from node.demo.scenario import INFER, Scenario
from tests.bench.workload import Sender, receiver
from tests.chaos.network import ChaosError, Network, call

BURST_MAX = 4
RESEND_S = 2.0
FINAL_TIMEOUT_S = 120
TEXT = b"the quick brown fox jumps over the lazy dog while seventeen other animals look on in mild surprise"
INFER_GAS = 1_000_000
INFER_VALUE = 10**18
INFER_SHARE = 0.1
"""How many of the transactions are attribution calls, once there is a model."""


@dataclass
class Load:
    """One thread per account. Nonces are the account's own, so each transaction can be sent again until it is final."""

    network: Network
    seed: str
    accounts: int = 6
    poll_s: float = 0.15
    pause_s: float = 0.0
    model: int | None = None
    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Transaction hash to the first receipt that some node showed."""
    latencies_s: list[float] = field(default_factory=list)
    """From sending to the first receipt, for those that were sent alone."""
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        keys = self.network.devnet.account_keys[-self.accounts :]
        self._threads = [
            threading.Thread(target=self._guarded, args=(place, Sender(key)), daemon=True)
            for place, key in enumerate(keys)
        ]

    def prepare_model(self) -> None:
        """A datanet with one text and a model on it, by the demo's own steps, so that there is something to attribute."""
        scenario = Scenario(RpcClient(self.network.url(0)))
        scenario.create_datanet()
        contribution = scenario.contribute(scenario.contributors[0], [TEXT])
        scenario.review_and_publish({contribution: 10_000})
        scenario.register_model()
        self.model = scenario.model_id

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop sending and wait for the threads; what they had sent last may or may not be acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * FINAL_TIMEOUT_S)

    def abandon(self) -> None:
        """Stop sending; the threads end by themselves."""
        self._stop.set()

    def check(self) -> None:
        if self.errors:
            raise ChaosError(self.errors[0])

    def seen(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            return dict(self.acknowledged)

    # ------------------------------------------------------------ one account

    def _guarded(self, place: int, sender: Sender) -> None:
        try:
            self._work(random.Random(f"{self.seed}/{place}"), sender)
        except Exception as error:
            self.errors.append(f"load of account {place}: {error!r}")

    def _work(self, rng: random.Random, sender: Sender) -> None:
        chain_id = self.network.devnet.spec.chain_id
        nonce = self._first_nonce(rng, sender)
        while not self._stop.is_set():
            burst = [self._sign(rng, sender, chain_id, nonce + i) for i in range(rng.randint(1, BURST_MAX))]
            nonce += len(burst)
            began = time.monotonic()
            for raw in burst:
                self._send(rng, raw)
            for place, raw in enumerate(burst):
                if self._wait_final(rng, raw) and place == 0:
                    self.latencies_s.append(time.monotonic() - began)
            self._stop.wait(rng.uniform(0, 2 * self.pause_s))

    def _first_nonce(self, rng: random.Random, sender: Sender) -> int:
        count = self._ask(rng, lambda url: call(url, "eth_getTransactionCount", "0x" + sender.address.hex(), "latest"))
        return int(count or "0x0", 16)

    def _sign(self, rng: random.Random, sender: Sender, chain_id: int, nonce: int) -> bytes:
        if self.model is not None and rng.random() < INFER_SHARE:
            asked = (self.model, 0, keccak256(b"%d" % nonce), 1, b"Somebody said: " + TEXT, (0, 0, b""))
            data = calldata(INFER, asked)
            return sender.sign(chain_id, nonce, ATTRIBUTION_ADDRESS, value=INFER_VALUE, data=data, gas=INFER_GAS)
        return sender.sign(chain_id, nonce, receiver(rng.randrange(1_000)), value=rng.randint(1, 10**9))

    def _ask(self, rng: random.Random, question: Callable[[str], Any]) -> Any:
        """The first answer of a random node that answers; None if the load is stopped before."""
        while not self._stop.is_set():
            try:
                return question(self.network.url(rng.choice(self.network.nodes)))
            except OSError:
                self._stop.wait(0.1)
        return None

    def _send(self, rng: random.Random, raw: bytes) -> None:
        def send(url: str) -> bool:
            with contextlib.suppress(ValueError):  # known already, or final meanwhile; what matters is the receipt
                call(url, "eth_sendRawTransaction", "0x" + raw.hex())
            return True

        self._ask(rng, send)

    def _wait_final(self, rng: random.Random, raw: bytes) -> bool:
        name = "0x" + keccak256(raw).hex()
        began = sent = time.monotonic()
        while not self._stop.is_set():
            receipt = self._ask(rng, lambda url: call(url, "eth_getTransactionReceipt", name))
            if receipt is not None:
                with self._lock:
                    self.acknowledged[name] = receipt
                return True
            now = time.monotonic()
            if now - began > FINAL_TIMEOUT_S:
                raise ChaosError(f"transaction {name} is not final after {FINAL_TIMEOUT_S} s")
            if now - sent > RESEND_S:
                self._send(rng, raw)
                sent = now
            self._stop.wait(self.poll_s)
        return False

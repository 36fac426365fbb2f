"""Movements of wei as the logs of a token that nobody deployed, for eth_simulateV1's `traceTransfers`.

Such a log stands among the real ones where the wei moved: by the transaction itself, a call or creation with value, or a
SELFDESTRUCT. They are shown only; no receipt and no bloom knows of them.
"""

from collections.abc import Sequence
from typing import Any, Final

from evm_runtime import transition
from evm_runtime.fork import State
from evm_runtime.receipt import Log
from evm_runtime.tracing.frames import Ending, Frame
from evm_runtime.tracing.tracer import Tracer
from evm_runtime.transaction import Transaction
from genesis.primitives import Address, Hash32

TRANSFER_LOGS: Final = Address(b"\xee" * 20)
TRANSFER_TOPIC: Final = Hash32(bytes.fromhex("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"))


class TransferTracer(Tracer):
    """Collects logs as they come, with one for each movement of wei; what a failed frame did is taken out again."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self._marks: list[int] = []

    def begin(self, state: State, tx: Transaction) -> None:
        to = transition.contract_address(tx.sender, tx.nonce) if tx.to is None else tx.to
        self._moved(tx.sender, to, tx.value)

    def enter(self, frame: Frame) -> None:
        self._marks.append(len(self.logs))
        if frame.kind not in ("DELEGATECALL", "CALLCODE"):
            self._moved(frame.sender, frame.to, frame.value or 0)

    def leave(self, ending: Ending) -> None:
        mark = self._marks.pop()
        if ending.error is not None:
            del self.logs[mark:]

    def log(self, address: Address, topics: Sequence[int], data: bytes) -> None:
        self.logs.append(Log(address, tuple(Hash32(topic.to_bytes(32, "big")) for topic in topics), data))

    def result(self, state: State, tx: Transaction, outcome: transition.Outcome) -> Any:
        return self.logs

    def _moved(self, sender: Address, to: Address, value: int) -> None:
        if value:
            topics = (TRANSFER_TOPIC, Hash32(bytes(12) + sender), Hash32(bytes(12) + to))
            self.logs.append(Log(TRANSFER_LOGS, topics, value.to_bytes(32, "big")))

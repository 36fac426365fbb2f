"""Calls and traces of old blocks on a real LevelDB, while blocks are executed and committed: right answers, same blocks."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account import Account
from eth_utils.address import to_checksum_address

from evm_runtime.runtime import CallRequest, TraceOptions
from evm_runtime.transaction import Transaction, decode_transaction
from evm_runtime.transition import contract_address
from genesis.primitives import Height
from node.chain.worker import prepare_threads
from node.interfaces import StoredBlock
from tests.unit.evm_runtime.programs import asm, deployer
from tests.unit.rpc.fakes import CHAIN_ID, running
from tests.unit.rpc.real import ADDRESSES, KEYS, RealNode, real_node

BLOCKS = 30
READERS = 3
COUNTER = contract_address(ADDRESSES[0], 0)
# With calldata it counts, and keeps the count by height too; without, it answers.
CODE = asm("CALLDATASIZE", b"\x0d", "JUMPI", 0, "SLOAD", 0, "MSTORE", 32, 0, "RETURN")
CODE = CODE.ljust(13, b"\0") + asm(
    "JUMPDEST", 0, "SLOAD", 1, "ADD", "DUP1", 0, "SSTORE", "DUP1", "NUMBER", "SSTORE", 0, "MSTORE"
)
CODE += asm(7, 32, 0, "LOG1")
TRACERS = TraceOptions(
    "muxTracer", {"callTracer": {"withLog": True}, "prestateTracer": {"diffMode": True}, "4byteTracer": None}
)


def sent(key: int, nonce: int, **fields: Any) -> Transaction:
    if isinstance(fields.get("to"), bytes):
        fields["to"] = to_checksum_address(fields["to"])
    unsigned = {"chainId": CHAIN_ID, "nonce": nonce, "value": 0, "gas": 500_000, "maxFeePerGas": 10**10,
                "maxPriorityFeePerGas": 10**9, "data": b"", **fields}  # fmt: skip
    return decode_transaction(bytes(Account.sign_transaction(unsigned, KEYS[key]).raw_transaction), chain_id=CHAIN_ID)


def candidates(height: int) -> list[Transaction]:
    if height == 1:
        return [sent(0, 0, data=deployer(CODE))]
    count = {"to": bytes(COUNTER), "data": b"\1\2\3\4\5"}
    return [sent(key, height - 2 + (key == 0), **count) for key in range(height % 3 + 1)] + [
        sent(key, height - 2 + (key == 0), to=b"\x77" * 20, value=height) for key in range(height % 3 + 1, 3)
    ]


def answers(node: RealNode, height: int) -> Any:
    """What a reader is told of one height, through runtime and tries."""
    stored = node.chain.block(Height(height))
    parent = node.chain.header(Height(height - 1))
    assert stored is not None and parent is not None
    runtime = node.chain.runtime
    state = runtime.state(stored.header)
    called = runtime.call(stored.header, CallRequest(to=COUNTER), gas_cap=1_000_000)
    index = height % len(stored.transactions)
    trace = runtime.trace_transaction(parent, stored.header, stored.transactions, index, TRACERS)
    gas = runtime.estimate_gas(stored.header, CallRequest(ADDRESSES[1], COUNTER, data=b"\1"), gas_cap=1_000_000)
    balances = [state.balance(address) for address in ADDRESSES]
    return called.output, trace, gas, balances, state.storage(COUNTER, height)


def read_on(node: RealNode, seed: int, expected: dict[int, Any], seen: list[int], done: Callable[[], bool]) -> None:
    rng = random.Random(seed)
    while not done():
        tip = node.chain.tip().height
        if tip:
            height = rng.choice([tip, rng.randint(1, tip)])
            assert answers(node, height) == expected[height], f"seed {seed}, block {height} under tip {tip}"
            seen.append(height)


def test_readers_get_the_right_old_answers_and_leave_blocks_as_they_are(tmp_path: Path) -> None:
    with real_node(tmp_path / "quiet") as node:
        headers = [node._append(candidates(height)).header for height in range(1, BLOCKS + 1)]
        expected = {height: answers(node, height) for height in range(1, BLOCKS + 1)}
        assert len({each[0] for each in expected.values()}) > BLOCKS // 2
    prepare_threads()
    failures: list[BaseException] = []
    seen: list[int] = []
    finished = threading.Event()
    with real_node(tmp_path / "busy") as node:

        def reader(seed: int) -> None:
            try:
                read_on(node, seed, expected, seen, finished.is_set)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(READERS)]
        for thread in threads:
            thread.start()
        for height, header in enumerate(headers, 1):
            assert node._append(candidates(height)).header == header
        while len(seen) < 2 * BLOCKS and not failures:
            finished.wait(0.01)
        finished.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    assert len(set(seen)) > BLOCKS // 2


class RacingChain:
    """A chain on which a block becomes final each time that somebody has just taken the runtime."""

    def __init__(self, node: RealNode) -> None:
        self._node, self._store = node, node.chain
        self._empty: list[Transaction] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def runtime(self) -> Any:
        taken = self._store.runtime
        RealNode._append(self._quiet(), self._empty)
        return taken

    def _quiet(self) -> RealNode:
        node = object.__new__(RealNode)
        node.chain = self._store
        return node


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_call", [{"to": "0x" + COUNTER.hex()}, "latest"]),
        ("eth_estimateGas", [{"to": "0x" + COUNTER.hex()}, "latest"]),
        ("eth_createAccessList", [{"to": "0x" + COUNTER.hex()}, "latest"]),
        ("eth_getBalance", ["0x" + COUNTER.hex(), "latest"]),
        ("eth_getStorageAt", ["0x" + COUNTER.hex(), "0x0", "latest"]),
        ("eth_getProof", ["0x" + COUNTER.hex(), ["0x0"], "latest"]),
        ("eth_getBalance", ["0x" + COUNTER.hex(), "0x2"]),
        ("debug_traceCall", [{"to": "0x" + COUNTER.hex()}, "latest", {"tracer": "callTracer"}]),
        ("debug_traceBlockByNumber", ["latest", {"tracer": "callTracer"}]),
    ],
)
def test_a_block_that_becomes_final_in_the_midst_of_a_request_does_not_matter(
    tmp_path: Path, method: str, params: list[Any]
) -> None:
    with real_node(tmp_path) as node:
        stored: StoredBlock | None = None
        for height in (1, 2):
            stored = node._append(candidates(height))
        node.chain = RacingChain(node)  # type: ignore[assignment]

        async def ask() -> Any:
            async with running(node, namespaces=("eth", "debug")) as client:
                return await client.call(method, *params)

        assert stored is not None and trio.run(ask) is not None

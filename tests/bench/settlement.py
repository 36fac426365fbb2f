"""Attributing and settling one output that touches 1,000 contributions: the native contract beside the same rules in Vyper.

Both run on the chain's own runtime with its native tier. 64 contributions are paid by score, the others through the pool, so
each figure is that of the whole transaction, divided by the 1,000 that it credits. Both are given the same tokens of a uint32
vocabulary; the Vyper contract (`Settlement.vy`) has no lineage, no agents and no signatures, and asks neither for terms nor for
consent: what is left out is left out in its favour. What the 64 are paid must be equal to the wei. Both have paid everybody
before, so that no balance is written for the first time.

`settle_time_ratio` compares the transactions: from the first check of the sender to the receipt. `settle_block_ratio` compares
blocks of nothing else, with decoding, rewards and roots, which are the same work on both sides.
"""

import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import vyper
from eth_abi import encode

from evm_runtime.block import BlockRun
from evm_runtime.computation import computation_class
from evm_runtime.hardforks import PRAGUE
from evm_runtime.llvm import engine
from evm_runtime.runtime import ExecutedBlock
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.source import FlatSource, stored_root
from evm_runtime.tiers import DEFAULT_TIERS
from evm_runtime.transaction import decode_transaction
from genesis.chain_spec import ATTRIBUTION_ADDRESS, BlockParams, ForkActivation
from genesis.primitives import WEI_PER_OPEN, Address, keccak256
from tests.bench.harness import Report, paired_ratio, seconds
from tests.bench.workload import Sender, funded, senders
from tests.unit.attribution.finals import attributing_chain
from tests.unit.attribution.world import NONE, ZERO32, World, params
from tests.unit.evm_runtime.chain import CHAIN_ID, make_spec

CONTRIBUTIONS = 1_000
PAYEES = 64
K = 8
PRICE = 1_000 * WEI_PER_OPEN
GAS = 200_000_000
REPEATS = 15
VOCABULARY = b"two letters".ljust(32, b"\0")
WORK = 4_000_000_000
"""Of a block and, a third of it, of a transaction: with the default limits the Vyper contract's inference would not run."""
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
TOKENS = [a + b for a in LETTERS for b in LETTERS]
OWNER = Address(b"\x0d" * 20)


def run(report: Report) -> None:
    engine.load()
    side_by_side = SideBySide(random.Random(1))
    side_by_side.fill()
    native, contract = side_by_side.blocks()
    gas = {name: block.header.gas_used / CONTRIBUTIONS for name, block in (("native", native), ("vyper", contract))}
    times: dict[str, list[float]] = {"native": [], "vyper": []}
    blocks: dict[str, list[float]] = {"native": [], "vyper": []}
    for _ in range(REPEATS):
        for name, block in (("native", native), ("vyper", contract)):
            times[name].append(side_by_side.transaction_s(block))
            blocks[name].append(seconds(lambda block=block: side_by_side.execute(block)))
    per_payee = {name: statistics.median(found) / CONTRIBUTIONS * 1e6 for name, found in times.items()}
    note = f"{CONTRIBUTIONS:,} contributions, {PAYEES} of them by score"
    report.add("settle_gas_per_payee", gas["native"], "gas", note)
    report.add("solidity_gas_per_payee", gas["vyper"], "gas", "the same rules in Vyper")
    report.add("settle_ratio", gas["vyper"] / gas["native"], "x", "gas")
    report.add("settle_us_per_payee", per_payee["native"], "us", "the transaction executed")
    report.add("solidity_us_per_payee", per_payee["vyper"], "us", "the same, on the native tier")
    report.add("settle_time_ratio", paired_ratio(times["native"], times["vyper"]), "x", "median of paired runs")
    report.add(
        "settle_block_ratio", paired_ratio(blocks["native"], blocks["vyper"]), "x", "whole blocks, roots included"
    )


class SideBySide:
    """One chain with both contracts, the same contributions in each, and the same output for each."""

    def __init__(self, rng: random.Random) -> None:
        self.people = senders(3)
        spec = make_spec(
            *funded(self.people, 10**6),
            block=BlockParams(
                gas_limit=1_000_000_000,
                bytes_max=8 * 1024 * 1024,
                work_limit=WORK,
                transaction_work_limit=WORK // 3,
            ),
            forks=(ForkActivation("prague"),),
        )
        # The payer is the treasury, so that nothing is matched: the Vyper contract has no reserve.
        attribution = replace(spec.attribution, call_bytes_max=4 * spec.attribution.output_tokens_max)
        spec = replace(spec, treasury=self.people[2].address, attribution=attribution)
        self.chain = attributing_chain(spec)
        self.encode = World().data
        self.nonces = [0, 0, 0]
        lengths = [K + 2] * PAYEES + [K] * (CONTRIBUTIONS - PAYEES)
        rng.shuffle(lengths)
        self.texts = [rng.choices(TOKENS, k=length) for length in lengths]
        order = rng.sample(range(CONTRIBUTIONS), CONTRIBUTIONS)
        self.output = [token for place in order for token in self.texts[place]]
        self.payouts = [Address(keccak256(b"payout %d" % i)[12:]) for i in range(CONTRIBUTIONS)]
        self.vyper = Address(bytes(20))

    def transaction(self, who: int, to: bytes, data: bytes, value: int = 0, gas: int = GAS) -> Any:
        sender: Sender = self.people[who]
        raw = sender.sign(CHAIN_ID, self.nonces[who], to, value=value, data=data, gas=gas)
        self.nonces[who] += 1
        return decode_transaction(raw, chain_id=CHAIN_ID)

    def done(self, *transactions: Any) -> ExecutedBlock:
        executed = self.chain.advance(*transactions)
        if any(receipt.status != 1 for receipt in executed.receipts):
            raise RuntimeError("a transaction of the bench failed")
        return executed

    def call(self, name: str, *arguments: Any) -> Any:
        return self.transaction(0, ATTRIBUTION_ADDRESS, self.encode(name, *arguments), gas=2_000_000)

    def fill(self) -> None:
        self.done(self.call("createDatanet", params(tokenizer=VOCABULARY)))
        for first in range(0, CONTRIBUTIONS, 250):
            batch = range(first, first + 250)
            given = [self.call("contribute", 1, _packed(self.texts[i]), ZERO32, self.payouts[i], ZERO32) for i in batch]
            self.done(*given)
            self.done(*(self.call("review", i + 1, True, 10_000) for i in batch))
        self.done(self.call("publishVersion", 1))
        uses = [(1, 1, 0, 10_000)]
        self.done(self.call("registerModel", "m", ZERO32, 0, bytes(20), 0, PRICE, 0, [], uses))
        self._deploy()

    def _deploy(self) -> None:
        source = (Path(__file__).parent / "Settlement.vy").read_text()
        code = bytes.fromhex(vyper.compile_code(source, output_formats=["bytecode"])["bytecode"].removeprefix("0x"))
        weight = sum(10_000 * (len(text) - K + 1) for text in self.texts)
        arguments = encode(["address", "address", "uint256", "uint256"], [OWNER, self.people[2].address, PRICE, weight])
        executed = self.done(self.transaction(0, b"", code + arguments))
        self.vyper = Address(executed.results[0].contract_address or b"")
        rows = [
            (i + 1, self.payouts[i], self._window(text, at))
            for i, text in enumerate(self.texts)
            for at in _places(text)
        ]
        types = ["uint256[]", "address[]", "uint256[]"]
        selector = keccak256(b"contribute(uint256[],address[],uint256[])")[:4]
        for first in range(0, len(rows), 250):
            columns = list(zip(*rows[first : first + 250], strict=True))
            self.done(self.transaction(0, self.vyper, selector + encode(types, [list(column) for column in columns])))

    def _window(self, text: list[str], at: int) -> int:
        return int.from_bytes(_packed(text[at : at + K]), "big")

    def blocks(self) -> tuple[ExecutedBlock, ExecutedBlock]:
        """A block with the inference on either side; the Vyper contract has run before, so that it is compiled by now."""
        fee = PRICE * len(self.output) // 1_000
        data = keccak256(b"infer(bytes)")[:4] + encode(["bytes"], [_packed(self.output)])
        call = self.encode("infer", (1, 0, ZERO32, 0, _packed(self.output), NONE))
        for _ in range(3):
            self.done(self.transaction(1, self.vyper, data, fee), self.transaction(2, ATTRIBUTION_ADDRESS, call, fee))
        native = self._build(2, ATTRIBUTION_ADDRESS, call, fee)
        contract = self._build(1, self.vyper, data, fee)
        self._compare(native, contract)
        return native, contract

    def _build(self, who: int, to: bytes, data: bytes, fee: int) -> ExecutedBlock:
        built = self.chain.build([self.transaction(who, to, data, fee)])
        if built.skipped or built.receipts[0].status != 1:
            raise RuntimeError("the inference failed")
        return built

    def transaction_s(self, block: ExecutedBlock) -> float:
        """Seconds that a block's one transaction takes."""
        store = self.chain.store
        db = AccountDB(FlatSource(store), stored_root(store))
        computation = computation_class(self.chain.runtime._natives, DEFAULT_TIERS.make(), PRAGUE)
        run = BlockRun(self.chain.spec, db, computation, block.header)
        (tx,) = block.transactions
        return seconds(lambda: run.apply(tx))

    def execute(self, block: ExecutedBlock) -> None:
        self.chain.runtime.execute_block(self.chain.tip, self.chain.time_ms, block.block)

    def _compare(self, native: ExecutedBlock, contract: ExecutedBlock) -> None:
        """Who was paid by score, and how much, is the same on both sides."""
        ours = _attributed(native, b"Attributed(bytes32,uint64,address,uint256,uint256)")
        theirs = _attributed(contract, b"Attributed(uint256,uint256,address,uint256,uint256)")
        if ours != theirs or len(ours) != PAYEES:
            raise RuntimeError(f"the two contracts pay differently: {ours[:2]} and {theirs[:2]}")


def _places(text: list[str]) -> range:
    return range(len(text) - K + 1)


def _packed(tokens: list[str]) -> bytes:
    return b"".join(token.encode().rjust(4, b"\0") for token in tokens)


def _attributed(block: ExecutedBlock, event: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """(contribution, payout, weight and amount) of each payment by score."""
    topic = keccak256(event)
    return [(log.topics[2], log.topics[3], log.data) for log in block.receipts[0].logs if log.topics[0] == topic]

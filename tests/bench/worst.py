"""The worst block: what the slowest things cost per gas and per work, a search for worse mixtures, blocks full of the worst.

On a chain in LevelDB with many accounts and slots. The table runs each case in a transaction of its own, cold (nobody has seen
its code before) and without limit of work, and prints how fast it burns gas and how long one unit of work takes. Blocks are
then filled with what took longest per gas and per work, and with transfers of coins and of a token between strangers, by the
real builder under the real limits, and executed as a validator does that has seen none of their transactions: senders
recovered, roots taken. `worst_block_ms` is the slowest of them; it should be below half of `block_interval_ms`, and so should
`worst_ns_per_work` times the limit of work.

Last comes a search for states of the attribution contract that make its calls slow (`worst_states.py`).

`make bench-worst`. Figures are the fastest of a few runs: what is asked is what the code takes, not what else the machine does.
"""

import gc
import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from evm_runtime.block import BlockRun
from evm_runtime.computation import computation_class
from evm_runtime.gas import TRANSACTION_GAS
from evm_runtime.hardforks import OSAKA, TRANSACTION_GAS_MAX
from evm_runtime.llvm import engine
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.source import FlatSource, stored_root
from evm_runtime.tiers import DEFAULT_TIERS
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.chain_spec import GenesisAccount
from genesis.primitives import Address, Wei
from node.storage.view import StateView
from tests.bench import worst_states
from tests.bench.erc20 import TOKEN, TOKEN_GAS, token, transfer
from tests.bench.harness import RESULTS, Report, seconds
from tests.bench.workload import Sender, funded, senders
from tests.bench.worst_cases import CASE_AT, FILLERS_AT, Case, contracts, loop, table, targets
from tests.bench.worst_natives import native_calls
from tests.unit.node.local_chain import LocalChain, make_spec

FILLERS = 50_000
SLOTS = 20_000
CASE_GAS = 2_000_000
REPEATS = 3
SEARCH_SEED = 1
SEARCH_ROUNDS = 100
SEARCH_PIECES_MAX = 6
WORST_KEPT = 6
BLOCK_SENDERS = 64
STRANGERS = 30_000_000 // 21_000
HOLDERS = 20_000
BLOCK_REPEATS = 3
GAS_LIMITS = (700_000, TRANSACTION_GAS_MAX)
"""Of the transactions that fill a block: as little gas as buys all work, and as much as a transaction may have."""


@dataclass(frozen=True)
class Measured:
    case: Case
    to: Address
    seconds: float
    gas: int
    work: int

    @property
    def mgas_s(self) -> float:
        return self.gas / self.seconds / 1e6

    @property
    def ns_per_work(self) -> float:
        return self.seconds * 1e9 / self.work


def run(report: Report) -> None:
    engine.load()
    found = table(SLOTS)
    mixtures = _mixtures(found.pieces, random.Random(SEARCH_SEED), SEARCH_ROUNDS)
    cases = [*found.cases, *mixtures]
    accounts = senders(STRANGERS)
    holders = [account.address for account in accounts] + [_address(FILLERS_AT + place) for place in range(HOLDERS)]
    spec = make_spec()
    alloc = (*spec.alloc, *funded(accounts), *targets(), *contracts(cases), *_fillers(), token(holders))
    spec = replace(spec, alloc=alloc)
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:  # not /tmp, which may be memory
        chain = LocalChain(Path(folder) / "chain", spec)
        try:
            calls = native_calls(chain, accounts[0])
            bench = _Bench(chain, accounts)
            measured = [bench.measure(case, _address(CASE_AT + place)) for place, case in enumerate(cases)]
            natives = [bench.measure(Case(call.name, b"", call.data, value=call.value), call.to) for call in calls]
            _table(report, measured[: len(found.cases)] + natives)
            _blocks(report, bench, measured + natives)
        finally:
            chain.close()
    worst_states.run(report)


def _address(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def _fillers() -> list[GenesisAccount]:
    return [GenesisAccount(_address(FILLERS_AT + place), Wei(1 + place)) for place in range(FILLERS)]


def _mixtures(pieces: dict[str, bytes], rng: random.Random, count: int) -> list[Case]:
    names = sorted(pieces)
    found = []
    for _ in range(count):
        chosen = [rng.choice(names) for _ in range(rng.randrange(2, SEARCH_PIECES_MAX + 1))]
        body = b"".join(pieces[name] * rng.randrange(1, 4) for name in chosen)
        found.append(Case(" + ".join(chosen), loop(body)))
    return found


class _Bench:
    def __init__(self, chain: LocalChain, accounts: list[Sender]) -> None:
        self._chain = chain
        self._accounts = accounts
        self._header = chain.build().header
        self._store = StateView(chain.database)
        self._natives = chain.store.live_runtime._natives

    @property
    def interval_ms(self) -> int:
        return self._chain.spec.block.interval_ms

    def _sign(self, sender: Sender, case: Case, to: Address, gas: int) -> Transaction:
        nonce = self._chain.store.live_runtime.state().nonce(sender.address)
        raw = sender.sign(self._chain.spec.chain_id, nonce, to, data=case.data, gas=gas, value=case.value)
        return decode_transaction(raw, chain_id=self._chain.spec.chain_id)

    def measure(self, case: Case, to: Address) -> Measured:
        """One transaction without limit of work, in code that nobody has run before: the fastest of a few."""
        gas = CASE_GAS if case.code else TRANSACTION_GAS_MAX
        tx = self._sign(self._accounts[0], case, to, gas)
        best = float("inf")
        for _ in range(REPEATS):
            db = AccountDB(FlatSource(self._store), stored_root(self._store))
            computation = computation_class(self._natives, DEFAULT_TIERS.make(), OSAKA)
            block = BlockRun(self._chain.spec, db, computation, self._header, metered=False)
            gc.collect()
            results = []
            taken = seconds(lambda block=block, results=results: results.append(block.apply(tx)))
            best = min(best, taken + seconds(db.finalize))
        return Measured(case, to, best, results[0].gas_peak, results[0].work)

    def filled(self, case: Case, to: Address, gas: int) -> float:
        """Seconds that a block filled with transactions of one case takes."""
        gas = min(gas + 50 * len(case.data), TRANSACTION_GAS_MAX)
        return self._block_s([self._sign(account, case, to, gas) for account in self._accounts[:BLOCK_SENDERS]])[0]

    def of_strangers(self, *, tokens: bool) -> tuple[float, float]:
        """Seconds of a block in which each sender sends something to somebody else, and how much of the gas limit it uses."""
        transactions = []
        for place, sender in enumerate(self._accounts):
            to = _address(FILLERS_AT + place * (HOLDERS // STRANGERS))
            case = Case("", b"", transfer(to)) if tokens else Case("", b"", value=1)
            transactions.append(
                self._sign(sender, case, TOKEN if tokens else to, TOKEN_GAS if tokens else TRANSACTION_GAS)
            )
        return self._block_s(transactions)

    def _block_s(self, transactions: list[Transaction]) -> tuple[float, float]:
        executed = self._chain.build(*transactions)
        tip, runtime = self._chain.store.tip(), self._chain.store.live_runtime
        gc.collect()
        taken = [
            seconds(lambda: runtime.execute_block(tip.header, tip.time_ms, executed.block))
            for _ in range(BLOCK_REPEATS)
        ]
        return min(taken), executed.header.gas_used / executed.header.gas_limit


def _table(report: Report, measured: list[Measured]) -> None:
    for found in sorted(measured, key=lambda item: item.mgas_s):
        key = found.case.name.replace(" ", "_")
        report.add(f"{key}_mgas_s", found.mgas_s, "Mgas/s", f"{found.ns_per_work:.2f} ns per work")


def _blocks(report: Report, bench: _Bench, measured: list[Measured]) -> None:
    by_work = sorted(measured, key=lambda item: -item.ns_per_work)
    by_gas = sorted(measured, key=lambda item: item.mgas_s)
    worst_ms, worst_name = 0.0, ""
    for name, tokens in (("transfers", False), ("token_transfers", True)):
        block_s, share = bench.of_strangers(tokens=tokens)
        report.add(f"{name}_block_ms", block_s * 1e3, "ms", f"between strangers, {share:.1%} of the gas limit")
        if block_s * 1e3 > worst_ms:
            worst_ms, worst_name = block_s * 1e3, f"{name} between strangers"
    for item in dict.fromkeys((*by_work[:WORST_KEPT], *by_gas[:WORST_KEPT])):
        for gas in GAS_LIMITS:
            block_ms = bench.filled(item.case, item.to, gas) * 1e3
            if block_ms > worst_ms:
                worst_ms, worst_name = block_ms, f"{item.case.name}, {gas} gas each"
    longest = next(
        item for item in by_work if item.gas > CASE_GAS // 4
    )  # the time of others is that of beginning and ending
    report.add("worst_ns_per_work", longest.ns_per_work, "ns", longest.case.name)
    report.add("slowest_mgas_s", by_gas[0].mgas_s, "Mgas/s", by_gas[0].case.name)
    report.add("worst_block_ms", worst_ms, "ms", worst_name)
    report.add("block_interval_ms", bench.interval_ms, "ms", "half of it is the aim")

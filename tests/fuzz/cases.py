"""A case is a handful of contracts and transactions, all from one seed; a check runs it on every machine and compares."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from evm_runtime.hardforks import OSAKA, PRAGUE, Fork
from evm_runtime.native import NativeContract
from evm_runtime.transaction import Transaction
from tests.fuzz.eels import run_eels
from tests.fuzz.machines import TIERS, run_ours
from tests.fuzz.messages import NATIVE, Ledger
from tests.fuzz.model import Account, Run, difference
from tests.fuzz.programs import random_program
from tests.fuzz.stock import run_stock
from tests.fuzz.transactions import CONTRACTS, EMPTY, SENDERS, TransactionWriter
from tests.unit.evm_runtime.chain import ADDRESSES

TRANSACTIONS = 8
TRACED_EVERY = 3
MEMORY_EVERY = 4
"""Of the traced cases: those whose traces show the whole memory at each step."""
EELS_EVERY = 10


@dataclass(frozen=True)
class Case:
    seed: int
    fork: Fork
    codes: tuple[bytes, ...]
    transactions: tuple[Transaction, ...]
    has_native: bool = False
    """A native contract is there: unknown to EELS, hung in among stock py-evm's precompiles."""
    starved: bool = False
    """Each transaction has less gas than it would use: it runs out somewhere in the middle."""
    senders_delegate: bool = False
    """Senders sign authorizations too. (Stock py-evm charges initcode twice then.)"""

    def accounts(self) -> dict[bytes, Account]:
        accounts = {bytes(address): Account(10**24) for address in ADDRESSES}
        for address, code in zip(CONTRACTS, self.codes, strict=True):
            accounts[address] = Account(10**18, 1, code, {1: 5, 2: 1 << 200})
        if self.has_native:
            accounts[NATIVE] = Account(100, 1, b"\xfe")
        return accounts

    def natives(self) -> tuple[NativeContract, ...]:
        return (Ledger(),) if self.has_native else ()


# ---------------------------------------------------------------- making


def make_case(seed: int) -> Case:
    rng = random.Random(seed)
    fork = OSAKA if rng.random() < 0.15 else PRAGUE
    has_native, senders_delegate, starved = rng.random() < 0.2, rng.random() < 0.1, rng.random() < 0.2
    targets = [*CONTRACTS, EMPTY, *map(bytes, ADDRESSES[SENDERS:]), *([NATIVE] if has_native else [])]
    size = rng.choice([8, 14, 24, 50])
    codes = tuple(random_program(rng, targets, size, clz=fork is OSAKA, natives=has_native) for _ in CONTRACTS)
    writer = TransactionWriter(rng, targets, fork, has_native, senders_delegate)
    case = Case(
        seed, fork, codes, tuple(writer.write() for _ in range(TRANSACTIONS)), has_native, False, senders_delegate
    )
    return _starve(case, writer) if starved else case


def _starve(case: Case, writer: TransactionWriter) -> Case:
    run = run_ours(case.accounts(), case.transactions, TIERS["interpreted"], case.fork, natives=case.natives())
    used = [None if result is None else result.gas_used for result in run.results]
    return replace(case, transactions=writer.with_less_gas(used), starved=True)


# ---------------------------------------------------------------- checking


@dataclass(frozen=True)
class Verdict:
    difference: str
    """Empty if all machines agree."""
    ran: int
    """Transactions that were valid."""
    succeeded: int
    steps: int
    """Opcodes in their traces; 0 if they were not traced."""
    machines: tuple[str, ...]
    """Who took part, beside the reference loop."""


def check(case: Case, *, stock: bool = True, eels: bool | None = None, traced: bool | None = None) -> Verdict:
    """Run a case on every machine that has all it needs, and compare each with the reference loop.

    None takes EELS, which is a hundred times slower than the rest, to every tenth case, and traces to those and to every
    third.
    """
    use_eels = (case.seed % EELS_EVERY == 0 if eels is None else eels) and not case.has_native
    use_stock = stock and case.fork is PRAGUE and not case.senders_delegate
    trace = use_eels or case.seed % TRACED_EVERY == 0 if traced is None else traced
    memory = case.seed % MEMORY_EVERY == 0
    accounts, natives = case.accounts(), case.natives()

    def ours(tier: str, *, traced: bool = False) -> Run:
        return run_ours(
            accounts, case.transactions, TIERS[tier], case.fork, natives=natives, traced=traced, memory=memory
        )

    reference = ours("interpreted")
    runs = {tier: ours(tier) for tier in TIERS if tier != "interpreted"}
    if trace:
        tier = list(TIERS)[case.seed // TRACED_EVERY % len(TIERS)]
        runs[f"traced, with {tier}"] = ours(tier, traced=True)
        reference = replace(reference, steps=runs[f"traced, with {tier}"].steps)
    if use_stock:
        valid = [result is not None for result in reference.results]
        runs["stock py-evm"] = run_stock(accounts, case.transactions, valid, natives=natives, traced=trace)
    if use_eels:
        runs["EELS"] = run_eels(accounts, case.transactions, case.fork, traced=trace)
    differences = "; ".join(found for name, run in runs.items() if (found := difference(name, reference, run)))
    ran = [result for result in reference.results if result is not None]
    steps = sum(map(len, reference.steps or ()))
    return Verdict(differences, len(ran), sum(result.status for result in ran), steps, tuple(runs))


# ---------------------------------------------------------------- shrinking


def shrink(case: Case, fails: Callable[[Case], bool], rounds: int = 400) -> Case:
    """Drop transactions and blank out code as long as the case still fails. Crude, but what is left can be read."""
    left = rounds
    progress = True
    while progress and left > 0:
        progress = False
        for smaller in _smaller(case):
            left -= 1
            if left <= 0:
                break
            if fails(smaller):
                case, progress = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    count = len(case.transactions)
    for index in range(count):
        yield replace(case, transactions=case.transactions[:index] + case.transactions[index + 1 :])
    for index, code in enumerate(case.codes):
        if code:
            yield _with_code(case, index, b"")
    for piece in (128, 32, 8, 2, 1):
        for index, code in enumerate(case.codes):
            for start in range(0, len(code), piece):
                blank = b"\x5b" * len(code[start : start + piece])
                if code[start : start + piece] != blank:
                    yield _with_code(case, index, code[:start] + blank + code[start + piece :])


def _with_code(case: Case, index: int, code: bytes) -> Case:
    return replace(case, codes=(*case.codes[:index], code, *case.codes[index + 1 :]))

"""A case is a handful of contracts and transactions, all from one seed; a check runs it on every machine and compares."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from eth_account import Account as Signer

from evm_runtime.hardforks import OSAKA, PRAGUE, Fork
from evm_runtime.transaction import Transaction
from tests.fuzz.machines import TIERS, Account, Run, run_ours, run_stock
from tests.fuzz.programs import random_program
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, signed
from tests.unit.evm_runtime.programs import deployer

CONTRACTS = [bytes([0xE0 + i]) * 20 for i in range(5)]
EMPTY = b"\x99" * 20
SENDERS = 3
"""Keys that send; the others only sign authorizations (stock py-evm charges initcode twice in a delegated sender's name)."""


@dataclass(frozen=True)
class Case:
    seed: int
    fork: Fork
    codes: tuple[bytes, ...]
    transactions: tuple[Transaction, ...]

    def accounts(self) -> dict[bytes, Account]:
        accounts = {bytes(address): Account(10**24) for address in ADDRESSES}
        for address, code in zip(CONTRACTS, self.codes, strict=True):
            accounts[address] = Account(10**18, 1, code, {1: 5, 2: 1 << 200})
        return accounts


def make_case(seed: int) -> Case:
    rng = random.Random(seed)
    targets = [*CONTRACTS, EMPTY, *map(bytes, ADDRESSES[SENDERS:])]
    size = rng.choice([10, 25, 60])
    # Stock py-evm has no Osaka: such cases compare our own tiers only.
    fork = OSAKA if seed % 8 == 0 else PRAGUE
    codes = tuple(random_program(rng, targets, size, clz=fork is OSAKA) for _ in CONTRACTS)
    nonces = [0] * len(KEYS)
    return Case(seed, fork, codes, tuple(_transaction(rng, targets, nonces) for _ in range(8)))


def _transaction(rng: random.Random, targets: list[bytes], nonces: list[int]) -> Transaction:
    key = rng.randrange(SENDERS)
    fields: dict[str, Any] = {
        "nonce": nonces[key],
        "gas": rng.choice([400_000, 400_000, 1_000_000, rng.randrange(22_000, 120_000)]),
        "value": rng.choice([0, 0, 1, 10**15]),
        "data": rng.randbytes(rng.randrange(70)),
        "to": rng.choice([*CONTRACTS, *CONTRACTS, *CONTRACTS, rng.choice(targets)]),
    }
    kind = rng.randrange(8)
    if kind == 0:
        program = random_program(rng, targets, 10)
        fields |= {"gas": 800_000, "data": deployer(program) if rng.random() < 0.5 else program}
        del fields["to"]
    elif kind == 1:
        slots = ["0x" + slot.to_bytes(32, "big").hex() for slot in range(rng.randrange(3))]
        fields["accessList"] = [{"address": "0x" + rng.choice(CONTRACTS).hex(), "storageKeys": slots}]
    elif kind == 2:
        fields |= {"gas": 800_000, "authorizationList": [_authorization(rng, nonces)]}
        fields["to"] = rng.choice([*CONTRACTS, *map(bytes, ADDRESSES[SENDERS:])])
    nonces[key] += 1
    return signed(key, **fields)


def _authorization(rng: random.Random, nonces: list[int]) -> Any:
    authority = rng.randrange(SENDERS, len(KEYS))
    target = rng.choice([*CONTRACTS, *CONTRACTS, EMPTY, bytes(20)])
    authorization = {"chainId": rng.choice([CHAIN_ID, 0]), "address": "0x" + target.hex(), "nonce": nonces[authority]}
    nonces[authority] += 1
    return Signer.sign_authorization(authorization, KEYS[authority])


@dataclass(frozen=True)
class Verdict:
    difference: str
    """Empty if all machines agree."""
    programs: int
    succeeded: int


def check(case: Case, *, stock: bool = True) -> Verdict:
    accounts = case.accounts()
    reference = run_ours(accounts, case.transactions, TIERS["interpreted"], case.fork)
    ran = [result for result in reference.results if result is not None]
    runs: list[tuple[str, Run]] = [
        (name, run_ours(accounts, case.transactions, tiers, case.fork))
        for name, tiers in TIERS.items()
        if name != "interpreted"
    ]
    if stock and case.fork is PRAGUE:
        valid = [result is not None for result in reference.results]
        runs.append(("stock py-evm", run_stock(accounts, case.transactions, valid)))
    differences = "; ".join(found for name, run in runs if (found := _difference(name, reference, run)))
    return Verdict(differences, len(ran), sum(result.status for result in ran))


def _difference(name: str, reference: Run, run: Run) -> str:
    for index, (expected, found) in enumerate(zip(reference.results, run.results, strict=True)):
        if expected != found:
            return f"transaction {index}: interpreted {expected}, {name} {found}"
    for index, (details, others) in enumerate(zip(reference.details, run.details, strict=False)):
        if details != others:
            return f"transaction {index}: interpreted {details}, {name} {others}"
    return (
        ""
        if reference.root == run.root
        else f"state roots: interpreted {reference.root.hex()}, {name} {run.root.hex()}"
    )


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

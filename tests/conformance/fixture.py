"""Reading state tests: both layouts of Ethereum's GeneralStateTest JSON, checked as they are read.

A file holds tests by name. A test has `env`, `pre`, a `transaction` whose data, gas limit and value are lists, and under
`post` for each fork its cases: which items of the lists (`indexes`), the state root (`hash`) and the logs hash afterwards, the
transaction as it stands on the wire (`txbytes`; signed here where it is left out), and `expectException` where the transaction
must be refused. Execution-spec-tests add `_info`, `config` (chain id, blob schedule) and the whole state afterwards (`state`).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from evm_runtime.header import EMPTY_BLOOM, EMPTY_OMMERS_HASH, EMPTY_REQUESTS_HASH, EMPTY_TRIE_ROOT, ZERO_NONCE, Header
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Wei
from tests.conformance.signing import signed_transaction
from tests.conformance.values import integer, octets

FORKS: Final = ("Cancun", "Prague", "Osaka")
"""Those that are run; a file may hold others, which are not counted."""


class FixtureError(ValueError):
    """A file, or a case in it, that is not in the format; says what is wrong."""


@dataclass(frozen=True, slots=True)
class Case:
    """One transaction on one state under one fork, not read yet."""

    name: str
    fork: str
    test: dict[str, Any] = field(repr=False)
    post: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """An account before the transaction; the balance in wei."""

    balance: int
    nonce: int
    code: bytes
    storage: dict[int, int]


@dataclass(frozen=True, slots=True)
class Blobs:
    """The fork's blob schedule, where the test brings its own: blobs of a block, and the base fee's update fraction."""

    block_max: int
    base_fee_update_fraction: int


@dataclass(frozen=True, slots=True)
class StateTest:
    """A case, read: what is given, and what must come of it."""

    pre: dict[Address, Account]
    header: Header
    chain_id: int
    blobs: Blobs | None
    transaction: bytes
    state_root: Hash32
    logs_hash: Hash32
    exceptions: tuple[str, ...]
    """Reasons for refusing the transaction, one of which must be met; none if it is valid."""
    post: dict[Address, Account] | None
    """The whole state afterwards, where the file has it."""


def load(path: Path) -> dict[str, Any]:
    """The document of a file. Raises FixtureError if it is no JSON object."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FixtureError(f"can't be read as JSON: {error}") from None
    if not isinstance(document, dict):
        raise FixtureError(f"expected an object of tests by name, found {type(document).__name__}")
    return document


def cases(document: dict[str, Any], fork: str | None = None) -> Iterator[Case]:
    """The cases of a document under `fork`, or under all of `FORKS`. Raises FixtureError at a test without any."""
    for name, test in document.items():
        if not isinstance(test, dict) or not isinstance(test.get("post"), dict):
            raise FixtureError(f"{name}: no state test: it has no `post` that lists cases by fork")
        for fork_name in FORKS if fork is None else (fork,):
            posts = test["post"].get(fork_name, [])
            if not isinstance(posts, list):
                raise FixtureError(f"{name}: post.{fork_name} is not a list of cases")
            for number, post in enumerate(posts):
                yield Case(f"{name} {fork_name} {_place(post, number)}", fork_name, test, post)


def _place(post: Any, number: int) -> str:
    indexes = post.get("indexes") if isinstance(post, dict) else None
    if isinstance(indexes, dict) and {"data", "gas", "value"} <= indexes.keys():
        return f"d{indexes['data']}g{indexes['gas']}v{indexes['value']}"
    return f"#{number}"


def read(case: Case) -> StateTest:
    """Read a case. Raises FixtureError that names the part that is malformed."""
    test, post = case.test, case.post
    part = "config"
    try:
        config = test.get("config", {})
        chain_id = integer(config.get("chainid", "0x01"))
        blobs = _blobs(config.get("blobSchedule", {}).get(case.fork))
        part = "env"
        header = _header(test["env"])
        part = "pre"
        pre = _accounts(test["pre"])
        part = "transaction"
        given = post.get("txbytes")
        raw = signed_transaction(test["transaction"], post["indexes"], chain_id) if given is None else octets(given)
        part = f"post.{case.fork}"
        return StateTest(
            pre=pre,
            header=header,
            chain_id=chain_id,
            blobs=blobs,
            transaction=raw,
            state_root=Hash32(octets(post["hash"], 32)),
            logs_hash=Hash32(octets(post["logs"], 32)),
            exceptions=tuple(name for name in post.get("expectException", "").split("|") if name),
            post=_accounts(post["state"]) if "state" in post else None,
        )
    except KeyError as error:
        raise FixtureError(f"{case.name}: {part}: {error} is missing") from None
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise FixtureError(f"{case.name}: {part}: {error}") from None


def _blobs(schedule: dict[str, Any] | None) -> Blobs | None:
    if schedule is None:
        return None
    return Blobs(integer(schedule["max"]), integer(schedule["baseFeeUpdateFraction"]))


def _accounts(accounts: dict[str, Any]) -> dict[Address, Account]:
    return {
        Address(octets(name, 20)): Account(
            integer(account["balance"]),
            integer(account["nonce"]),
            octets(account["code"]),
            {integer(slot): integer(value) for slot, value in account["storage"].items()},
        )
        for name, account in accounts.items()
    }


def _header(env: dict[str, Any]) -> Header:
    return Header(
        parent_hash=ZERO_HASH,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=Address(octets(env["currentCoinbase"], 20)),
        state_root=ZERO_HASH,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        bloom=EMPTY_BLOOM,
        difficulty=0,
        number=Height(integer(env["currentNumber"])),
        gas_limit=integer(env["currentGasLimit"]),
        gas_used=0,
        timestamp=integer(env["currentTimestamp"]),
        extra_data=b"",
        prev_randao=Hash32(integer(env.get("currentRandom", "0x0")).to_bytes(32, "big")),
        nonce=ZERO_NONCE,
        base_fee_per_gas=Wei(integer(env.get("currentBaseFee", "0xa"))),
        withdrawals_root=EMPTY_TRIE_ROOT,
        blob_gas_used=0,
        excess_blob_gas=integer(env.get("currentExcessBlobGas", "0x0")),
        parent_beacon_block_root=ZERO_HASH,
        requests_hash=EMPTY_REQUESTS_HASH,
    )

"""One case of a state test: its JSON, and running it through the executor that makes the chain's blocks.

The format is that of Ethereum's GeneralStateTests: `env`, `pre`, a `transaction` whose data, gas and value are lists, and under
`post` for each fork the cases: which of the lists' items, the transaction's bytes, and the state root and logs hash afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from evm_runtime.block import BlockRun
from evm_runtime.fork import Computation, Tier, computation_class
from evm_runtime.hardforks import FORKS, PRAGUE, Fork
from evm_runtime.header import EMPTY_BLOOM, EMPTY_OMMERS_HASH, EMPTY_REQUESTS_HASH, EMPTY_TRIE_ROOT, ZERO_NONCE, Header
from evm_runtime.kv import MemoryStore
from evm_runtime.precompiles import CANCUN_PRECOMPILES
from evm_runtime.receipt import Log
from evm_runtime.source import FlatSource
from evm_runtime.state import AccountDB
from evm_runtime.transaction import BLOB, SET_CODE, Transaction, decode_transaction
from evm_runtime.work import UNLIMITED
from genesis.chain_spec import BlockParams, ChainSpec, ForkActivation
from genesis.codec import encode_rlp
from genesis.errors import InvalidTransaction, WireError
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Power, Wei, keccak256
from genesis.types import Validator

CANCUN = replace(PRAGUE, name="cancun", precompiles=CANCUN_PRECOMPILES)
"""Prague without its precompiles. (The chain never was on it: its transaction rules are in `CancunTransaction`.)"""
TESTED_FORKS = {"Cancun": CANCUN, "Prague": FORKS["prague"], "Osaka": FORKS["osaka"]}
EMPTY_LOGS_HASH = keccak256(encode_rlp([]))
SOMEBODY = Address(b"\x01" * 20)


@dataclass(frozen=True, slots=True)
class Case:
    """One transaction on one state under one fork."""

    name: str
    fork: str
    test: dict[str, Any] = field(repr=False)
    post: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """`outcome` is "passed", "failed" (`detail` says in what) or "skipped" (`detail` says why)."""

    outcome: str
    detail: str = ""


class CancunTransaction(Transaction):
    """A transaction under the rules before EIP-7623: no floor."""

    __slots__ = ()

    @property
    def floor_gas(self) -> int:
        return 0


def cases(document: dict[str, Any], fork: str | None = None) -> Iterator[Case]:
    """The cases of a fixture file under the forks that are tested, or under one of them."""
    for name, test in document.items():
        for fork_name in TESTED_FORKS if fork is None else (fork,):
            for post in test.get("post", {}).get(fork_name, ()):
                places = post["indexes"]
                label = f"{name} {fork_name} d{places['data']}g{places['gas']}v{places['value']}"
                yield Case(label, fork_name, test, post)


def run_case(case: Case, tier: Tier | None = None) -> Result:
    """Execute and compare."""
    store, root = _pre_state(case.test["pre"])
    fork = TESTED_FORKS[case.fork]
    spec = _spec(case.test, fork)
    run = BlockRun(
        spec, AccountDB(FlatSource(store), root), _computation(fork, tier), _header(case.test["env"]), metered=False
    )
    run.state.get_ancestor_hash = _ancestor_hash(run)  # type: ignore[method-assign]  # these tests name blocks, there are none
    logs: tuple[Log, ...] = ()
    refused = ""
    try:
        run.apply(_transaction(case, spec))
        logs = run._receipts[0].logs
    except (InvalidTransaction, WireError) as error:
        refused = str(error)
    if refused and "expectException" not in case.post:
        if _is_blob(case):
            return Result("skipped", "blob transactions have no place on this chain")
        return Result("failed", f"refused: {refused}")
    if not refused and "expectException" in case.post:
        return Result("failed", f"not refused, but {case.post['expectException']} was expected")
    return _compare(case, run.state.account_db.finalize()[0], _logs_hash(logs))


def _compare(case: Case, root: Hash32, logs_hash: Hash32) -> Result:
    wrong = [
        f"{what} is 0x{have.hex()}, expected {case.post[key]}"
        for what, have, key in (("state root", root, "hash"), ("logs hash", logs_hash, "logs"))
        if have != _bytes(case.post[key])
    ]
    return Result("failed", "; ".join(wrong)) if wrong else Result("passed")


def _transaction(case: Case, spec: ChainSpec) -> Transaction:
    """Decoded from its bytes, as every transaction is."""
    tx = decode_transaction(_bytes(case.post["txbytes"]), chain_id=spec.chain_id)
    if case.fork != "Cancun":
        return tx
    if tx.kind == SET_CODE:
        raise InvalidTransaction("transaction type not supported: 0x04")
    return CancunTransaction(**{name: getattr(tx, name) for name in Transaction.__dataclass_fields__})


def _is_blob(case: Case) -> bool:
    return _bytes(case.post["txbytes"])[:1] == bytes([BLOB])


def _computation(fork: Fork, tier: Tier | None) -> type[Computation]:
    return computation_class({}, tier, fork)


def _pre_state(accounts: dict[str, Any]) -> tuple[MemoryStore, Hash32]:
    db = AccountDB(FlatSource(MemoryStore()), EMPTY_TRIE_ROOT)
    for name, account in accounts.items():
        address = Address(_bytes(name))
        db.touch_account(address)
        db.set_balance(address, _int(account["balance"]))
        db.set_nonce(address, _int(account["nonce"]))
        if account["code"] not in ("", "0x"):
            db.set_code(address, _bytes(account["code"]))
        for slot, value in account["storage"].items():
            db.set_storage(address, _int(slot), _int(value))
    root, writes = db.finalize()
    store = MemoryStore()
    store.apply(writes)
    return store, root


def _spec(test: dict[str, Any], fork: Fork) -> ChainSpec:
    spec = ChainSpec(
        name="state test",
        chain_id=_int(test.get("config", {}).get("chainid", "0x01")),
        genesis_time_ms=1,
        validators=(Validator(SOMEBODY, Power(1), SOMEBODY),),
        treasury=SOMEBODY,
        block=BlockParams(),
        forks=(ForkActivation(fork.name if fork.name in FORKS else "prague"),),
    )
    # State tests have gas limits that no chain of ours could have.
    object.__setattr__(spec.block, "gas_limit", _int(test["env"]["currentGasLimit"]))
    object.__setattr__(spec.block, "work_limit", UNLIMITED)
    return spec


def _header(env: dict[str, Any]) -> Header:
    return Header(
        parent_hash=ZERO_HASH,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=Address(_bytes(env["currentCoinbase"])),
        state_root=ZERO_HASH,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        bloom=EMPTY_BLOOM,
        difficulty=0,
        number=Height(_int(env["currentNumber"])),
        gas_limit=_int(env["currentGasLimit"]),
        gas_used=0,
        timestamp=_int(env["currentTimestamp"]),
        extra_data=b"",
        prev_randao=Hash32(_int(env.get("currentRandom", "0x0")).to_bytes(32, "big")),
        nonce=ZERO_NONCE,
        base_fee_per_gas=Wei(_int(env.get("currentBaseFee", "0xa"))),
        withdrawals_root=EMPTY_TRIE_ROOT,
        blob_gas_used=0,
        excess_blob_gas=_int(env.get("currentExcessBlobGas", "0x0")),
        parent_beacon_block_root=ZERO_HASH,
        requests_hash=EMPTY_REQUESTS_HASH,
    )


def _ancestor_hash(run: BlockRun) -> Any:
    """By the tests' convention the hash of block n is the keccak of n in decimal."""

    def find(number: int) -> bytes:
        now = run.state.block_number
        return keccak256(str(number).encode()) if max(0, now - 256) <= number < now else b""

    return find


def _logs_hash(logs: tuple[Log, ...]) -> Hash32:
    return keccak256(encode_rlp([[log.address, list(log.topics), log.data] for log in logs]))


def _int(text: str) -> int:
    return int(text, 16) if text.startswith("0x") else int(text)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))

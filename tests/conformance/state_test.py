"""Running one state test through the executor that makes the chain's blocks, and comparing."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from evm_runtime import transaction
from evm_runtime.block import BlockRun
from evm_runtime.computation import Tier, computation_class
from evm_runtime.hardforks import OSAKA, PRAGUE, BlobSchedule, Fork
from evm_runtime.header import EMPTY_TRIE_ROOT
from evm_runtime.jit.cache import JitLimits
from evm_runtime.jit.tier import JitTier
from evm_runtime.llvm import engine
from evm_runtime.llvm.tier import NativeTier
from evm_runtime.precompiles import CANCUN_PRECOMPILES
from evm_runtime.receipt import Log
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import MemoryStore
from evm_runtime.state.source import FlatSource
from evm_runtime.tiers import DEFAULT_TIERS
from evm_runtime.transaction import BLOB, SET_CODE, Transaction, decode_transaction
from genesis.chain_spec import BlockParams, ChainSpec, ForkActivation
from genesis.codec import encode_rlp
from genesis.errors import InvalidTransaction, WireError
from genesis.limits import MIB
from genesis.primitives import Address, Hash32, Power, keccak256
from genesis.types import Validator
from tests.conformance.blobs import decode_blob_transaction
from tests.conformance.fixture import Account, StateTest
from tests.conformance.refusals import matches

TIERS: Final[dict[str, Callable[[], Tier | None]]] = {
    "all": lambda: (engine.load(), DEFAULT_TIERS.make())[1],
    "reference": lambda: None,
    "jit": lambda: JitTier(JitLimits(steps_per_line=0)),
    "native": lambda: (engine.load(), NativeTier())[1],
}
"""All together as nodes run them, and each alone. Alone, a tier compiles at once, so that every test runs compiled code."""

CANCUN: Final = dataclasses.replace(
    PRAGUE, name="cancun", precompiles=CANCUN_PRECOMPILES, blobs=BlobSchedule(6, 3_338_477)
)
"""The chain never was on Cancun: what sets its transactions apart from Prague's is `_before_prague`."""
RULES: Final[dict[str, Fork]] = {"Cancun": CANCUN, "Prague": PRAGUE, "Osaka": OSAKA}

EMPTY_LOGS_HASH: Final = keccak256(encode_rlp([]))
BYTES_MAX: Final = 4 * MIB
"""The node takes transactions of 255 KiB at most (`genesis/limits.py`); some official tests send more."""
_SOMEBODY: Final = Address(b"\x01" * 20)
_ANCESTORS: Final = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem` says what is wrong; empty if nothing is."""

    problem: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem


def run(test: StateTest, fork_name: str, tier: Tier | None) -> Outcome:
    """Execute and compare. A fatal error of the executor passes through."""
    fork = _with_blobs(RULES[fork_name], test)
    spec = _spec(test, fork)
    store, root = _store(test.pre)
    db = AccountDB(FlatSource(store), root)
    block = BlockRun(spec, db, computation_class({}, tier, fork), test.header, metered=False)
    block.state.get_ancestor_hash = _ancestor_hash(block)  # type: ignore[method-assign]  # these tests name blocks, there are none
    logs: tuple[Log, ...] = ()
    refusal = ""
    try:
        logs = block.apply(_transaction(test, fork, spec)).logs
    except (InvalidTransaction, WireError) as error:
        refusal = str(error)
    problem = _judge_refusal(test, refusal)
    return Outcome(problem or _compare(test, block.state.account_db, logs))


def _judge_refusal(test: StateTest, refusal: str) -> str:
    expected = "|".join(test.exceptions)
    if refusal and not expected:
        return f"refused: {refusal}"
    if expected and not refusal:
        return f"not refused, but {expected} was expected"
    if expected and not any(matches(reason, refusal) for reason in test.exceptions):
        return f"refused for another reason than {expected}: {refusal}"
    return ""


def _compare(test: StateTest, db: AccountDB, logs: tuple[Log, ...]) -> str:
    differing = "" if test.post is None else _first_difference(test.post, db)
    root = db.finalize()[0]
    logs_hash = keccak256(encode_rlp([[log.address, list(log.topics), log.data] for log in logs]))
    wrong = [
        f"{what} is 0x{have.hex()}, expected 0x{want.hex()}"
        for what, have, want in (("state root", root, test.state_root), ("logs hash", logs_hash, test.logs_hash))
        if have != want
    ]
    return "; ".join([*wrong, differing] if wrong and differing else wrong)


def _first_difference(expected: dict[Address, Account], db: AccountDB) -> str:
    """Where the state begins to differ, to help find a wrong root (the root alone decides)."""
    for address, account in expected.items():
        have = Account(
            db.get_balance(address),
            db.get_nonce(address),
            db.get_code(address),
            {slot: db.get_storage(address, slot) for slot in account.storage},
        )
        for name in ("balance", "nonce", "code", "storage"):
            found, wanted = getattr(have, name), getattr(account, name)
            if found != wanted:
                return f"{name} of 0x{address.hex()} is {found!r}, expected {wanted!r}"
    return "all accounts and slots that should be there are as they should be"


# ---------------------------------------------------------------- what is given


def _with_blobs(fork: Fork, test: StateTest) -> Fork:
    """The fork with the blob schedule of the test, if that has one of its own."""
    if test.blobs is None:
        return fork
    most = min(test.blobs.block_max, fork.blobs.transaction_max)
    return dataclasses.replace(fork, blobs=BlobSchedule(most, test.blobs.base_fee_update_fraction))


def _spec(test: StateTest, fork: Fork) -> ChainSpec:
    spec = ChainSpec(
        name="state test",
        chain_id=test.chain_id,
        genesis_time_ms=1,
        validators=(Validator(_SOMEBODY, Power(1), _SOMEBODY),),
        treasury=_SOMEBODY,
        block=BlockParams(),
        forks=(ForkActivation(OSAKA.name if fork.name == OSAKA.name else PRAGUE.name),),
    )
    # State tests have gas limits and transactions that no chain of ours could have.
    limits = {"gas_limit": test.header.gas_limit, "work_limit": 1 << 128, "transaction_bytes_max": BYTES_MAX}
    for name, value in {**limits, "access_list_entries_max": BYTES_MAX}.items():
        object.__setattr__(spec.block, name, value)
    return spec


def _store(accounts: dict[Address, Account]) -> tuple[MemoryStore, Hash32]:
    db = AccountDB(FlatSource(MemoryStore()), EMPTY_TRIE_ROOT)
    for address, account in accounts.items():
        db.touch_account(address)
        db.set_balance(address, account.balance)
        db.set_nonce(address, account.nonce)
        if account.code:
            db.set_code(address, account.code)
        for slot, value in account.storage.items():
            db.set_storage(address, slot, value)
    root, writes = db.finalize()
    store = MemoryStore()
    store.apply(writes)
    return store, root


def _ancestor_hash(block: BlockRun) -> Any:
    """By the tests' convention the hash of block n is the keccak of n in decimal."""

    def find(number: int) -> bytes:
        now = block.state.block_number
        return keccak256(str(number).encode()) if max(0, now - _ANCESTORS) <= number < now else b""

    return find


# ---------------------------------------------------------------- the transaction


def _transaction(test: StateTest, fork: Fork, spec: ChainSpec) -> Transaction:
    """Decoded as the node decodes it, but for blobs, which it has no decoder for, and for its caps on size."""
    raw = test.transaction
    with mock.patch.object(transaction, "TRANSACTION_BYTES_MAX", BYTES_MAX):
        tx = (
            decode_blob_transaction(raw)
            if raw[:1] == bytes([BLOB])
            else decode_transaction(raw, chain_id=spec.chain_id)
        )
    return _before_prague(tx) if fork.name == CANCUN.name else tx


def _before_prague(tx: Transaction) -> Transaction:
    """The transaction without EIP-7623's floor. Raises InvalidTransaction for EIP-7702's kind."""
    if tx.kind == SET_CODE:
        raise InvalidTransaction(f"transaction type not supported: {SET_CODE:#04x}")
    kind = type(tx)
    without_floor = type(kind.__name__, (kind,), {"__slots__": (), "floor_gas": 0})
    fields = {field.name: getattr(tx, field.name) for field in dataclasses.fields(tx)}
    made: Transaction = without_floor(**fields)
    return made

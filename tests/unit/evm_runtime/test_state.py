"""The account database: undo, write sets, wiped storage, and genesis."""

import random
from typing import Any

import pytest

from evm_runtime.genesis_block import build_genesis
from evm_runtime.state import keys, trie
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import MemoryStore
from evm_runtime.state.source import FlatSource, StateSource, TrieSource, stored_root
from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, GenesisAccount
from genesis.errors import InvariantError, LocalError, StorageCorrupt
from genesis.primitives import ZERO_HASH, Address, Wei, keccak256
from tests.unit.evm_runtime.chain import ADDRESSES, GENESIS_TIME_MS, contract, make_spec

POOL = [Address(bytes([i]) * 20) for i in range(1, 9)]


class Model:
    """The same account database in the most obvious way: whole copies as checkpoints."""

    def __init__(self) -> None:
        self.accounts: dict[Address, list[Any]] = {}
        self.slots: dict[Address, dict[int, int]] = {}

    def copy(self) -> "Model":
        other = Model()
        other.accounts = {address: list(fields) for address, fields in self.accounts.items()}
        other.slots = {address: dict(slots) for address, slots in self.slots.items()}
        return other


def step(rng: random.Random, db: AccountDB, model: Model) -> None:
    address = rng.choice(POOL)
    account = model.accounts.get(address)
    action = rng.randrange(6)
    number = rng.randrange(5)
    if action == 5:
        db.delete_account(address)
        model.accounts.pop(address, None)
        model.slots.pop(address, None)
        return
    account = model.accounts.setdefault(address, [0, 0, b""])
    if action == 0:
        db.set_balance(address, number)
        account[1] = number
    elif action == 1:
        db.set_nonce(address, number + 1)
        account[0] = number + 1
    elif action == 2:
        code = bytes([number]) * 3
        db.set_code(address, code)
        account[2] = code
    else:
        if account[0] == 0:
            db.set_nonce(address, 1)
            account[0] = 1
        db.set_storage(address, number, number * 7 if action == 3 else 0)
        model.slots.setdefault(address, {})[number] = number * 7 if action == 3 else 0


def check(db: AccountDB, model: Model, note: str) -> None:
    for address in POOL:
        nonce, balance, code = model.accounts.get(address, [0, 0, b""])
        assert (db.get_nonce(address), db.get_balance(address), db.get_code(address)) == (nonce, balance, code), note
        assert db.account_exists(address) == (address in model.accounts), note
        for slot in range(5):
            assert db.get_storage(address, slot) == model.slots.get(address, {}).get(slot, 0), note


def expected_root(model: Model) -> bytes:
    """The state root, built from nothing."""
    db = AccountDB(FlatSource(MemoryStore()), trie.EMPTY_ROOT)
    for address, (nonce, balance, code) in model.accounts.items():
        db.set_nonce(address, nonce)
        db.set_balance(address, balance)
        db.set_code(address, code)
        for slot, value in model.slots.get(address, {}).items():
            db.set_storage(address, slot, value)
    return db.finalize()[0]


@pytest.mark.parametrize("seed", range(12))
def test_random_changes_undos_and_blocks_match_a_plain_model(seed: int) -> None:
    rng = random.Random(seed)
    store, root, model = MemoryStore(), trie.EMPTY_ROOT, Model()
    for block in range(6):
        db = AccountDB(FlatSource(store), root)
        for _ in range(3):
            db.begin_transaction()
            checkpoints: list[tuple[Any, Model]] = []
            for _ in range(25):
                if rng.random() < 0.25:
                    checkpoints.append((db.record(), model.copy()))
                elif checkpoints and rng.random() < 0.2:
                    checkpoint, model = checkpoints.pop(rng.randrange(len(checkpoints)))
                    checkpoints = [entry for entry in checkpoints if entry[0] <= checkpoint]
                    db.discard(checkpoint)
                    model = model.copy()
                else:
                    step(rng, db, model)
            check(db, model, f"seed {seed}, block {block}")
        root, writes = db.finalize()
        store.apply(writes)
        assert root == expected_root(model) == stored_root(store), f"seed {seed}, block {block}"
        for source in (FlatSource(store), TrieSource(store, root)):
            fresh: StateSource = source
            check(AccountDB(fresh, root), model, f"seed {seed}, block {block}, {type(source).__name__}")


def test_flat_entries_of_wiped_accounts_go_with_them() -> None:
    store = MemoryStore()
    db = AccountDB(FlatSource(store), trie.EMPTY_ROOT)
    db.set_nonce(POOL[0], 1)
    for slot in range(5):
        db.set_storage(POOL[0], slot, slot + 1)
    root, writes = db.finalize()
    store.apply(writes)
    db = AccountDB(FlatSource(store), root)
    db.delete_account(POOL[0])
    db.set_nonce(POOL[0], 1)
    db.set_storage(POOL[0], 2, 99)
    _, writes = db.finalize()
    store.apply(writes)
    assert list(store.iterate(keys.storage_prefix(POOL[0]))) == [(keys.storage(POOL[0], 2), b"\x63")]


def test_the_original_value_is_that_of_the_transactions_begin() -> None:
    db = AccountDB(FlatSource(MemoryStore()), trie.EMPTY_ROOT)
    db.set_nonce(POOL[0], 1)
    db.set_storage(POOL[0], 1, 5)
    assert db.get_storage(POOL[0], 1, from_journal=False) == 0
    db.begin_transaction()
    db.set_storage(POOL[0], 1, 6)
    db.set_storage(POOL[0], 1, 7)
    assert db.get_storage(POOL[0], 1, from_journal=False) == 5
    db.begin_transaction()
    assert db.get_storage(POOL[0], 1, from_journal=False) == 7


def test_blobs_are_journaled_and_written_by_each_block_that_brings_them() -> None:
    """The store may drop a blob (it was erased) between the execution and the storing of a block that brings it again."""
    store = MemoryStore()
    db = AccountDB(FlatSource(store), trie.EMPTY_ROOT)
    kept = db.put_blob(b"kept")
    checkpoint = db.record()
    undone = db.put_blob(b"undone")
    assert db.get_blob(undone) == b"undone"
    db.discard(checkpoint)
    assert db.get_blob(undone) is None and db.get_blob(kept) == b"kept"
    root, writes = db.finalize()
    store.apply(writes)
    again = AccountDB(FlatSource(store), root)
    assert again.put_blob(b"kept") == kept and again.get_blob(kept) == b"kept"
    assert again.finalize()[1][keys.blob(kept)] == b"kept"


def test_undone_code_is_not_written_and_code_is_written_once() -> None:
    store = MemoryStore()
    db = AccountDB(FlatSource(store), trie.EMPTY_ROOT)
    checkpoint = db.record()
    db.set_code(POOL[0], b"\x01\x02")
    db.discard(checkpoint)
    db.set_code(POOL[1], b"\x03")
    _, writes = db.finalize()
    assert keys.code(keccak256(b"\x03")) in writes and keys.code(keccak256(b"\x01\x02")) not in writes


def test_missing_and_garbled_state_is_corruption() -> None:
    with pytest.raises(StorageCorrupt, match="holds no state"):
        stored_root(MemoryStore())
    genesis = build_genesis(make_spec(contract(POOL[0], b"\x00")))
    store = MemoryStore()
    store.apply(genesis.writes)
    del store.entries[keys.code(keccak256(b"\x00"))]
    db = AccountDB(FlatSource(store), genesis.header.state_root)
    with pytest.raises(StorageCorrupt, match="code"):
        db.get_code(POOL[0])
    store.entries[keys.account(POOL[0])] = b"\x01"
    with pytest.raises(StorageCorrupt, match="garbled"):
        AccountDB(FlatSource(store), genesis.header.state_root).get_balance(POOL[0])


def test_values_out_of_range_are_refused() -> None:
    db = AccountDB(FlatSource(MemoryStore()), trie.EMPTY_ROOT)
    for action in (
        lambda: db.set_balance(POOL[0], -1),
        lambda: db.set_balance(POOL[0], 1 << 256),
        lambda: db.set_nonce(POOL[0], 1 << 64),
        lambda: db.set_storage(POOL[0], 0, 1 << 256),
    ):
        with pytest.raises(ValueError, match="would become"):
            action()
    for method in (db.make_state_root, db.persist):
        with pytest.raises(InvariantError):
            method()
    with pytest.raises(InvariantError, match="only at the end"):
        db.state_root = ZERO_HASH


def test_genesis_holds_alloc_native_accounts_and_system_contracts() -> None:
    spec = make_spec(contract(POOL[0], b"\x01", storage={1: 2}))
    genesis = build_genesis(spec)
    assert build_genesis(spec) == genesis
    store = MemoryStore()
    store.apply(genesis.writes)
    db = AccountDB(FlatSource(store), genesis.header.state_root)
    assert db.get_balance(ADDRESSES[0]) == 1_000 * 10**18 and db.get_storage(POOL[0], 1) == 2
    for address in (ATTRIBUTION_ADDRESS, STAKING_ADDRESS):
        assert (db.get_nonce(address), db.get_code(address)) == (1, b"\xfe")
    for address in (BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS):
        assert db.get_nonce(address) == 1 and len(db.get_code(address)) > 80
    assert db.get_storage(STAKING_ADDRESS, 0) == int.from_bytes(spec.hash(), "big")
    header = genesis.header
    assert header.number == 0 and header.timestamp == GENESIS_TIME_MS // 1_000
    assert header.parent_beacon_block_root == header.parent_hash == ZERO_HASH
    assert build_genesis(make_spec()).header.hash != header.hash


@pytest.mark.parametrize(
    ("account", "message"),
    [
        (GenesisAccount(STAKING_ADDRESS, Wei(1)), "the chain's own"),
        (GenesisAccount(POOL[0]), "EIP-161"),
        (GenesisAccount(POOL[0], Wei(0), 0, b"", ((1, 1),)), "EIP-161"),
        (GenesisAccount(POOL[0], Wei(1), 1 << 64), "nonce"),
        (GenesisAccount(POOL[0], Wei(1), 1, b"", ((1 << 256, 1),)), "256-bit"),
        (GenesisAccount(POOL[0], Wei(1), 1, b"", ((1, 1 << 256),)), "would become"),
    ],
)
def test_an_alloc_that_no_state_can_hold_is_a_local_error(account: GenesisAccount, message: str) -> None:
    with pytest.raises(LocalError, match=f"alloc 0x{account.address.hex()}: .*{message}"):
        build_genesis(make_spec(account))

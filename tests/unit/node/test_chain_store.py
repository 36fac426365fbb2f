"""The chain store: what one batch holds, how it reads back, and what it refuses at start."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from evm_runtime.native.abi import encode
from evm_runtime.staking.contract import StakingContract
from evm_runtime.state.keys import STATE_ROOT
from evm_runtime.transaction import Transaction
from genesis.chain_spec import STAKING_ADDRESS
from genesis.errors import InvariantError, LocalError, StorageCorrupt
from genesis.primitives import Hash32, Height
from node.node import Indexes, open_store, recent_commits
from node.storage import keys
from node.storage.chain_store import _Cache, open_chain
from node.storage.database import LevelDatabase
from tests.unit.node.local_chain import ADDRESSES, KEYS, VALIDATOR, LocalChain, make_spec, transfer


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[LocalChain]:
    local = LocalChain(tmp_path / "chain", make_spec())
    yield local
    local.close()


def test_a_block_reads_back_as_it_was_stored(chain: LocalChain) -> None:
    chain.extend(transfer(0, 0), transfer(1, 0), transfer(0, 1))
    stored = chain.store.tip()
    chain.close()
    again = LocalChain(chain.path, chain.spec)
    assert again.store.tip() == stored
    assert again.store.block(Height(1)) == stored
    assert again.store.block_by_hash(stored.hash) == stored
    assert again.store.header(Height(1)) == stored.header
    assert again.store.commit(Height(1)) == stored.commit
    for index, tx in enumerate(stored.transactions):
        assert again.store.transaction_place(tx.hash) == (1, index)
    assert again.store.runtime.state().nonce(ADDRESSES[0]) == 2
    assert again.store.block(Height(2)) is None
    assert again.store.block_by_hash(Hash32(bytes(32))) is None
    genesis = again.store.block(Height(0))
    assert genesis is not None
    assert (genesis.commit, genesis.size, genesis.hash) == (None, 0, again.store.identity.genesis_hash)
    again.close()


def test_readers_keep_the_state_that_they_began_with(chain: LocalChain) -> None:
    before = chain.store.runtime
    chain.extend(transfer(0, 0))
    assert before.state().nonce(ADDRESSES[0]) == 0
    assert chain.store.runtime.state().nonce(ADDRESSES[0]) == 1


EMITTER = "0x60aa60bb5f5fa200"
"""Creation code that logs two topics, 0xbb and 0xaa, and leaves no code."""


def test_transactions_and_logs_are_found_by_who_and_what(chain: LocalChain) -> None:
    logging = {"to": "", "data": EMITTER, "gas": 100_000, "value": 0}
    chain.extend(transfer(0, 0), transfer(1, 0), transfer(0, 1))
    chain.extend(transfer(1, 1, **logging), transfer(1, 2, **logging))
    chain.extend()
    chain.extend(transfer(0, 2), transfer(1, 3, **logging))
    store, low, high = chain.store, (0xBB).to_bytes(32, "big"), (0xAA).to_bytes(32, "big")
    assert list(store.transactions_of(ADDRESSES[0], 0)) == [(0, 1, 0), (1, 1, 2), (2, 4, 0)]
    assert list(store.transactions_of(ADDRESSES[0], 1)) == [(1, 1, 2), (2, 4, 0)]
    assert list(store.transactions_of(ADDRESSES[2], 0)) == []
    assert list(store.log_heights(1, low, range(5))) == [2, 4]
    assert list(store.log_heights(2, high, range(5))) == [2, 4]
    assert list(store.log_heights(2, high, range(3, 5))) == [4]
    assert list(store.log_heights(2, high, range(2, 4))) == [2]
    assert list(store.log_heights(1, high, range(5))) == []
    [first, second] = [receipt.logs[0].address for receipt in store.block(Height(2)).receipts]  # type: ignore[union-attr]  # it is there
    assert list(store.log_heights(0, first, range(5))) == list(store.log_heights(0, second, range(5))) == [2]


def test_only_the_next_block_with_its_own_commit_is_taken(chain: LocalChain) -> None:
    first = chain.build()
    chain.store.append(first, chain.commit_for(first.block))
    with pytest.raises(InvariantError, match="on top of block 1"):
        chain.store.append(first, chain.commit_for(first.block))
    second = chain.build()
    with pytest.raises(InvariantError, match="commit of another"):
        chain.store.append(second, chain.commit_for(first.block))
    assert chain.store.tip().height == 1


def test_another_chain_or_schema_is_refused_with_what_differs(chain: LocalChain) -> None:
    other = make_spec(name="another", genesis_time_ms=chain.spec.genesis_time_ms + 1)
    with pytest.raises(LocalError, match="name: another here, local there"):
        open_chain(chain.database, other, Indexes())
    chain.database.write_batch({keys.META_SCHEMA: (9).to_bytes(4, "big")})
    with pytest.raises(LocalError, match="schema version 9"):
        open_chain(chain.database, chain.spec, Indexes())
    chain.database.write_batch({keys.META_SCHEMA: keys.SCHEMA_OF_SPEC_1.to_bytes(4, "big")})
    with pytest.raises(LocalError, match="version 1 of the chain spec"):
        open_chain(chain.database, chain.spec, Indexes())


def test_an_empty_database_needs_a_genesis(tmp_path: Path) -> None:
    database = LevelDatabase(tmp_path / "chain", create=True)
    with pytest.raises(LocalError, match="--genesis"):
        open_chain(database, None, Indexes())
    database.write_batch({b"x": b"y"})
    with pytest.raises(StorageCorrupt, match="no schema version"):
        open_chain(database, make_spec(), Indexes())
    database.close()


def test_start_checks_tip_block_commit_and_state_against_each_other(chain: LocalChain) -> None:
    chain.extend(transfer())
    chain.extend()
    database, tip = chain.database, chain.store.tip()
    block_1 = chain.store.block(Height(1))
    assert block_1 is not None
    good = {key: database.get(key) for key in _tip_keys(tip.height)}
    damages: list[tuple[str, dict[bytes, bytes | None]]] = [
        ("no tip", {keys.META_TIP: None}),
        ("not stored", {keys.META_TIP: keys.tip_bytes(Height(3), tip.hash)}),
        ("not stored", {keys.META_TIP: keys.tip_bytes(Height(2), block_1.hash)}),
        ("state has root", {keys.META_TIP: keys.tip_bytes(Height(1), block_1.hash)}),
        ("not stored", {keys.block_key(tip.height): None}),
        ("garbled", {keys.block_key(tip.height): (good[keys.block_key(tip.height)] or b"")[:-1]}),
        ("no receipts", {keys.receipts_key(tip.height): None}),
        ("has no commit or that of another", {keys.commit_key(tip.height): None}),
        ("has no commit or that of another", {keys.commit_key(tip.height): database.get(keys.commit_key(Height(1)))}),
        ("do not lead to it", {keys.block_hash_key(tip.hash): None}),
        ("do not lead to it", {keys.header_key(tip.height): database.get(keys.header_key(Height(1)))}),
        ("state has root", {keys.STATE_PREFIX + STATE_ROOT: bytes(32)}),
        ("beyond the tip", {keys.block_key(Height(3)): b"x"}),
        ("no chain spec", {keys.META_SPEC: None}),
    ]
    for message, damage in damages:
        before = {key: database.get(key) for key in damage}
        database.write_batch(damage)
        with pytest.raises(StorageCorrupt, match=message):
            open_chain(database, chain.spec, Indexes())
        database.write_batch(before)
    assert open_chain(database, chain.spec, Indexes()).tip() == tip


def _tip_keys(height: Height) -> list[bytes]:
    return [keys.block_key(height), keys.receipts_key(height), keys.commit_key(height), keys.META_TIP]


def test_replaying_stored_blocks_gives_the_stored_roots(chain: LocalChain, tmp_path: Path) -> None:
    for nonce in range(3):
        chain.extend(*(transfer(key, nonce) for key in range(len(KEYS))))
    other = LocalChain(tmp_path / "other", chain.spec)
    for height in (1, 2, 3):
        stored = chain.store.block(Height(height))
        assert stored is not None
        assert stored.commit is not None
        tip = other.store.tip()
        executed = other.store.live_runtime.execute_block(tip.header, tip.time_ms, stored.block)
        other.store.append(executed, stored.commit)
    assert other.store.tip() == chain.store.tip()
    other.close()


def test_recent_commits_come_with_the_sets_that_signed_them(chain: LocalChain) -> None:
    assert recent_commits(chain.store) == []
    for _ in range(3):
        chain.extend()
    found = recent_commits(chain.store)
    assert [commit.height for _, commit in found] == [3, 2, 1]
    assert all(validators == chain.spec.validator_set for validators, _ in found)


def test_open_store_closes_the_database_when_it_refuses(tmp_path: Path) -> None:
    spec = make_spec()
    open_store(tmp_path, spec).close()
    with pytest.raises(LocalError, match="another chain"):
        open_store(tmp_path, replace(spec, name="other"))
    open_store(tmp_path, spec).close()


def test_a_cache_is_bounded_in_number_and_bytes() -> None:
    cache: _Cache[int, str] = _Cache(3, 100)
    for key, size in ((1, 10), (2, 10), (3, 10), (4, 10)):
        cache.put(key, str(key), size)
    assert [cache.get(key) for key in (1, 2, 3, 4)] == [None, "2", "3", "4"]
    assert cache.get(2) == "2"  # used last, so it stays longest
    cache.put(5, "5", 85)
    assert [cache.get(key) for key in (2, 3, 4, 5)] == ["2", None, None, "5"]
    cache.put(5, "5 again", 20)
    cache.put(6, "6", 70)
    assert [cache.get(key) for key in (2, 5, 6)] == ["2", "5 again", "6"]
    cache.put(7, "too large for its limit, but the newest", 1_000)
    assert [cache.get(key) for key in (2, 5, 6, 7)] == [None, None, None, "too large for its limit, but the newest"]


# ---------------------------------------------------------------- taking the last block back


def everything(chain: LocalChain) -> dict[bytes, bytes]:
    """What the database holds, but for what is addressed by its own hash: code, blobs, trie nodes."""
    content = tuple(keys.STATE_PREFIX + kind for kind in (b"c", b"b", b"n"))
    return {key: value for key, value in chain.database.iterate(b"") if not key.startswith(content)}


def delegation(key: int, nonce: int) -> Transaction:
    contract = {name: found for found in StakingContract.methods.values() for name in [found.signature.name]}
    signature = contract["delegate"].signature
    data = signature.selector + encode([p.type for p in signature.inputs], (VALIDATOR,))
    return transfer(key, nonce, to="0x" + STAKING_ADDRESS.hex(), data=data, value=10**18, gas=1_000_000)


def test_a_rollback_leaves_what_was_there_before_the_block(chain: LocalChain) -> None:
    chain.extend(transfer(0, 0), delegation(2, 0))
    for height in range(2, 5):
        before = everything(chain)
        logging = {"to": "", "data": EMITTER, "gas": 100_000, "value": 0}
        wanted = (transfer(0, height - 1), transfer(1, height - 2, **logging), delegation(2, height - 1))
        block = chain.extend(*wanted)
        after = everything(chain)
        assert chain.store.rollback().height == height - 1
        assert everything(chain) == before
        assert chain.store.runtime.state().nonce(ADDRESSES[0]) == height - 1
        assert chain.store.block(Height(height)) is None and chain.store.height_of(block.hash) is None
        assert chain.extend(*wanted) == block and everything(chain) == after
    chain.close()
    again = LocalChain(chain.path, chain.spec)
    assert again.store.tip().height == 4
    again.close()


def test_all_can_be_taken_back_but_genesis(chain: LocalChain) -> None:
    genesis = everything(chain)
    for height in range(3):
        chain.extend(transfer(0, height))
    for _ in range(3):
        chain.store.rollback()
    assert everything(chain) == genesis
    with pytest.raises(LocalError, match="nothing to take back"):
        chain.store.rollback()


def test_a_block_that_executes_otherwise_is_not_taken_back(chain: LocalChain) -> None:
    chain.extend(transfer(0, 0))
    chain.extend(transfer(0, 1))
    tip = chain.store.tip()
    chain.store._tip = replace(tip, transactions=())
    before = everything(chain)
    with pytest.raises(StorageCorrupt, match="executing block 2 again"):
        chain.store.rollback()
    assert everything(chain) == before

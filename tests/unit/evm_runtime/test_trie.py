"""The batch trie against py-trie's HexaryTrie."""

import random

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

from evm_runtime.state import trie
from evm_runtime.state.node_cache import NodeCache
from genesis.codec import encode_rlp
from genesis.errors import StorageCorrupt
from genesis.primitives import Hash32, keccak256


class Nodes:
    """A node store that counts what is written twice."""

    def __init__(self) -> None:
        self.nodes: dict[Hash32, bytes] = {}

    def read(self, node_hash: Hash32) -> bytes | None:
        return self.nodes.get(node_hash)

    def update(self, root: Hash32, changes: dict[bytes, bytes | None]) -> Hash32:
        new_root, new_nodes = trie.update(self.read, root, changes)
        for node_hash, data in new_nodes.items():
            assert keccak256(data) == node_hash
        self.nodes.update(new_nodes)
        return new_root


def reference_root(entries: dict[bytes, bytes]) -> bytes:
    reference = HexaryTrie({})
    with reference.squash_changes() as batch:
        for key, value in entries.items():
            batch[key] = value
    return reference.root_hash


# Few distinct bytes make long shared paths; values of all sizes make embedded and hashed nodes.
key_bytes = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), min_size=4, max_size=4).map(bytes)
values = st.one_of(st.binary(min_size=1, max_size=3), st.binary(min_size=30, max_size=40), st.none())


@settings(max_examples=120, derandomize=True, deadline=None)
@given(st.lists(st.dictionaries(key_bytes, values, min_size=1, max_size=12), max_size=6))
def test_batches_of_inserts_updates_and_deletes_give_the_root_of_py_trie(batches) -> None:
    store, root, model = Nodes(), trie.EMPTY_ROOT, {}
    for batch in batches:
        root = store.update(root, batch)
        for key, value in batch.items():
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        assert root == reference_root(model)
    assert dict(trie.items(store.read, root)) == model
    assert list(trie.items(store.read, root)) == sorted(model.items())
    for batch in batches:
        for key in batch:
            assert trie.get(store.read, root, key) == model.get(key)


def test_hashed_keys_over_many_blocks_and_every_old_root_stays_readable() -> None:
    seed = 20_261
    rng = random.Random(seed)
    store, root, model, history = Nodes(), trie.EMPTY_ROOT, {}, []
    pool = [keccak256(bytes([i % 256, i // 256])) for i in range(600)]
    for _ in range(12):
        batch: dict[bytes, bytes | None] = {}
        for key in rng.sample(pool, 80):
            batch[key] = None if rng.random() < 0.3 else rng.randbytes(rng.choice([1, 33, 70]))
        root = store.update(root, batch)
        model = {k: v for k, v in {**model, **batch}.items() if v is not None}
        assert root == reference_root(model), f"seed {seed}"
        history.append((root, model))
    for old_root, old_model in history:
        for key in rng.sample(pool, 40):
            assert trie.get(store.read, old_root, key) == old_model.get(key)


def test_proofs_verify_with_py_trie_for_present_and_absent_keys() -> None:
    store = Nodes()
    entries = {keccak256(bytes([i])): bytes([i]) * (i + 1) for i in range(100)}
    root = store.update(trie.EMPTY_ROOT, dict(entries))
    for i in (0, 7, 99, 100, 200):
        key = keccak256(bytes([i]))
        proof = trie.prove(store.read, root, key)
        expected = entries.get(key, b"")
        assert HexaryTrie.get_from_proof(root, key, [rlp.decode(node) for node in proof]) == expected
    assert trie.prove(store.read, trie.EMPTY_ROOT, keccak256(b"")) == ()


def test_a_change_that_changes_nothing_returns_the_same_root_and_no_nodes() -> None:
    store = Nodes()
    entries: dict[bytes, bytes | None] = {keccak256(bytes([i])): b"value" * 10 for i in range(20)}
    root = store.update(trie.EMPTY_ROOT, entries)
    assert trie.update(store.read, root, entries) == (root, {})
    assert trie.update(store.read, root, {keccak256(b"absent"): None}) == (root, {})
    assert trie.update(store.read, root, {}) == (root, {})
    assert trie.update(store.read, root, dict.fromkeys(entries)) == (trie.EMPTY_ROOT, {})


def test_an_update_writes_only_the_nodes_on_the_changed_path() -> None:
    store = Nodes()
    root = store.update(trie.EMPTY_ROOT, {keccak256(i.to_bytes(2, "big")): bytes(40) for i in range(2_000)})
    _, new_nodes = trie.update(store.read, root, {keccak256(b"\0\1"): b"\1" * 40})
    assert 2 <= len(new_nodes) <= 6


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 127, 128, 129, 300])
def test_list_roots_equal_py_trie(count: int) -> None:
    rng = random.Random(count)
    items = [rng.randbytes(rng.randint(1, 200)) for _ in range(count)]
    assert trie.root_of_list(items) == reference_root({rlp.encode(i): item for i, item in enumerate(items)})


def test_a_missing_node_is_storage_corruption() -> None:
    store = Nodes()
    root = store.update(trie.EMPTY_ROOT, {keccak256(bytes([i])): bytes(40) for i in range(50)})
    del store.nodes[root]
    with pytest.raises(StorageCorrupt, match="missing"):
        trie.get(store.read, root, keccak256(b"\0"))
    with pytest.raises(StorageCorrupt, match="missing"):
        trie.update(store.read, root, {keccak256(b"\0"): b"x"})


def test_a_missing_node_is_storage_corruption_each_time_also_with_a_cache() -> None:
    store, cache = Nodes(), NodeCache()
    root = store.update(trie.EMPTY_ROOT, {keccak256(bytes([i])): bytes(40) for i in range(50)})
    held = store.nodes.pop(root)
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match="missing"):
            trie.update(store.read, root, {keccak256(b"\0"): b"x"}, cache=cache)
    store.nodes[root] = held
    assert trie.update(store.read, root, {keccak256(b"\0"): b"x"}, cache=cache)[1]


@pytest.mark.parametrize("items", [[], [b"a"], [b"a"] * 3, [b""] * 16, [b""] * 18, b"no list"])
def test_what_is_no_node_is_storage_corruption(items: object) -> None:
    data = encode_rlp(items)
    root = Hash32(keccak256(data))
    for act in (
        lambda: trie.get({root: data}.get, root, b"\x11"),
        lambda: trie.update({root: data}.get, root, {b"\x11": b"x"}),
    ):
        with pytest.raises(StorageCorrupt, match=f"{root.hex()} is garbled"):
            act()


def test_an_extension_stays_one_when_what_would_split_it_is_deleted_and_not_there() -> None:
    """The branch that the split begins with has one child, and must not be left so."""
    store = Nodes()
    model = {b"\x11\x10": b"a" * 40, b"\x11\x1f": b"b" * 40}
    root = store.update(trie.EMPTY_ROOT, model)
    root = store.update(root, {b"\x11\x10": b"c" * 40, b"\x12\x00": None})
    assert root == reference_root({**model, b"\x11\x10": b"c" * 40})
    root = store.update(root, {b"\x11\x10": None, b"\x12\x00": None})
    assert root == reference_root({b"\x11\x1f": b"b" * 40})


def reads_of(
    store: Nodes, root: Hash32, changes: dict[bytes, bytes | None], before: dict[bytes, bytes]
) -> list[Hash32]:
    """Which nodes an update reads; its root must be that of an update that knows nothing."""
    read: list[Hash32] = []

    def reader(node_hash: Hash32) -> bytes | None:
        read.append(node_hash)
        return store.read(node_hash)

    known = trie.update(reader, root, changes, before)
    assert known == trie.update(store.read, root, changes)
    assert len(read) == len(set(read)), "each node is read once"
    return read


def test_a_leaf_whose_value_is_known_is_not_read() -> None:
    store, entries = Nodes(), {keccak256(bytes([i])): bytes([i]) * 40 for i in range(100)}
    root = store.update(trie.EMPTY_ROOT, dict(entries))
    for key, value in entries.items():
        leaf = keccak256(trie.prove(store.read, root, key)[-1])
        for changes in ({key: b"new" * 20}, {key: None}):
            assert leaf in reads_of(store, root, changes, {})
            assert leaf not in reads_of(store, root, changes, {key: value})
            assert leaf in reads_of(store, root, changes, {key: b"another value"}), "what isn't so does no harm"


def test_a_known_value_inside_its_parent_or_nowhere_does_no_harm() -> None:
    """Short leaves stand in their parents, and keys that are new stand nowhere: neither has a hash."""
    store = Nodes()
    entries: dict[bytes, bytes | None] = {bytes([0, i]): bytes([i]) for i in range(20)}
    root = store.update(trie.EMPTY_ROOT, entries)
    for changes in ({b"\x00\x05": b"x"}, {b"\x00\x05": None}, {b"\x77\x05": b"x"}, {b"\x00\x77": b"x" * 40}):
        reads_of(store, root, changes, dict.fromkeys(changes, b"\x05"))

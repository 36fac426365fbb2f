"""Nodes that are not read: from the cache, or known by the value of their leaf. Roots and written nodes stay what they are."""

import random

from evm_runtime.state import keys, trie
from evm_runtime.state.node_cache import NodeCache
from evm_runtime.state.source import decode_account
from evm_runtime.state.stored_rlp import decode_stored
from genesis.codec import decode_rlp, encode_rlp
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, signed

SEED = 20261124


class Reads:
    """A node store that counts what is read."""

    def __init__(self) -> None:
        self.nodes: dict[Hash32, bytes] = {}
        self.count = 0

    def __call__(self, node_hash: Hash32) -> bytes | None:
        self.count += 1
        return self.nodes.get(node_hash)


def random_changes(rng: random.Random, pool: list[Hash32]) -> dict[bytes, bytes | None]:
    return {
        key: None if rng.random() < 0.2 else rng.randbytes(rng.choice([1, 33, 70, 104]))
        for key in rng.sample(pool, rng.choice([1, 3, 60]))
    }


def test_cache_and_known_values_change_neither_roots_nor_nodes() -> None:
    rng = random.Random(SEED)
    pool = [keccak256(place.to_bytes(4, "big")) for place in range(800)]
    read, cache = Reads(), NodeCache(60_000)  # too small for all of it
    root, model = trie.EMPTY_ROOT, dict[bytes, bytes]()
    for _ in range(60):
        changes = random_changes(rng, pool)
        before = {key: model[key] for key in changes if key in model and rng.random() < 0.8}
        for key in rng.sample(sorted(changes), len(changes) // 5):  # wrong, or not there at all
            before[key] = rng.randbytes(50)
        plain = trie.update(read.nodes.get, root, changes)
        assert trie.update(read, root, changes, before, cache) == plain, SEED
        root, new_nodes = plain
        read.nodes.update(new_nodes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
    assert dict(trie.items(read.nodes.get, root)) == model


def test_values_that_are_known_are_not_read_again() -> None:
    pool = {keccak256(place.to_bytes(4, "big")): b"\x01" * 80 for place in range(3_000)}
    read, cache = Reads(), NodeCache()
    root, read.nodes = trie.update(read, trie.EMPTY_ROOT, pool, None, cache)
    some = dict.fromkeys(list(pool)[::20], b"\x02" * 80)
    expected, read.count = trie.update(read.nodes.get, root, some), 0
    assert trie.update(read, root, some, None, cache) == expected
    assert read.count >= len(some)  # every leaf, and no branch
    read.count = 0
    assert trie.update(read, root, some, pool, cache) == expected
    assert read.count <= 5  # extensions, which are rare


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = NodeCache(bytes_max=100_000)
    used, branch, leaf = keccak256(b"used"), bytes(499) + b"\x80", bytes(109) + b"\x70"
    cache.put(used, branch)
    for place in range(2_000):
        cache.put(keccak256(b"%d" % place), branch)
        assert cache.get(used) == branch
        assert len(cache) * 700 <= 102_000
    assert cache.get(keccak256(b"0")) is None
    cache.put(keccak256(b"leaf"), leaf)
    assert cache.get(keccak256(b"leaf")) is None


def test_blocks_that_never_become_final_leave_no_hole_in_the_stored_trie() -> None:
    rng = random.Random(SEED)
    chain = Chain()
    nonces = [0] * len(ADDRESSES)

    def transfers() -> list[object]:
        senders = rng.sample(range(len(ADDRESSES)), 3)
        return [signed(key, nonce=nonces[key], to=Address(rng.randbytes(20)), value=1) for key in senders]

    for _ in range(15):
        chain.build(transfers())  # another proposal, never decided
        executed = chain.advance(*transfers())
        for tx in executed.transactions:
            nonces[ADDRESSES.index(tx.sender)] += 1
    flat = {keccak256(key[1:]): value for key, value in chain.store.iterate(b"a")}
    stored = dict(trie.items(lambda value: chain.store.get(keys.node(value)), chain.tip.state_root))
    assert stored == flat
    assert all(decode_account(value) for value in flat.values())


def test_stored_rlp_is_read_as_the_strict_decoder_reads_it() -> None:
    rng = random.Random(SEED)
    lengths = (0, 1, 31, 32, 33, 55, 56, 80, 255, 256, 300)

    def text() -> bytes:
        return rng.randbytes(rng.choice(lengths))

    for _ in range(2_000):
        shape = rng.randrange(4)
        if shape == 0:
            value: object = [rng.choice([b"", rng.randbytes(32)]) for _ in range(16)] + [b""]
        elif shape == 1:
            value = [rng.randbytes(32) for _ in range(16)] + [rng.choice([b"", b"\x01", rng.randbytes(32)])]
        elif shape == 2:
            value = [text() for _ in range(rng.randrange(20))]
        else:
            value = rng.choice([text(), [text(), [text(), [b"\x05"]]], [[b"", b"\x7f"]] * 16 + [b""]])
        data = encode_rlp(value)
        assert decode_stored(data) == value == decode_rlp(data, size_max=10_000), SEED

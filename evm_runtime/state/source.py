"""Where a state is read from: the flat entries of the finalized tip, or the trie under any block's root.

Both give the same answers for the tip. Flat reads cost one look-up; trie reads one per node on the path, and work for every
block since genesis.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import rusty_rlp

from evm_runtime.fields import int_bytes
from evm_runtime.state import keys, trie
from evm_runtime.state.kv import KeyValueReader
from evm_runtime.state.stored_rlp import decode_stored
from genesis.codec import encode_rlp
from genesis.errors import InvariantError, StorageCorrupt
from genesis.primitives import Address, Hash32, keccak256


class Account(NamedTuple):
    """What the state trie holds of an account, in its order; the balance in wei."""

    nonce: int
    balance: int
    storage_root: Hash32
    code_hash: Hash32


EMPTY_CODE_HASH: Final = keccak256(b"")
EMPTY_ACCOUNT: Final = Account(0, 0, trie.EMPTY_ROOT, EMPTY_CODE_HASH)


def encode_account(account: Account) -> bytes:
    nonce, balance, storage_root, code_hash = account
    return encode_rlp([int_bytes(nonce), int_bytes(balance), storage_root, code_hash])


def decode_account(data: bytes) -> Account:
    """Read what `encode_account` wrote (our own storage: no gateway, a misfit is corruption)."""
    try:
        nonce, balance, storage_root, code_hash = decode_stored(data)
        return Account(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), storage_root, code_hash)
    except (ValueError, TypeError, rusty_rlp.DecodingError):
        raise StorageCorrupt(f"an account record is garbled: {data.hex()}") from None


def slot_key(slot: int) -> bytes:
    """The key of a storage slot in its account's trie."""
    return keccak256(slot.to_bytes(32, "big"))


class StateSource(Protocol):
    """Read access to one state."""

    def account(self, address: Address) -> Account | None: ...

    def storage(self, address: Address, storage_root: Hash32, slot: int) -> int:
        """The value of a slot of an account whose storage root in this state is `storage_root`."""
        ...

    def storage_keys(self, address: Address) -> Iterator[bytes]:
        """The flat keys of an account's slots."""
        ...

    def code(self, code_hash: Hash32) -> bytes: ...

    def blob(self, blob_hash: Hash32) -> bytes | None: ...

    def node(self, node_hash: Hash32) -> bytes | None: ...


class _ContentSource:
    """What is addressed by its hash and so shared by all states."""

    def __init__(self, store: KeyValueReader) -> None:
        self._store = store

    def code(self, code_hash: Hash32) -> bytes:
        if code_hash == EMPTY_CODE_HASH:
            return b""
        code = self._store.get(keys.code(code_hash))
        if code is None:
            raise StorageCorrupt(f"contract code {code_hash.hex()} is missing")
        return code

    def blob(self, blob_hash: Hash32) -> bytes | None:
        return self._store.get(keys.blob(blob_hash))

    def node(self, node_hash: Hash32) -> bytes | None:
        return self._store.get(keys.node(node_hash))


class FlatSource(_ContentSource):
    """The finalized tip."""

    def account(self, address: Address) -> Account | None:
        data = self._store.get(keys.account(address))
        return None if data is None else decode_account(data)

    def storage(self, address: Address, storage_root: Hash32, slot: int) -> int:
        if storage_root == trie.EMPTY_ROOT:
            return 0
        return int.from_bytes(self._store.get(keys.storage(address, slot)) or b"", "big")

    def storage_keys(self, address: Address) -> Iterator[bytes]:
        return (key for key, _ in self._store.iterate(keys.storage_prefix(address)))


class TrieSource(_ContentSource):
    """The state under `state_root`. Raises StorageCorrupt where a node is missing."""

    def __init__(self, store: KeyValueReader, state_root: Hash32) -> None:
        super().__init__(store)
        self.state_root: Final = state_root

    def account(self, address: Address) -> Account | None:
        data = trie.get(self.node, self.state_root, keccak256(address))
        return None if data is None else decode_account(data)

    def storage(self, address: Address, storage_root: Hash32, slot: int) -> int:
        if storage_root == trie.EMPTY_ROOT:
            return 0
        data = trie.get(self.node, storage_root, slot_key(slot))
        return 0 if data is None else int.from_bytes(decode_stored(data), "big")

    def storage_keys(self, address: Address) -> Iterator[bytes]:
        raise InvariantError("only the state of the finalized tip can be written to")


def stored_root(store: KeyValueReader) -> Hash32:
    """The state root of the finalized tip. Raises StorageCorrupt for a store without a state."""
    root = store.get(keys.STATE_ROOT)
    if root is None:
        raise StorageCorrupt("the store holds no state: it has never seen a genesis block")
    return Hash32(root)

"""The states of final blocks as the attribution indexes read them (`attribution_precompile/index/gateway.py`)."""

from typing import Final

from evm_runtime.runtime import StateReader
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import InvariantError
from genesis.primitives import Hash32, Height
from node.storage.chain_store import ChainStore

SLOTS_KEPT: Final = 1 << 14
"""Slots of one state that are kept: records share slots, and are looked at more than once."""


class StoreStates:
    """Those of a store's chain, once it is attached. Read through the trie: by a root that nothing changes, from any thread."""

    def __init__(self) -> None:
        self._attached: ChainStore | None = None

    def attach(self, store: ChainStore) -> None:
        self._attached = store

    @property
    def _store(self) -> ChainStore:
        if self._attached is None:
            raise InvariantError("an index is asked before there is a chain")
        return self._attached

    def tip(self) -> Hash32:
        return self._store.tip().hash

    def number_of(self, block_hash: Hash32) -> int | None:
        return self._store.height_of(block_hash)

    def open(self, block_hash: Hash32) -> "StoredState":
        number = self._store.height_of(block_hash)
        header = None if number is None else self._store.header(Height(number))
        if header is None:
            raise InvariantError(f"block 0x{block_hash.hex()} is asked for its state, and is not stored")
        # Not from a snapshot: one that is kept for long keeps what was dropped on the disk.
        return StoredState(int(header.number), self._store.live_runtime.state(header))


class StoredState:
    """The attribution contract's slots and content after a block."""

    def __init__(self, number: int, reader: StateReader) -> None:
        self.number: Final = number
        self._reader: Final = reader
        self._slots: Final = reader.slots(ATTRIBUTION_ADDRESS)
        self._kept: dict[int, int] = {}

    def load(self, slot: int) -> int:
        found = self._kept.get(slot)
        if found is None:
            if len(self._kept) >= SLOTS_KEPT:
                self._kept.clear()
            found = self._kept[slot] = self._slots.load(slot)
        return found

    def store(self, slot: int, value: int) -> None:
        raise InvariantError("an index writes storage")

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self._reader.blob(blob_hash)

"""A state as the attribution contract's queries and index read it."""

from evm_runtime.runtime import StateReader
from genesis.primitives import Address, Hash32


class ContractReader:
    """Adapts the runtime's StateReader to `attribution_precompile.reading.queries.StorageReader`."""

    def __init__(self, state: StateReader) -> None:
        self._state = state

    def storage(self, address: Address, slot: int) -> int:
        return self._state.storage(address, slot)

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self._state.blob(blob_hash)

"""Merkle proofs of EIP-1186 under a state root that one trusts: whoever sends them need not be believed."""

from collections.abc import Sequence
from typing import Final

from evm_runtime import trie
from evm_runtime.source import EMPTY_ACCOUNT, Account, decode_account
from evm_runtime.stored_rlp import decode_stored
from genesis.errors import InvalidBlock, StorageCorrupt
from genesis.primitives import Address, Hash32, keccak256

PROOF_NODES_MAX: Final = 65
"""A key has 64 nibbles."""


def prove_account(state_root: Hash32, address: Address, proof: Sequence[bytes]) -> Account:
    """What a proof says of an account under a verified state root; zeros if it proves its absence.

    Raises InvalidBlock for a proof that is not under this root, or that does not reach the account.
    """
    try:
        value = _prove(state_root, address, proof)
        return EMPTY_ACCOUNT if value is None else decode_account(value)
    except StorageCorrupt:
        raise InvalidBlock(
            f"the proof of account 0x{address.hex()} does not belong to the state root {state_root.hex()}"
        ) from None


def prove_slot(storage_root: Hash32, slot: int, proof: Sequence[bytes]) -> int:
    """What a proof says of a slot under a proven storage root; 0 if it proves its absence. Raises InvalidBlock likewise."""
    try:
        value = _prove(storage_root, slot.to_bytes(32, "big"), proof)
        return 0 if value is None else int.from_bytes(decode_stored(value), "big")
    except StorageCorrupt:
        raise InvalidBlock(
            f"the proof of slot {slot:#x} does not belong to the storage root {storage_root.hex()}"
        ) from None


def _prove(root: Hash32, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    if len(proof) > PROOF_NODES_MAX:
        raise InvalidBlock(f"a proof of {len(proof)} nodes; no account and no slot is that deep")
    nodes = {keccak256(node): node for node in proof}
    return trie.get(nodes.get, root, keccak256(key))


class ProvenStorage:
    """A `StorageReader` (`attribution_precompile.queries`) over proven slots of one account; it knows nothing else."""

    def __init__(self, address: Address, slots: dict[int, int]) -> None:
        self._address = address
        self._slots = slots

    def storage(self, address: Address, slot: int) -> int:
        if address != self._address or slot not in self._slots:
            raise InvalidBlock(f"slot {slot:#x} of 0x{address.hex()} was not proven")
        return self._slots[slot]

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        raise InvalidBlock(f"content {blob_hash.hex()} is no part of the state, so it can't be proven")

"""Merkle proofs of EIP-1186 under a state root that one trusts: whoever sends them need not be believed.

The trie is read here once more (Yellow Paper, appendices C and D), in the plainest way and apart from the code that writes it.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from genesis.codec import decode_rlp, encode_rlp
from genesis.errors import InvalidBlock, WireError
from genesis.primitives import Address, Hash32, keccak256

PROOF_NODES_MAX: Final = 65
"""A key has 64 nibbles."""
_NODE_BYTES_MAX: Final = 4_096
_EMPTY_ROOT: Final = keccak256(encode_rlp(b""))


class Account(NamedTuple):
    """What the state trie holds of an account, in its order; the balance in wei."""

    nonce: int
    balance: int
    storage_root: Hash32
    code_hash: Hash32


ABSENT: Final = Account(0, 0, _EMPTY_ROOT, keccak256(b""))


class _Misfit(Exception):
    """The proof is not under the root, or does not reach the key."""


def prove_account(state_root: Hash32, address: Address, proof: Sequence[bytes]) -> Account:
    """What a proof says of an account under a verified state root; `ABSENT` if it proves its absence.

    Raises InvalidBlock for a proof that is not under this root, or that does not reach the account.
    """
    try:
        value = _prove(state_root, address, proof)
        if value is None:
            return ABSENT
        nonce, balance, storage_root, code_hash = decode_rlp(value, size_max=_NODE_BYTES_MAX, what="account")
        return Account(_number(nonce), _number(balance), Hash32(storage_root), Hash32(code_hash))
    except (_Misfit, WireError, ValueError, TypeError):
        raise InvalidBlock(
            f"the proof of account 0x{address.hex()} does not belong to the state root {state_root.hex()}"
        ) from None


def prove_slot(storage_root: Hash32, slot: int, proof: Sequence[bytes]) -> int:
    """What a proof says of a slot under a proven storage root; 0 if it proves its absence. Raises InvalidBlock likewise."""
    try:
        value = _prove(storage_root, slot.to_bytes(32, "big"), proof)
        return 0 if value is None else _number(decode_rlp(value, size_max=_NODE_BYTES_MAX, what="slot"))
    except (_Misfit, WireError, ValueError, TypeError):
        raise InvalidBlock(
            f"the proof of slot {slot:#x} does not belong to the storage root {storage_root.hex()}"
        ) from None


def _prove(root: Hash32, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The value of a key under a root, or None where the proof shows that it has none."""
    if len(proof) > PROOF_NODES_MAX:
        raise InvalidBlock(f"a proof of {len(proof)} nodes; no account and no slot is that deep")
    nodes = {keccak256(node): node for node in proof}
    left = keccak256(key).hex()
    reference: Any = b"" if root == _EMPTY_ROOT else root
    while reference != b"":
        node = reference if isinstance(reference, list) else _open(nodes, reference)
        if len(node) == 17:
            reference, left = node[int(left[0], 16)], left[1:]
            continue
        path, is_leaf = _read_path(node[0])
        if not left.startswith(path) or (is_leaf and path != left):
            return None
        if is_leaf:
            value: bytes = node[1]
            return value
        reference, left = node[1], left[len(path) :]
    return None


def _open(nodes: dict[Hash32, bytes], node_hash: Any) -> list[Any]:
    data = nodes.get(node_hash)
    node = None if data is None else decode_rlp(data, size_max=_NODE_BYTES_MAX, what="trie node")
    if not isinstance(node, list) or len(node) not in (2, 17):
        raise _Misfit
    return node


def _read_path(encoded: bytes) -> tuple[str, bool]:
    """Hex-prefix encoding: the nibbles as hex digits, and whether the node is a leaf."""
    digits = encoded.hex()
    flag = int(digits[0], 16)
    return digits[1 if flag & 1 else 2 :], flag >= 2


def _number(raw: Any) -> int:
    if not isinstance(raw, bytes):
        raise TypeError("expected a number")
    return int.from_bytes(raw, "big")


class ProvenStorage:
    """Proven slots of one account, read as a state is; it knows nothing else."""

    def __init__(self, address: Address, slots: dict[int, int]) -> None:
        self._address = address
        self._slots = slots

    def storage(self, address: Address, slot: int) -> int:
        """Raises InvalidBlock for what was not proven."""
        if address != self._address or slot not in self._slots:
            raise InvalidBlock(f"slot {slot:#x} of 0x{address.hex()} was not proven")
        return self._slots[slot]

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        raise InvalidBlock(f"content {blob_hash.hex()} is no part of the state, so it can't be proven")

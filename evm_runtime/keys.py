"""Where state lies in the key-value port. The only place that knows the layout.

    r                       state root of the finalized tip (32 bytes)
    a ‖ address             the account as the state trie holds it: rlp([nonce, balance, storage root, code hash])
    s ‖ address ‖ slot      a non-zero storage value, big-endian without leading zeros; the slot as 32 bytes
    c ‖ code hash           contract code
    b ‖ keccak              content-addressed blobs of native contracts
    n ‖ keccak              trie nodes of every block since genesis (accounts and storage), never deleted

`r`, `a` and `s` are the flat state of the tip; `c`, `b` and `n` are content-addressed, so older states share them.
"""

from typing import Final

from genesis.primitives import Address, Hash32

STATE_ROOT: Final = b"r"


def account(address: Address) -> bytes:
    return b"a" + address


def storage_prefix(address: Address) -> bytes:
    return b"s" + address


def storage(address: Address, slot: int) -> bytes:
    return b"s" + address + slot.to_bytes(32, "big")


def code(code_hash: Hash32) -> bytes:
    return b"c" + code_hash


def blob(blob_hash: Hash32) -> bytes:
    return b"b" + blob_hash


def node(node_hash: Hash32) -> bytes:
    return b"n" + node_hash

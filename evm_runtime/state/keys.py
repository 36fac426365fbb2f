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
_ACCOUNT: Final = b"a"
_STORAGE: Final = b"s"
_ADDRESS_END: Final = 1 + 20


def account(address: Address) -> bytes:
    return _ACCOUNT + address


def storage_prefix(address: Address) -> bytes:
    return _STORAGE + address


def storage(address: Address, slot: int) -> bytes:
    return _STORAGE + address + slot.to_bytes(32, "big")


def parse(key: bytes) -> tuple[Address, int | None] | None:
    """The address, and the slot if it is one, of a key of the flat state; None for any other key."""
    address = Address(key[1:_ADDRESS_END])
    if key[:1] == _ACCOUNT:
        return address, None
    return (address, int.from_bytes(key[_ADDRESS_END:], "big")) if key[:1] == _STORAGE else None


def code(code_hash: Hash32) -> bytes:
    return b"c" + code_hash


def blob(blob_hash: Hash32) -> bytes:
    return b"b" + blob_hash


def node(node_hash: Hash32) -> bytes:
    return b"n" + node_hash

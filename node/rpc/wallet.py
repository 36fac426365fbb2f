"""Accounts that the node signs for: those of a devnet's well-known mnemonic, and nobody's elsewhere.

A node of a real chain holds no account keys, so its wallet is empty: `eth_accounts` answers an empty list, and everything that
would need a key is refused as geth refuses it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from genesis.crypto import address_of_private_key, sign
from genesis.primitives import Address, Hash32, keccak256
from node.rpc.schema.errors import server_error
from node.rpc.schema.params import BadParam

if TYPE_CHECKING:
    from evm_runtime.transaction import Transaction

_PERSONAL: Final = b"\x19Ethereum Signed Message:\n"


class Wallet:
    """Private keys by address, in the order in which they were given."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._keys: Final = {address_of_private_key(key): key for key in keys}
        self._turns = {address: trio.Lock() for address in self._keys}

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(self._keys)

    def turn(self, address: Address) -> trio.Lock:
        """Held from choosing a nonce of `address` to the transaction's admission. Raises RpcError ("unknown account")."""
        self._key(address)
        return self._turns[address]

    def sign_transaction(self, tx: "Transaction") -> "Transaction":
        """Raises RpcError if its sender is none of ours."""
        from evm_runtime.signing import sign_transaction

        return sign_transaction(tx, self._key(tx.sender))

    def sign_message(self, address: Address, message: bytes) -> bytes:
        """EIP-191 (`personal_sign`): 65 bytes, v being 27 or 28. Raises RpcError as above."""
        return self._sign(address, keccak256(_PERSONAL + str(len(message)).encode() + message))

    def sign_typed_data(self, address: Address, typed_data: dict[str, Any]) -> bytes:
        """EIP-712. Raises RpcError as above, BadParam for data that does not fit its types."""
        from eth_account.messages import encode_typed_data

        self._key(address)
        try:
            signable = encode_typed_data(full_message=typed_data)
        except Exception as error:  # eth-account has no error of its own: it raises whatever comes
            raise BadParam(f"typed data: {error}") from None
        return self._sign(address, keccak256(b"\x19" + signable.version + signable.header + signable.body))

    def _sign(self, address: Address, digest: Hash32) -> bytes:
        signature = sign(self._key(address), digest)
        return signature[:64] + bytes([27 + signature[64]])

    def _key(self, address: Address) -> bytes:
        key = self._keys.get(address)
        if key is None:
            raise server_error("unknown account")
        return key

"""Accounts and signed transactions in bulk, signed through the project's own codec."""

from dataclasses import dataclass
from functools import cached_property

from evm_runtime.fields import int_bytes
from evm_runtime.transaction import DYNAMIC_FEE, signing_hash
from genesis.chain_spec import GenesisAccount
from genesis.codec import encode_rlp
from genesis.crypto import address_of_private_key, sign
from genesis.primitives import WEI_PER_OPEN, Address, Wei, keccak256

GWEI = 10**9


@dataclass(frozen=True)
class Sender:
    """A private key."""

    key: bytes

    @cached_property
    def address(self) -> Address:
        return address_of_private_key(self.key)

    def sign(
        self,
        chain_id: int,
        nonce: int,
        to: bytes,
        *,
        value: int = 0,
        data: bytes = b"",
        gas: int = 21_000,
        max_fee: int = 100 * GWEI,
        tip: int = GWEI,
    ) -> bytes:
        """A raw EIP-1559 transaction."""
        numbers = [int_bytes(number) for number in (chain_id, nonce, tip, max_fee, gas)]
        fields = [*numbers, to, int_bytes(value), data, []]
        signature = sign(self.key, signing_hash(DYNAMIC_FEE, fields))
        r, s = (int_bytes(int.from_bytes(signature[at : at + 32], "big")) for at in (0, 32))
        return bytes([DYNAMIC_FEE]) + encode_rlp([*fields, int_bytes(signature[64]), r, s])


def senders(count: int) -> list[Sender]:
    """The same keys every time."""
    return [Sender(keccak256(b"bench sender %d" % place)) for place in range(count)]


def receiver(place: int) -> Address:
    """An account that nobody has the key of."""
    return Address(keccak256(b"bench receiver %d" % place)[12:])


def funded(accounts: list[Sender], each_open: int = 1_000) -> list[GenesisAccount]:
    return [GenesisAccount(account.address, Wei(each_open * WEI_PER_OPEN)) for account in accounts]

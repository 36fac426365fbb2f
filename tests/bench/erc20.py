"""A Vyper ERC-20 as benches use it: in the genesis state, with balances."""

from collections.abc import Iterable
from typing import Final

import vyper

from genesis.chain_spec import GenesisAccount
from genesis.primitives import Address, abi_words, keccak256
from tests.unit.evm_runtime.chain import contract

TOKEN: Final = Address(b"\x70" * 20)
TOKEN_GAS: Final = 60_000
"""A gas limit that is enough for any transfer."""
_SOURCE: Final = """
# pragma version ^0.4.0
event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

balanceOf: public(HashMap[address, uint256])

@external
def transfer(receiver: address, amount: uint256) -> bool:
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=msg.sender, receiver=receiver, value=amount)
    return True
"""


def token(holders: Iterable[Address]) -> GenesisAccount:
    """The contract at `TOKEN`, with a balance for each of the holders."""
    code = vyper.compile_code(_SOURCE, output_formats=["bytecode_runtime"])["bytecode_runtime"]
    balances = {int.from_bytes(keccak256(abi_words(0, holder)), "big"): 10**18 for holder in holders}
    return contract(TOKEN, code.removeprefix("0x"), storage=balances)


def transfer(to: Address, amount: int = 1) -> bytes:
    """Calldata of a transfer."""
    return keccak256(b"transfer(address,uint256)")[:4] + abi_words(to, amount)

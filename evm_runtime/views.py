"""Reading a state without executing anything: balances, code, storage, proofs, validators, supply."""

from dataclasses import dataclass
from typing import Final

from evm_runtime.staking.layout import VALIDATORS, ValidatorRecord
from evm_runtime.staking.sets import ValidatorsState, read_validators
from evm_runtime.staking.slashing import is_punishable
from evm_runtime.staking.supply import StakeBooks, SupplyState, read_books, read_supply
from evm_runtime.state import trie
from evm_runtime.state.source import EMPTY_ACCOUNT, Account, StateSource, slot_key
from genesis.chain_spec import STAKING_ADDRESS
from genesis.errors import InvariantError
from genesis.primitives import ZERO_HASH, Address, Hash32, Wei, keccak256


@dataclass(frozen=True, slots=True)
class StorageProof:
    """The value of a slot and the trie nodes that prove it, root first."""

    slot: int
    value: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountProof:
    """What eth_getProof answers (EIP-1186).

    An absent account has zeros everywhere, its two hashes too: as geth answers since 1.13.4, and Erigon, reth and Nethermind
    after it. The EIP speaks of accounts without code only, whose hashes are those of nothing.
    """

    address: Address
    balance: Wei
    nonce: int
    code_hash: Hash32
    storage_hash: Hash32
    account_proof: tuple[bytes, ...]
    storage_proof: tuple[StorageProof, ...]


class StateReader:
    """One state, by its source and root. Cheap to make; holds no cache."""

    def __init__(self, source: StateSource, root: Hash32) -> None:
        self.source: Final = source
        self.root: Final = root

    def account(self, address: Address) -> Account | None:
        """What the trie holds of an account, or None."""
        return self.source.account(address)

    def balance(self, address: Address) -> Wei:
        return Wei(self._account(address).balance)

    def nonce(self, address: Address) -> int:
        return self._account(address).nonce

    def code(self, address: Address) -> bytes:
        return self.source.code(self._account(address).code_hash)

    def storage(self, address: Address, slot: int) -> int:
        return self.source.storage(address, self._account(address).storage_root, slot)

    def blob(self, blob_hash: Hash32) -> bytes | None:
        """Content that a native contract keeps beside the state."""
        return self.source.blob(blob_hash)

    def proof(self, address: Address, slots: tuple[int, ...] = ()) -> AccountProof:
        """Prove an account and some of its slots under this state's root."""
        account = self.account(address)
        nonce, balance, storage_root, code_hash = account or EMPTY_ACCOUNT
        return AccountProof(
            address=address,
            balance=Wei(balance),
            nonce=nonce,
            code_hash=code_hash if account else ZERO_HASH,
            storage_hash=storage_root if account else ZERO_HASH,
            account_proof=trie.prove(self.source.node, self.root, keccak256(address)),
            storage_proof=tuple(
                StorageProof(
                    slot,
                    self.source.storage(address, storage_root, slot),
                    trie.prove(self.source.node, storage_root, slot_key(slot)),
                )
                for slot in slots
            ),
        )

    def validators(self) -> ValidatorsState:
        """Who votes at the next heights, and the proposer priorities."""
        return read_validators(AccountSlots(self, STAKING_ADDRESS))

    def supply(self) -> SupplyState:
        return read_supply(AccountSlots(self, STAKING_ADDRESS))

    def stake_books(self) -> StakeBooks:
        """Where all stake is."""
        return read_books(AccountSlots(self, STAKING_ADDRESS))

    def validator_record(self, validator: Address) -> ValidatorRecord:
        """What the chain knows of a validator; see `ValidatorRecord.exists`."""
        return VALIDATORS.load(AccountSlots(self, STAKING_ADDRESS), validator)

    def is_punishable(self, validator: Address) -> bool:
        """Would evidence against it be taken: is it a validator, or was it one, that has not been slashed yet?"""
        return is_punishable(AccountSlots(self, STAKING_ADDRESS), validator)

    def slots(self, address: Address) -> "AccountSlots":
        """The storage of one account in the form that native contracts' typed storage reads."""
        return AccountSlots(self, address)

    def _account(self, address: Address) -> Account:
        return self.source.account(address) or EMPTY_ACCOUNT


class AccountSlots:
    """Read-only storage of one account (the `Slots` port of native storage)."""

    def __init__(self, reader: StateReader, address: Address) -> None:
        self._source = reader.source
        self._address = address
        self._root = (reader.account(address) or EMPTY_ACCOUNT).storage_root

    def load(self, slot: int) -> int:
        return self._source.storage(self._address, self._root, slot)

    def store(self, slot: int, value: int) -> None:
        raise InvariantError("a reader of state can't write")

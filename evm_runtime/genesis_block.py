"""Block 0: its state and header, computed from the chain spec and nothing else."""

from dataclasses import dataclass
from typing import Final

from evm_runtime.header import (
    EMPTY_BLOOM,
    EMPTY_OMMERS_HASH,
    EMPTY_REQUESTS_HASH,
    EMPTY_TRIE_ROOT,
    ZERO_NONCE,
    Header,
)
from evm_runtime.staking.genesis_state import write_genesis
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import MemoryStore, WriteSet
from evm_runtime.state.source import FlatSource
from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE, HISTORY_ADDRESS, HISTORY_CODE
from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS, ChainSpec, GenesisAccount
from genesis.errors import LocalError
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Height

NATIVE_CODE: Final = b"\xfe"
"""INVALID: makes native accounts contracts for Solidity's extcodesize check, and does nothing if it is ever run."""

_FIXED_ACCOUNTS: Final[dict[Address, bytes]] = {
    ATTRIBUTION_ADDRESS: NATIVE_CODE,
    STAKING_ADDRESS: NATIVE_CODE,
    BEACON_ROOTS_ADDRESS: BEACON_ROOTS_CODE,
    HISTORY_ADDRESS: HISTORY_CODE,
}
"""Accounts of every chain's genesis, all with nonce 1 so that EIP-161 keeps them."""


@dataclass(frozen=True, slots=True)
class GenesisBlock:
    """The header of block 0, and what an empty store takes over for its state."""

    header: Header
    writes: WriteSet


def build_genesis(spec: ChainSpec) -> GenesisBlock:
    """Compute block 0. Raises LocalError if an account of `alloc` can't be part of a state."""
    db = AccountDB(FlatSource(MemoryStore()), EMPTY_TRIE_ROOT)
    for account in spec.alloc:
        _add_account(db, account)
    for address, code in _FIXED_ACCOUNTS.items():
        db.set_nonce(address, 1)
        db.set_code(address, code)
    db.set_balance(STAKING_ADDRESS, spec.genesis_stake)
    write_genesis(_GenesisSlots(db, STAKING_ADDRESS), spec)
    state_root, writes = db.finalize()
    header = Header(
        parent_hash=ZERO_HASH,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=ZERO_ADDRESS,
        state_root=state_root,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        bloom=EMPTY_BLOOM,
        difficulty=0,
        number=Height(0),
        gas_limit=spec.block.gas_limit,
        gas_used=0,
        timestamp=spec.genesis_time_ms // 1_000,
        extra_data=b"",
        prev_randao=ZERO_HASH,
        nonce=ZERO_NONCE,
        base_fee_per_gas=spec.block.base_fee_initial,
        withdrawals_root=EMPTY_TRIE_ROOT,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=ZERO_HASH,
        requests_hash=EMPTY_REQUESTS_HASH,
    )
    return GenesisBlock(header, writes)


def _add_account(db: AccountDB, account: GenesisAccount) -> None:
    name = f"genesis: alloc 0x{account.address.hex()}"
    if account.address in _FIXED_ACCOUNTS:
        raise LocalError(f"{name}: this account is the chain's own")
    if not (account.balance or account.nonce or account.code):
        raise LocalError(f"{name}: an account has a balance, a nonce or code (EIP-161 would remove it)")
    try:
        db.set_balance(account.address, account.balance)
        db.set_nonce(account.address, account.nonce)
        if account.code:
            db.set_code(account.address, account.code)
        for slot, value in account.storage:
            _check_word(slot)
            db.set_storage(account.address, slot, value)
    except ValueError as error:
        raise LocalError(f"{name}: {error}") from None


def _check_word(value: int) -> None:
    if not 0 <= value < 1 << 256:
        raise ValueError(f"{value} is not a 256-bit word")


class _GenesisSlots:
    """The storage of one account while genesis is written (the `Slots` port of native storage)."""

    def __init__(self, db: AccountDB, address: Address) -> None:
        self._db = db
        self._address = address

    def load(self, slot: int) -> int:
        return self._db.get_storage(self._address, slot)

    def store(self, slot: int, value: int) -> None:
        self._db.set_storage(self._address, slot, value)

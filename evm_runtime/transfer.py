"""The short way for a transaction that runs no code: value to an account that is no contract, precompile or native contract.

Most transactions of a chain are such transfers, and all that one does is known beforehand: it pays for its bytes, and changes
two balances, a nonce and the coinbase's balance. So it needs no message, frame or warm addresses (`make bench-evm` shows what
that saves). Effects and outcome are those of `transition`'s general way, which takes every other transaction, and these too
where somebody watches: a tracer, an interrupt, a collector of accesses or movements. `tests/unit/evm_runtime/test_transfer.py`
runs both.
"""

from typing import Any

from evm_runtime.blobs import hashes_of
from evm_runtime.computation import State
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.source import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account
from evm_runtime.transaction import Transaction
from genesis.primitives import Address


def is_plain(state: State, tx: Transaction) -> bool:
    """Whether the short way may take `tx`: no code anywhere on it (an EIP-7702 delegation is code), and nobody watches."""
    to, db = tx.to, state.account_db
    computation: Any = state.computation_class
    precompiles = computation.get_precompiles()  # natives are among them
    return (
        to is not None
        and not tx.authorizations
        and not hashes_of(tx)
        and db.get_code_hash(to) == EMPTY_CODE_HASH
        and to not in precompiles
        and state.step_hook is None
        and state.poll is None
        and not db.traces_access
        and not computation.tells_movements
    )


def apply(state: State, tx: Transaction, base_fee: int) -> int:
    """Do all that a plain transfer does; it was checked against the state before. `base_fee` in wei per gas.

    Returns the gas used: the intrinsic gas or the floor of EIP-7623, whichever is more. Raises ValueError, with some of it
    done, where a nonce or balance would leave its range.
    """
    db, to, coinbase = state.account_db, Address(tx.to or b""), Address(state.coinbase)
    price = tx.effective_gas_price(base_fee)
    gas_used = max(tx.intrinsic_gas, tx.floor_gas)
    tip = gas_used * (price - base_fee)
    nonce, balance, storage_root, code_hash = db.get_account(tx.sender) or EMPTY_ACCOUNT
    db.set_account(tx.sender, Account(nonce + 1, balance - gas_used * price - tx.value, storage_root, code_hash))
    _credit(db, to, tx.value)
    _credit(db, coinbase, tip)
    if not tx.value:
        _sweep(db, to)
    if not tip:
        _sweep(db, coinbase)
    return gas_used


def _credit(db: AccountDB, address: Address, amount: int) -> None:
    if amount:
        nonce, balance, storage_root, code_hash = db.get_account(address) or EMPTY_ACCOUNT
        db.set_account(address, Account(nonce, balance + amount, storage_root, code_hash))


def _sweep(db: AccountDB, address: Address) -> None:
    """EIP-161: an account that was touched and is empty doesn't exist."""
    if db.account_exists(address) and db.account_is_empty(address):
        db.delete_account(address)

"""What a call takes accounts and the block around it to be, as geth's state and block overrides say."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from evm_runtime.header import Header
from evm_runtime.native.base import MadeUp
from evm_runtime.precompiles import Precompile
from evm_runtime.state.account_db import AccountDB
from evm_runtime.views import StateReader
from genesis.errors import InvalidTransaction
from genesis.primitives import Address, Hash32


@dataclass(frozen=True, slots=True)
class AccountOverride:
    """What an account is taken to be for one call. `state` replaces all its storage, `state_diff` some of it."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    state: Mapping[int, int] | None = None
    state_diff: Mapping[int, int] | None = None
    move_precompile_to: Address | None = None
    """Where the precompile of this address is to be found instead."""


StateOverrides = Mapping[Address, AccountOverride]


@dataclass(frozen=True, slots=True)
class BlockOverrides:
    """What the block around a call is taken to be; `time` in seconds, fees in wei, `block_hashes` by height."""

    number: int | None = None
    time: int | None = None
    gas_limit: int | None = None
    coinbase: Address | None = None
    prev_randao: Hash32 | None = None
    base_fee: int | None = None
    blob_base_fee: int | None = None
    block_hashes: Mapping[int, Hash32] = field(default_factory=dict)

    def apply(self, header: Header) -> Header:
        """The header with what of this a header has."""
        changes: dict[str, Any] = {
            "number": self.number,
            "timestamp": self.time,
            "gas_limit": self.gas_limit,
            "coinbase": self.coinbase,
            "prev_randao": self.prev_randao,
            "base_fee_per_gas": self.base_fee,
        }
        return header.replace(**{name: value for name, value in changes.items() if value is not None})


def override_accounts(db: AccountDB, overrides: StateOverrides) -> None:
    """Write the overrides into a state. Raises InvalidTransaction for values that no account can have."""
    for address, override in overrides.items():
        try:
            _override_account(db, address, override)
        except ValueError as error:
            raise InvalidTransaction(f"state override: {error}") from None


def _override_account(db: AccountDB, address: Address, override: AccountOverride) -> None:
    if override.balance is not None:
        db.set_balance(address, override.balance)
    if override.nonce is not None:
        db.set_nonce(address, override.nonce)
    if override.code is not None:
        db.set_code(address, override.code)
    if override.state is not None:
        db.delete_storage(address)
    for slot, value in {**(override.state or {}), **(override.state_diff or {})}.items():
        db.set_storage(address, slot, value)


class OverriddenState:
    """A state with overridden storage, for natives to learn from (`native/base.py`)."""

    def __init__(self, state: StateReader, overrides: StateOverrides) -> None:
        self._state: Final = state
        self._overrides: Final = overrides

    def storage(self, address: Address, slot: int) -> int:
        override = self._overrides.get(address)
        if override is not None:
            if override.state_diff is not None and slot in override.state_diff:
                return override.state_diff[slot]
            if override.state is not None:
                return override.state.get(slot, 0)
        return self._state.storage(address, slot)

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self._state.blob(blob_hash)


def override_storage(
    state: StateReader, number: int, overrides: StateOverrides, natives: Container[Address]
) -> MadeUp | None:
    """The state after block `number` as natives may learn from it: made up if the storage of one is overridden."""
    own = {at: each for at, each in overrides.items() if at in natives and (each.state is not None or each.state_diff)}
    return MadeUp(number, OverriddenState(state, own), anew=True) if own else None


class MovedOntoItself(InvalidTransaction):
    """A precompile can't be moved to where it is."""


class MovedTogether(InvalidTransaction):
    """Two precompiles can't be moved to one address."""


def replaced_natives(natives: Iterable[Address], overrides: StateOverrides) -> frozenset[Address]:
    """The native contracts whose accounts are given other code, which runs in their place."""
    return frozenset(at for at in natives if at in overrides and overrides[at].code is not None)


def override_precompiles(
    precompiles: Mapping[Address, Precompile], overrides: StateOverrides, natives: Container[Address]
) -> Mapping[Address, Precompile]:
    """The precompiles, moved where overrides say, and without those whose accounts are overridden at all.

    Raises InvalidTransaction, as geth does, for a move of what is no precompile, or to an account that is overridden too; for
    a move onto one of the chain's `natives`; and, as execution-apis says of eth_simulateV1, MovedOntoItself and MovedTogether.
    """
    left = dict(precompiles)
    moved: set[Address] = set()
    for address, override in sorted(overrides.items()):
        if address in moved:
            raise InvalidTransaction(f"account 0x{address.hex()} has already been overridden by a precompile")
        target, precompile = override.move_precompile_to, left.pop(address, None)
        if target is None:
            continue
        if precompile is None:
            raise InvalidTransaction(f"account 0x{address.hex()} is not a precompile")
        if target == address:
            raise MovedOntoItself(
                f"MovePrecompileToAddress referenced itself in replacement: account 0x{address.hex()}"
            )
        if target in moved:
            raise MovedTogether(
                f"multiple MovePrecompileToAddress referencing the same address to replace: account 0x{target.hex()}"
            )
        if target in overrides:
            raise InvalidTransaction(f"account 0x{target.hex()} is already overridden")
        if target in natives:
            raise InvalidTransaction(f"account 0x{target.hex()} is a native contract")
        left[target] = precompile
        moved.add(target)
    return left

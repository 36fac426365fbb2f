"""Movements of wei as the logs of a token that nobody deployed, for eth_simulateV1's `traceTransfers`.

Such a log stands among the real ones where the wei moved: by the transaction itself, a call or creation with value, or a
SELFDESTRUCT. It goes through the state's undo log like any other, so what a failed frame did is taken out again, and code runs
in every tier meanwhile. Movements are shown only; no receipt and no bloom knows of them.
"""

from typing import Any, Final, cast

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.exceptions import VMError

from evm_runtime.computation import Computation, State
from evm_runtime.receipt import Log
from evm_runtime.state.account_db import AccountDB
from evm_runtime.tracing.frames import address_of_word, stack_of
from genesis.primitives import Address, Hash32

TRANSFER_LOGS: Final = Address(b"\xee" * 20)
TRANSFER_TOPIC: Final = Hash32(bytes.fromhex("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"))


class Movement(Log):
    """A log that no contract made."""


def telling(computation: type[Computation]) -> type[Computation]:
    """`computation`, logging a `Movement` wherever wei move."""
    return type("TellingComputation", (_Telling, computation), {})


class _Telling(Computation):
    tells_movements = True

    @classmethod
    def apply_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        db = cast(State, state).account_db
        checkpoint = db.record()
        if message.should_transfer_value and not _is_callcode(message):
            _log(db, Address(message.sender), Address(message.storage_address), message.value)
        try:
            computation = super().apply_message(state, message, transaction_context, parent_computation)
        except VMError:
            db.discard(checkpoint)
            raise
        if computation.is_error:
            db.discard(checkpoint)
        return computation

    def before_selfdestruct(self) -> None:
        stack, own = stack_of(self), Address(self.msg.storage_address)
        if stack:
            _log(self.state.account_db, own, address_of_word(stack[-1]), self.state.account_db.get_balance(own))


def _is_callcode(message: MessageAPI) -> bool:
    """Whether it runs another's code with value in the sender's own name: nothing moves then."""
    borrows: Any = message.code_address != message.storage_address and not message.is_delegation
    return bool(borrows) and message.sender == message.storage_address and not message.is_create


def _log(db: AccountDB, sender: Address, to: Address, value: int) -> None:
    if value:
        topics = (TRANSFER_TOPIC, Hash32(bytes(12) + sender), Hash32(bytes(12) + to))
        db.add_event(Movement(TRANSFER_LOGS, topics, value.to_bytes(32, "big")))

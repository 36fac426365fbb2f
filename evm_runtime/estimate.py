"""eth_estimateGas: the least gas limit with which a message succeeds, found by bisection.

More gas buys more work too (`work.py`), so what is found is enough for both, and a message that does more work than any
transaction may is told so beforehand.
"""

from typing import Final

from eth.exceptions import Revert

from evm_runtime import work
from evm_runtime.calls import CallEnvironment, CallRequest, run_message
from evm_runtime.computation import State
from evm_runtime.gas import TRANSACTION_GAS
from evm_runtime.hardforks import fork_at
from evm_runtime.header import Header
from evm_runtime.transaction import GasTooLow
from evm_runtime.transition import Outcome
from evm_runtime.vm_errors import OutOfWork, error_text, is_short_of_gas
from genesis.errors import InvalidTransaction

_STIPEND: Final = 2_300
"""What a call with value adds to the callee's gas (and may take back from the caller's needs)."""


class ExecutionReverted(InvalidTransaction):
    """The message reverts with all the gas it may have. `data` is what it reverted with."""

    def __init__(self, data: bytes) -> None:
        super().__init__("execution reverted")
        self.data: Final = data


def estimate_gas(environment: CallEnvironment, header: Header, request: CallRequest, gas_cap: int) -> int:
    """Raises ExecutionReverted, InvalidTransaction if no gas within the bounds is enough, ExecutionInterrupted."""
    state = environment.state(header, request)
    params = environment.spec.block

    def attempt(gas: int) -> Outcome | None:
        return _attempt(state, request, gas, work.allowance(gas, params))

    def succeeds(gas: int) -> bool:
        outcome = attempt(gas)
        return outcome is not None and outcome.succeeded

    fork = fork_at(environment.spec.forks, header.number)
    high = _most_gas(state, request, min(gas_cap, state.gas_limit, fork.transaction_gas_max or gas_cap))
    if _is_plain_transfer(state, request) and high >= TRANSACTION_GAS and succeeds(TRANSACTION_GAS):
        return TRANSACTION_GAS
    outcome = attempt(high)
    if outcome is None or not outcome.succeeded:
        raise _failure(outcome, high)
    low = outcome.gas_used - 1
    # A call hands on at most 63/64 of what is left, so a little above the peak is mostly enough.
    guess = (outcome.gas_peak + _STIPEND) * 64 // 63
    if low < guess < high:
        low, high = (low, guess) if succeeds(guess) else (guess, high)
    while low + 1 < high:
        # Most messages need little more than they use, so the search leans to the low side, as geth's does.
        middle = min((low + high) // 2, 2 * low)
        low, high = (low, middle) if succeeds(middle) else (middle, high)
    return high


def _most_gas(state: State, request: CallRequest, limit: int) -> int:
    """The highest gas limit worth trying: the request's own, the cap, and what the sender can pay for."""
    high = limit if request.gas is None or request.gas < TRANSACTION_GAS else min(request.gas, limit)
    price = request.gas_price or request.max_fee_per_gas or 0
    if price:
        balance = state.account_db.get_balance(request.sender)
        if balance < request.value:
            raise InvalidTransaction(
                f"insufficient funds for transfer: address 0x{request.sender.hex()} have {balance} want {request.value}"
            )
        high = min(high, (balance - request.value) // price)
    return high


def _is_plain_transfer(state: State, request: CallRequest) -> bool:
    if request.to is None or request.data or request.access_list or request.authorizations:
        return False
    return not state.account_db.get_code(request.to)


def _attempt(state: State, request: CallRequest, gas: int, allowance: int) -> Outcome | None:
    """Run with `gas` and undo it all; None if the gas does not even pay for sending it."""
    try:
        return run_message(state, request, gas, allowance)
    except GasTooLow:
        return None
    finally:
        state.account_db.discard(0)


def _failure(outcome: Outcome | None, gas: int) -> InvalidTransaction:
    if outcome is not None and isinstance(outcome.error, OutOfWork):
        return InvalidTransaction(f"{error_text(outcome.error)}: no gas limit up to {gas} allows so much work")
    if outcome is None or (outcome.error is not None and is_short_of_gas(outcome.error)):
        return InvalidTransaction(f"gas required exceeds allowance ({gas})")
    if isinstance(outcome.error, Revert):
        return ExecutionReverted(outcome.output)
    return InvalidTransaction(error_text(outcome.error) if outcome.error else "execution failed")

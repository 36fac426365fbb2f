"""Messages that are run and forgotten: eth_call, eth_createAccessList, and the ground of eth_estimateGas.

A call runs on the state after a block and inside that block's context, without signature, nonce or EIP-3607 checks. With no
gas price it is free and sees a base fee of zero, as in geth. It is bounded in gas by the caller's cap, and in time by
`interrupt`, which is asked every few hundred opcodes or rounds of a compiled loop.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from eth.exceptions import (
    ContractCreationCollision,
    FullStack,
    InsufficientFunds,
    InsufficientStack,
    InvalidInstruction,
    InvalidJumpDestination,
    OutOfBoundsRead,
    OutOfGas,
    ReservedBytesInCode,
    Revert,
    WriteProtection,
)

from evm_runtime import transition
from evm_runtime.block import execution_context
from evm_runtime.fork import Computation, Poll, State
from evm_runtime.header import Header
from evm_runtime.kv import KeyValueReader
from evm_runtime.receipt import Log
from evm_runtime.source import FlatSource, StateSource, TrieSource, stored_root
from evm_runtime.state import AccountDB
from evm_runtime.transaction import DYNAMIC_FEE, SET_CODE, AccessList, Authorization, Transaction, check_gas
from genesis.chain_spec import ChainSpec
from genesis.errors import InvalidTransaction, LocalError
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Hash32

INTERRUPT_POLLS: Final = 256
"""Polls (opcodes where code is interpreted, frames and rounds of loops where it is compiled) between two questions to
`interrupt`; a power of two."""
ACCESS_LIST_ROUNDS_MAX: Final = 16


class ExecutionInterrupted(LocalError):
    """The caller's interrupt stopped a call."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A message. Amounts in wei, `gas` None takes the cap. With no fee field set the call is free."""

    sender: Address = ZERO_ADDRESS
    to: Address | None = None
    value: int = 0
    data: bytes = b""
    gas: int | None = None
    gas_price: int | None = None
    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None
    access_list: AccessList = ()
    authorizations: tuple[Authorization, ...] = ()
    nonce: int | None = None
    """None takes the sender's. It matters for the address of a creation alone."""

    @property
    def is_free(self) -> bool:
        return not (self.gas_price or self.max_fee_per_gas or self.max_priority_fee_per_gas)


@dataclass(frozen=True, slots=True)
class CallResult:
    """`status` is "success", "revert" (`output` is the revert's data) or "error" (`error` says which, as geth words it)."""

    output: bytes
    gas_used: int
    status: str
    error: str | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class AccountOverride:
    """What an account is taken to be for one call. `state` replaces all its storage, `state_diff` some of it."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    state: Mapping[int, int] | None = None
    state_diff: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BlockOverrides:
    """What the block around a call is taken to be; `time` in seconds, `base_fee` in wei."""

    number: int | None = None
    time: int | None = None
    gas_limit: int | None = None
    coinbase: Address | None = None
    prev_randao: Hash32 | None = None
    base_fee: int | None = None

    def apply(self, header: Header) -> Header:
        changes: dict[str, Any] = {
            "number": self.number,
            "timestamp": self.time,
            "gas_limit": self.gas_limit,
            "coinbase": self.coinbase,
            "prev_randao": self.prev_randao,
            "base_fee_per_gas": self.base_fee,
        }
        return header.replace(**{name: value for name, value in changes.items() if value is not None})


@dataclass(frozen=True, slots=True)
class CallEnvironment:
    """What calls run in, besides the header: chain, store, overrides, interrupt."""

    spec: ChainSpec
    store: KeyValueReader
    computation: type[Computation]
    state_overrides: Mapping[Address, AccountOverride] = field(default_factory=dict)
    block_overrides: BlockOverrides = field(default_factory=BlockOverrides)
    interrupt: Callable[[], bool] | None = None

    def call(self, header: Header, request: CallRequest, gas_cap: int) -> CallResult:
        """Run one message. Raises InvalidTransaction if it can't be sent, ExecutionInterrupted."""
        return _result(run_message(self.state(header, request), request, self._gas(request, gas_cap)))

    def create_access_list(self, header: Header, request: CallRequest, gas_cap: int) -> tuple[AccessList, CallResult]:
        """Run again with what the last run touched, until it touches nothing new."""
        for _ in range(ACCESS_LIST_ROUNDS_MAX):
            state = self.state(header, request)
            touched = state.account_db.trace_access()
            result = _result(run_message(state, request, self._gas(request, gas_cap)))
            found = self._touched(state, request, touched)
            if found == request.access_list:
                break
            request = replace(request, access_list=found)
        return request.access_list, result

    def state(self, header: Header, request: CallRequest) -> State:
        """The state after `header`, with the overrides, and the poll that interrupts."""
        is_tip = header.state_root == stored_root(self.store)
        source: StateSource = FlatSource(self.store) if is_tip else TrieSource(self.store, header.state_root)
        db = AccountDB(source, header.state_root)
        for address, override in self.state_overrides.items():
            override_account(db, address, override)
        around = self.block_overrides.apply(header)
        if request.is_free and self.block_overrides.base_fee is None:
            around = around.replace(base_fee_per_gas=0)
        state = State(db, execution_context(around, self.spec.chain_id), self.computation)
        if self.interrupt is not None:
            state.poll = interrupter(self.interrupt)
        return state

    def _gas(self, request: CallRequest, gas_cap: int) -> int:
        return gas_cap if request.gas is None else min(request.gas, gas_cap)

    def _touched(self, state: State, request: CallRequest, touched: Iterable[Any]) -> AccessList:
        """What was asked for while running, without the addresses that every transaction finds warm."""
        slots: dict[Address, dict[int, None]] = {}
        authorities = {authorization.authority() for authorization in request.authorizations}
        always: set[Any] = {request.sender, request.to, state.coinbase, *authorities}
        always.update(state.computation_class.get_precompiles())
        for entry in touched:
            if isinstance(entry, tuple):
                slots.setdefault(entry[0], {})[entry[1]] = None
            elif entry not in always:
                slots.setdefault(entry, {})
        return tuple((address, tuple(sorted(found))) for address, found in sorted(slots.items()))


def run_message(state: State, request: CallRequest, gas: int) -> transition.Outcome:
    """Run a message on `state`, and leave in its account database what it did. Raises InvalidTransaction."""
    base_fee = state.block_base_fee
    tx = call_transaction(state, request, gas)
    who = f"address 0x{tx.sender.hex()}"
    if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
        raise InvalidTransaction(
            f"max priority fee per gas higher than max fee per gas: {who}, "
            f"maxPriorityFeePerGas: {tx.max_priority_fee_per_gas}, maxFeePerGas: {tx.max_fee_per_gas}"
        )
    if not request.is_free and tx.max_fee_per_gas < base_fee:
        raise InvalidTransaction(
            f"max fee per gas less than block base fee: {who}, maxFeePerGas: {tx.max_fee_per_gas}, baseFee: {base_fee}"
        )
    check_gas(tx)
    transition.check_balance(state, tx)
    return transition.execute(state, tx, 0 if request.is_free else base_fee)


def error_text(error: Exception) -> str:
    """A VM error as geth words it."""
    if isinstance(error, InvalidInstruction):
        text = str(error)
        return "invalid jump destination" if text.startswith("Jump") else text[:1].lower() + text[1:]
    for kind, text in _ERROR_TEXTS.items():
        if isinstance(error, kind):
            return text
    return str(error) or type(error).__name__


_ERROR_TEXTS: Final[dict[type[Exception], str]] = {
    Revert: "execution reverted",
    OutOfGas: "out of gas",
    InvalidJumpDestination: "invalid jump destination",
    InsufficientStack: "stack underflow",
    FullStack: "stack limit reached 1024 (1023)",
    WriteProtection: "write protection",
    OutOfBoundsRead: "return data out of bounds",
    ContractCreationCollision: "contract address collision",
    ReservedBytesInCode: "invalid code: must not begin with 0xef",
    InsufficientFunds: "insufficient balance for transfer",
}


def _result(outcome: transition.Outcome) -> CallResult:
    if outcome.error is None:
        return CallResult(outcome.output, outcome.gas_used, "success", None, outcome.logs)
    status = "revert" if isinstance(outcome.error, Revert) else "error"
    return CallResult(outcome.output, outcome.gas_used, status, error_text(outcome.error), ())


def call_transaction(state: State, request: CallRequest, gas: int) -> Transaction:
    """The message as an unsigned transaction."""
    if request.gas_price is not None:
        max_fee = priority_fee = request.gas_price
    else:
        priority_fee = request.max_priority_fee_per_gas or 0
        max_fee = request.max_fee_per_gas or 0
        if request.max_fee_per_gas is None and priority_fee:
            max_fee = state.block_base_fee + priority_fee
    return Transaction(
        kind=SET_CODE if request.authorizations else DYNAMIC_FEE,
        chain_id=state.execution_context.chain_id,
        nonce=state.account_db.get_nonce(request.sender) if request.nonce is None else request.nonce,
        max_priority_fee_per_gas=priority_fee,
        max_fee_per_gas=max_fee,
        gas_limit=gas,
        to=request.to,
        value=request.value,
        data=request.data,
        access_list=request.access_list,
        authorizations=request.authorizations,
        y_parity=0,
        v=0,
        r=0,
        s=0,
        sender=request.sender,
        hash=ZERO_HASH,
        raw=b"",
    )


def override_account(db: AccountDB, address: Address, override: AccountOverride) -> None:
    """Let an account have what `override` says. Raises InvalidTransaction for a value that no account can have."""
    try:
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
    except ValueError as error:
        raise InvalidTransaction(f"state override: {error}") from None


def interrupter(interrupt: Callable[[], bool]) -> Poll:
    """A poll that asks `interrupt` now and then."""
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls & (INTERRUPT_POLLS - 1) == 0 and interrupt():
            raise ExecutionInterrupted("execution aborted: the call took too long")

    return poll

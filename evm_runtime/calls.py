"""Messages that are run and forgotten: eth_call, eth_createAccessList, and the ground of eth_estimateGas.

A call runs on the state after a block and inside that block's context, or in the block to come (`NextHeader`) once that has
begun; without signature, nonce or EIP-3607 checks. With no gas price it is free and sees a base fee of zero, as in geth. It is
bounded in gas by the caller's cap, and in time by `interrupt`, which is asked every few hundred opcodes or rounds of a compiled
loop.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn, cast

from eth.abc import ComputationAPI
from eth.exceptions import Revert

from evm_runtime import transition, work
from evm_runtime.block import begin_block, execution_context
from evm_runtime.computation import Computation, Poll, State
from evm_runtime.header import Header, NextHeader
from evm_runtime.native import Base
from evm_runtime.overrides import AccountOverride, BlockOverrides, override_accounts, override_storage
from evm_runtime.receipt import Log
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import KeyValueReader
from evm_runtime.state.source import FlatSource, StateSource, TrieSource, stored_root
from evm_runtime.transaction import (
    ACCESS_LIST,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    AccessList,
    Authorization,
    Transaction,
    check_gas,
)
from evm_runtime.views import StateReader
from evm_runtime.vm_errors import OutOfWork, error_text
from genesis.chain_spec import ChainSpec
from genesis.errors import InvalidTransaction, LocalError
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address

INTERRUPT_POLLS: Final = 256
"""Polls (opcodes in the reference loop, frames and rounds of loops where code is compiled, opcodes that Python runs and
slices of gas where it runs natively) between two questions to `interrupt`; a power of two."""
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

    @property
    def kind(self) -> int:
        """The transaction type that has the fields which were given, as geth chooses it."""
        if self.gas_price is not None:
            return ACCESS_LIST if self.access_list else LEGACY
        return SET_CODE if self.authorizations else DYNAMIC_FEE

    def fees(self, base_fee: int) -> tuple[int, int]:
        """(tip, most) in wei per gas; a tip alone is added to the base fee."""
        if self.gas_price is not None:
            return self.gas_price, self.gas_price
        tip = self.max_priority_fee_per_gas or 0
        if self.max_fee_per_gas is None and tip:
            return tip, base_fee + tip
        return tip, self.max_fee_per_gas or 0

    def unsigned(self, kind: int, *, chain_id: int, nonce: int, gas_limit: int, fees: tuple[int, int]) -> Transaction:
        """The message as a transaction that nobody signed, without hash and bytes; `fees` are tip and most in wei per gas."""
        tip, max_fee = fees
        return Transaction(
            kind=kind,
            chain_id=chain_id,
            nonce=nonce,
            max_priority_fee_per_gas=tip,
            max_fee_per_gas=max_fee,
            gas_limit=gas_limit,
            to=self.to,
            value=self.value,
            data=self.data,
            access_list=self.access_list,
            authorizations=self.authorizations,
            y_parity=0,
            v=0,
            r=0,
            s=0,
            sender=self.sender,
            hash=ZERO_HASH,
            raw=b"",
        )


@dataclass(frozen=True, slots=True)
class CallResult:
    """`status` is "success", "revert" (`output` is the revert's data) or "error" (`error` says which, as geth words it)."""

    output: bytes
    gas_used: int
    status: str
    error: str | None
    logs: tuple[Log, ...]


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

    def call_briefly(self, header: Header, request: CallRequest, gas_cap: int, work_max: int) -> CallResult | None:
        """As `call`, or None if that is more than `work_max` work beside gas, or more than `interrupt` allows: it is asked at
        every poll, so within a slice of gas. Nothing else takes long: what is slow for its gas counts work before it is done.
        """
        state = self.state(header, request)
        state.poll = None if self.interrupt is None else interrupter(self.interrupt, polls_apart=1)
        try:
            outcome = run_message(state, request, self._gas(request, gas_cap), work_max)
        except ExecutionInterrupted:
            return None
        return None if isinstance(outcome.error, OutOfWork) else _result(outcome)

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
        """The state after `header`, or that of a block to come once it has begun; the overrides, and the poll."""
        is_tip = header.state_root == stored_root(self.store)
        source: StateSource = FlatSource(self.store) if is_tip else TrieSource(self.store, header.state_root)
        db = AccountDB(source, header.state_root)
        if isinstance(header, NextHeader):
            base = Base(header.parent_hash)
            begin_block(State(db, execution_context(header, self.spec.chain_id), self.computation, base), header)
            return self.state_within(db, header, request)
        return self._state_on(db, header, request, header)

    def state_within(self, db: AccountDB, header: Header, request: CallRequest) -> State:
        """`db`, a state within the block `header` that began on the one before it, with the overrides, and the poll."""
        return self._state_on(db, header, request, None)

    def _state_on(self, db: AccountDB, header: Header, request: CallRequest, after: Header | None) -> State:
        """`db` in the surroundings of `header`: the state after that block, or within it (None)."""
        base = self._base(db, header, after)
        override_accounts(db, self.state_overrides)
        db.begin_transaction()  # nothing of this is undone with what the message does
        around = self.block_overrides.apply(header)
        if request.is_free and self.block_overrides.base_fee is None:
            around = around.replace(base_fee_per_gas=0)
        state = State(db, execution_context(around, self.spec.chain_id), self.computation, base)
        state.made_up_blob_base_fee = self.block_overrides.blob_base_fee
        if self.block_overrides.number is None:
            state.made_up_hashes = self.block_overrides.block_hashes
        else:
            self._tell_hashes(state, header)
        if self.interrupt is not None:
            state.poll = interrupter(self.interrupt)
        return state

    def _tell_hashes(self, state: State, header: Header) -> None:
        """What BLOCKHASH knows in a block that is moved to another height: what it knows in its place, and `header`'s hash."""
        known = {} if isinstance(header, NextHeader) else {int(header.number): header.hash}
        state.made_up_hashes = {**known, **self.block_overrides.block_hashes}
        state.newest_ancestor = header.number - 1

    def _base(self, db: AccountDB, header: Header, after: Header | None) -> Base:
        """The state of the final block that `db` began on, as natives may learn from it."""
        block_hash, number = (header.parent_hash, header.number - 1) if after is None else (after.hash, after.number)
        natives = self.computation.natives
        return Base(block_hash, override_storage(StateReader(*db.begun_on), int(number), self.state_overrides, natives))

    def _gas(self, request: CallRequest, gas_cap: int) -> int:
        return gas_cap if request.gas is None else min(request.gas, gas_cap)

    def _touched(self, state: State, request: CallRequest, touched: Iterable[Any]) -> AccessList:
        """What was asked for while running, without the addresses that every transaction finds warm."""
        slots: dict[Address, dict[int, None]] = {}
        authorities = {authorization.authority() for authorization in request.authorizations}
        always: set[Any] = {request.sender, request.to, state.coinbase, *authorities}
        always.update(cast(type[Computation], state.computation_class).warm)
        for entry in touched:
            if isinstance(entry, tuple):
                slots.setdefault(entry[0], {})[entry[1]] = None
            elif entry not in always:
                slots.setdefault(entry, {})
        return tuple((address, tuple(sorted(found))) for address, found in sorted(slots.items()))


def run_message(state: State, request: CallRequest, gas: int, allowance: int = work.UNLIMITED) -> transition.Outcome:
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
    return transition.execute(state, tx, 0 if request.is_free else base_fee, allowance)


def _result(outcome: transition.Outcome) -> CallResult:
    if outcome.error is None:
        return CallResult(outcome.output, outcome.gas_used, "success", None, outcome.logs)
    status = "revert" if isinstance(outcome.error, Revert) else "error"
    return CallResult(outcome.output, outcome.gas_used, status, error_text(outcome.error), ())


def call_transaction(state: State, request: CallRequest, gas: int) -> Transaction:
    """The message as an unsigned transaction."""
    return request.unsigned(
        SET_CODE if request.authorizations else DYNAMIC_FEE,
        chain_id=state.execution_context.chain_id,
        nonce=state.account_db.get_nonce(request.sender) if request.nonce is None else request.nonce,
        gas_limit=gas,
        fees=request.fees(state.block_base_fee),
    )


def give_up(_computation: ComputationAPI) -> NoReturn:
    """Stands for a native contract where there is no time for one. Raises ExecutionInterrupted."""
    raise ExecutionInterrupted("execution aborted: a native contract may take long")


def interrupter(interrupt: Callable[[], bool], polls_apart: int = INTERRUPT_POLLS) -> Poll:
    """A poll that asks `interrupt` now and then. `polls_apart` is a power of two."""
    polls = 0

    def poll() -> None:
        nonlocal polls
        polls += 1
        if polls & (polls_apart - 1) == 0 and interrupt():
            raise ExecutionInterrupted("execution aborted: the call took too long")

    return poll

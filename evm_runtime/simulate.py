"""eth_simulateV1: blocks that are made up on top of a real one, run and forgotten.

Each block has overrides of its context and of the state, and calls that see what the calls before them did. Without validation
calls are as free as in eth_call (base fee zero, any nonce, any sender); with it they obey what a real transaction must, but for
the signature and EIP-3607. Defaults and error codes are those of the Ethereum execution-apis ("eth_simulate" notes), wording is
geth's. A block number that is left out is one more than the last, gaps are filled with empty blocks, and time goes on by
`seconds_between`, at least one second, from block to block.

State overrides last; a precompile that they move or replace is back in the block after.

Ether that moves can be logged as ERC-20 transfers are (`tracing/transfers.py`); those logs are in no bloom.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from eth.exceptions import Revert

from evm_runtime import transition
from evm_runtime.block import begin_block, execution_context
from evm_runtime.block_rules import unproposed_header
from evm_runtime.calls import CallRequest, ExecutionInterrupted, interrupter
from evm_runtime.computation import Computation, State
from evm_runtime.fields import UINT64_MAX
from evm_runtime.header import Header
from evm_runtime.native import Base, MadeUp
from evm_runtime.overrides import (
    BlockOverrides,
    MovedOntoItself,
    MovedTogether,
    OverriddenState,
    StateOverrides,
    override_accounts,
    override_storage,
)
from evm_runtime.receipt import Log, Receipt, bloom_of, bloom_union
from evm_runtime.signing import encoded
from evm_runtime.state import keys
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import KeyValueReader, WriteSet
from evm_runtime.state.source import TrieSource
from evm_runtime.state.trie import root_of_list
from evm_runtime.tracing.transfers import Movement, telling
from evm_runtime.transaction import GasTooLow, Transaction, check_gas
from evm_runtime.views import StateReader
from evm_runtime.vm_errors import error_text
from genesis.chain_spec import ChainSpec
from genesis.errors import InvalidTransaction, LocalError
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address, Hash32

BLOCKS_MAX: Final = 256
"""From the base to the last block, gaps included: as far as BLOCKHASH sees."""
NONCE_TOO_LOW, NONCE_TOO_HIGH, FEE_TOO_LOW, GAS_TOO_LOW, NO_FUNDS, BLOCK_GAS = range(-38010, -38016, -1)
NUMBER_ORDER, TIME_ORDER, MOVED_ONTO_ITSELF, MOVED_TOGETHER = range(-38020, -38024, -1)
INITCODE_SIZE, LIMIT_EXCEEDED = -38025, -38026
INVALID_PARAMS, INTERNAL = -32602, -32603


class SimulationRefused(LocalError):
    """No simulation comes of it; `code` is the JSON-RPC error code that the specification gives the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code: Final = code


@dataclass(frozen=True, slots=True)
class SimulatedCalls:
    """One block as it is asked for."""

    calls: tuple[CallRequest, ...] = ()
    block: BlockOverrides = field(default_factory=BlockOverrides)
    accounts: StateOverrides = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """`gas_cap` bounds all calls together; `seconds_between` is what a block's time is after the last by default."""

    validation: bool = False
    trace_transfers: bool = False
    gas_cap: int = 50_000_000
    seconds_between: int = 1


@dataclass(frozen=True, slots=True)
class SimulationEnvironment:
    """What blocks are made up in: chain, store, interrupt, and what runs the code of a block (by its height and overrides)."""

    spec: ChainSpec
    store: KeyValueReader
    computation: Callable[[int, StateOverrides], type[Computation]]
    """Raises InvalidTransaction for overrides that can't be."""
    interrupt: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What one call did. `error` is None for success, else the VM's words; `reverted` says that `output` is revert data."""

    output: bytes
    gas_used: int
    gas_peak: int
    logs: tuple[Log, ...]
    error: str | None
    reverted: bool


@dataclass(frozen=True, slots=True)
class SimulatedBlock:
    """A block as it would have been; transactions carry no signature."""

    header: Header
    transactions: tuple[Transaction, ...]
    outcomes: tuple[CallOutcome, ...]


def simulate(
    environment: SimulationEnvironment, base: Header, blocks: Sequence[SimulatedCalls], options: SimulationOptions
) -> list[SimulatedBlock]:
    """Run `blocks` on the state after `base`.

    Raises SimulationRefused, InvalidTransaction for overrides that can't be, and ExecutionInterrupted as calls do.
    """
    return _Simulation(environment, base, options).run(list(_whole_chain(base, blocks, options)))


def _whole_chain(
    base: Header, blocks: Sequence[SimulatedCalls], options: SimulationOptions
) -> Iterator[SimulatedCalls]:
    """The blocks with number and time settled, and empty ones in the gaps."""
    number, time = int(base.number), base.timestamp
    for each in blocks:
        wanted = number + 1 if each.block.number is None else each.block.number
        if wanted <= number:
            raise SimulationRefused(NUMBER_ORDER, f"block numbers must be in order: {wanted} <= {number}")
        if wanted - base.number > BLOCKS_MAX:
            raise SimulationRefused(LIMIT_EXCEEDED, "too many blocks")
        for between in range(number + 1, wanted):
            time += options.seconds_between
            yield SimulatedCalls(block=BlockOverrides(number=between, time=time))
        later = time + options.seconds_between if each.block.time is None else each.block.time
        if later <= time:
            raise SimulationRefused(TIME_ORDER, f"block timestamps must be in order: {later} <= {time}")
        number, time = wanted, later
        yield replace(each, block=replace(each.block, number=number, time=time))


class _Simulation:
    """The state that goes from block to block."""

    def __init__(self, environment: SimulationEnvironment, base: Header, options: SimulationOptions) -> None:
        self._spec = environment.spec
        self._store = environment.store
        self._computation = environment.computation
        self._options = options
        self._interrupt = environment.interrupt
        self._gas_left = options.gas_cap
        self._last = base
        self._base: Base = Base(base.hash)
        self._made: WriteSet = {}
        """What the blocks so far wrote: contents and trie nodes by hash, and flat entries that nobody reads here."""

    def run(self, blocks: Sequence[SimulatedCalls]) -> list[SimulatedBlock]:
        return [self._block(each) for each in blocks]

    def _block(self, wanted: SimulatedCalls) -> SimulatedBlock:
        if self._interrupt is not None and self._interrupt():
            raise ExecutionInterrupted("execution aborted: the simulation took too long")
        draft, root = self._draft(wanted.block), self._last.state_root
        source = _MadeUpSource(self._store, root, self._made)
        db = AccountDB(source, root)
        computation = self._computation_of(draft.number, wanted.accounts)
        self._base = self._next_base(StateReader(source, root), wanted.accounts, computation)
        state = State(db, execution_context(draft, self._spec.chain_id), computation, self._base)
        if self._interrupt is not None:
            state.poll = interrupter(self._interrupt)
        override_accounts(db, wanted.accounts)
        for address in wanted.accounts:
            if not db.account_exists(address):
                db.touch_account(address)  # storage that was given to nobody needs an account to be kept with
        begin_block(state, draft)
        run = _BlockOfCalls(state, draft, self._options)
        for request in wanted.calls:
            self._gas_left -= run.apply(request, self._gas_left)
        state_root, writes = db.finalize()
        self._made.update(writes)
        block = run.finish(state_root)
        self._last = block.header
        return block

    def _next_base(self, before: StateReader, accounts: StateOverrides, computation: type[Computation]) -> Base:
        """What the next block stands on: the real one at first, then always what was made up."""
        last, known = self._base, self._base.made_up
        number = int(self._last.number)
        made_up = override_storage(before, number, accounts, computation.natives)
        if made_up is None and self._made:
            anew, kept = (known.anew, known.kept) if known else (False, {})
            made_up = MadeUp(number, OverriddenState(before, {}), anew, kept)
        return replace(last, made_up=made_up)

    def _computation_of(self, height: int, accounts: StateOverrides) -> type[Computation]:
        try:
            return self._computation(height, accounts)
        except MovedOntoItself as error:
            raise SimulationRefused(MOVED_ONTO_ITSELF, str(error)) from None
        except MovedTogether as error:
            raise SimulationRefused(MOVED_TOGETHER, str(error)) from None

    def _draft(self, overrides: BlockOverrides) -> Header:
        """The block after the last. What nobody can know of it is zero: execution-apis fixes that for simulations alone."""
        last = self._last
        draft = unproposed_header(last, self._spec.block, 1_000 * last.timestamp, ZERO_ADDRESS)
        draft = draft.replace(gas_limit=last.gas_limit, prev_randao=ZERO_HASH, parent_beacon_block_root=ZERO_HASH)
        if not self._options.validation:
            draft = draft.replace(base_fee_per_gas=0)
        return overrides.apply(draft)


class _MadeUpSource(TrieSource):
    """The state under a root that is stored only in part: the rest was made by the blocks before."""

    def __init__(self, store: KeyValueReader, state_root: Hash32, made: WriteSet) -> None:
        super().__init__(store, state_root)
        self._made = made

    def code(self, code_hash: Hash32) -> bytes:
        return self._made.get(keys.code(code_hash)) or super().code(code_hash)

    def blob(self, blob_hash: Hash32) -> bytes | None:
        return self._made.get(keys.blob(blob_hash)) or super().blob(blob_hash)

    def node(self, node_hash: Hash32) -> bytes | None:
        return self._made.get(keys.node(node_hash)) or super().node(node_hash)

    def storage_keys(self, address: Address) -> Iterator[bytes]:
        """None: there are no flat entries to delete."""
        return iter(())


class _BlockOfCalls:
    """The calls of one block, on a state that is there."""

    def __init__(self, state: State, draft: Header, options: SimulationOptions) -> None:
        self._state = state
        self._draft = draft
        self._options = options
        self._gas_used = 0
        self._transactions: list[Transaction] = []
        self._receipts: list[Receipt] = []
        self._outcomes: list[CallOutcome] = []

    def apply(self, request: CallRequest, gas_left: int) -> int:
        """Run one more call; returns the gas that it used. Raises SimulationRefused if it could not be in a block."""
        tx = self._transaction(request, gas_left)
        try:
            self._check(request, tx)
            base_fee = 0 if self._is_free(request) else self._draft.base_fee_per_gas
            outcome, logs = self._run(tx, base_fee)
        except InvalidTransaction as error:
            raise SimulationRefused(_code_of(error), f"err: {error} (supplied gas {tx.gas_limit})") from None
        self._gas_used += outcome.gas_used
        bloom = bloom_of(outcome.logs)
        self._transactions.append(tx)
        self._receipts.append(Receipt(tx.kind, int(outcome.succeeded), self._gas_used, bloom, outcome.logs))
        error_words = None if outcome.error is None else error_text(outcome.error)
        reverted = isinstance(outcome.error, Revert)
        output = outcome.output if outcome.error is None or reverted else b""
        self._outcomes.append(CallOutcome(output, outcome.gas_used, outcome.gas_peak, logs, error_words, reverted))
        return outcome.gas_used

    def finish(self, state_root: Hash32) -> SimulatedBlock:
        header = self._draft.replace(
            state_root=state_root,
            transactions_root=root_of_list([tx.raw for tx in self._transactions]),
            receipts_root=root_of_list([receipt.encode() for receipt in self._receipts]),
            bloom=bloom_union(receipt.bloom for receipt in self._receipts),
            gas_used=self._gas_used,
        )
        return SimulatedBlock(header, tuple(self._transactions), tuple(self._outcomes))

    # ------------------------------------------------------------ one call

    def _is_free(self, request: CallRequest) -> bool:
        return request.is_free and not self._options.validation

    def _transaction(self, request: CallRequest, gas_left: int) -> Transaction:
        """The call as a transaction that nobody signed. Raises SimulationRefused if the block has no room for its gas."""
        room = self._draft.gas_limit - self._gas_used
        gas = room if request.gas is None else request.gas
        if gas > room:
            words = f"block gas limit reached: {self._gas_used} >= {self._draft.gas_limit}"
            raise SimulationRefused(BLOCK_GAS, words)
        nonce = self._state.account_db.get_nonce(request.sender) if request.nonce is None else request.nonce
        return encoded(
            request.unsigned(
                request.kind,
                chain_id=self._state.execution_context.chain_id,
                nonce=nonce,
                gas_limit=min(gas, gas_left),
                fees=request.fees(self._draft.base_fee_per_gas),
            )
        )

    def _check(self, request: CallRequest, tx: Transaction) -> None:
        """What a block demands of it, in the order in which geth looks. Raises InvalidTransaction."""
        state, base_fee = self._state, self._draft.base_fee_per_gas
        who = f"address 0x{tx.sender.hex()}"
        if state.account_db.get_nonce(tx.sender) == UINT64_MAX:
            raise InvalidTransaction(f"nonce has max value: {who}, nonce: {UINT64_MAX}")
        if self._options.validation:
            _check_nonce(state, tx)
        if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
            raise InvalidTransaction(
                f"max priority fee per gas higher than max fee per gas: {who}, "
                f"maxPriorityFeePerGas: {tx.max_priority_fee_per_gas}, maxFeePerGas: {tx.max_fee_per_gas}"
            )
        if not self._is_free(request) and tx.max_fee_per_gas < base_fee:
            raise InvalidTransaction(
                f"max fee per gas less than block base fee: {who}, "
                f"maxFeePerGas: {tx.max_fee_per_gas}, baseFee: {base_fee}"
            )
        if tx.gas_limit * tx.max_fee_per_gas:
            transition.check_balance(state, tx)
        check_gas(tx)
        transition.check_balance(state, tx)

    def _run(self, tx: Transaction, base_fee: int) -> tuple[transition.Outcome, tuple[Log, ...]]:
        """The outcome with its real logs, and the logs to show."""
        state = self._state
        untold = cast(type[Computation], state.computation_class)
        if self._options.trace_transfers:
            state.computation_class = telling(untold)
        try:
            outcome = transition.execute(state, tx, base_fee)
        finally:
            state.computation_class = untold
        real = tuple(log for log in outcome.logs if not isinstance(log, Movement))
        return replace(outcome, logs=real), outcome.logs


def _check_nonce(state: State, tx: Transaction) -> None:
    nonce = state.account_db.get_nonce(tx.sender)
    who = f"address 0x{tx.sender.hex()}"
    if tx.nonce != nonce:
        order = "low" if tx.nonce < nonce else "high"
        raise InvalidTransaction(f"nonce too {order}: {who}, tx: {tx.nonce} state: {nonce}")


_CODES: Final = (
    ("nonce too low", NONCE_TOO_LOW),
    ("nonce too high", NONCE_TOO_HIGH),
    ("max priority fee per gas higher than max fee per gas", INVALID_PARAMS),
    ("max fee per gas less than block base fee", FEE_TOO_LOW),
    ("insufficient funds for gas * price + value", NO_FUNDS),
    ("max initcode size exceeded", INITCODE_SIZE),
)


def _code_of(error: InvalidTransaction) -> int:
    if isinstance(error, GasTooLow):
        return GAS_TOO_LOW
    words = str(error)
    return next((code for start, code in _CODES if words.startswith(start)), INTERNAL)

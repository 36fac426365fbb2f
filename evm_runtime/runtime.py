"""The runtime: the one object through which the node executes blocks, builds them, and reads states.

It holds no state of its own: everything is read from the key-value port and returned as values. (What it caches is named by
its hash: compiled code, trie nodes. Natives keep what they learn from final blocks: `native/base.py`.) Several threads may use
one runtime at once, as long as the store is safe to read from them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from evm_runtime import block_rules, tracing
from evm_runtime.calls import CallEnvironment, CallRequest, CallResult, ExecutionInterrupted, give_up
from evm_runtime.computation import Computation, computation_class
from evm_runtime.estimate import ExecutionReverted, estimate_gas
from evm_runtime.executor import BlockExecutor, BuildRequest, ExecutedBlock, Watch
from evm_runtime.hardforks import fork_at
from evm_runtime.header import Header, NextHeader
from evm_runtime.native import NativePrecompile
from evm_runtime.overrides import (
    AccountOverride,
    BlockOverrides,
    StateOverrides,
    override_precompiles,
    replaced_natives,
)
from evm_runtime.precompiles import Precompile
from evm_runtime.rollback import undo_writes
from evm_runtime.simulate import (
    SimulatedBlock,
    SimulatedCalls,
    SimulationEnvironment,
    SimulationOptions,
    simulate,
)
from evm_runtime.staking.contract import StakingContract
from evm_runtime.state.kv import KeyValueReader, WriteSet
from evm_runtime.state.source import FlatSource, TrieSource, stored_root
from evm_runtime.tiers import DEFAULT_TIERS, Tiers
from evm_runtime.tracing import TraceOptions
from evm_runtime.transaction import AccessList, Transaction
from evm_runtime.views import StateReader
from genesis.chain_spec import STAKING_ADDRESS, BlockParams, ChainSpec, Parameters
from genesis.errors import LocalError
from genesis.primitives import Address, Hash32, Round
from genesis.types import Block, ChainIdentity

__all__ = [
    "AccountOverride",
    "BlockOverrides",
    "BuildRequest",
    "CallRequest",
    "CallResult",
    "ExecutedBlock",
    "ExecutionInterrupted",
    "ExecutionReverted",
    "Runtime",
    "StateReader",
    "Tiers",
    "TraceOptions",
]


class Runtime:
    """Blocks and states of one chain."""

    def __init__(
        self,
        spec: ChainSpec,
        chain: ChainIdentity | None,
        store: KeyValueReader,
        natives: tuple[NativePrecompile, ...] = (),
        tiers: Tiers = DEFAULT_TIERS,
    ) -> None:
        if chain is not None and chain.chain_id != spec.chain_id:
            raise LocalError(f"chain id {chain.chain_id} is not that of the spec, {spec.chain_id}")
        self.spec: Final = spec
        self._store = store
        self._natives = {native.address: native for native in (StakingContract(spec), *natives)}
        self._executor = BlockExecutor(spec, store, self._natives, tiers)
        self._brief: Final[dict[type[Computation], type[Computation]]] = {}
        """For brief calls: without native contracts."""
        self._next: tuple[Hash32, BlockParams, Address] | None = None
        """What is known of the block after the one with that hash: parameters and likely coinbase."""

    # ------------------------------------------------------------ blocks

    def execute_block(
        self,
        parent: Header,
        parent_time_ms: int,
        block: Block,
        known: Mapping[Hash32, Transaction] | None = None,
        watch: Watch | None = None,
    ) -> ExecutedBlock:
        """Execute a block on the finalized tip; see `BlockExecutor.execute`. Raises InvalidBlock."""
        return self._executor.execute(parent, parent_time_ms, block, known, watch)

    def build_block(
        self, parent: Header, parent_time_ms: int, request: BuildRequest, candidates: Iterable[Transaction]
    ) -> ExecutedBlock:
        """Build a block on the finalized tip; see `BlockExecutor.build`. Raises InvalidBlock for an impossible request."""
        return self._executor.build(parent, parent_time_ms, request, candidates)

    def undo_block(
        self, parent: Header, parent_time_ms: int, header: Header, block: Block, transactions: Sequence[Transaction]
    ) -> WriteSet:
        """The state writes that take the last block back; see `rollback.undo_writes`. Raises StorageCorrupt."""
        twins = {at: native.isolated() for at, native in self._natives.items()}
        computation = self._computation_with(twins, header.number)
        return undo_writes(
            self.spec, self._store, computation, twins, parent, parent_time_ms, header, block, transactions
        )

    def parameters(self, header: Header | None = None) -> Parameters:
        """What is in force for the block after `header` (None: after the tip), votes counted in."""
        return self._executor.in_force.at(self.state(header).slots(STAKING_ADDRESS))

    def next_base_fee(self, header: Header) -> int:
        """The base fee in wei of the block after `header`."""
        return block_rules.next_base_fee(header, self.spec.block)

    def next_block(self, parent: Header, parent_time_ms: int, now_ms: int) -> NextHeader:
        """The block after `parent` as a transaction that is sent now would meet it: `call` and its kin run in it as in any.

        It holds what its proposal will, but for what only that tells (`block_rules.unproposed_header`); the proposer is that of
        round 0.
        """
        known = self._next
        if known is None or known[0] != parent.hash:
            tip = self.state()
            reader = tip if tip.root == parent.state_root else self.state(parent)
            validators = reader.validators()
            coinbase = block_rules.payout_of(validators, block_rules.proposer_of(validators, Round(0)))
            params = self._executor.in_force.at(reader.slots(STAKING_ADDRESS)).block
            known = self._next = parent.hash, params, coinbase
        _, params, coinbase = known
        time_ms = max(now_ms, parent_time_ms + params.interval_ms)
        return NextHeader.begun_on(parent, block_rules.unproposed_header(parent, params, time_ms, coinbase))

    # ------------------------------------------------------------ states and calls

    def state(self, header: Header | None = None) -> StateReader:
        """The finalized tip's state (None: flat and fast), or that of any block through the trie."""
        if header is None:
            return StateReader(FlatSource(self._store), stored_root(self._store))
        return StateReader(TrieSource(self._store, header.state_root), header.state_root)

    def call(
        self,
        header: Header,
        request: CallRequest,
        *,
        gas_cap: int,
        state_overrides: Mapping[Address, AccountOverride] | None = None,
        block_overrides: BlockOverrides | None = None,
        interrupt: Callable[[], bool] | None = None,
    ) -> CallResult:
        """eth_call on the state after `header`, or in `next_block`. Raises InvalidTransaction if the message itself can't be
        sent, ExecutionInterrupted once `interrupt` (asked every few hundred opcodes) returns True."""
        environment = self._environment(header, state_overrides, block_overrides, interrupt)
        return environment.call(header, request, gas_cap)

    def call_briefly(
        self, header: Header, request: CallRequest, *, gas_cap: int, work_max: int, interrupt: Callable[[], bool]
    ) -> CallResult | None:
        """`call` for where nobody may be kept waiting: None if it takes long; see `CallEnvironment.call_briefly`.

        Native contracts count as long: one may have to read a datanet into its index first, or wait for who is doing that.
        """
        computation = self._executor.computation_at(header.number)
        if computation not in self._brief:
            slow = dict.fromkeys(self._natives, give_up)
            self._brief[computation] = self._computation_with(slow, header.number)
        environment = CallEnvironment(self.spec, self._store, self._brief[computation], interrupt=interrupt)
        return environment.call_briefly(header, request, gas_cap, work_max)

    def estimate_gas(
        self,
        header: Header,
        request: CallRequest,
        *,
        gas_cap: int,
        state_overrides: Mapping[Address, AccountOverride] | None = None,
        block_overrides: BlockOverrides | None = None,
        interrupt: Callable[[], bool] | None = None,
    ) -> int:
        """eth_estimateGas: the least gas with which the message succeeds. Raises ExecutionReverted with the revert's data,
        InvalidTransaction where no gas within the cap is enough, ExecutionInterrupted as `call` does."""
        environment = self._environment(header, state_overrides, block_overrides, interrupt)
        return estimate_gas(environment, header, request, gas_cap)

    def create_access_list(
        self,
        header: Header,
        request: CallRequest,
        *,
        gas_cap: int,
        state_overrides: Mapping[Address, AccountOverride] | None = None,
        interrupt: Callable[[], bool] | None = None,
    ) -> tuple[AccessList, CallResult]:
        """eth_createAccessList: what the message touches beyond what is warm anyway, and its result with that list."""
        environment = self._environment(header, state_overrides, None, interrupt)
        return environment.create_access_list(header, request, gas_cap)

    def simulate(
        self,
        base: Header,
        blocks: Sequence[SimulatedCalls],
        options: SimulationOptions,
        *,
        interrupt: Callable[[], bool] | None = None,
    ) -> list[SimulatedBlock]:
        """eth_simulateV1: made-up blocks on the state after `base`. Raises SimulationRefused, InvalidTransaction for overrides
        that can't be, ExecutionInterrupted."""
        twins = {at: native.isolated() for at, native in self._natives.items()}

        def computation(height: int, overrides: StateOverrides) -> type[Computation]:
            return self._computation_with(twins, height, overrides)

        environment = SimulationEnvironment(self.spec, self._store, computation, interrupt)
        return simulate(environment, base, blocks, options)

    # ------------------------------------------------------------ traces

    def trace_transaction(
        self,
        parent: Header,
        header: Header,
        transactions: Sequence[Transaction],
        index: int,
        options: TraceOptions,
        *,
        interrupt: Callable[[], bool] | None = None,
    ) -> Any:
        """debug_traceTransaction: the trace (JSON values) of one transaction of a kept block, run again on `parent`'s state.

        Raises IndexError for an index beyond the block's, TraceTooLong, ExecutionInterrupted as `call` does.
        """
        return next(self._replay(parent, header, transactions, (index,), options, interrupt))

    def trace_block(
        self,
        parent: Header,
        header: Header,
        transactions: Sequence[Transaction],
        options: TraceOptions,
        *,
        interrupt: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[Hash32, Any]]:
        """debug_traceBlock: (hash, trace) of each transaction of a kept block, one at a time. Raises as `trace_transaction`."""
        traces = self._replay(parent, header, transactions, range(len(transactions)), options, interrupt)
        return zip((tx.hash for tx in transactions), traces, strict=True)

    def trace_call(
        self,
        header: Header,
        request: CallRequest,
        options: TraceOptions,
        *,
        gas_cap: int,
        behind: tuple[Header, Sequence[Transaction]] | None = None,
        state_overrides: Mapping[Address, AccountOverride] | None = None,
        block_overrides: BlockOverrides | None = None,
        interrupt: Callable[[], bool] | None = None,
    ) -> Any:
        """debug_traceCall: the trace of a message on the state after `header`, or in `next_block`.

        `behind` (the header's parent, and the first transactions of the header's block) puts it behind these within that block.
        Raises as `call` does, and TraceTooLong.
        """
        environment = self._environment(
            header, state_overrides, block_overrides, interrupt, isolated=behind is not None
        )
        within = None
        if behind is not None:
            twins = {at: native.isolated() for at, native in self._natives.items()}
            computation = self._computation_with(twins, header.number)
            within = tracing.state_within(self.spec, self._store, computation, behind[0], header, behind[1], interrupt)
        return tracing.trace_call(environment, header, request, options, gas_cap, within)

    # ------------------------------------------------------------ inside

    def _replay(
        self,
        parent: Header,
        header: Header,
        transactions: Sequence[Transaction],
        wanted: Iterable[int],
        options: TraceOptions,
        interrupt: Callable[[], bool] | None,
    ) -> Iterator[Any]:
        twins = {at: native.isolated() for at, native in self._natives.items()}
        computation = self._computation_with(twins, header.number)
        return tracing.replay(
            self.spec, self._store, computation, parent, header, transactions, wanted, options, interrupt
        )

    def _computation(
        self,
        height: int,
        state_overrides: Mapping[Address, AccountOverride],
        block_overrides: BlockOverrides,
        *,
        isolated: bool,
    ) -> type[Computation]:
        """The chain's own. Where something is made up, natives keep nothing of it and revert instead of stopping the node."""
        if not isolated and not state_overrides and block_overrides == BlockOverrides():
            return self._executor.computation_at(height)
        twins = {at: native.isolated() for at, native in self._natives.items()}
        number = height if block_overrides.number is None else block_overrides.number
        return self._computation_with(twins, number, state_overrides)

    def _computation_with(
        self, natives: Mapping[Address, Precompile], height: int, overrides: StateOverrides | None = None
    ) -> type[Computation]:
        """What runs the code of block `height` in the chain's own tier, with `natives` for its own and what is overridden.

        Whatever runs anything but the chain's blocks gets its class here, so none of it misses the tier.
        """
        overrides = overrides or {}
        fork, tier = fork_at(self.spec.forks, height), self._executor.computation_at(height).tier
        precompiles = override_precompiles(fork.precompiles, overrides, self._natives)
        return computation_class(natives, tier, fork, precompiles, replaced_natives(natives, overrides))

    def _environment(
        self,
        header: Header,
        state_overrides: Mapping[Address, AccountOverride] | None,
        block_overrides: BlockOverrides | None,
        interrupt: Callable[[], bool] | None,
        *,
        isolated: bool = False,
    ) -> CallEnvironment:
        overrides, around = state_overrides or {}, block_overrides or BlockOverrides()
        return CallEnvironment(
            spec=self.spec,
            store=self._store,
            computation=self._computation(header.number, overrides, around, isolated=isolated),
            state_overrides=state_overrides or {},
            block_overrides=block_overrides or BlockOverrides(),
            interrupt=interrupt,
        )

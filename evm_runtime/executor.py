"""Executing a proposed block, and building one: the two uses of `BlockRun`."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from evm_runtime import block_rules
from evm_runtime.block import BlockResult, BlockRun
from evm_runtime.computation import Computation, computation_class
from evm_runtime.gas import TRANSACTION_GAS
from evm_runtime.hardforks import fork_at
from evm_runtime.header import HEADER_BYTES_MAX, Header
from evm_runtime.native import NativePrecompile
from evm_runtime.receipt import ExecutedTransaction, Receipt
from evm_runtime.staking.parameters import InForce
from evm_runtime.staking.slashing import check_punishable
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import KeyValueReader, WriteSet
from evm_runtime.state.node_cache import NodeCache
from evm_runtime.state.source import FlatSource, stored_root
from evm_runtime.tiers import DEFAULT_TIERS, Tiers
from evm_runtime.transaction import Transaction, decode_transaction
from evm_runtime.views import StateReader
from genesis.chain_spec import STAKING_ADDRESS, ChainSpec
from genesis.codec import encode
from genesis.errors import InvalidBlock, InvalidTransaction, WireError
from genesis.primitives import Address, Hash32, Height, Round, keccak256
from genesis.types import Block, Commit, Evidence

_WITHDRAWAL_BYTES_MAX: Final = 64
"""The size of one withdrawal in the wire codec."""
_ITEM_OVERHEAD_BYTES: Final = 8
"""What one transaction adds in the wire codec, and to spare."""

Watch = Callable[[Transaction], None]


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What a proposer builds a block from. `gas_target` caps the gas it packs (at most the block's limit)."""

    height: Height
    time_ms: int
    round: Round
    proposer: Address
    coinbase: Address
    last_commit: Commit
    evidence: tuple[Evidence, ...]
    gas_target: int


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """A block with everything that its execution told. `writes` fit the store as it was when the block was executed."""

    block: Block
    header: Header
    transactions: tuple[Transaction, ...]
    receipts: tuple[Receipt, ...]
    results: tuple[ExecutedTransaction, ...]
    writes: WriteSet
    skipped: tuple[tuple[Transaction, str], ...] = ()
    """When building: candidates that were left out, and why."""


class BlockExecutor:
    """Blocks on the finalized tip of a store."""

    def __init__(
        self,
        spec: ChainSpec,
        store: KeyValueReader,
        natives: Mapping[Address, NativePrecompile],
        tiers: Tiers = DEFAULT_TIERS,
    ) -> None:
        self._spec: Final = spec
        self.in_force: Final = InForce(spec)
        self._store = store
        self._natives = natives
        self._node_cache: Final = NodeCache()
        self._computations = {
            activation.fork: computation_class(natives, tiers.make(), fork_at(spec.forks, activation.height))
            for activation in spec.forks
        }

    def computation_at(self, height: int) -> type[Computation]:
        """What runs code in block `height`."""
        return self._computations[fork_at(self._spec.forks, height).name]

    def execute(
        self,
        parent: Header,
        parent_time_ms: int,
        block: Block,
        known: Mapping[Hash32, Transaction] | None = None,
        watch: Watch | None = None,
    ) -> ExecutedBlock:
        """Execute a whole block on the finalized tip and compare it with its header. Changes nothing.

        `known` holds transactions that were decoded before (by hash), so that their senders are not recovered again. `watch` is
        told of each transaction before it is executed; what it raises ends the execution.
        Everything that makes a block valid is checked here but what is consensus' own: the signatures of its last commit and
        evidence, and whether its time is near to now. Raises InvalidBlock with the first rule that it breaks.
        """
        header = self._decode_header(block)
        tip = self._tip(parent)
        validators, parameters = tip.validators(), self.in_force.at(tip.slots(STAKING_ADDRESS))
        block_rules.check_consensus_data(block, parent, validators)
        check_punishable(tip.slots(STAKING_ADDRESS), Height(parent.number + 1), block.evidence)
        is_empty = not block.transactions and not block.evidence
        block_rules.check_time(parameters.block, parent_time_ms, block.consensus, is_empty=is_empty)
        draft = block_rules.draft_header(
            parent,
            parameters.block,
            block.consensus,
            block_rules.payout_of(validators, block.consensus.proposer),
            block_rules.prev_randao(parent, block.last_commit),
        )
        block_rules.check_header(header, draft, executed=False)
        transactions = [self._decode(index, raw, known or {}) for index, raw in enumerate(block.transactions)]
        run = self._begin(draft)
        for index, tx in enumerate(transactions):
            if watch is not None:
                watch(tx)
            try:
                run.apply(tx)
            except InvalidTransaction as error:
                raise InvalidBlock(f"transaction {index} (0x{tx.hash.hex()}): {error}") from None
        result = run.finish(
            parent_time_ms, block.consensus.time_ms, block.last_commit, block.evidence, self._natives, parameters
        )
        block_rules.check_header(header, result.header, executed=True)
        if block.withdrawals != result.withdrawals:
            raise InvalidBlock("withdrawals: the list is not the one that the state pays")
        return self._executed(block, result, run.transactions, ())

    def build(
        self, parent: Header, parent_time_ms: int, request: BuildRequest, candidates: Iterable[Transaction]
    ) -> ExecutedBlock:
        """Build and execute a block on the finalized tip from the candidates, in their order.

        A candidate that is invalid or does not fit is left out and listed in `skipped`; it never fails the block. Raises
        InvalidBlock only if no valid block can come of the request itself: a wrong parent, proposer, commit or time.
        (If every candidate is left out, the block is empty, and before round 1 an empty block is valid only later: the
        caller looks at `transactions` and asks again with a later time.)
        """
        tip = self._tip(parent)
        validators, parameters = tip.validators(), self.in_force.at(tip.slots(STAKING_ADDRESS))
        check_punishable(tip.slots(STAKING_ADDRESS), request.height, request.evidence)
        self._check_request(parent, request, validators_coinbase=block_rules.payout_of(validators, request.proposer))
        block_rules.check_last_commit(request.last_commit, parent, validators)
        data = block_rules.consensus_data(
            validators,
            time_ms=request.time_ms,
            round_=request.round,
            proposer_address=request.proposer,
            last_commit=request.last_commit,
            evidence=request.evidence,
        )
        if request.proposer != block_rules.proposer_of(validators, request.round):
            raise InvalidBlock(f"0x{request.proposer.hex()} does not propose in round {request.round}")
        draft = block_rules.draft_header(
            parent, parameters.block, data, request.coinbase, block_rules.prev_randao(parent, request.last_commit)
        )
        block_rules.check_time(parameters.block, parent_time_ms, data, is_empty=False)
        run = self._begin(draft)
        shell = Block(bytes(HEADER_BYTES_MAX), (), (), data, request.last_commit, request.evidence)
        bytes_left = self._spec.block.bytes_max - len(encode(shell))
        bytes_left -= self._spec.block.withdrawals_max * _WITHDRAWAL_BYTES_MAX
        skipped = self._pack(run, candidates, min(request.gas_target, parameters.block.gas_limit), bytes_left)
        result = run.finish(
            parent_time_ms, request.time_ms, request.last_commit, request.evidence, self._natives, parameters
        )
        block = Block(
            header=result.header.to_rlp(),
            transactions=tuple(tx.raw for tx in run.transactions),
            withdrawals=result.withdrawals,
            consensus=data,
            last_commit=request.last_commit,
            evidence=request.evidence,
        )
        return self._executed(block, result, run.transactions, tuple(skipped))

    def _tip(self, parent: Header) -> StateReader:
        """The flat state, which must be the parent's."""
        reader = StateReader(FlatSource(self._store), stored_root(self._store))
        if reader.root != parent.state_root:
            raise InvalidBlock(
                f"block {parent.number} is not the finalized tip of this node: its state root is "
                f"0x{parent.state_root.hex()}, the tip's 0x{reader.root.hex()}"
            )
        return reader

    def _begin(self, draft: Header) -> BlockRun:
        db = AccountDB(FlatSource(self._store), stored_root(self._store), self._node_cache)
        run = BlockRun(self._spec, db, self.computation_at(draft.number), draft)
        run.begin()
        return run

    def _pack(
        self, run: BlockRun, candidates: Iterable[Transaction], gas_target: int, bytes_left: int
    ) -> list[tuple[Transaction, str]]:
        skipped: list[tuple[Transaction, str]] = []
        params = self._spec.block
        work_target = params.work_limit * gas_target // params.gas_limit
        for tx in candidates:
            size = len(tx.raw) + _ITEM_OVERHEAD_BYTES
            if gas_target - run.gas_used < TRANSACTION_GAS:
                break
            if run.gas_used + tx.gas_limit > gas_target:
                skipped.append((tx, f"gas limit reached: this proposal has {gas_target - run.gas_used} gas left"))
            elif run.work_done >= work_target:
                skipped.append((tx, f"work limit reached: this proposal has done {run.work_done} of {work_target}"))
            elif size > bytes_left:
                skipped.append((tx, f"block size reached: this proposal has {bytes_left} bytes left"))
            else:
                try:
                    run.apply(tx)
                    bytes_left -= size
                except InvalidTransaction as error:
                    skipped.append((tx, str(error)))
        return skipped

    def _check_request(self, parent: Header, request: BuildRequest, *, validators_coinbase: Address) -> None:
        if request.height != parent.number + 1:
            raise InvalidBlock(f"height {request.height} does not follow block {parent.number}")
        if request.coinbase != validators_coinbase:
            raise InvalidBlock(
                f"coinbase 0x{request.coinbase.hex()} is not the proposer's payout address 0x{validators_coinbase.hex()}"
            )

    def _decode_header(self, block: Block) -> Header:
        size = len(encode(block))
        if size > self._spec.block.bytes_max:
            raise InvalidBlock(f"the block has {size} bytes, at most {self._spec.block.bytes_max} are allowed")
        try:
            return Header.from_rlp(block.header)
        except WireError as error:
            raise InvalidBlock(str(error)) from None

    def _decode(self, index: int, raw: bytes, known: Mapping[Hash32, Transaction]) -> Transaction:
        found = known.get(keccak256(raw))
        if found is not None:
            return found
        try:
            return decode_transaction(raw, chain_id=self._spec.chain_id)
        except (WireError, InvalidTransaction) as error:
            raise InvalidBlock(f"transaction {index}: {error}") from None

    def _executed(
        self,
        block: Block,
        result: BlockResult,
        transactions: list[Transaction],
        skipped: tuple[tuple[Transaction, str], ...],
    ) -> ExecutedBlock:
        return ExecutedBlock(
            block=block,
            header=result.header,
            transactions=tuple(transactions),
            receipts=result.receipts,
            results=result.results,
            writes=result.writes,
            skipped=skipped,
        )

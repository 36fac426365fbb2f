"""One block on one state, in the order of the design: system calls, transactions, end-of-block operations, roots.

`BlockRun` serves builder and verifier alike; they differ only in where transactions come from and what a bad one means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from eth.vm.execution_context import ExecutionContext

from evm_runtime import rewards, transition, work
from evm_runtime.computation import Computation, State
from evm_runtime.header import Header
from evm_runtime.native import Base, NativePrecompile
from evm_runtime.receipt import ExecutedTransaction, Receipt, bloom_of, bloom_union
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import WriteSet
from evm_runtime.state.trie import root_of_list
from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS
from evm_runtime.transaction import Transaction, check_transaction
from genesis.chain_spec import ChainSpec, Parameters
from genesis.codec import encode_rlp
from genesis.errors import FatalError, InvalidTransaction, InvariantError
from genesis.primitives import Address
from genesis.types import Commit, Evidence, Withdrawal


@dataclass(frozen=True, slots=True)
class BlockResult:
    """An executed block: the header with its roots, receipts and results in the order of the transactions, and the writes."""

    header: Header
    withdrawals: tuple[Withdrawal, ...]
    receipts: tuple[Receipt, ...]
    results: tuple[ExecutedTransaction, ...]
    writes: WriteSet


def execution_context(header: Header, chain_id: int) -> ExecutionContext:
    """What opcodes see of a block. Ancestor hashes come from the state, so none are given."""
    return ExecutionContext(
        coinbase=cast(Any, header.coinbase),
        timestamp=header.timestamp,
        block_number=cast(Any, header.number),
        difficulty=header.difficulty,
        mix_hash=cast(Any, header.prev_randao),
        gas_limit=header.gas_limit,
        prev_hashes=(),
        chain_id=chain_id,
        base_fee_per_gas=header.base_fee_per_gas,
        excess_blob_gas=header.excess_blob_gas,
    )


def begin_block(state: State, header: Header) -> None:
    """EIP-4788 and EIP-2935: put the ConsensusData hash and the parent's hash into their contracts."""
    transition.system_call(state, BEACON_ROOTS_ADDRESS, header.parent_beacon_block_root)
    transition.system_call(state, HISTORY_ADDRESS, header.parent_hash)


class BlockRun:
    """The execution of one block whose header is known but for what execution tells."""

    def __init__(
        self, spec: ChainSpec, db: AccountDB, computation: type[Computation], draft: Header, *, metered: bool = True
    ) -> None:
        """`metered` False lets each transaction do any amount of work: Ethereum's own tests know of no such limit."""
        self._spec: Final = spec
        self._draft: Final = draft
        self._metered: Final = metered
        base = Base(draft.parent_hash)
        self.state: Final = State(db, execution_context(draft, spec.chain_id), computation, base)
        self.gas_used = 0
        self.work_done = 0
        self.transactions: Final[list[Transaction]] = []
        self._receipts: list[Receipt] = []
        self._results: list[ExecutedTransaction] = []
        self._burned = 0

    def begin(self) -> None:
        """Do what comes before the first transaction."""
        begin_block(self.state, self._draft)

    def apply(self, tx: Transaction) -> transition.Outcome:
        """Execute one more transaction. Raises InvalidTransaction, and then nothing has changed."""
        base_fee = self._draft.base_fee_per_gas
        check_transaction(tx, self._spec, self._draft.number)
        if self.gas_used + tx.gas_limit > self._draft.gas_limit:
            raise InvalidTransaction(
                f"gas limit reached: the block has {self._draft.gas_limit - self.gas_used} gas left, "
                f"the transaction asks for {tx.gas_limit}"
            )
        params = self._spec.block
        if self._metered and self.work_done + work.limit(tx.gas_limit, params) > params.work_limit:
            raise InvalidTransaction(
                f"work limit reached: the block has {params.work_limit - self.work_done} work left, "
                f"the transaction may need {work.limit(tx.gas_limit, params)}"
            )
        transition.check_sender(self.state, tx, base_fee)
        allowance = work.allowance(tx.gas_limit, params) if self._metered else work.UNLIMITED
        outcome = transition.execute(self.state, tx, base_fee, allowance)
        self.gas_used += outcome.gas_used
        self.work_done += outcome.work
        self._burned += outcome.burned + outcome.gas_used * base_fee
        self.transactions.append(tx)
        self._receipts.append(
            Receipt(tx.kind, int(outcome.succeeded), self.gas_used, bloom_of(outcome.logs), outcome.logs)
        )
        self._results.append(
            ExecutedTransaction(outcome.gas_used, outcome.contract_address, tx.effective_gas_price(base_fee))
        )
        return outcome

    def finish(
        self,
        parent_time_ms: int,
        time_ms: int,
        last_commit: Commit,
        evidence: tuple[Evidence, ...],
        natives: Mapping[Address, NativePrecompile],
        parameters: Parameters,
    ) -> BlockResult:
        """Punish, pay rewards, take the roots. Raises FatalError only: what happens here depends on no transaction's wish."""
        try:
            withdrawals = rewards.end_block(
                self.state,
                parent_time_ms=parent_time_ms,
                time_ms=time_ms,
                last_commit=last_commit,
                evidence=evidence,
                natives=natives.values(),
                parameters=parameters,
                burned_min=self._burned,
            )
        except FatalError:
            raise
        except Exception as error:
            raise InvariantError(f"the end of block {self._draft.number} failed: {error}") from error
        state_root, writes = self.state.account_db.finalize()
        header = self._draft.replace(
            state_root=state_root,
            transactions_root=root_of_list([tx.raw for tx in self.transactions]),
            receipts_root=root_of_list([receipt.encode() for receipt in self._receipts]),
            bloom=bloom_union(receipt.bloom for receipt in self._receipts),
            gas_used=self.gas_used,
            withdrawals_root=root_of_list([encode_rlp(withdrawal.to_rlp()) for withdrawal in withdrawals]),
        )
        return BlockResult(header, withdrawals, tuple(self._receipts), tuple(self._results), writes)

"""EELS, Ethereum's specification in Python, as an oracle: slow, right, and with Osaka. It shares nothing with py-evm.

It judges for itself which transactions are valid. Native contracts are not Ethereum's: it has no part in cases with them.
"""

import importlib
import zlib
from collections.abc import Sequence
from typing import Any

from ethereum.exceptions import EthereumException
from ethereum.trace import EvmStop, GasAndRefund, OpEnd, OpException, OpStart, TransactionEnd, set_evm_trace
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes20, Bytes32
from ethereum_types.numeric import U64, U256, Uint

from evm_runtime.hardforks import Fork
from evm_runtime.transaction import Transaction
from tests.fuzz.model import (
    BASE_FEE,
    COINBASE,
    GAS_LIMIT,
    NUMBER,
    PREV_RANDAO,
    TIMESTAMP,
    Accounts,
    Result,
    Run,
    Step,
)
from tests.unit.evm_runtime.chain import CHAIN_ID


class Rules:
    """The modules of one fork."""

    def __init__(self, fork: str) -> None:
        parts = ("fork", "state", "fork_types", "vm", "transactions", "blocks", "trie", "vm.exceptions")
        modules = [importlib.import_module(f"ethereum.forks.{fork}.{part}") for part in parts]
        self.fork, self.state, self.types, self.vm, self.transactions, self.blocks, self.trie, self.errors = modules

    def make_state(self, accounts: Accounts) -> Any:
        """A state of EELS that holds these accounts."""
        state = self.state.State()
        for address, account in accounts.items():
            entry = self.types.Account(Uint(account.nonce), U256(account.balance), account.code)
            self.state.set_account(state, Bytes20(address), entry)
            for slot, value in account.storage.items():
                self.state.set_storage(state, Bytes20(address), Bytes32(slot.to_bytes(32, "big")), U256(value))
        return state

    def decode(self, raw: bytes) -> Any:
        """A transaction from its canonical bytes."""
        if raw[0] >= 0xC0:
            return rlp.decode_to(self.transactions.LegacyTransaction, raw)
        return self.transactions.decode_transaction(raw)


def run_eels(accounts: Accounts, transactions: Sequence[Transaction], fork: Fork, *, traced: bool = False) -> Run:
    """Run the transactions one after the other in one block, without system calls."""
    rules = Rules(fork.name)
    state = rules.make_state(accounts)
    block = rules.vm.BlockEnvironment(
        chain_id=U64(CHAIN_ID),
        state=state,
        block_gas_limit=Uint(GAS_LIMIT),
        block_hashes=[Bytes32(bytes(32))],
        coinbase=Bytes20(COINBASE),
        number=Uint(NUMBER),
        base_fee_per_gas=Uint(BASE_FEE),
        time=U256(TIMESTAMP),
        prev_randao=Bytes32(PREV_RANDAO),
        excess_blob_gas=U64(0),
        parent_beacon_block_root=Bytes32(bytes(32)),
    )
    results: list[Result | None] = []
    traces: list[tuple[Step, ...]] = []
    for index, tx in enumerate(transactions):
        recorder = _Recorder(rules)
        # A block's output of its own for each, so that what it holds is this transaction's; gas is bounded by the case.
        output = rules.vm.BlockOutput()
        previous = set_evm_trace(recorder)
        try:
            rules.fork.process_transaction(block, output, rules.decode(tx.raw), Uint(index))
        except EthereumException:
            results.append(None)
            continue
        finally:
            set_evm_trace(previous)
        results.append(recorder.result(output))
        traces.append(tuple(recorder.steps))
    return Run(tuple(results), bytes(rules.state.state_root(state)), tuple(traces) if traced else None)


class _Recorder:
    """Hears what the interpreter does."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._open: dict[int, tuple[int, int]] = {}
        """By depth: the place in `steps` of the opcode that is running, and the gas that it was charged so far. (What a call
        hands on is charged, what a creation hands on is taken away without a word: as geth counts.)"""
        self._end: TransactionEnd | None = None
        self.steps: list[Step] = []
        self._refund: int | None = None

    def __call__(self, evm: Any, event: Any, *_args: Any, **_options: Any) -> None:
        depth = int(evm.message.depth) + 1
        if isinstance(event, OpStart):
            self._open[depth] = len(self.steps), 0
            self.steps.append(_step(evm, int(event.op.value), depth))
        elif isinstance(event, GasAndRefund) and depth in self._open:
            place, charged = self._open[depth]
            self._open[depth] = place, charged + event.gas_cost
        elif isinstance(event, OpEnd):
            place, charged = self._open.pop(depth)
            self.steps[place] = self.steps[place]._replace(cost=charged)
        elif isinstance(event, OpException):
            self._open.pop(depth, None)
            if isinstance(event.error, self._rules.errors.InvalidOpcode):
                self.steps.append(_step(evm, evm.code[int(evm.pc)], depth))
        elif isinstance(event, EvmStop) and evm.running and evm.code:
            self.steps.append(_step(evm, 0, depth))
        elif isinstance(event, TransactionEnd):
            self._end = event
            authorized = evm.message.tx_env.authorizations
            self._refund = None if evm.error or authorized else evm.refund_counter

    def result(self, output: Any) -> Result:
        """The result, from the receipt and from what was heard."""
        end = self._end
        failed = end is None or end.error is not None
        logs = tuple((bytes(log.address), tuple(map(bytes, log.topics)), bytes(log.data)) for log in output.block_logs)
        return Result(
            status=int(not failed),
            gas_used=int(output.block_gas_used),
            output=b"" if end is None else bytes(end.output),
            logs=logs,
            refund=self._refund,
        )


def _step(evm: Any, opcode: int, depth: int) -> Step:
    refund, frame = 0, evm
    while frame is not None:
        refund += frame.refund_counter
        frame = frame.message.parent_evm
    return Step(
        pc=int(evm.pc),
        opcode=opcode,
        gas=int(evm.gas_left),
        depth=depth,
        stack=tuple(map(int, evm.stack)),
        memory=(len(evm.memory), zlib.crc32(evm.memory)),
        refund=None if evm.message.tx_env.authorizations else refund,
    )

"""Random blocks by our own executor, and the same blocks through EELS' `state_transition`: `python -m tests.fuzz.blocks`.

EELS checks every field of the header: roots of transactions, receipts, withdrawals and state, bloom, gas used, base fee, blob
gas, the requests' hash. Where our chain is not Ethereum, EELS is bridged, and in nothing else:

- The base fee has the chain's denominator and floor. (Its formula stays EELS' own.)
- There are no beacon chain, no deposit contract's logs to be had and no contracts for withdrawal and consolidation requests:
  those two system calls return nothing.
- End-of-block operations are native code: before the withdrawals the staking contract's account is set to what ours has.
- Blocks may come within one second: here they don't.

What a block says of consensus (`parent_beacon_block_root`, `prev_randao`, the coinbase, the withdrawal list) is given to EELS
as it stands in header and body. Native contracts are accounts whose code is INVALID, for both sides.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from ethereum.exceptions import EthereumException
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes, Bytes20, Bytes32
from ethereum_types.numeric import U64, U256, Uint

from evm_runtime.genesis_block import build_genesis
from evm_runtime.hardforks import OSAKA, PRAGUE
from evm_runtime.header import Header
from evm_runtime.runtime import ExecutedBlock
from evm_runtime.state import keys
from evm_runtime.state.kv import MemoryStore
from evm_runtime.state.source import decode_account
from evm_runtime.system_contracts import BEACON_ROOTS_ADDRESS, HISTORY_ADDRESS
from genesis.chain_spec import STAKING_ADDRESS, BlockParams, ForkActivation
from genesis.primitives import Address
from tests.fuzz.eels import Rules
from tests.fuzz.model import Account
from tests.fuzz.programs import random_program
from tests.fuzz.transactions import CONTRACTS, EMPTY, SENDERS, TransactionWriter
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, Chain, contract, make_spec
from tests.unit.evm_runtime.programs import asm

BLOCKS = 4
RING_READER = b"\xd1" * 20
"""A contract that asks for hashes and beacon roots of earlier blocks, and keeps what it is told."""
FORKS = (PRAGUE, OSAKA)


def make_chain(seed: int, staking: list[Account]) -> Chain:
    """A chain with a few random blocks, each built and then executed again by our executor; `staking` gets the staking
    contract after each."""
    rng = random.Random(f"blocks {seed}")
    fork = rng.choice(FORKS)
    targets = [*CONTRACTS, EMPTY, RING_READER, *map(bytes, ADDRESSES[SENDERS:])]
    size = rng.choice([8, 20])
    contracts = [
        contract(address, random_program(rng, targets, size, clz=fork is OSAKA), 10**18, {1: 5})
        for address in CONTRACTS
    ]
    params = BlockParams(gas_limit=rng.choice([4_000_000, 30_000_000]))
    ring = contract(RING_READER, _ring_reader())
    chain = Chain(make_spec(*contracts, ring, block=params, forks=(ForkActivation(fork.name),)))
    writer = TransactionWriter(rng, targets, fork)
    for number in range(BLOCKS):
        state = chain.runtime.state()
        writer.nonces = [state.nonce(address) for address in ADDRESSES]
        # The last block is empty now and then: withdrawals and system calls are all there is.
        count = 0 if number == BLOCKS - 1 and rng.random() < 0.3 else rng.randrange(1, 12)
        # Two of four validators at most are absent: what they missed is carried.
        absent = frozenset(rng.sample(range(4), rng.choice([0, 0, 1])))
        chain.accept(chain.build([writer.write() for _ in range(count)]), absent)
        staking.append(read_account(chain.store, STAKING_ADDRESS))
    return chain


def _ring_reader() -> bytes:
    code = b""
    for slot, back in enumerate((1, 2, 3, 300)):
        code += asm(back, "NUMBER", "SUB", "BLOCKHASH", slot, "SSTORE")
    for slot, (address, back, what) in enumerate(
        ((HISTORY_ADDRESS, 1, "NUMBER"), (BEACON_ROOTS_ADDRESS, 0, "TIMESTAMP"), (BEACON_ROOTS_ADDRESS, 5, "TIMESTAMP"))
    ):
        code += asm(back, what, "SUB", 0, "MSTORE", 32, 32, 32, 0, bytes(address), 100_000, "STATICCALL")
        code += asm(32, "MLOAD", "ADD", slot + 10, "SSTORE")
    return code


# ---------------------------------------------------------------- EELS


class Twin:
    """EELS' chain beside ours, from our genesis on."""

    def __init__(self, chain: Chain) -> None:
        self.rules = Rules(chain.spec.forks[0].fork)
        self._params = chain.spec.block
        genesis = build_genesis(chain.spec)
        fresh = MemoryStore()
        fresh.apply(genesis.writes)
        state = self.rules.make_state(dict(_accounts(fresh)))
        first = self.rules.blocks.Block(self._header(genesis.header), (), (), ())
        self.chain = self.rules.fork.BlockChain([first], state, U64(CHAIN_ID))

    def _header(self, header: Header) -> Any:
        return rlp.decode_to(self.rules.blocks.Header, header.to_rlp())

    def apply(self, executed: ExecutedBlock, staking: Account) -> str:
        """Run a block; returns what differs, or nothing. `staking` is the staking contract after our execution."""
        outputs: list[Any] = []
        with self._bridged(staking, outputs):
            try:
                self.rules.fork.state_transition(self.chain, self._block(executed))
            except EthereumException as error:
                return self._difference(executed, outputs, error)
        return ""

    def _block(self, executed: ExecutedBlock) -> Any:
        transactions = tuple(
            self.rules.decode(tx.raw) if tx.raw[0] >= 0xC0 else Bytes(tx.raw) for tx in executed.transactions
        )
        withdrawals = tuple(
            self.rules.blocks.Withdrawal(U64(w.index), U64(w.validator_index), Bytes20(w.address), U256(w.amount_gwei))
            for w in executed.block.withdrawals
        )
        return self.rules.blocks.Block(self._header(executed.header), transactions, (), withdrawals)

    @contextmanager
    def _bridged(self, staking: Account, outputs: list[Any]) -> Iterator[None]:
        """Our chain's differences, and nothing else (see the top of this file)."""
        fork = self.rules.fork
        base_fee, withdraw, call, body = (
            fork.calculate_base_fee_per_gas,
            fork.process_withdrawals,
            fork.process_checked_system_transaction,
            fork.apply_body,
        )

        def floored(*arguments: Any) -> Any:
            return max(base_fee(*arguments), Uint(self._params.base_fee_floor))

        def end_of_block(block_env: Any, block_output: Any, withdrawals: Any) -> None:
            self._put(block_env.state, STAKING_ADDRESS, staking)
            withdraw(block_env, block_output, withdrawals)

        def requests(block_env: Any, target_address: Any, data: Any) -> Any:
            if target_address in (
                fork.WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
                fork.CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            ):
                return mock.Mock(return_data=b"")
            return call(block_env, target_address, data)

        def kept(**arguments: Any) -> Any:
            outputs.append(body(**arguments))
            return outputs[-1]

        replaced = {
            "BASE_FEE_MAX_CHANGE_DENOMINATOR": Uint(self._params.base_fee_denominator),
            "calculate_base_fee_per_gas": floored,
            "process_withdrawals": end_of_block,
            "process_checked_system_transaction": requests,
            "apply_body": kept,
        }
        with ExitStack() as stack:
            for name, value in replaced.items():
                stack.enter_context(mock.patch.object(fork, name, value))
            yield

    def _put(self, state: Any, address: Address, account: Account) -> None:
        self.rules.state.destroy_storage(state, Bytes20(address))
        for slot, value in account.storage.items():
            self.rules.state.set_storage(state, Bytes20(address), Bytes32(slot.to_bytes(32, "big")), U256(value))
        self.rules.state.set_account_balance(state, Bytes20(address), U256(account.balance))

    def _difference(self, executed: ExecutedBlock, outputs: list[Any], error: Exception) -> str:
        """Receipt by receipt where there are some, else EELS' own words."""
        for output in outputs:
            for index, receipt in enumerate(executed.receipts):
                theirs = self.rules.trie.trie_get(output.receipts_trie, rlp.encode(Uint(index)))
                if not isinstance(theirs, bytes):
                    theirs = rlp.encode(theirs)
                if bytes(theirs) != receipt.encode():
                    return f"receipt {index} is {bytes(theirs).hex()}, ours {receipt.encode().hex()}"
        return f"refused: {type(error).__name__} {error}"


def _accounts(store: MemoryStore) -> Iterator[tuple[bytes, Account]]:
    for key, value in list(store.iterate(b"a")):
        yield key[1:], read_account(store, Address(key[1:]), value)


def read_account(store: MemoryStore, address: Address, value: bytes | None = None) -> Account:
    """An account of the flat state with its code and all its storage."""
    value = store.get(keys.account(address)) if value is None else value
    nonce, balance, _, code_hash = decode_account(value or b"")
    prefix = keys.storage_prefix(address)
    storage = {
        int.from_bytes(key[len(prefix) :], "big"): int.from_bytes(slot, "big") for key, slot in store.iterate(prefix)
    }
    return Account(balance, nonce, store.get(keys.code(code_hash)) or b"", storage)


# ---------------------------------------------------------------- both


def check(seed: int) -> tuple[str, Chain]:
    """What differs, or nothing; and the chain."""
    staking: list[Account] = []
    chain = make_chain(seed, staking)
    twin = Twin(chain)
    for executed, account in zip(chain.blocks, staking, strict=True):
        if found := twin.apply(executed, account):
            return f"block {executed.header.number}: {found}", chain
    return "", chain


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.blocks", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    end, seed = time.monotonic() + options.seconds, options.seed
    blocks = transactions = withdrawals = failed = 0
    while time.monotonic() < end:
        found, chain = check(seed)
        if found:
            failed += 1
            print(f"chain {seed}, {found}", flush=True)
        blocks += len(chain.blocks)
        transactions += sum(len(executed.transactions) for executed in chain.blocks)
        withdrawals += sum(len(executed.block.withdrawals) for executed in chain.blocks)
        seed += 1
    print(f"{seed - options.seed} chains from seed {options.seed}: {blocks} blocks, {transactions} transactions, "
          f"{withdrawals} withdrawals; {failed} failed")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

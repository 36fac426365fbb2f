"""A small chain for the tests of the runtime: accounts, signing, building and applying blocks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address

from evm_runtime.block_rules import payout_of, proposer_of
from evm_runtime.genesis_block import build_genesis
from evm_runtime.header import Header
from evm_runtime.runtime import BuildRequest, ExecutedBlock, Runtime
from evm_runtime.state.kv import MemoryStore
from evm_runtime.state.source import decode_account
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.chain_spec import BlockParams, ChainSpec, GenesisAccount
from genesis.crypto import address_of_private_key, sign
from genesis.primitives import WEI_PER_OPEN, Address, Height, Power, Round, Wei
from genesis.types import EMPTY_COMMIT, ChainIdentity, Commit, Validator, VoteType, sign_digest

CHAIN_ID = 4_242
GENESIS_TIME_MS = 1_800_000_000_000
KEYS = [bytes([i]) * 32 for i in range(1, 6)]
ADDRESSES = [address_of_private_key(key) for key in KEYS]
VALIDATOR_KEYS = [bytes([0xA0 + i]) * 32 for i in range(4)]
VALIDATORS = tuple(
    Validator(address_of_private_key(key), Power(10 + place), Address(bytes([0xC0 + place]) * 20))
    for place, key in enumerate(VALIDATOR_KEYS)
)


def make_spec(*accounts: GenesisAccount, block: BlockParams | None = None, **changes: Any) -> ChainSpec:
    funded = tuple(GenesisAccount(address, Wei(1_000 * WEI_PER_OPEN)) for address in ADDRESSES)
    return ChainSpec(
        name="test",
        chain_id=CHAIN_ID,
        genesis_time_ms=GENESIS_TIME_MS,
        validators=VALIDATORS,
        treasury=Address(b"\x77" * 20),
        alloc=(*funded, *accounts),
        block=block or BlockParams(),
        **changes,
    )


def contract(
    address: bytes, code: str | bytes, balance: int = 0, storage: dict[int, int] | None = None
) -> GenesisAccount:
    raw = bytes.fromhex(code) if isinstance(code, str) else code
    return GenesisAccount(Address(address), Wei(balance), 1, raw, tuple((storage or {}).items()))


def signed(key: int = 0, **fields: Any) -> Transaction:
    """A transaction signed with `KEYS[key]` by eth-account; 1559 unless a gas price or a type is given."""
    unsigned: dict[str, Any] = {"chainId": CHAIN_ID, "value": 0, "gas": 21_000, "data": b"", **fields}
    if "gasPrice" not in unsigned:
        unsigned = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9, **unsigned}
    if isinstance(unsigned.get("to"), bytes):
        unsigned["to"] = to_checksum_address(unsigned["to"])
    raw = bytes(Account.sign_transaction(unsigned, KEYS[key]).raw_transaction)
    return decode_transaction(raw, chain_id=CHAIN_ID)


@dataclass
class Chain:
    """A runtime over a memory store, with a tip to build on."""

    spec: ChainSpec = field(default_factory=make_spec)
    natives: tuple[Any, ...] = ()
    validator_keys: list[bytes] = field(default_factory=lambda: list(VALIDATOR_KEYS))
    """Whoever may be in a validator set."""

    def __post_init__(self) -> None:
        genesis = build_genesis(self.spec)
        self.store = MemoryStore()
        self.store.apply(genesis.writes)
        self.tip: Header = genesis.header
        self.time_ms = self.spec.genesis_time_ms
        self.commit = EMPTY_COMMIT
        self.identity = ChainIdentity(self.spec.chain_id, genesis.header.hash)
        self.runtime = Runtime(self.spec, self.identity, self.store, self.natives)
        self.blocks: list[ExecutedBlock] = []

    def request(self, time_ms: int | None = None, round_: int = 0, **changes: Any) -> BuildRequest:
        validators = self.runtime.state().validators()
        proposer = proposer_of(validators, Round(round_))
        fields: dict[str, Any] = {
            "height": Height(self.tip.number + 1),
            "time_ms": self.time_ms + self.spec.block.empty_interval_ms if time_ms is None else time_ms,
            "round": Round(round_),
            "proposer": proposer,
            "coinbase": payout_of(validators, proposer),
            "last_commit": self.commit,
            "evidence": (),
            "gas_target": self.spec.block.gas_limit,
            **changes,
        }
        return BuildRequest(**fields)

    def build(self, transactions: Iterable[Transaction] = (), **changes: Any) -> ExecutedBlock:
        return self.runtime.build_block(self.tip, self.time_ms, self.request(**changes), transactions)

    def accept(self, executed: ExecutedBlock, absent: frozenset[int] = frozenset()) -> None:
        """Execute the block as every validator does, compare, and move the tip; `absent` places don't sign its commit."""
        again = self.runtime.execute_block(self.tip, self.time_ms, executed.block)
        assert again.header == executed.header and again.writes == executed.writes
        assert (again.receipts, again.results) == (executed.receipts, executed.results)
        self.commit = self.commit_of(executed, absent)
        self.store.apply(executed.writes)
        self.tip, self.time_ms = executed.header, executed.block.consensus.time_ms
        self.blocks.append(executed)

    def commit_of(self, executed: ExecutedBlock, absent: frozenset[int] = frozenset()) -> Commit:
        voters = self.runtime.state().validators().current
        keys = {address_of_private_key(key): key for key in self.validator_keys}
        header = executed.header
        digest = sign_digest(self.identity, VoteType.PRECOMMIT, header.number, Round(0), header.hash, voters.hash())
        signatures = tuple(
            b"" if place in absent else bytes(sign(keys[member.address], digest))
            for place, member in enumerate(voters.members)
        )
        return Commit(header.number, Round(0), header.hash, signatures)

    def advance(
        self, *transactions: Transaction, absent: frozenset[int] = frozenset(), **changes: Any
    ) -> ExecutedBlock:
        """Build a block of these transactions, all of which must fit, and accept it."""
        executed = self.build(transactions, **changes)
        assert not executed.skipped, executed.skipped[0][1]
        self.accept(executed, absent)
        return executed

    def total_balance(self) -> int:
        """The sum over every account of the flat state."""
        return sum(decode_account(value)[1] for _, value in self.store.iterate(b"a"))

"""Helpers: keys, specs, signed transactions, and a chain of blocks decided by one validator over a real database."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address

from evm_runtime.block_rules import payout_of, proposer_of
from evm_runtime.runtime import BuildRequest, ExecutedBlock
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.chain_spec import BlockParams, ChainSpec, GenesisAccount
from genesis.crypto import address_of_private_key, sign
from genesis.primitives import WEI_PER_OPEN, Address, Hash32, Height, Power, Round, Wei
from genesis.types import (
    EMPTY_COMMIT,
    Block,
    Commit,
    DuplicateVote,
    Evidence,
    Validator,
    Vote,
    VoteType,
    sign_digest,
)
from node.node import Indexes
from node.storage.chain_store import ChainStore, open_chain
from node.storage.database import LevelDatabase

CHAIN_ID = 4_343
GENESIS_TIME_MS = 1_800_000_000_000
KEYS = [bytes([i]) * 32 for i in range(1, 8)]
ADDRESSES = [address_of_private_key(key) for key in KEYS]
VALIDATOR_KEY = b"\xa1" * 32
VALIDATOR = address_of_private_key(VALIDATOR_KEY)
GWEI = 10**9


def make_spec(**changes: Any) -> ChainSpec:
    return ChainSpec(
        name=changes.pop("name", "local"),
        chain_id=CHAIN_ID,
        genesis_time_ms=changes.pop("genesis_time_ms", GENESIS_TIME_MS),
        validators=(Validator(VALIDATOR, Power(1), Address(b"\xcc" * 20)),),
        treasury=Address(b"\x77" * 20),
        alloc=tuple(GenesisAccount(address, Wei(1_000 * WEI_PER_OPEN)) for address in ADDRESSES),
        block=changes.pop("block", BlockParams()),
        **changes,
    )


def transfer(
    key: int = 0,
    nonce: int = 0,
    *,
    fee: int = 10 * GWEI,
    tip: int = GWEI,
    value: int = 1,
    gas: int = 21_000,
    **more: Any,
) -> Transaction:
    """A signed EIP-1559 transfer to nobody in particular."""
    unsigned = {
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": to_checksum_address(b"\x99" * 20),
        "value": value,
        "gas": gas,
        "maxFeePerGas": fee,
        "maxPriorityFeePerGas": tip,
        "data": b"",
        **more,
    }
    return decode_transaction(bytes(Account.sign_transaction(unsigned, KEYS[key]).raw_transaction), chain_id=CHAIN_ID)


@dataclass
class LocalChain:
    """A ChainStore that one validator extends, without consensus running."""

    path: Path
    spec: ChainSpec

    def __post_init__(self) -> None:
        self.database = LevelDatabase(self.path, create=True)
        self.store: ChainStore = open_chain(self.database, self.spec, Indexes())

    def build(self, *transactions: Transaction, evidence: tuple[Evidence, ...] = ()) -> ExecutedBlock:
        store, tip = self.store, self.store.tip()
        validators = store.live_runtime.state().validators()
        proposer = proposer_of(validators, Round(0))
        request = BuildRequest(
            height=Height(tip.height + 1),
            time_ms=tip.time_ms + self.spec.block.empty_interval_ms,
            round=Round(0),
            proposer=proposer,
            coinbase=payout_of(validators, proposer),
            last_commit=tip.commit or EMPTY_COMMIT,
            evidence=evidence,
            gas_target=self.spec.block.gas_limit,
        )
        return store.live_runtime.build_block(tip.header, tip.time_ms, request, list(transactions))

    def commit_for(self, block: Block) -> Commit:
        validators = self.store.live_runtime.state().validators().current
        digest = sign_digest(
            self.store.identity, VoteType.PRECOMMIT, block.height, Round(0), block.hash, validators.hash()
        )
        return Commit(block.height, Round(0), block.hash, (sign(VALIDATOR_KEY, digest),))

    def double_vote(self, height: int) -> DuplicateVote:
        """The validator's own fault, signed as it has to be."""
        header = self.store.header(Height(height))
        assert header is not None
        voters = self.store.runtime.state(header).validators().last
        assert voters is not None
        votes = []
        for value in (Hash32(bytes(32)), header.hash):
            digest = sign_digest(self.store.identity, VoteType.PREVOTE, Height(height), Round(0), value, voters.hash())
            signature = sign(VALIDATOR_KEY, digest)
            votes.append(Vote(VoteType.PREVOTE, Height(height), Round(0), value, VALIDATOR, signature))
        return DuplicateVote(*votes)

    def extend(self, *transactions: Transaction, evidence: tuple[Evidence, ...] = ()) -> Block:
        executed = self.build(*transactions, evidence=evidence)
        self.store.append(executed, self.commit_for(executed.block))
        return executed.block

    def close(self) -> None:
        self.store.close()


def with_other_time(block: Block) -> Block:
    """A block whose body no longer belongs to its header."""
    return replace(block, consensus=replace(block.consensus, time_ms=block.consensus.time_ms + 1))

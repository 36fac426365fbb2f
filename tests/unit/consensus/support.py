"""Parts that the consensus tests share: keys, a chain of opaque blocks, and files in memory that can crash."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from consensus.application import HeightContext
from consensus.signer import Signer
from genesis import crypto
from genesis.chain_spec import BlockParams, ConsensusParams
from genesis.errors import InvalidBlock
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Power, Round, Signature, keccak256
from genesis.proposers import advance, initial_priorities
from genesis.types import (
    EMPTY_COMMIT,
    Block,
    ChainIdentity,
    Commit,
    ConsensusData,
    Evidence,
    Proposal,
    Validator,
    ValidatorSet,
    Vote,
    VoteType,
    evidence_hash,
    sign_digest,
)

CHAIN = ChainIdentity(1337, keccak256(b"test genesis"))
PARAMS = ConsensusParams()
BLOCK_PARAMS = BlockParams()
GENESIS_TIME_MS = 1_700_000_000_000
EVIDENCE_AGE_MS = 1_000_000
PREVOTE, PRECOMMIT = VoteType.PREVOTE, VoteType.PRECOMMIT


@lru_cache(maxsize=1 << 18)
def cached_recover(digest: Hash32, signature: bytes) -> Address:
    """crypto.recover, once per signature: every node of a simulation checks the same ones."""
    return crypto.recover(digest, signature)


def private_key(number: int) -> bytes:
    return keccak256(b"test validator %d" % number)


@lru_cache
def keys_in_set_order(count: int) -> tuple[bytes, ...]:
    """`count` keys, in the order of their addresses: key i belongs to member i of `validator_set(count)`."""
    return tuple(sorted((private_key(i) for i in range(count)), key=crypto.address_of_private_key))


@lru_cache
def validator_set(count: int, powers: tuple[int, ...] = ()) -> ValidatorSet:
    addresses = [crypto.address_of_private_key(key) for key in keys_in_set_order(count)]
    return ValidatorSet(
        tuple(Validator(address, Power(powers[i] if powers else 10), address) for i, address in enumerate(addresses))
    )


def first_context(validators: ValidatorSet, block_params: BlockParams = BLOCK_PARAMS) -> HeightContext:
    return HeightContext(
        height=Height(1),
        parent_hash=CHAIN.genesis_hash,
        parent_time_ms=GENESIS_TIME_MS,
        validators=validators,
        next_validators=validators,
        last_validators=None,
        last_commit=EMPTY_COMMIT,
        priorities=initial_priorities(validators),
        block_params=block_params,
        evidence_age_ms=EVIDENCE_AGE_MS,
    )


def next_context(context: HeightContext, block: Block, commit: Commit) -> HeightContext:
    return replace(
        context,
        height=Height(context.height + 1),
        parent_hash=block.hash,
        parent_time_ms=block.consensus.time_ms,
        last_validators=context.validators,
        last_commit=commit,
        priorities=advance(context.validators, context.priorities)[0],
    )


def header_of(data: ConsensusData, transactions: tuple[bytes, ...], parent: Hash32) -> bytes:
    """A stand-in for a header: it commits to everything in the block, as a real one does."""
    return b"header" + data.hash() + keccak256(b"".join(keccak256(tx) for tx in transactions)) + parent


def make_block(
    context: HeightContext,
    *,
    round_: int = 0,
    transactions: tuple[bytes, ...] = (b"tx",),
    time_ms: int | None = None,
    last_commit: Commit | None = None,
    evidence: tuple[Evidence, ...] = (),
    **changes: object,
) -> Block:
    commit = context.last_commit if last_commit is None else last_commit
    data = ConsensusData(
        time_ms=context.parent_time_ms + context.block_params.interval_ms if time_ms is None else time_ms,
        round=Round(round_),
        proposer=context.proposer(Round(round_)),
        last_commit_hash=commit.hash(),
        evidence_hash=evidence_hash(evidence),
        validators_hash=context.validators.hash(),
        next_validators_hash=context.next_validators.hash(),
    )
    data = replace(data, **changes)  # type: ignore[arg-type]  # tests change any field
    return Block(header_of(data, transactions, context.parent_hash), transactions, (), data, commit, evidence)


def check_body(block: Block) -> None:
    """What an application's `check_body` does, for the stand-in header."""
    if block.header[:70] != header_of(block.consensus, block.transactions, ZERO_HASH)[:70]:
        raise InvalidBlock("the header does not commit to this body")
    if block.consensus.last_commit_hash != block.last_commit.hash():
        raise InvalidBlock("the header does not commit to this last commit")
    if block.consensus.evidence_hash != evidence_hash(block.evidence):
        raise InvalidBlock("the header does not commit to this evidence")


def vote(
    validators: ValidatorSet,
    who: int,
    kind: VoteType,
    round_: int,
    block_hash: Hash32 = ZERO_HASH,
    *,
    height: int = 1,
) -> Vote:
    key = keys_in_set_order(len(validators))[who]
    digest = sign_digest(CHAIN, kind, Height(height), Round(round_), block_hash, validators.hash())
    address = validators.members[who].address
    return Vote(kind, Height(height), Round(round_), block_hash, address, crypto.sign(key, digest))


def proposal(
    context: HeightContext, round_: int, block_hash: Hash32, *, valid_round: int = -1, polka: tuple[Vote, ...] = ()
) -> Proposal:
    validators = context.validators
    proposer = context.proposer(Round(round_))
    place = validators.index(proposer)
    assert place is not None
    digest = sign_digest(
        CHAIN, VoteType.PROPOSAL, context.height, Round(round_), block_hash, validators.hash(), Round(valid_round)
    )
    signature = crypto.sign(keys_in_set_order(len(validators))[place], digest)
    return Proposal(context.height, Round(round_), Round(valid_round), block_hash, proposer, signature, polka)


def commit_for(
    context: HeightContext, block_hash: Hash32, *, round_: int = 0, signers: list[int] | None = None
) -> Commit:
    validators = context.validators
    who = range(len(validators)) if signers is None else signers
    votes = {i: vote(validators, i, PRECOMMIT, round_, block_hash, height=context.height) for i in who}
    signatures = tuple(bytes(votes[i].signature) if i in votes else b"" for i in range(len(validators)))
    return Commit(context.height, Round(round_), block_hash, signatures)


class SimulatedCrash(Exception):
    """The process died inside a call to a port."""


def never() -> None:
    """No crash."""


@dataclass
class MemoryLog:
    """A LogFile that knows what is durable. `hazard` is called before each operation and may raise SimulatedCrash."""

    data: bytes = b""
    durable: int = 0
    hazard: Callable[[], None] = never

    def read_all(self) -> bytes:
        return self.data

    def append(self, data: bytes) -> None:
        self.hazard()
        self.data += data

    def sync(self) -> None:
        self.hazard()
        self.durable = len(self.data)

    def truncate(self, size: int) -> None:
        self.data = self.data[:size]
        self.durable = size

    def crash(self, rng: random.Random) -> None:
        """Lose a random part of what was not synced."""
        kept = rng.randint(self.durable, len(self.data))
        self.data = self.data[:kept]
        self.durable = kept


@dataclass
class MemoryRecord:
    """A SignRecordStore in memory."""

    value: bytes | None = None
    hazard: Callable[[], None] = never
    history: list[bytes] = field(default_factory=list)

    def load(self) -> bytes | None:
        return self.value

    def save(self, record: bytes) -> None:
        self.hazard()
        self.value = record
        self.history.append(record)


def make_signer(key: bytes, store: MemoryRecord) -> Signer:
    def sign_hash(digest: Hash32) -> Signature:
        return crypto.sign(key, digest)

    return Signer(CHAIN, crypto.address_of_private_key(key), sign_hash, store)

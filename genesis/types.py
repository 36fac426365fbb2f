"""The plain value types that cross folders, each with its hash preimage.

What a contract may want to check hashes as `keccak(abi.encode(…))`: votes, commits, validator sets, ConsensusData.
The rest hashes as `keccak(rlp(…))`: blocks (the header alone, as in Ethereum) and evidence.
The preimages are frozen as vectors in tests/unit/genesis/vectors.json.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from eth_abi.abi import encode as abi_encode

from genesis.codec import encode_rlp
from genesis.limits import EVIDENCE_PER_BLOCK_MAX, VALIDATORS_MAX
from genesis.primitives import (
    NO_ROUND,
    ZERO_HASH,
    Address,
    Hash32,
    Height,
    Power,
    Round,
    Signature,
    abi_words,
    keccak256,
)

CONSENSUS_DATA_VERSION: Final = 1
HEIGHT_MAX: Final = (1 << 62) - 1
ROUND_MAX: Final = (1 << 31) - 1
TOTAL_POWER_MAX: Final = 1 << 60
"""Sums and products with small factors stay far below 2**63, so a native implementation could not overflow either."""


def check_height_round(height: int, round_: int) -> None:
    """Raises ValueError unless 0 <= height <= HEIGHT_MAX and 0 <= round <= ROUND_MAX."""
    if not 0 <= height <= HEIGHT_MAX or not 0 <= round_ <= ROUND_MAX:
        raise ValueError("height or round out of range")


def _uint(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


class VoteType(IntEnum):
    """What a consensus signature speaks of. The values are part of the signed digest."""

    PREVOTE = 1
    PRECOMMIT = 2
    PROPOSAL = 3


@dataclass(frozen=True, slots=True)
class ChainIdentity:
    """What ties a signature to one chain: its EIP-155 id and the hash of its genesis block."""

    chain_id: int
    genesis_hash: Hash32


def sign_digest(
    chain: ChainIdentity,
    kind: VoteType,
    height: Height,
    round_: Round,
    block_hash: Hash32,
    validators_hash: Hash32,
    valid_round: Round = NO_ROUND,
) -> Hash32:
    """The 32 bytes that a validator signs for a vote or a proposal.

    keccak(abi.encode(domain, chain id, genesis hash, kind, height, round, block hash, validators hash, valid round + 1)),
    domain = keccak("OpenLedger consensus signature v1"). A nil vote has the zero block hash; votes have valid round -1.
    """
    return keccak256(
        abi_words(
            _SIGNATURE_DOMAIN,
            chain.chain_id,
            chain.genesis_hash,
            int(kind),
            height,
            round_,
            block_hash,
            validators_hash,
            valid_round + 1,
        )
    )


_SIGNATURE_DOMAIN: Final = keccak256(b"OpenLedger consensus signature v1")


@dataclass(frozen=True, slots=True)
class Vote:
    """A signed prevote or precommit of `validator` for `block_hash` (zero: nil) at (height, round)."""

    kind: VoteType
    height: Height
    round: Round
    block_hash: Hash32
    validator: Address
    signature: Signature

    def __post_init__(self) -> None:
        if self.kind not in (VoteType.PREVOTE, VoteType.PRECOMMIT):
            raise ValueError("a vote is a prevote or a precommit")
        check_height_round(self.height, self.round)

    @property
    def is_nil(self) -> bool:
        return self.block_hash == ZERO_HASH

    def digest(self, chain: ChainIdentity, validators_hash: Hash32) -> Hash32:
        return sign_digest(chain, self.kind, self.height, self.round, self.block_hash, validators_hash)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A signed proposal of a block by the proposer of (height, round).

    `valid_round` is -1 for a fresh block, else the round whose polka (> 2/3 of prevotes) `polka` proves.
    """

    height: Height
    round: Round
    valid_round: Round
    block_hash: Hash32
    proposer: Address
    signature: Signature
    polka: tuple[Vote, ...] = ()

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)
        if not NO_ROUND <= self.valid_round < self.round:
            raise ValueError("valid_round must be -1 or an earlier round")
        if self.block_hash == ZERO_HASH:
            raise ValueError("a proposal names a block")
        if len(self.polka) > VALIDATORS_MAX or (self.valid_round == NO_ROUND and self.polka):
            raise ValueError("a polka goes with a valid_round and has at most one vote per validator")

    def digest(self, chain: ChainIdentity, validators_hash: Hash32) -> Hash32:
        return sign_digest(
            chain, VoteType.PROPOSAL, self.height, self.round, self.block_hash, validators_hash, self.valid_round
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """Precommits of more than 2/3 of the power for one block: what makes it final.

    `signatures` stand in validator-set order; a validator that is absent or voted otherwise has empty bytes.
    The commit of height 0 (carried by block 1) is `EMPTY_COMMIT`.
    """

    height: Height
    round: Round
    block_hash: Hash32
    signatures: tuple[bytes, ...]

    def __post_init__(self) -> None:
        check_height_round(self.height, self.round)
        if len(self.signatures) > VALIDATORS_MAX or any(len(s) not in (0, 65) for s in self.signatures):
            raise ValueError("commit signatures are 65 or 0 bytes, one per validator")

    def hash(self) -> Hash32:
        """keccak(abi.encode(uint64 height, uint64 round, bytes32 block hash, bytes[] signatures))."""
        encoded = abi_encode(
            ["uint64", "uint64", "bytes32", "bytes[]"], [self.height, self.round, self.block_hash, self.signatures]
        )
        return keccak256(encoded)


EMPTY_COMMIT: Final = Commit(Height(0), Round(0), ZERO_HASH, ())


@dataclass(frozen=True, slots=True)
class DuplicateVote:
    """Evidence: two votes of one validator, same kind, height and round, for different blocks (ordered by block hash)."""

    first: Vote
    second: Vote

    def __post_init__(self) -> None:
        a, b = self.first, self.second
        if (a.kind, a.height, a.round, a.validator) != (b.kind, b.height, b.round, b.validator):
            raise ValueError("the two votes do not conflict")
        if a.block_hash >= b.block_hash:
            raise ValueError("conflicting votes stand in order of their block hashes")

    @property
    def height(self) -> Height:
        return self.first.height

    @property
    def offender(self) -> Address:
        """Whom it accuses."""
        return self.first.validator

    def to_rlp(self) -> list[bytes]:
        a, b = self.first, self.second
        position = [_uint(int(a.kind)), _uint(a.height), _uint(a.round), a.validator]
        return [*position, a.block_hash, a.signature, b.block_hash, b.signature]


@dataclass(frozen=True, slots=True)
class DuplicateProposal:
    """Evidence: two proposals of one validator at the same height and round (ordered by block hash, then valid round)."""

    first: Proposal
    second: Proposal

    def __post_init__(self) -> None:
        a, b = self.first, self.second
        if (a.height, a.round, a.proposer) != (b.height, b.round, b.proposer):
            raise ValueError("the two proposals do not conflict")
        if (a.block_hash, a.valid_round) >= (b.block_hash, b.valid_round):
            raise ValueError("conflicting proposals stand in order of block hash and valid round")
        if a.polka or b.polka:
            raise ValueError("proposals in evidence carry no polka")

    @property
    def height(self) -> Height:
        return self.first.height

    @property
    def offender(self) -> Address:
        """Whom it accuses."""
        return self.first.proposer

    def to_rlp(self) -> list[bytes]:
        a, b = self.first, self.second
        position = [_uint(int(VoteType.PROPOSAL)), _uint(a.height), _uint(a.round), a.proposer]
        tail = [[p.block_hash, _uint(p.valid_round + 1), p.signature] for p in (a, b)]
        return [*position, *tail[0], *tail[1]]


Evidence = DuplicateVote | DuplicateProposal


def evidence_hash(evidence: tuple[Evidence, ...]) -> Hash32:
    """keccak(rlp([item, …])); the hash of no evidence is keccak(rlp([]))."""
    return keccak256(encode_rlp([item.to_rlp() for item in evidence]))


@dataclass(frozen=True, slots=True)
class Validator:
    """A member of a validator set. The address is the Ethereum address of its secp256k1 consensus key.

    `payout` receives its rewards and, as coinbase, the tips of the blocks that it proposes.
    """

    address: Address
    power: Power
    payout: Address

    def __post_init__(self) -> None:
        if not 0 < self.power <= TOTAL_POWER_MAX:
            raise ValueError("a validator's power must be positive")


class ValidatorSet:
    """An immutable validator set, in order of address. Raises ValueError if empty, repeated, too many or too powerful."""

    __slots__ = ("_hash", "_index", "members", "total_power")

    def __init__(self, members: tuple[Validator, ...]) -> None:
        if not 0 < len(members) <= VALIDATORS_MAX:
            raise ValueError(f"a validator set has 1 to {VALIDATORS_MAX} members")
        self.members = tuple(sorted(members, key=lambda member: member.address))
        self._index = {member.address: place for place, member in enumerate(self.members)}
        if len(self._index) != len(self.members):
            raise ValueError("a validator is listed twice")
        self.total_power = sum(member.power for member in self.members)
        if self.total_power > TOTAL_POWER_MAX:
            raise ValueError("the total power is too large")
        self._hash: Hash32 | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValidatorSet) and self.members == other.members

    def __hash__(self) -> int:
        return hash(self.members)

    def __contains__(self, address: object) -> bool:
        return address in self._index

    def index(self, address: Address) -> int | None:
        """The place of `address` in the set, which is its place in a commit's signatures; None if it is no member."""
        return self._index.get(address)

    def power(self, address: Address) -> int:
        place = self._index.get(address)
        return 0 if place is None else self.members[place].power

    def is_quorum(self, power: int) -> bool:
        """Q of the paper: more than two thirds of the total power."""
        return 3 * power > 2 * self.total_power

    def is_weak_quorum(self, power: int) -> bool:
        """W of the paper: more than one third, so at least one correct validator."""
        return 3 * power > self.total_power

    def hash(self) -> Hash32:
        """keccak(abi.encode(address[] addresses, uint64[] powers, address[] payouts)), in set order."""
        if self._hash is None:
            columns = [
                [m.address for m in self.members],
                [m.power for m in self.members],
                [m.payout for m in self.members],
            ]
            self._hash = keccak256(abi_encode(["address[]", "uint64[]", "address[]"], columns))
        return self._hash


@dataclass(frozen=True, slots=True)
class ConsensusData:
    """What consensus adds to an Ethereum header; its hash is the header's `parent_beacon_block_root`.

    `round` and `proposer` are those of the first proposal of the block.
    """

    time_ms: int
    round: Round
    proposer: Address
    last_commit_hash: Hash32
    evidence_hash: Hash32
    validators_hash: Hash32
    next_validators_hash: Hash32
    version: int = CONSENSUS_DATA_VERSION

    def __post_init__(self) -> None:
        if not 0 <= self.time_ms <= HEIGHT_MAX or not 0 <= self.round <= ROUND_MAX:
            raise ValueError("time or round out of range")
        if self.version != CONSENSUS_DATA_VERSION:
            raise ValueError(f"unknown ConsensusData version {self.version}")

    def hash(self) -> Hash32:
        """keccak(abi.encode(version, time_ms, round, proposer, the four hashes)): eight words, 256 bytes."""
        return keccak256(
            abi_words(
                self.version,
                self.time_ms,
                self.round,
                self.proposer,
                self.last_commit_hash,
                self.evidence_hash,
                self.validators_hash,
                self.next_validators_hash,
            )
        )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An EIP-4895 withdrawal: `amount_gwei` is credited to `address` at the end of the block."""

    index: int
    validator_index: int
    address: Address
    amount_gwei: int

    def to_rlp(self) -> list[bytes]:
        return [_uint(self.index), _uint(self.validator_index), self.address, _uint(self.amount_gwei)]


@dataclass(frozen=True)
class Block:
    """What consensus orders. Consensus sees the bytes and a few facts; only the runtime opens header and transactions.

    `header` is the RLP of an Ethereum header (Prague fields) and `hash` its keccak. Whether header, body and
    ConsensusData fit together is checked by the Application, never assumed.
    """

    header: bytes
    transactions: tuple[bytes, ...]
    withdrawals: tuple[Withdrawal, ...]
    consensus: ConsensusData
    last_commit: Commit
    evidence: tuple[Evidence, ...]

    def __post_init__(self) -> None:
        if len(self.evidence) > EVIDENCE_PER_BLOCK_MAX:
            raise ValueError("too much evidence")

    @cached_property
    def hash(self) -> Hash32:
        return keccak256(self.header)

    @property
    def height(self) -> Height:
        """One more than the height that its last commit signs (the Application holds the header to it)."""
        return Height(self.last_commit.height + 1)

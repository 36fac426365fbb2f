"""The light client: what a block must show to be believed by whom has nothing but an earlier block. Pure.

A light block is a header with its ConsensusData, the commit that made it final, and the validator sets that the ConsensusData
names. Its rules:

- of itself: the commit signs the header's hash; `parent_beacon_block_root` is the hash of the ConsensusData; the two sets hash
  to what that says; more than 2/3 of the height's own set signed, and no signature is bad.
- from a trusted block: that one is younger than the trusting period; the new one is higher, later, and not from the future.
  The *next* height is built on the trusted block, by the set that it announced. A *further* height may be skipped to if more
  than 1/3 of the power announced by the trusted block signed it: at least one of them is correct, as long as less than 1/3
  is faulty, which the stake still bonded in the trusting period vouches for.
- two light blocks of one height that both follow from a trusted one, with different hashes, are a fork: more than 1/3 of the
  power signed against the rules. `Conflict` holds the proof.

Times are milliseconds; "now" is given by the caller. What breaks a rule raises InvalidBlock.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from consensus.block_rules import verify_commit
from genesis.codec import decode_rlp
from genesis.errors import InvalidBlock, WireError
from genesis.primitives import Address, Hash32, Height, Signature, keccak256
from genesis.types import (
    HEIGHT_MAX,
    ChainIdentity,
    Commit,
    ConsensusData,
    DuplicateVote,
    ValidatorSet,
    Vote,
    VoteType,
)

HEADER_BYTES_MAX: Final = 1_024
_HEADER_FIELDS: Final = 21
_PARENT_HASH, _STATE_ROOT, _NUMBER, _TIMESTAMP, _PARENT_BEACON_BLOCK_ROOT = 0, 3, 8, 11, 19

_DAY_MS: Final = 24 * 60 * 60 * 1000


class NotEnoughOverlap(InvalidBlock):
    """Too few of the validators that the trusted block announced signed this one: verify a block in between first."""


class TrustExpired(InvalidBlock):
    """The trusted block is older than the trusting period: who signed it may have taken the stake away since."""


@dataclass(frozen=True, slots=True)
class LightParams:
    """How long a verified block vouches for its validators, and how far a block may lie in the future."""

    trusting_period_ms: int = 7 * _DAY_MS
    """Below the time for which evidence is still punished (and stake is bonded)."""
    clock_drift_ms: int = 10_000

    def __post_init__(self) -> None:
        if self.trusting_period_ms <= 0 or self.clock_drift_ms < 0:
            raise ValueError("the trusting period must be positive, and the clock drift not negative")


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What a light client reads from an Ethereum header. `timestamp` is in seconds."""

    hash: Hash32
    parent_hash: Hash32
    state_root: Hash32
    height: Height
    timestamp: int
    parent_beacon_block_root: Hash32


def read_header(header: bytes) -> HeaderFacts:
    """The facts in the RLP of a header. Raises InvalidBlock for anything but a list of the 21 fields of Prague."""
    try:
        items = decode_rlp(header, size_max=HEADER_BYTES_MAX, what="header")
    except WireError as error:
        raise InvalidBlock(str(error)) from None
    if not isinstance(items, list) or len(items) != _HEADER_FIELDS or not all(isinstance(i, bytes) for i in items):
        raise InvalidBlock(f"a header is an RLP list of {_HEADER_FIELDS} fields")
    hashes = [items[place] for place in (_PARENT_HASH, _STATE_ROOT, _PARENT_BEACON_BLOCK_ROOT)]
    numbers = [items[place] for place in (_NUMBER, _TIMESTAMP)]
    if any(len(item) != 32 for item in hashes) or any(len(item) > 8 or item[:1] == b"\x00" for item in numbers):
        raise InvalidBlock(
            "a header with a hash that has not 32 bytes, or an integer that is too large or has zeros ahead"
        )
    height, timestamp = (int.from_bytes(item, "big") for item in numbers)
    if height > HEIGHT_MAX:
        raise InvalidBlock(f"a header of height {height}, which no chain reaches")
    parent_hash, state_root, beacon_root = (Hash32(item) for item in hashes)
    return HeaderFacts(keccak256(header), parent_hash, state_root, Height(height), timestamp, beacon_root)


@dataclass(frozen=True)
class LightBlock:
    """A block without its body. `validators` vote at its height, `next_validators` at the one after it.

    Nothing in it is checked until `check_light_block` was; reading the header of a garbled one raises InvalidBlock.
    """

    header: bytes
    """RLP."""
    consensus: ConsensusData
    commit: Commit
    """The commit of this very block (the next block carries one like it)."""
    validators: ValidatorSet
    next_validators: ValidatorSet

    @cached_property
    def facts(self) -> HeaderFacts:
        return read_header(self.header)

    @property
    def hash(self) -> Hash32:
        return self.facts.hash

    @property
    def height(self) -> Height:
        return self.facts.height

    @property
    def state_root(self) -> Hash32:
        """The root of the state after the block."""
        return self.facts.state_root

    @property
    def time_ms(self) -> int:
        return self.consensus.time_ms

    def signers(self) -> frozenset[Address]:
        """Who signed the commit, by place; whether the signatures are good is `verify_commit`'s to say."""
        members = zip(self.validators.members, self.commit.signatures, strict=False)
        return frozenset(member.address for member, signature in members if signature)


# ---------------------------------------------------------------- one block


def check_light_block(chain: ChainIdentity, block: LightBlock) -> None:
    """Raises InvalidBlock unless the parts belong together and more than 2/3 of the block's own set signed it.

    That says nothing yet about whether its set is the chain's: anybody can make up validators. It is how a block that is
    trusted by its hash is completed, and how the chain's identity is: its validators signed under that identity.
    """
    _check_parts(block)
    verify_commit(chain, block.validators, block.commit, block.height, block.hash)


def check_first_block(chain: ChainIdentity, validators: ValidatorSet, block: LightBlock) -> None:
    """Raises InvalidBlock unless `block` is block 1 on the genesis block of `chain`, by the validators of its spec."""
    if block.height != 1 or block.facts.parent_hash != chain.genesis_hash:
        raise InvalidBlock(f"block {block.height} is not built on the genesis block {chain.genesis_hash.hex()}")
    if block.consensus.validators_hash != validators.hash():
        raise InvalidBlock("block 1 has another validator set than the genesis file")
    check_light_block(chain, block)


def _check_parts(block: LightBlock) -> None:
    facts, data, commit = block.facts, block.consensus, block.commit
    if facts.height == 0:
        raise InvalidBlock("the genesis block has no commit; begin with block 1")
    if facts.parent_beacon_block_root != data.hash():
        raise InvalidBlock(f"the ConsensusData of block {facts.height} is not what its parent_beacon_block_root says")
    if facts.timestamp != data.time_ms // 1000:
        raise InvalidBlock(f"block {facts.height}: the timestamp is {facts.timestamp} s, its time {data.time_ms} ms")
    if block.validators.hash() != data.validators_hash:
        raise InvalidBlock(f"block {facts.height}: the validators are not those of its validators_hash")
    if block.next_validators.hash() != data.next_validators_hash:
        raise InvalidBlock(f"block {facts.height}: the next validators are not those of its next_validators_hash")
    if data.proposer not in block.validators:
        raise InvalidBlock(f"block {facts.height}: the proposer {data.proposer.hex()} is no validator")
    if data.round > commit.round:
        raise InvalidBlock(f"block {facts.height}: first proposed in round {data.round}, committed in {commit.round}")
    if (commit.height, commit.block_hash) != (facts.height, facts.hash):
        raise InvalidBlock(f"the commit is for height {commit.height}, block {commit.block_hash.hex()}")


def verify(chain: ChainIdentity, params: LightParams, trusted: LightBlock, block: LightBlock, now_ms: int) -> None:
    """Raises InvalidBlock unless `block` follows from `trusted`, the next height or any further one.

    Of these, TrustExpired and NotEnoughOverlap mean that there is something to do.
    """
    _check_time(params, trusted, block, now_ms)
    _check_parts(block)
    if block.height == trusted.height + 1:
        if block.facts.parent_hash != trusted.hash:
            raise InvalidBlock(f"block {block.height} is not built on the trusted block {trusted.hash.hex()}")
        if block.consensus.validators_hash != trusted.consensus.next_validators_hash:
            raise InvalidBlock(f"block {block.height}: another validator set than block {trusted.height} announced")
    else:
        _check_overlap(trusted, block)
    verify_commit(chain, block.validators, block.commit, block.height, block.hash)


def _check_time(params: LightParams, trusted: LightBlock, block: LightBlock, now_ms: int) -> None:
    if trusted.time_ms + params.trusting_period_ms <= now_ms:
        raise TrustExpired(
            f"the trusted block {trusted.height} is {now_ms - trusted.time_ms} ms old, more than the trusting period of "
            f"{params.trusting_period_ms} ms; get the hash of a recent block from somebody you trust"
        )
    if block.height <= trusted.height:
        raise InvalidBlock(f"block {block.height} is not above the trusted block {trusted.height}")
    if block.time_ms <= trusted.time_ms:
        raise InvalidBlock(f"block {block.height} of time {block.time_ms} is not later than block {trusted.height}")
    if block.time_ms > now_ms + params.clock_drift_ms:
        raise InvalidBlock(f"block {block.height} of time {block.time_ms} is from the future: it is {now_ms} here")


def _check_overlap(trusted: LightBlock, block: LightBlock) -> None:
    announced = trusted.next_validators
    power = sum(announced.power(address) for address in block.signers())
    if not announced.is_weak_quorum(power):
        raise NotEnoughOverlap(
            f"block {block.height} is signed by {power} of {announced.total_power} power that block {trusted.height} "
            "announced, which is not more than 1/3"
        )


# ---------------------------------------------------------------- the way from one block to another

Fetching = Generator[Height, LightBlock, tuple[LightBlock, ...]]
"""Yields the heights of the light blocks it wants, one at a time; returns those verified, in order of height."""


def follow(
    chain: ChainIdentity,
    params: LightParams,
    trusted: LightBlock,
    target: Height,
    now_ms: int,
    *,
    skipping: bool = True,
) -> Fetching:
    """Verify the block at `target` from `trusted`, with as few blocks between them as the changes of validators allow.

    The farthest block is tried first; where too few known validators signed it, the one in the middle. Without `skipping`
    every height is verified. Raises InvalidBlock for the first block that breaks a rule, WireError never.
    """
    if target <= trusted.height:
        raise InvalidBlock(f"block {target} is not above the trusted block {trusted.height}")
    verified: list[LightBlock] = []
    waiting: list[LightBlock] = []
    while trusted.height < target:
        if waiting:
            block = waiting[-1]
        else:
            block = yield from _fetch(target if skipping else Height(trusted.height + 1))
            waiting.append(block)
        try:
            verify(chain, params, trusted, block, now_ms)
        except NotEnoughOverlap:
            waiting.append((yield from _fetch(Height((trusted.height + block.height) // 2))))
        else:
            verified.append(waiting.pop())
            trusted = block
    return tuple(verified)


def _fetch(height: Height) -> Generator[Height, LightBlock, LightBlock]:
    block = yield height
    if block.height != height:
        raise InvalidBlock(f"asked for block {height}, got block {block.height}")
    return block


# ---------------------------------------------------------------- forks


class Attack(Enum):
    """How more than 1/3 of the power made two blocks final at one height."""

    EQUIVOCATION = "equivocation"
    """One set, one round: whoever signed both is proven guilty (`Conflict.duplicate_votes`)."""
    AMNESIA = "amnesia"
    """One set, two rounds: some voted against their lock. Who they are is in the votes that each validator has seen."""
    LUNATIC = "lunatic"
    """Two sets for one height: whoever signed under both is guilty, since a finalized parent leaves but one."""


@dataclass(frozen=True)
class Conflict:
    """Two blocks, both final at one height by what `common` vouches for: the evidence of a fork."""

    common: LightBlock
    """The last block that both providers agree on."""
    first: LightBlock
    second: LightBlock

    @property
    def height(self) -> Height:
        return self.first.height

    @property
    def attack(self) -> Attack:
        if self.first.consensus.validators_hash != self.second.consensus.validators_hash:
            return Attack.LUNATIC
        return Attack.EQUIVOCATION if self.first.commit.round == self.second.commit.round else Attack.AMNESIA

    def signed_both(self) -> tuple[Address, ...]:
        """Who signed both commits, by address. Guilty but in the case of AMNESIA, where it is a suspicion."""
        return tuple(sorted(self.first.signers() & self.second.signers()))

    def duplicate_votes(self) -> tuple[DuplicateVote, ...]:
        """Evidence against each of them as blocks carry it; none unless this is EQUIVOCATION."""
        if self.attack is not Attack.EQUIVOCATION:
            return ()
        first, second = sorted((self.first, self.second), key=lambda block: block.hash)
        return tuple(DuplicateVote(_vote(first, who), _vote(second, who)) for who in self.signed_both())


def _vote(block: LightBlock, who: Address) -> Vote:
    place = block.validators.index(who)
    if place is None:
        raise InvalidBlock(f"{who.hex()} is no validator of block {block.height}")
    signature = Signature(block.commit.signatures[place])
    return Vote(VoteType.PRECOMMIT, block.height, block.commit.round, block.hash, who, signature)


def cross_check(
    chain: ChainIdentity, params: LightParams, trusted: LightBlock, verified: tuple[LightBlock, ...], now_ms: int
) -> Generator[Height, LightBlock, Conflict | None]:
    """Hold what one provider gave (`verified`, from `trusted` on, as `follow` returned it) against another provider.

    Yields heights and takes the other's light blocks. Returns None if it has the same blocks, the Conflict if it proves others
    to be final. Raises InvalidBlock if it shows other blocks but can't prove them: then it is that provider that lies.
    """
    common = trusted
    for block in verified:
        other = yield from _fetch(block.height)
        if other.hash == block.hash:
            common = block
            continue
        proof = follow(chain, params, common, block.height, now_ms)
        wanted = next(proof)
        try:
            while True:
                wanted = proof.send(other if wanted == block.height else (yield wanted))
        except StopIteration:
            return Conflict(common, block, other)
    return None

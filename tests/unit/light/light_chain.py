"""Made-up chains of light blocks: real headers and signatures, validator sets that change as a seed says."""

import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from consensus.light import LightBlock, LightParams, follow
from evm_runtime.header import EMPTY_BLOOM, EMPTY_OMMERS_HASH, EMPTY_REQUESTS_HASH, EMPTY_TRIE_ROOT, ZERO_NONCE, Header
from genesis import crypto
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Power, Round, keccak256
from genesis.types import (
    ChainIdentity,
    Commit,
    ConsensusData,
    Validator,
    ValidatorSet,
    VoteType,
    evidence_hash,
    sign_digest,
)

R = TypeVar("R")

CHAIN = ChainIdentity(1337, keccak256(b"light genesis"))
START_MS = 1_700_000_000_000
INTERVAL_MS = 5_000
PARAMS = LightParams(trusting_period_ms=7 * 24 * 3_600_000, clock_drift_ms=10_000)
WANDERERS = 24
KEY_COUNT = WANDERERS + 4


@lru_cache
def keys() -> dict[Address, bytes]:
    secrets = [keccak256(b"light validator %d" % number) for number in range(KEY_COUNT)]
    return {crypto.address_of_private_key(secret): bytes(secret) for secret in secrets}


def validators(numbers: Iterable[int], powers: Callable[[int], int] = lambda number: 10) -> ValidatorSet:
    addresses = list(keys())
    return ValidatorSet(tuple(Validator(addresses[n], Power(powers(n)), addresses[n]) for n in numbers))


def header(
    height: int, parent: Hash32, time_ms: int, beacon_root: Hash32, state_root: Hash32 = EMPTY_TRIE_ROOT
) -> Header:
    return Header(
        parent_hash=parent,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=Address(b"\xcc" * 20),
        state_root=state_root,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        bloom=EMPTY_BLOOM,
        difficulty=0,
        number=Height(height),
        gas_limit=30_000_000,
        gas_used=0,
        timestamp=time_ms // 1000,
        extra_data=b"",
        prev_randao=ZERO_HASH,
        nonce=ZERO_NONCE,
        base_fee_per_gas=10**6,
        withdrawals_root=EMPTY_TRIE_ROOT,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=beacon_root,
        requests_hash=EMPTY_REQUESTS_HASH,
    )


def commit_by(
    members: ValidatorSet,
    height: int,
    block_hash: Hash32,
    signers: Iterable[Address] | None = None,
    *,
    round_: int = 0,
    chain: ChainIdentity = CHAIN,
) -> Commit:
    """Real signatures of `signers` (everybody, if not given)."""
    who = {m.address for m in members.members} if signers is None else set(signers)
    digest = sign_digest(chain, VoteType.PRECOMMIT, Height(height), Round(round_), block_hash, members.hash())
    signatures = tuple(
        bytes(crypto.sign(keys()[m.address], digest)) if m.address in who else b"" for m in members.members
    )
    return Commit(Height(height), Round(round_), block_hash, signatures)


def light_block(
    height: int,
    parent: Hash32,
    members: ValidatorSet,
    following: ValidatorSet,
    *,
    time_ms: int | None = None,
    signers: Iterable[Address] | None = None,
    round_: int = 0,
    first_round: int = 0,
    salt: bytes = b"",
    state_root: Hash32 = EMPTY_TRIE_ROOT,
    chain: ChainIdentity = CHAIN,
    **changes: Any,
) -> LightBlock:
    """A block that keeps every rule, unless `changes` (fields of its ConsensusData) break one."""
    moment = START_MS + height * INTERVAL_MS if time_ms is None else time_ms
    data = ConsensusData(
        time_ms=moment,
        round=Round(first_round),
        proposer=members.members[height % len(members)].address,
        last_commit_hash=keccak256(b"last commit" + salt),
        evidence_hash=evidence_hash(()),
        validators_hash=members.hash(),
        next_validators_hash=following.hash(),
    )
    data = replace(data, **changes)
    made = header(height, parent, moment, data.hash(), state_root)
    commit = commit_by(members, height, made.hash, signers, round_=round_, chain=chain)
    return LightBlock(made.to_rlp(), data, commit, members, following)


def now_at(block: LightBlock) -> int:
    return block.time_ms + 1_000


@dataclass
class Chain:
    """Heights 1, 2, …, each with the set that the one before announced."""

    blocks: dict[int, LightBlock] = field(default_factory=dict)

    def __getitem__(self, height: int) -> LightBlock:
        return self.blocks[height]

    @property
    def tip(self) -> LightBlock:
        return self.blocks[max(self.blocks)]

    def extend(self, following: ValidatorSet, **options: Any) -> LightBlock:
        height = len(self.blocks) + 1
        parent = self.blocks[height - 1].hash if self.blocks else CHAIN.genesis_hash
        members = self.blocks[height - 1].next_validators if self.blocks else options.pop("members", following)
        self.blocks[height] = light_block(height, parent, members, following, **options)
        return self.blocks[height]

    def fork(self, last_common: int) -> "Chain":
        return Chain({height: block for height, block in self.blocks.items() if height <= last_common})


def constant_chain(length: int, members: ValidatorSet | None = None) -> Chain:
    chain = Chain()
    for _ in range(length):
        chain.extend(members or validators(range(4)))
    return chain


def wandering_chain(length: int, seed: int) -> Chain:
    """Members come, go and change power at random; now and then, all at once. Some are absent, never too many."""
    rng = random.Random(seed)
    chain, numbers = Chain(), set(range(5))
    powers = {number: rng.randint(1, 20) for number in range(WANDERERS)}
    for _ in range(length):
        dice = rng.random()
        if dice < 0.02:
            numbers = set(rng.sample(range(WANDERERS), rng.randint(3, 7)))
        elif dice < 0.3:
            numbers ^= {rng.randrange(WANDERERS)}
            numbers = numbers or {0}
            powers[rng.randrange(WANDERERS)] = rng.randint(1, 20)
        while len(numbers) > 9:
            numbers.remove(rng.choice(sorted(numbers)))
        following = validators(sorted(numbers), lambda number: powers[number])
        members = chain.tip.next_validators if chain.blocks else following
        chain.extend(following, signers=quorum(members, rng), round_=rng.choice((0, 0, 0, 1, 3)))
    return chain


def quorum(members: ValidatorSet, rng: random.Random) -> set[Address]:
    """Everybody, less some whose absence leaves more than 2/3."""
    present = {member.address for member in members.members}
    for member in rng.sample(members.members, len(members)):
        rest = present - {member.address}
        if rng.random() < 0.5 and members.is_quorum(sum(members.power(address) for address in rest)):
            present = rest
    return present


def run(work: Generator[Height, LightBlock, R], source: Callable[[int], LightBlock]) -> tuple[R, list[int]]:
    """Answer a generator of `consensus.light`; its result, and the heights that it asked for."""
    asked: list[int] = []
    try:
        wanted = next(work)
        while True:
            asked.append(wanted)
            wanted = work.send(source(wanted))
    except StopIteration as stop:
        return stop.value, asked


def followed(source: Chain, start: int, target: int, **options: Any) -> tuple[tuple[LightBlock, ...], list[int]]:
    work = follow(CHAIN, PARAMS, source[start], Height(target), now_at(source[target]), **options)
    return run(work, source.__getitem__)

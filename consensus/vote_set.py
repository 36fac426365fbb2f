"""Votes of one height, counted per round, kind and value, within fixed bounds.

A validator that equivocates counts for each value that it signed: other nodes may have seen the other vote first, and a
polka or commit that one correct node saw must be one for all. Its total (`power_any`) counts once.
"""

from collections.abc import Iterator
from typing import Final

from genesis.errors import InvariantError, PeerFault
from genesis.primitives import NO_ROUND, ZERO_HASH, Address, Hash32, Height, Round, Signature
from genesis.types import Commit, DuplicateVote, ValidatorSet, Vote, VoteType

VALUES_PER_VALIDATOR_MAX: Final = 4
"""Different values that one validator may have at one round and kind; votes inside a certificate are not bound by it."""
FUTURE_ROUNDS_PER_VALIDATOR: Final = 4
PAST_ROUNDS_KEPT: Final = 128
"""Older rounds are dropped: their polkas come again with re-proposals, their commits with Commit messages."""


class VoteSet:
    """Votes of one kind at one (height, round)."""

    __slots__ = ("_by_validator", "_by_value", "_power", "kind", "power_any", "quorum", "round", "validators")

    def __init__(self, validators: ValidatorSet, round_: Round, kind: VoteType) -> None:
        self.validators = validators
        self.round = round_
        self.kind = kind
        self._by_validator: dict[Address, dict[Hash32, Vote]] = {}
        self._by_value: dict[Hash32, dict[Address, Vote]] = {}
        self._power: dict[Hash32, int] = {}
        self.power_any = 0
        """Power of all who voted, whatever they voted."""
        self.quorum: Hash32 | None = None
        """The value with more than 2/3 of the power (zero hash: nil), if there is one."""

    def is_useless(self, vote: Vote) -> bool:
        """True if `add` would not count the vote: it is known, or one of too many of its validator."""
        mine = self._by_validator.get(vote.validator, {})
        return vote.block_hash in mine or len(mine) >= VALUES_PER_VALIDATOR_MAX

    def add(self, vote: Vote, *, certified: bool = False) -> DuplicateVote | None:
        """Count a vote of a member; returns evidence at the first vote that conflicts with an earlier one.

        Raises InvariantError if a second value of the round reaches a quorum: more than 1/3 of the power is byzantine.
        """
        mine = self._by_validator.setdefault(vote.validator, {})
        if vote.block_hash in mine or (len(mine) >= VALUES_PER_VALIDATOR_MAX and not certified):
            return None
        power = self.validators.power(vote.validator)
        if not mine:
            self.power_any += power
        earlier = next(iter(mine.values())) if len(mine) == 1 else None
        mine[vote.block_hash] = vote
        self._by_value.setdefault(vote.block_hash, {})[vote.validator] = vote
        self._power[vote.block_hash] = self._power.get(vote.block_hash, 0) + power
        self._note_quorum(vote.block_hash)
        return duplicate_vote(earlier, vote) if earlier is not None else None

    def _note_quorum(self, value: Hash32) -> None:
        if not self.validators.is_quorum(self._power[value]) or self.quorum == value:
            return
        if self.quorum is not None:
            raise InvariantError(
                f"two values have {self.kind.name.lower()} quorums in round {self.round}: {self.quorum.hex()} and "
                f"{value.hex()}; at least a third of the voting power signed both"
            )
        self.quorum = value

    def discard(self, validator: Address) -> None:
        """Forget the votes of one validator (never after a quorum: those are not evicted)."""
        votes = self._by_validator.pop(validator, None)
        if votes is None:
            return
        power = self.validators.power(validator)
        self.power_any -= power
        for value in votes:
            del self._by_value[value][validator]
            self._power[value] -= power
            if not self._by_value[value]:
                del self._by_value[value], self._power[value]

    def power_of(self, value: Hash32) -> int:
        return self._power.get(value, 0)

    def votes_for(self, value: Hash32) -> tuple[Vote, ...]:
        """The votes for one value, in set order."""
        votes = self._by_value.get(value, {})
        return tuple(votes[m.address] for m in self.validators.members if m.address in votes)

    def bits(self) -> bytes:
        """The members whose vote is here, as VoteBits has it."""
        row = bytearray((len(self.validators) + 7) // 8)
        for place, member in enumerate(self.validators.members):
            if member.address in self._by_validator:
                row[place // 8] |= 1 << place % 8
        return bytes(row)

    def votes_at(self, places: int) -> Iterator[Vote]:
        """Our votes of the validators whose places are set in `places`: both, where a validator equivocated."""
        for place, member in enumerate(self.validators.members):
            if places >> place & 1:
                yield from self._by_validator.get(member.address, {}).values()


class HeightVotes:
    """All votes of one height. Memory: per validator two kinds of at most PAST_ROUNDS_KEPT + FUTURE_ROUNDS rounds."""

    def __init__(self, validators: ValidatorSet, height: Height) -> None:
        self.validators = validators
        self.height = height
        self._sets: dict[tuple[Round, VoteType], VoteSet] = {}
        self._senders: dict[Round, set[Address]] = {}
        self._power: dict[Round, int] = {}
        self.commits: dict[Round, Hash32] = {}
        """Rounds with a precommit quorum for a block (not nil), and the block."""

    def get(self, round_: Round, kind: VoteType) -> VoteSet:
        """The votes of a round; an empty set, not kept, if there are none."""
        return self._sets.get((round_, kind)) or VoteSet(self.validators, round_, kind)

    def prevotes(self, round_: Round) -> VoteSet:
        return self.get(round_, VoteType.PREVOTE)

    def precommits(self, round_: Round) -> VoteSet:
        return self.get(round_, VoteType.PRECOMMIT)

    def add(self, vote: Vote, current: Round, *, certified: bool = False) -> DuplicateVote | None:
        """Count a vote as VoteSet.add does. A validator that is rounds ahead keeps only its latest few rounds there."""
        if vote.round < current - PAST_ROUNDS_KEPT and not certified:
            return None
        if not certified and not self._make_room(vote, current):
            return None
        votes = self._sets.setdefault((vote.round, vote.kind), VoteSet(self.validators, vote.round, vote.kind))
        evidence = votes.add(vote, certified=certified)
        self.note_sender(vote.round, vote.validator)
        if vote.kind is VoteType.PRECOMMIT and votes.quorum not in (None, ZERO_HASH):
            self._note_commit(vote.round, votes.quorum)
        return evidence

    def _note_commit(self, round_: Round, value: Hash32 | None) -> None:
        if value is None:
            return
        self.commits[round_] = value
        if len(set(self.commits.values())) > 1:
            raise InvariantError(f"two blocks have commits at height {self.height}: the chain has forked")

    def _make_room(self, vote: Vote, current: Round) -> bool:
        """Keep a validator's latest future rounds only: its older ones cannot become a weak quorum any more."""
        if vote.round <= current:
            return True
        ahead = sorted(r for r, who in self._senders.items() if r > current and vote.validator in who)
        if vote.round in ahead or len(ahead) < FUTURE_ROUNDS_PER_VALIDATOR:
            return True
        if vote.round < ahead[0]:
            return False
        self._forget(ahead[0], vote.validator)
        return True

    def _forget(self, round_: Round, validator: Address) -> None:
        for kind in (VoteType.PREVOTE, VoteType.PRECOMMIT):
            votes = self._sets.get((round_, kind))
            if votes is not None and votes.quorum is None:
                votes.discard(validator)
        self._senders[round_].discard(validator)
        self._power[round_] -= self.validators.power(validator)
        if not self._senders[round_]:
            self.drop_round(round_)

    def note_sender(self, round_: Round, sender: Address) -> None:
        """Count who is known to be in a round, by a vote or a proposal (the `*` of L55)."""
        senders = self._senders.setdefault(round_, set())
        if sender not in senders:
            senders.add(sender)
            self._power[round_] = self._power.get(round_, 0) + self.validators.power(sender)

    def latest_weak_quorum(self, above: Round) -> Round:
        """The highest round > `above` in which W of the power was seen, or -1 (L55)."""
        rounds = [r for r, power in self._power.items() if r > above and self.validators.is_weak_quorum(power)]
        return max(rounds, default=NO_ROUND)

    def latest_round(self) -> Round:
        """The highest round of which anything was seen, or -1."""
        return max(self._senders, default=NO_ROUND)

    def power_seen(self) -> int:
        """Power of all who were seen in any round of this height."""
        everyone = set().union(*self._senders.values()) if self._senders else set()
        return sum(self.validators.power(address) for address in everyone)

    def prune(self, current: Round, keep: set[Round]) -> None:
        """Forget rounds far in the past, but those in `keep`."""
        oldest = current - PAST_ROUNDS_KEPT
        for round_ in [r for r in self._senders if r < oldest and r not in keep]:
            self.drop_round(round_)

    def drop_round(self, round_: Round) -> None:
        for kind in (VoteType.PREVOTE, VoteType.PRECOMMIT):
            self._sets.pop((round_, kind), None)
        self._senders.pop(round_, None)
        self._power.pop(round_, None)

    def commit_of(self, round_: Round, value: Hash32) -> Commit:
        """The commit that the known precommits make: every matching signature, in set order."""
        votes = {vote.validator: vote for vote in self.precommits(round_).votes_for(value)}
        signatures = tuple(
            bytes(votes[m.address].signature) if m.address in votes else b"" for m in self.validators.members
        )
        return Commit(self.height, round_, value, signatures)


def duplicate_vote(first: Vote, second: Vote) -> DuplicateVote:
    """Evidence from two conflicting votes, in the order that DuplicateVote wants."""
    a, b = sorted((first, second), key=lambda vote: vote.block_hash)
    return DuplicateVote(a, b)


def check_bits(bits: bytes, validators: ValidatorSet) -> None:
    """Raises PeerFault unless `bits` has one bit for each validator and zeros after them."""
    if len(bits) != (len(validators) + 7) // 8:
        raise PeerFault(f"vote bits of {len(bits)} bytes for {len(validators)} validators")
    if len(validators) % 8 and bits[-1] >> len(validators) % 8:
        raise PeerFault("vote bits are set beyond the last validator")


def votes_of_commit(commit: Commit, validators: ValidatorSet) -> tuple[Vote, ...]:
    """The precommits that a commit (of the right length) is made of."""
    return tuple(
        Vote(VoteType.PRECOMMIT, commit.height, commit.round, commit.block_hash, member.address, Signature(signature))
        for member, signature in zip(validators.members, commit.signatures, strict=True)
        if signature
    )

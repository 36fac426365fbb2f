"""A key after its start: silent until the node is level, and for good once its twin is seen."""

from dataclasses import dataclass, field

import pytest

from consensus.messages import RoundState, Step, VoteBits
from consensus.signer import SigningDelayed, SigningRefused
from genesis.primitives import NO_ROUND, Height, Round
from genesis.types import ValidatorSet, Vote, VoteType
from node.net.vigil import HEIGHTS_WATCHED, PATIENCE_S, Heard, VigilantSigner
from tests.unit.consensus.support import (
    PRECOMMIT,
    PREVOTE,
    MemoryRecord,
    keys_in_set_order,
    make_signer,
    validator_set,
)

VALIDATORS = validator_set(4)
MEMBERS = [member.address for member in VALIDATORS.members]
ME, HEIGHT = 1, 10
VALUE = VALIDATORS.hash()


@dataclass
class World:
    """What a node hears, and its clock."""

    validators: ValidatorSet = VALIDATORS
    key_is_here: bool = True
    heard: list[Heard] = field(default_factory=list)
    now_s: float = 1_000.0
    stops: list[str] = field(default_factory=list)
    record: MemoryRecord = field(default_factory=MemoryRecord)

    def __post_init__(self) -> None:
        self.inner = make_signer(
            keys_in_set_order(len(self.validators))[min(ME, len(self.validators) - 1)], self.record
        )
        self.signer = VigilantSigner(
            self.inner,
            lambda: self.heard,
            lambda: self.validators,
            lambda: self.now_s,
            key_is_here=self.key_is_here,
            on_stop=self.stops.append,
        )

    def vote(self, height: int = HEIGHT, round_: int = 0, kind: VoteType = PREVOTE) -> Vote:
        return self.signer.sign_vote(kind, Height(height), Round(round_), VALUE, self.validators.hash())

    def waits(self, height: int = HEIGHT) -> bool:
        try:
            self.vote(height)
        except SigningDelayed:
            return True
        return False


def at(who: int | None, height: int, *rows: VoteBits) -> Heard:
    state = RoundState(
        Height(height), NO_ROUND if not rows else Round(0), Step.PREVOTE if rows else Step.NEW, False, rows
    )
    return Heard(None if who is None else MEMBERS[who], state)


def bits(*places: int, kind: VoteType = PREVOTE, round_: int = 0) -> VoteBits:
    return VoteBits(kind, Round(round_), bytes([sum(1 << place for place in places)]))


def test_it_signs_at_once_where_two_thirds_stand_no_higher() -> None:
    world = World()
    assert world.waits(), "nobody was heard"
    world.heard = [at(0, HEIGHT)]
    assert world.waits(), "half of the power, itself included"
    world.heard += [at(0, HEIGHT), at(None, HEIGHT)]
    assert world.waits(), "one that is heard twice, and one that is no validator, add nothing"
    world.heard += [at(3, HEIGHT - 1)]
    assert world.vote().height == HEIGHT
    world.heard = [at(0, HEIGHT + 9), at(3, HEIGHT + 9)]
    assert world.vote(kind=PRECOMMIT).kind is PRECOMMIT, "once level it does not ask again"


def test_a_validator_that_decides_alone_waits_for_nobody() -> None:
    assert World(validators=validator_set(1)).vote()


def test_proposals_wait_like_votes() -> None:
    world = World()
    arguments = (Height(HEIGHT), Round(0), NO_ROUND, VALUE, (), VALIDATORS.hash())
    with pytest.raises(SigningDelayed):
        world.signer.sign_proposal(*arguments)
    world.heard = [at(0, HEIGHT), at(2, HEIGHT)]
    assert world.signer.sign_proposal(*arguments).block_hash == VALUE


def test_peers_that_are_ahead_or_know_a_vote_of_this_key_make_it_wait() -> None:
    for second in (
        at(2, HEIGHT + 1),
        at(2, HEIGHT, bits(0, ME)),
        at(2, HEIGHT, bits(0, 2), bits(ME, kind=PRECOMMIT)),
    ):
        world = World(heard=[at(0, HEIGHT), second])
        assert world.waits()
        assert world.record.value is None
    world = World(heard=[at(0, HEIGHT), at(2, HEIGHT, bits(0, 2))])
    assert not world.waits(), "votes of others mean nothing"
    short = VoteBits(PREVOTE, Round(0), b"")
    assert not World(heard=[at(0, HEIGHT), at(2, HEIGHT, short)]).waits()


def test_own_votes_that_the_record_knows_of_make_nobody_wait() -> None:
    """A restart in the middle of a height."""
    world = World(heard=[at(0, HEIGHT, bits(ME)), at(2, HEIGHT, bits(ME, 2))])
    world.inner.sign_vote(PREVOTE, Height(HEIGHT), Round(0), VALUE, VALIDATORS.hash())
    assert world.vote(kind=PRECOMMIT)


def test_heights_that_consensus_decided_are_watched_instead() -> None:
    """A validator behind sentries sees no other validator, but the chain goes on before its eyes."""
    world = World(heard=[at(None, HEIGHT)])
    for height in range(HEIGHT, HEIGHT + HEIGHTS_WATCHED):
        assert world.waits(height)
    assert not world.waits(HEIGHT + HEIGHTS_WATCHED)


def test_blocks_of_block_sync_are_not_heights_watched_and_begin_the_waiting_anew() -> None:
    world = World(heard=[at(None, HEIGHT)])
    assert world.waits()
    world.now_s += PATIENCE_S - 1
    world.signer.synced()
    assert world.waits(HEIGHT + 500)
    world.now_s += PATIENCE_S - 1
    assert world.waits(HEIGHT + 500)
    world.now_s += 1
    assert not world.waits(HEIGHT + 500)


def test_a_network_that_stands_still_is_waited_for_with_peers_only_and_not_for_ever() -> None:
    world = World()
    world.now_s += 10 * PATIENCE_S
    assert world.waits()
    world.now_s += 10 * PATIENCE_S
    assert world.waits(), "without peers it can't know"
    world.heard = [at(None, 1 << 40)]  # a liar, or one that is far ahead and can't be synced from
    assert world.waits()
    world.now_s += PATIENCE_S
    assert not world.waits()


def test_a_peer_that_proves_to_be_this_validator_ends_it_for_good() -> None:
    world = World(heard=[at(0, HEIGHT), at(2, HEIGHT), at(ME, HEIGHT)])
    with pytest.raises(SigningRefused, match=f"0x{MEMBERS[ME].hex()} is in use"):
        world.vote()
    assert len(world.stops) == 1
    world.heard = [at(0, HEIGHT), at(2, HEIGHT)]
    with pytest.raises(SigningRefused, match="in use"):
        world.vote()
    assert World(key_is_here=False, heard=[*world.heard, at(ME, HEIGHT)]).vote(), (
        "two nodes may share a signer elsewhere"
    )


def test_it_passes_on_what_it_is_asked_and_told() -> None:
    world = World(heard=[at(0, HEIGHT), at(2, HEIGHT)])
    assert world.signer.last is None and world.signer.address == MEMBERS[ME]
    vote = world.vote()
    assert world.signer.last == world.inner.last and world.signer.covers(vote)
    world.signer.stop("enough")
    with pytest.raises(SigningRefused, match="enough"):
        world.vote(HEIGHT + 1)


def test_one_that_is_stopped_while_it_listens_stays_so() -> None:
    world = World()
    assert world.waits()
    world.signer.stop("a signature of this key")
    with pytest.raises(SigningRefused, match="a signature of this key") as refusal:
        world.vote()
    assert not isinstance(refusal.value, SigningDelayed)

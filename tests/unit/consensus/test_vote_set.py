"""Counting votes: quorums by integers, equivocation, certificates, bounds, bit arrays, commits."""

import pytest

from consensus.block_rules import verify_commit
from consensus.vote_set import (
    FUTURE_ROUNDS_PER_VALIDATOR,
    PAST_ROUNDS_KEPT,
    VALUES_PER_VALIDATOR_MAX,
    HeightVotes,
    VoteSet,
    check_bits,
    votes_of_commit,
)
from genesis.errors import InvariantError, PeerFault
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round
from genesis.types import VoteType
from tests.unit.consensus.support import CHAIN, PRECOMMIT, PREVOTE, validator_set, vote

A, B = Hash32(b"\xaa" * 32), Hash32(b"\xbb" * 32)


@pytest.mark.parametrize(("powers", "enough"), [((1, 1, 1), 3), ((1, 1, 1, 1), 3), ((3, 3, 3), 3), ((4, 1, 1), 2)])
def test_a_quorum_is_more_than_two_thirds_of_the_power(powers: tuple[int, ...], enough: int) -> None:
    validators = validator_set(len(powers), powers)
    votes = VoteSet(validators, Round(0), PREVOTE)
    for i in range(len(powers)):
        votes.add(vote(validators, i, PREVOTE, 0, A))
        assert (votes.quorum == A) is (i + 1 >= enough)


def test_an_equivocator_counts_for_each_value_and_once_in_all() -> None:
    validators = validator_set(4)
    votes = VoteSet(validators, Round(0), PREVOTE)
    assert votes.add(vote(validators, 0, PREVOTE, 0, B)) is None
    evidence = votes.add(vote(validators, 0, PREVOTE, 0, A))
    assert evidence is not None and (evidence.first.block_hash, evidence.second.block_hash) == (A, B)
    assert votes.add(vote(validators, 0, PREVOTE, 0, ZERO_HASH)) is None, "one proof is enough"
    assert (votes.power_of(A), votes.power_of(B), votes.power_any) == (10, 10, 10)


def test_values_per_validator_are_bounded_but_for_certificates() -> None:
    validators = validator_set(4)
    votes = VoteSet(validators, Round(0), PREVOTE)
    junk = [Hash32(bytes([i]) * 32) for i in range(1, 50)]
    for value in junk:
        votes.add(vote(validators, 0, PREVOTE, 0, value))
    assert sum(votes.power_of(value) > 0 for value in junk) == VALUES_PER_VALIDATOR_MAX
    for i in range(3):
        votes.add(vote(validators, i, PREVOTE, 0, A), certified=True)
    assert votes.quorum == A


def test_two_quorums_in_one_round_stop_the_node() -> None:
    validators = validator_set(4)
    votes = VoteSet(validators, Round(0), PREVOTE)
    for i in (0, 1, 2):
        votes.add(vote(validators, i, PREVOTE, 0, A))
    votes.add(vote(validators, 0, PREVOTE, 0, B))
    votes.add(vote(validators, 1, PREVOTE, 0, B))
    with pytest.raises(InvariantError):
        votes.add(vote(validators, 3, PREVOTE, 0, B))


def test_a_validator_far_ahead_keeps_its_latest_rounds_only() -> None:
    validators = validator_set(4)
    votes = HeightVotes(validators, Height(1))
    for round_ in range(1, 100):
        votes.add(vote(validators, 0, PREVOTE, round_), Round(0))
    kept = [round_ for round_ in range(100) if votes.prevotes(Round(round_)).power_any]
    assert kept == list(range(100 - FUTURE_ROUNDS_PER_VALIDATOR, 100))
    assert votes.latest_weak_quorum(above=Round(0)) == NO_ROUND
    votes.add(vote(validators, 1, PREVOTE, 99), Round(0))
    assert votes.latest_weak_quorum(above=Round(0)) == 99


def test_bits_say_who_voted_and_places_which_votes_are_meant() -> None:
    validators = validator_set(10)
    votes = VoteSet(validators, Round(0), PREVOTE)
    for i in (0, 7, 9):
        votes.add(vote(validators, i, PREVOTE, 0, A))
    assert votes.bits() == bytes([0b1000_0001, 0b10])
    votes.add(vote(validators, 9, PREVOTE, 0, B))
    said = [(v.validator, v.block_hash) for v in votes.votes_at(1 << 9 | 1 << 7 | 1 << 3)]
    seventh, ninth = validators.members[7].address, validators.members[9].address
    assert said == [(seventh, A), (ninth, A), (ninth, B)]


@pytest.mark.parametrize("bits", [b"", b"\x01", b"\x01\x00\x00", b"\x00\x04", b"\x00\xff"])
def test_bit_arrays_of_another_length_are_a_fault(bits: bytes) -> None:
    """CometBFT GHSA-hrhf."""
    with pytest.raises(PeerFault):
        check_bits(bits, validator_set(10))
    check_bits(b"\xff\x03", validator_set(10))


def test_a_commit_holds_every_matching_signature_and_comes_apart_again() -> None:
    validators = validator_set(4)
    votes = HeightVotes(validators, Height(1))
    for i in (3, 0, 1):
        votes.add(vote(validators, i, PRECOMMIT, 2, A), Round(0), certified=True)
    votes.add(vote(validators, 2, PRECOMMIT, 2, ZERO_HASH), Round(0))
    assert votes.commits == {2: A}
    commit = votes.commit_of(Round(2), A)
    assert [bool(signature) for signature in commit.signatures] == [True, True, False, True]
    verify_commit(CHAIN, validators, commit, Height(1), A)
    assert set(votes_of_commit(commit, validators)) == set(votes.precommits(Round(2)).votes_for(A))


def heights(count: int = 4, powers: tuple[int, ...] = ()) -> HeightVotes:
    return HeightVotes(validator_set(count, powers), Height(1))


def seen(votes: HeightVotes, who: int, kind: VoteType = PREVOTE) -> list[int]:
    """The rounds in which a validator's votes are kept."""
    address = votes.validators.members[who].address
    rounds = range(-1, 400)
    return [r for r in rounds if any(v.validator == address for v in votes.get(Round(r), kind).votes_at(~0))]


def test_a_vote_that_would_not_count_is_known_before_its_signature_is_checked() -> None:
    validators = validator_set(4)
    votes = VoteSet(validators, Round(0), PREVOTE)
    values = [Hash32(bytes([i]) * 32) for i in range(1, VALUES_PER_VALIDATOR_MAX + 2)]
    for value in values[:-1]:
        assert not votes.is_useless(vote(validators, 0, PREVOTE, 0, value))
        votes.add(vote(validators, 0, PREVOTE, 0, value))
        assert votes.is_useless(vote(validators, 0, PREVOTE, 0, value)), "known"
    assert votes.is_useless(vote(validators, 0, PREVOTE, 0, values[-1])), "one value too many"
    assert not votes.is_useless(vote(validators, 1, PREVOTE, 0, values[-1])), "another's first"


def test_what_is_discarded_counts_nowhere() -> None:
    validators = validator_set(4, (1, 2, 4, 8))
    votes = VoteSet(validators, Round(0), PREVOTE)
    for who, value in ((0, A), (1, A), (1, B), (2, B)):
        votes.add(vote(validators, who, PREVOTE, 0, value))
    votes.discard(validators.members[3].address)
    assert votes.power_any == 1 + 2 + 4, "who has not voted has nothing to lose"
    votes.discard(validators.members[1].address)
    assert (votes.power_any, votes.power_of(A), votes.power_of(B)) == (1 + 4, 1, 4)
    addresses = [validators.members[i].address for i in (0, 2)]
    assert [v.validator for value in (A, B) for v in votes.votes_for(value)] == addresses
    assert votes.bits() == bytes([0b101])
    votes.discard(addresses[0])
    votes.discard(addresses[1])
    assert votes.power_any == 0 and not votes._by_value and not votes._power, "and takes no memory"


def test_rounds_long_past_count_in_certificates_only() -> None:
    """A late commit of any round decides; plain votes so old serve nobody, and would take memory without end."""
    votes, current = heights(), Round(PAST_ROUNDS_KEPT + 10)
    for round_ in (9, 10):
        for who in range(3):
            votes.add(vote(votes.validators, who, PRECOMMIT, round_, A), current)
    assert votes.commits == {10: A}
    votes.add(vote(votes.validators, 3, PREVOTE, 9, A), current, certified=True)
    assert seen(votes, 3) == [9]
    late = heights()
    for who in range(3):
        late.add(vote(late.validators, who, PRECOMMIT, 1, A), current, certified=True)
    assert late.commits == {1: A}


def test_room_ahead_is_each_validators_own_and_for_rounds_ahead_only() -> None:
    votes, current = heights(), Round(3)
    for round_ in (0, 1, 2, 3, 4, 5, 6, 7):
        votes.add(vote(votes.validators, 0, PREVOTE, round_), current)
    assert seen(votes, 0) == [0, 1, 2, 3, 4, 5, 6, 7]
    votes.add(vote(votes.validators, 1, PREVOTE, 20), current)
    assert seen(votes, 1) == [20] and seen(votes, 0) == [0, 1, 2, 3, 4, 5, 6, 7], "another's votes cost it nothing"
    votes.add(vote(votes.validators, 0, PREVOTE, 8), current)
    assert seen(votes, 0) == [0, 1, 2, 3, 5, 6, 7, 8] and seen(votes, 1) == [20]


def test_the_lowest_round_ahead_makes_room_whatever_the_order_of_arrival() -> None:
    votes = heights()
    for round_ in (9, 5, 7, 6):
        votes.add(vote(votes.validators, 0, PREVOTE, round_), Round(0))
    votes.add(vote(votes.validators, 0, PRECOMMIT, 7), Round(0))
    assert seen(votes, 0) == [5, 6, 7, 9], "a round that is kept takes its other kind too"
    votes.add(vote(votes.validators, 0, PREVOTE, 8), Round(0))
    assert seen(votes, 0) == [6, 7, 8, 9]
    votes.add(vote(votes.validators, 0, PREVOTE, 4), Round(0))
    assert seen(votes, 0) == [6, 7, 8, 9], "what is lower than all is not taken"
    votes.add(vote(votes.validators, 0, PREVOTE, 4), Round(0), certified=True)
    assert seen(votes, 0) == [4, 6, 7, 8, 9], "but in a certificate"


def test_who_was_evicted_from_a_round_gives_it_no_weight() -> None:
    votes = heights()
    for who in (0, 1):
        votes.add(vote(votes.validators, who, PREVOTE, 1), Round(0))
    assert votes.latest_weak_quorum(above=Round(0)) == 1
    for round_ in range(2, 2 + FUTURE_ROUNDS_PER_VALIDATOR):
        votes.add(vote(votes.validators, 0, PREVOTE, round_), Round(0))
    assert votes.latest_weak_quorum(above=Round(0)) == NO_ROUND
    assert (votes.prevotes(Round(1)).power_any, seen(votes, 1)) == (10, [1])


def test_a_round_that_was_dropped_is_not_followed() -> None:
    votes = heights(4, (30, 1, 1, 1))
    votes.add(vote(votes.validators, 0, PREVOTE, 5), Round(0))
    assert votes.latest_weak_quorum(above=Round(0)) == 5
    votes.drop_round(Round(5))
    assert (votes.latest_weak_quorum(above=Round(0)), votes.latest_round(), votes.power_seen()) == (
        NO_ROUND,
        NO_ROUND,
        0,
    )


def test_votes_after_a_quorum_are_not_taken_away() -> None:
    """A validator goes ahead and its older vote stays: the polka was seen, and must be shown as it was."""
    votes = heights()
    for who in range(3):
        votes.add(vote(votes.validators, who, PREVOTE, 1, A), Round(0))
    for round_ in range(2, 3 + FUTURE_ROUNDS_PER_VALIDATOR):
        votes.add(vote(votes.validators, 0, PREVOTE, round_), Round(0))
    assert len(votes.prevotes(Round(1)).votes_for(A)) == 3


def test_pruning_keeps_the_near_past_and_what_is_asked_for() -> None:
    votes = heights()
    for round_ in (0, 1, 2, 3):
        votes.add(vote(votes.validators, 0, PREVOTE, round_), Round(3))
    votes.prune(Round(PAST_ROUNDS_KEPT + 2), {Round(0)})
    assert seen(votes, 0) == [0, 2, 3]


@pytest.mark.parametrize(("count", "size"), [(7, 1), (8, 1), (9, 2), (16, 2)])
def test_bit_arrays_have_a_bit_for_each_and_none_more(count: int, size: int) -> None:
    validators = validator_set(count)
    votes = VoteSet(validators, Round(0), PREVOTE)
    for who in range(count):
        votes.add(vote(validators, who, PREVOTE, 0, A))
    assert votes.bits() == ((1 << count) - 1).to_bytes(size, "little")
    check_bits(votes.bits(), validators)
    if count % 8:
        with pytest.raises(PeerFault, match="beyond the last"):
            check_bits((1 << count).to_bytes(size, "little"), validators)


def test_a_nil_quorum_is_no_commit() -> None:
    votes = heights()
    for who in range(3):
        votes.add(vote(votes.validators, who, PRECOMMIT, 0, ZERO_HASH), Round(0))
    assert votes.commits == {}
    for who in range(3):
        votes.add(vote(votes.validators, who, PREVOTE, 1, A), Round(0))
    assert votes.commits == {}, "prevotes commit nothing"

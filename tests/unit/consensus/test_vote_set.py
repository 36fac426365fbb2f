"""Counting votes: quorums by integers, equivocation, certificates, bounds, bit arrays, commits."""

import pytest

from consensus.block_rules import verify_commit
from consensus.vote_set import (
    FUTURE_ROUNDS_PER_VALIDATOR,
    VALUES_PER_VALIDATOR_MAX,
    HeightVotes,
    VoteSet,
    check_bits,
    votes_of_commit,
)
from genesis.errors import InvariantError, PeerFault
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round
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

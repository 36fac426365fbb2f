"""The signer: one signature per position, durable first; its file; and the node's refusals."""

from pathlib import Path

import pytest

from consensus.messages import Step
from consensus.signer import Signer, SigningRefused, SignRecord, double_sign_check
from genesis.crypto import recover
from genesis.errors import LocalError, StorageCorrupt
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round
from genesis.types import Proposal, Vote, VoteType
from node.sign_record import SignRecordFile
from tests.unit.consensus.support import (
    CHAIN,
    PRECOMMIT,
    PREVOTE,
    MemoryRecord,
    SimulatedCrash,
    commit_for,
    first_context,
    keys_in_set_order,
    make_signer,
    validator_set,
)

VALIDATORS = validator_set(4)
KEY = keys_in_set_order(4)[0]
SET_HASH = VALIDATORS.hash()
A, B = Hash32(b"\xaa" * 32), Hash32(b"\xbb" * 32)


def cast(signer: Signer, kind: VoteType, height: int, round_: int, value: Hash32) -> Vote:
    return signer.sign_vote(kind, Height(height), Round(round_), value, SET_HASH)


def propose(signer: Signer, height: int, round_: int, value: Hash32, valid_round: int = -1) -> Proposal:
    return signer.sign_proposal(Height(height), Round(round_), Round(valid_round), value, (), SET_HASH)


def test_signatures_recover_to_the_validator() -> None:
    signer = make_signer(KEY, MemoryRecord())
    for message in (propose(signer, 1, 0, A), cast(signer, PREVOTE, 1, 0, A), cast(signer, PRECOMMIT, 1, 0, ZERO_HASH)):
        assert recover(message.digest(CHAIN, SET_HASH), message.signature) == VALIDATORS.members[0].address


def test_the_same_is_given_again_and_another_is_refused_also_after_a_restart() -> None:
    store = MemoryRecord()
    signer = make_signer(KEY, store)
    first = cast(signer, PREVOTE, 5, 2, A)
    for again in (signer, make_signer(KEY, store)):
        assert cast(again, PREVOTE, 5, 2, A) == first
        with pytest.raises(SigningRefused, match="something else"):
            cast(again, PREVOTE, 5, 2, B)
        with pytest.raises(SigningRefused, match="something else"):
            cast(again, PREVOTE, 5, 2, ZERO_HASH)
    assert len(store.history) == 1


@pytest.mark.parametrize(("height", "round_", "kind"), [(4, 9, PRECOMMIT), (5, 1, PRECOMMIT), (5, 2, PREVOTE)])
def test_nothing_older_is_signed(height: int, round_: int, kind: VoteType) -> None:
    signer = make_signer(KEY, MemoryRecord())
    cast(signer, PRECOMMIT, 5, 2, A)
    with pytest.raises(SigningRefused, match="after"):
        cast(signer, kind, height, round_, A)
    with pytest.raises(SigningRefused, match="after"):
        propose(signer, 5, 2, A)


def test_a_proposal_with_another_valid_round_is_another_proposal() -> None:
    signer = make_signer(KEY, MemoryRecord())
    propose(signer, 1, 3, A, NO_ROUND)
    with pytest.raises(SigningRefused):
        propose(signer, 1, 3, A, 1)


def test_the_record_is_durable_before_the_signature_is_given() -> None:
    store = MemoryRecord()
    signer = make_signer(KEY, store)

    def fail() -> None:
        raise SimulatedCrash

    store.hazard = fail
    with pytest.raises(SimulatedCrash):
        cast(signer, PREVOTE, 1, 0, A)
    store.hazard = lambda: None
    assert store.value is None
    assert cast(make_signer(KEY, store), PREVOTE, 1, 0, B).block_hash == B, "nobody saw the first one"


def test_a_stopped_signer_refuses_everything() -> None:
    signer = make_signer(KEY, MemoryRecord())
    seen = cast(make_signer(KEY, MemoryRecord()), PREVOTE, 3, 0, A)
    assert not signer.covers(seen)
    signer.stop("the key is used elsewhere")
    with pytest.raises(SigningRefused, match="elsewhere"):
        cast(signer, PREVOTE, 9, 0, A)


def test_garbled_records_are_refused() -> None:
    store = MemoryRecord()
    cast(make_signer(KEY, store), PREVOTE, 1, 0, A)
    assert store.value is not None
    for bad in (store.value[:-1], store.value + b"\0", b"", b"\xff"):
        with pytest.raises(StorageCorrupt):
            make_signer(KEY, MemoryRecord(bad))
    moved = SignRecord(Height(9), Round(0), Step.PREVOTE, make_signer(KEY, store).last.message)  # type: ignore[union-attr]
    from genesis.codec import encode

    with pytest.raises(StorageCorrupt, match="position"):
        make_signer(KEY, MemoryRecord(encode(moved)))


def test_a_record_file_is_made_at_init_only(tmp_path: Path) -> None:
    """tendermint #3418: a key without its sign state must not sign."""
    path = tmp_path / "sign-record"
    with pytest.raises(LocalError, match="missing"):
        SignRecordFile(path)
    assert SignRecordFile(path, create=True).load() is None
    assert SignRecordFile(path).load() is None
    SignRecordFile(path).save(b"one")
    assert SignRecordFile(path, create=True).load() == b"one", "create never empties a record"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["sign-record"]


def test_a_garbled_record_file_is_refused_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "sign-record"
    SignRecordFile(path, create=True).save(b"a record of some bytes")
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(StorageCorrupt):
            SignRecordFile(path).load()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(StorageCorrupt):
            SignRecordFile(path).load()


def test_double_sign_check_finds_newer_signatures_in_commits() -> None:
    context = first_context(VALIDATORS)
    me = VALIDATORS.members[0].address
    with_me, without_me = commit_for(context, A), commit_for(context, A, signers=[1, 2, 3])
    store = MemoryRecord()
    signer = make_signer(KEY, store)
    double_sign_check(signer.last, me, [(VALIDATORS, without_me)])
    with pytest.raises(LocalError, match="sign record"):
        double_sign_check(signer.last, me, [(VALIDATORS, without_me), (VALIDATORS, with_me)])
    cast(signer, PRECOMMIT, 1, 0, A)
    double_sign_check(signer.last, me, [(VALIDATORS, with_me)])

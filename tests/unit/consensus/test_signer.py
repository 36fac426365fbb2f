"""The signer: one signature per position, durable first; its file; and the node's refusals."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus.messages import Step
from consensus.signer import RECORD_BYTES_MAX, Signer, SigningDelayed, SigningRefused, SignRecord, double_sign_check
from genesis.codec import encode
from genesis.crypto import recover
from genesis.errors import LocalError, StorageCorrupt, StorageUnavailable
from genesis.limits import CONSENSUS_MESSAGE_BYTES_MAX, VALIDATORS_MAX
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round
from genesis.types import HEIGHT_MAX, ROUND_MAX, Proposal, Vote, VoteType
from node.home.sign_record import SignRecordFile
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


def test_a_signer_covers_what_it_can_have_signed_itself() -> None:
    signer, other = make_signer(KEY, MemoryRecord()), make_signer(KEY, MemoryRecord())
    cast(signer, PREVOTE, 3, 1, A)
    assert signer.covers(cast(other, PREVOTE, 2, 0, B)), "older: who knows"
    assert signer.covers(cast(other, PREVOTE, 3, 1, A)), "the very same"
    assert not signer.covers(cast(make_signer(KEY, MemoryRecord()), PREVOTE, 3, 1, B)), "it says something else"
    assert not signer.covers(cast(other, PRECOMMIT, 3, 1, A)), "newer"
    propose(signer, 4, 2, A, 0)
    assert signer.covers(propose(make_signer(KEY, MemoryRecord()), 4, 2, A, 0))
    assert not signer.covers(propose(make_signer(KEY, MemoryRecord()), 4, 2, A, 1)), "of another valid round"


def test_a_record_of_the_largest_message_is_read_again() -> None:
    """A re-proposal with the polka of the largest set; and there is room for any message that may be sent at all."""
    store = MemoryRecord()
    votes = (cast(make_signer(KEY, MemoryRecord()), PREVOTE, 1, 0, A),) * VALIDATORS_MAX
    proposal = make_signer(KEY, store).sign_proposal(Height(1), Round(1), Round(0), A, votes, SET_HASH)
    again = make_signer(KEY, store)
    assert again.last is not None and again.last.signed() == proposal
    largest = SignRecord(Height(HEIGHT_MAX), Round(ROUND_MAX), Step.PRECOMMIT, bytes(CONSENSUS_MESSAGE_BYTES_MAX))
    assert len(encode(largest)) <= RECORD_BYTES_MAX


def test_a_record_of_an_impossible_round_is_refused() -> None:
    """The position that is stored is checked, not only that of the message."""
    store = MemoryRecord()
    cast(make_signer(KEY, store), PREVOTE, 1, 0, A)
    record = make_signer(KEY, store).last
    assert record is not None
    object.__setattr__(record, "round", ROUND_MAX + 1)
    with pytest.raises(StorageCorrupt, match="garbled"):
        make_signer(KEY, MemoryRecord(encode(record)))


def test_garbled_records_are_refused() -> None:
    store = MemoryRecord()
    cast(make_signer(KEY, store), PREVOTE, 1, 0, A)
    assert store.value is not None
    for bad in (store.value[:-1], store.value + b"\0", b"", b"\xff"):
        with pytest.raises(StorageCorrupt):
            make_signer(KEY, MemoryRecord(bad))
    moved = SignRecord(Height(9), Round(0), Step.PREVOTE, make_signer(KEY, store).last.message)  # type: ignore[union-attr]
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


def test_a_record_that_cannot_be_written_whole_is_not_signed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call that a writing makes may fail; that is not called corrupt, and the old record stays what it was."""
    path = tmp_path / "sign-record"
    record = SignRecordFile(path, create=True)
    record.save(b"one")
    for name, old_stays in (("write", True), ("fsync", True), ("replace", True), ("open", True)):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing(errno.EIO))
            with pytest.raises(StorageUnavailable, match="Input/output error"):
                record.save(b"two")
        assert (SignRecordFile(path).load() == b"one") is old_stays
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing(errno.EACCES))
        with pytest.raises(StorageUnavailable, match="Permission denied"):
            record.load()
    record.save(b"two")
    assert SignRecordFile(path).load() == b"two"


def failing(number: int) -> Callable[..., Any]:
    def fail(*_arguments: object, **_options: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_the_folder_is_synced_after_the_renaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SignRecordFile(tmp_path / "sign-record", create=True)
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _real=real, _name=name, **o: (calls.append(_name), _real(*a, **o))[1])
    record.save(b"one")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_part_of_a_record_that_is_written_at_once_is_followed_by_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = SignRecordFile(tmp_path / "sign-record", create=True)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    record.save(b"a record of some bytes")
    monkeypatch.undo()
    assert record.load() == b"a record of some bytes"


EXHAUSTED = """
import os, sys
from pathlib import Path
from consensus.signer import SigningDelayed
from node.home.sign_record import SignRecordFile
record = SignRecordFile(Path(sys.argv[1]))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
for number in range(20):
    record.save(b"%d" % number)
record._release()
held.append(os.dup(0))
try:
    record.save(b"lost")
except SigningDelayed as error:
    print(error)
held = [os.close(fd) for fd in held]
record.save(b"after")
"""


def test_a_process_without_descriptors_still_signs_and_a_lack_of_them_is_no_corruption(tmp_path: Path) -> None:
    path = tmp_path / "sign-record"
    SignRecordFile(path, create=True)
    command = ["bash", "-c", 'ulimit -n 64; exec "$0" "$@"', sys.executable, "-c", EXHAUSTED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    assert "no file can be opened" in done.stdout
    assert SignRecordFile(path).load() == b"after"


def test_a_lack_of_descriptors_delays_the_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = SignRecordFile(tmp_path / "sign-record", create=True)
    signer = Signer(CHAIN, VALIDATORS.members[0].address, make_signer(KEY, MemoryRecord())._sign_hash, record)
    cast(signer, PREVOTE, 1, 0, A)
    monkeypatch.setattr(os, "open", failing(errno.EMFILE))
    with pytest.raises(SigningDelayed):
        cast(signer, PRECOMMIT, 1, 0, A)
    monkeypatch.undo()
    assert cast(signer, PRECOMMIT, 1, 0, B).block_hash == B, "nothing was signed, so anything may be"


def test_double_sign_check_finds_newer_signatures_in_commits() -> None:
    context = first_context(VALIDATORS)
    me = VALIDATORS.members[0].address
    with_me, without_me = commit_for(context, A), commit_for(context, A, signers=[1, 2, 3])
    store = MemoryRecord()
    signer = make_signer(KEY, store)
    double_sign_check(signer.last, me, [(VALIDATORS, without_me)])
    with pytest.raises(LocalError, match="sign record"):
        double_sign_check(signer.last, me, [(VALIDATORS, without_me), (VALIDATORS, with_me)])
    cast(signer, PREVOTE, 1, 0, A)
    with pytest.raises(LocalError, match=f"0x{me.hex()} signed block 1, .* ends at height 1, round 0"):
        double_sign_check(signer.last, me, [(VALIDATORS, with_me)])  # the record knows of the prevote only
    cast(signer, PRECOMMIT, 1, 0, A)
    double_sign_check(signer.last, me, [(VALIDATORS, with_me)])
    with pytest.raises(LocalError, match="in use"):
        double_sign_check(signer.last, me, [(VALIDATORS, commit_for(context, B))])

"""The log: torn, flipped, cut at every byte, forged from inside; and the file behind it."""

import errno
import os
import random
import zlib
from pathlib import Path

import pytest

from consensus.events import (
    BlockBuilt,
    BlockValidated,
    CommitReceived,
    EnterHeight,
    ProposalReceived,
    TimeoutExpired,
    VoteReceived,
)
from consensus.messages import Step
from consensus.wal import MARK, HeldBlock, PolkaSeen, Record, SitsOut, Wal, encode_record, read_records
from genesis.codec import encode
from genesis.errors import StorageCorrupt, StorageUnavailable
from genesis.limits import BLOCK_BYTES_MAX, VALIDATORS_MAX
from genesis.primitives import Hash32, Height, Round
from genesis.types import Block
from node.home.wal_file import WalFile
from tests.unit.consensus.support import (
    PREVOTE,
    MemoryLog,
    commit_for,
    first_context,
    make_block,
    next_context,
    proposal,
    validator_set,
    vote,
)

VALIDATORS = validator_set(4)
CONTEXT = first_context(VALIDATORS)
A = Hash32(b"\xaa" * 32)
BLOCK = make_block(CONTEXT, transactions=(b"OLW" * 3 + b"\x01\x00", MARK * 4))
POLKA = tuple(vote(VALIDATORS, i, PREVOTE, 0, A) for i in range(3))
H = Height(1)
RECORDS: list[Record] = [
    EnterHeight(H),
    ProposalReceived(proposal(CONTEXT, 0, A), 17),
    ProposalReceived(proposal(CONTEXT, 1, A, valid_round=0, polka=POLKA), 18),
    VoteReceived(POLKA[0]),
    CommitReceived(commit_for(CONTEXT, A)),
    BlockValidated(H, A, True, 12, Round(0)),
    BlockBuilt(H, Round(0), A),
    TimeoutExpired(H, Round(0), Step.PREVOTE),
    HeldBlock(BLOCK),
    PolkaSeen(H, Round(0), A, True, POLKA),
    SitsOut(H),
]
DATA = b"".join(encode_record(record) for record in RECORDS)


def ends() -> list[int]:
    sizes = [len(encode_record(record)) for record in RECORDS]
    return [sum(sizes[: i + 1]) for i in range(len(sizes))]


def test_every_kind_of_record_comes_back() -> None:
    assert read_records(DATA) == (RECORDS, len(DATA))


def test_a_log_cut_at_any_byte_gives_the_records_before_the_cut() -> None:
    """tendermint #1434: a torn tail is no reason to refuse."""
    borders = ends()
    for size in range(len(DATA)):
        whole = sum(end <= size for end in borders)
        assert read_records(DATA[:size]) == (RECORDS[:whole], borders[whole - 1] if whole else 0)


def test_one_flipped_byte_is_refused_in_the_middle_and_cut_off_at_the_end() -> None:
    rng = random.Random(11)
    last = ends()[-2]
    for position in rng.sample(range(len(DATA)), 600):
        flipped = bytearray(DATA)
        flipped[position] ^= 1 << rng.randrange(8)
        if position < last:
            with pytest.raises(StorageCorrupt, match="middle"):
                read_records(bytes(flipped))
        else:
            assert read_records(bytes(flipped)) == (RECORDS[:-1], last)


def test_garbage_and_zeros_at_the_end_are_a_torn_tail() -> None:
    for tail in (bytes(5000), b"\xff" * 100, MARK, MARK + b"\xff\xff\xff\xff" + bytes(50), DATA[:9]):
        assert read_records(DATA + tail) == (RECORDS, len(DATA))


def test_a_tail_of_zeros_after_any_part_of_a_record_is_a_torn_tail() -> None:
    """After power loss a sector may read as zeros: a mark, then length 0 and checksum 0 (that of no bytes) is no record."""
    last = ends()[-2]
    for kept in range(len(DATA) - last):
        torn = DATA[: last + kept] + bytes(32)
        assert read_records(torn) == (RECORDS[:-1], last), kept


def test_a_record_inside_a_transaction_is_never_taken_for_one() -> None:
    """Who can write calldata can write bytes that look like a log; a torn tail after them must stay a torn tail."""
    fake = encode_record(EnterHeight(H))
    block = encode_record(HeldBlock(make_block(CONTEXT, transactions=(fake * 20,))))
    assert block.count(MARK) == 1
    assert read_records(DATA + block) == (
        [*RECORDS, HeldBlock(make_block(CONTEXT, transactions=(fake * 20,)))],
        len(DATA + block),
    )
    assert read_records(DATA + block[:-3]) == (RECORDS, len(DATA))


def test_a_missing_record_in_the_middle_of_the_bytes_is_refused() -> None:
    borders = ends()
    with pytest.raises(StorageCorrupt):
        read_records(DATA[: borders[0] + 5] + DATA[borders[1] :])


def test_replay_takes_one_height_ignores_the_past_and_refuses_the_future() -> None:
    log = MemoryLog()
    wal = Wal(log)
    for record in (EnterHeight(Height(4)), EnterHeight(Height(5)), EnterHeight(Height(6))):
        wal.append(record)
    assert wal.replay(Height(6)) == [EnterHeight(Height(6))]
    assert wal.replay(Height(9)) == []
    with pytest.raises(StorageCorrupt, match="reaches height"):
        wal.replay(Height(5))


def test_replay_cuts_the_torn_tail_so_that_new_records_can_follow() -> None:
    log = MemoryLog(DATA + b"OLW")
    wal = Wal(log)
    assert wal.replay(H) == RECORDS
    wal.append(EnterHeight(H))
    assert Wal(log).replay(H) == [*RECORDS, EnterHeight(H)]


def test_the_height_of_a_held_block_is_its_own() -> None:
    second = next_context(CONTEXT, BLOCK, commit_for(CONTEXT, BLOCK.hash))
    log = MemoryLog(encode_record(HeldBlock(make_block(second))))
    assert len(Wal(log).replay(Height(2))) == 1


def test_the_file_appends_syncs_cuts_and_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "wal"
    wal = Wal(WalFile(path))
    for record in RECORDS:
        wal.append(record)
    wal.sync()
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(DATA + b"torn")
    again = Wal(WalFile(path))
    assert again.replay(H) == RECORDS
    again.append(RECORDS[0])
    assert read_records(path.read_bytes()) == ([*RECORDS, RECORDS[0]], len(DATA) + ends()[0])
    again.reset()
    assert path.read_bytes() == b""
    again.append(RECORDS[3])
    assert Wal(WalFile(path)).replay(H) == [RECORDS[3]]


def test_a_log_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="cannot open the consensus log"):
        WalFile(tmp_path / "missing" / "wal")


def test_what_the_system_refuses_is_told_as_that_and_never_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = WalFile(tmp_path / "wal")
    file.append(DATA)

    def fail(*_arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    steps = {"pread": file.read_all, "write": lambda: file.append(b"x"), "fdatasync": file.sync}
    cuts = {"ftruncate": lambda: file.truncate(0), "fsync": lambda: file.truncate(0)}
    for name, step in (steps | cuts).items():
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(StorageUnavailable, match="Input/output error"):
                step()
    file.close()


def test_bytes_that_are_written_in_parts_are_all_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = WalFile(tmp_path / "wal")
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
        file.append(DATA)
    assert file.read_all() == DATA
    monkeypatch.setattr(os, "pread", lambda fd, count, offset, _real=os.pread: _real(fd, min(count, 5), offset))
    assert file.read_all() == DATA
    file.close()


def test_a_cut_is_durable_before_anything_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = WalFile(tmp_path / "wal")
    file.append(DATA)
    calls: list[str] = []
    for name in ("ftruncate", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _real=real, _name=name: (calls.append(_name), _real(*a))[1])
    file.truncate(3)
    assert calls == ["ftruncate", "fsync"]
    assert file.read_all() == DATA[:3]
    file.close()


class LoggedFile(MemoryLog):
    """A file that notes what is asked of it."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(data)
        self.calls: list[str] = []

    def sync(self) -> None:
        self.calls.append("sync")
        super().sync()

    def truncate(self, size: int) -> None:
        self.calls.append(f"truncate {size}")
        super().truncate(size)


def greatest_block() -> HeldBlock:
    """A block of the greatest size there is, of bytes that each need an escape."""
    filler = BLOCK_BYTES_MAX - len(encode(make_block(CONTEXT, transactions=(b"",)), Block)) - 4
    block = make_block(CONTEXT, transactions=(b"OLW" * (filler // 3),))
    assert BLOCK_BYTES_MAX - 8 < len(encode(block, Block)) <= BLOCK_BYTES_MAX
    return HeldBlock(block)


def test_a_block_of_the_greatest_size_comes_back() -> None:
    """Else a node that held a full block could not start again."""
    held = greatest_block()
    data = encode_record(held)
    assert len(data) > BLOCK_BYTES_MAX * 5 // 4, "nearly every third byte is escaped"
    assert read_records(data + DATA) == ([held, *RECORDS], len(data + DATA))


def with_head(body: bytes) -> bytes:
    """A record with a good length and checksum, whatever is in it."""
    return MARK + len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "body",
    [
        b"\x00",
        b"\x92\xcc\xff\x90",
        encode(RECORDS[0], Record) + b"\x00",
        encode(PolkaSeen(H, Round(0), A, True, ()), Record).replace(b"\x90", b"\xdc\x01\x01" + b"\x90" * 257),
    ],
    ids=["no record", "an unknown tag", "a byte more", "votes that are none"],
)
def test_a_good_checksum_over_what_is_no_record_is_refused(body: bytes) -> None:
    """Written by another version, or by a fault: not a torn tail, and never passed over."""
    for data, position in ((with_head(body), 0), (DATA + with_head(body), len(DATA))):
        with pytest.raises(StorageCorrupt, match=f"unknown record at byte {position}"):
            read_records(data)


def test_records_have_a_place_in_the_chain() -> None:
    for make in (
        lambda: SitsOut(Height(-1)),
        lambda: PolkaSeen(Height(-1), Round(0), A, True, ()),
        lambda: PolkaSeen(H, Round(-1), A, True, ()),
    ):
        with pytest.raises(ValueError, match="height or round"):
            make()


def test_a_polka_has_no_more_votes_than_there_can_be_validators() -> None:
    PolkaSeen(H, Round(0), A, True, (POLKA[0],) * VALIDATORS_MAX)
    with pytest.raises(ValueError, match="more votes in a polka"):
        PolkaSeen(H, Round(0), A, True, (POLKA[0],) * (VALIDATORS_MAX + 1))


def test_the_file_is_synced_when_something_was_appended_and_only_then() -> None:
    log = LoggedFile()
    wal = Wal(log)
    wal.sync()
    assert log.calls == []
    wal.append(RECORDS[0])
    wal.sync()
    wal.sync()
    assert log.calls == ["sync"] and log.durable == len(log.data) > 0
    wal.append(RECORDS[0])
    wal.reset()
    wal.sync()
    assert log.calls == ["sync", "truncate 0"] and log.data == b""


def test_what_is_replayed_is_durable_before_it_is_acted_on() -> None:
    for tail, call in ((b"", "sync"), (b"OLW", f"truncate {len(DATA)}")):
        log = LoggedFile(DATA + tail)
        assert Wal(log).replay(H) == RECORDS
        assert log.calls == [call] and log.durable == len(DATA)

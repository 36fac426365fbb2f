"""The database: atomic batches, one owner, no silent loss. Real LevelDB throughout."""

import subprocess
import sys
import threading
from pathlib import Path

import plyvel
import pytest

from genesis.errors import LocalError, StorageCorrupt
from node.home.lock import DirectoryLock
from node.storage.database import LevelDatabase, LevelSnapshot
from node.storage.keys import STATE_PREFIX
from node.storage.view import SnapshotView


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain"


def test_a_batch_is_written_as_a_whole_and_survives(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch({b"a": b"1", b"b": b"2", b"c": b"3"})
    database.write_batch({b"a": None, b"b": b"22"})
    database.close()
    again = LevelDatabase(path, create=False)
    assert [again.get(key) for key in (b"a", b"b", b"c")] == [None, b"22", b"3"]
    again.close()


def test_a_batch_that_fails_halfway_writes_nothing(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    with pytest.raises(TypeError):
        database.write_batch({b"a": b"1", b"b": "text"})  # type: ignore[dict-item]  # the fault under test
    assert database.get(b"a") is None
    database.close()


def test_a_snapshot_is_read_once_for_each_key_and_in_bounded_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch(
        {STATE_PREFIX + b"a": b"old", STATE_PREFIX + b"large": b"x" * 1_000, STATE_PREFIX + b"b": b"1"}
    )
    snapshot = database.snapshot()
    reads: list[bytes] = []

    def counted(key: bytes) -> bytes | None:
        reads.append(key)
        return LevelSnapshot.get(snapshot, key)

    monkeypatch.setattr(snapshot, "get", counted)
    monkeypatch.setattr("node.storage.view.REMEMBERED_BYTES", 1_000)
    view = SnapshotView(snapshot)
    database.write_batch({STATE_PREFIX + b"a": b"new", STATE_PREFIX + b"none": b"1"})
    for _ in range(3):
        assert [view.get(key) for key in (b"a", b"none", b"b")] == [b"old", None, b"1"]
    assert len(reads) == 3
    assert [len(view.get(b"large") or b"") for _ in range(2)] == [1_000, 1_000] and len(reads) == 5
    snapshot.close()
    database.close()


def test_iteration_sees_one_moment_and_only_its_prefix(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch({b"s%04d" % i: b"old" for i in range(1_000)} | {b"r": b"", b"t": b""})
    iterator = database.iterate(b"s")
    first = next(iterator)
    database.write_batch({b"s%04d" % i: b"new" for i in range(1_000)})
    rest = list(iterator)
    assert first == (b"s0000", b"old")
    assert [key for key, _ in rest] == [b"s%04d" % i for i in range(1, 1_000)]
    assert {value for _, value in rest} == {b"old"}
    database.close()


def test_a_scan_has_its_start_and_lacks_its_end(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch({bytes([i]): b"" for i in range(6)}, sync=False)
    assert [key for key, _ in database.scan(b"\x01", b"\x04")] == [b"\x01", b"\x02", b"\x03"]
    snapshot = database.snapshot()
    database.write_batch({b"\x02": None}, sync=False)
    assert [key for key, _ in snapshot.scan(b"\x01", b"\x04")] == [b"\x01", b"\x02", b"\x03"]
    assert [key for key, _ in database.scan(b"\x01", b"\x04")] == [b"\x01", b"\x03"]
    snapshot.close()
    database.close()


def test_a_snapshot_keeps_its_moment(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch({b"a": b"1"})
    snapshot = database.snapshot()
    database.write_batch({b"a": b"2", b"b": b"2"})
    assert (snapshot.get(b"a"), snapshot.get(b"b"), database.get(b"a")) == (b"1", None, b"2")
    assert list(snapshot.iterate(b"")) == [(b"a", b"1")]
    snapshot.close()
    database.close()


def test_closing_waits_for_readers_and_refuses_new_ones(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch({b"%06d" % i: bytes(100) for i in range(20_000)})
    snapshot, iterator = database.snapshot(), database.iterate(b"")
    next(iterator)
    errors: list[Exception] = []

    def read_for_ever() -> None:
        try:
            while True:
                list(database.iterate(b""))
        except LocalError as error:
            errors.append(error)

    threads = [threading.Thread(target=read_for_ever) for _ in range(4)]
    for thread in threads:
        thread.start()
    database.close()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 4
    for read in (lambda: database.get(b"a"), lambda: snapshot.get(b"a"), lambda: list(iterator)):
        with pytest.raises(LocalError, match="closed"):
            read()
    snapshot.close()
    database.close()


def test_a_database_that_is_not_there_is_not_made_unasked(path: Path) -> None:
    with pytest.raises(LocalError, match="openledger init"):
        LevelDatabase(path, create=False)
    assert not path.exists()


def filled(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    for i in range(200):
        database.write_batch({b"k%03d" % i: bytes([i]) * 500})
    database.close()


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*"])
def test_a_missing_file_is_refused_and_nothing_is_repaired(path: Path, name: str) -> None:
    filled(path)
    victims = list(path.glob(name))
    assert victims
    before = {entry.name for entry in path.iterdir() if entry not in victims}
    for victim in victims:
        victim.unlink()
    with pytest.raises(StorageCorrupt):
        LevelDatabase(path, create=True)
    assert before <= {entry.name for entry in path.iterdir()}


def test_a_flipped_byte_in_the_log_is_refused(path: Path) -> None:
    filled(path)
    log = max(path.glob("*.log"), key=lambda file: file.stat().st_size)
    data = bytearray(log.read_bytes())
    assert len(data) > 50_000
    data[20_000] ^= 0x40
    log.write_bytes(data)
    with pytest.raises(StorageCorrupt, match="nothing was repaired"):
        LevelDatabase(path, create=False)
    with pytest.raises(StorageCorrupt):  # and it stays refused
        LevelDatabase(path, create=False)


def test_a_flipped_byte_in_a_table_is_found_when_it_is_read(path: Path) -> None:
    filled(path)
    raw = plyvel.DB(str(path))
    raw.compact_range()
    raw.close()
    table = max(path.glob("*.ldb"), key=lambda file: file.stat().st_size)
    data = bytearray(table.read_bytes())
    data[len(data) // 3] ^= 0x01
    table.write_bytes(data)
    with pytest.raises(StorageCorrupt):
        database = LevelDatabase(path, create=False)
        try:
            for i in range(200):
                database.get(b"k%03d" % i)
        finally:
            database.close()


def test_one_process_per_directory(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path):
        with pytest.raises(LocalError, match="in use by another node"):
            DirectoryLock(tmp_path)
        program = "import pathlib, sys, node.home.lock as lock; lock.DirectoryLock(pathlib.Path(sys.argv[1]))"
        other = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert other.returncode == 1
        assert "in use by another node" in other.stderr
    DirectoryLock(tmp_path).release()


def test_closing_beside_busy_readers_waits_for_them_and_turns_the_next_away(path: Path) -> None:
    database = LevelDatabase(path, create=True)
    database.write_batch({b"key": b"value"})
    started, ends = threading.Barrier(5), []

    def read() -> None:
        started.wait()
        try:
            while True:
                assert database.get(b"key") == b"value"
        except LocalError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    database.close()
    for thread in threads:
        thread.join()
    assert ends == ["the database is closed"] * 4
    database.close()


LETTING_GO = """
import pathlib, sys, threading
from genesis.errors import LocalError
from node.storage.database import LevelDatabase

def read(database):
    held = []
    try:
        while True:
            scan = database.scan(b"", b"z")
            next(scan)
            held.append((database.snapshot(), scan))
            if len(held) > 20:
                held.clear()
    except LocalError:
        pass

sys.setswitchinterval(1e-5)
for place in range(8):
    database = LevelDatabase(pathlib.Path(sys.argv[1]) / str(place), create=True)
    database.write_batch({bytes([number]): bytes(100) for number in range(90)}, sync=False)
    readers = [threading.Thread(target=read, args=(database,)) for _ in range(3)]
    for reader in readers:
        reader.start()
    database.get(b"x")
    database.close()
    for reader in readers:
        reader.join()
"""


def test_snapshots_and_iterators_may_be_let_go_of_while_the_database_closes(tmp_path: Path) -> None:
    """In a process of its own: LevelDB crashed it."""
    done = subprocess.run(
        [sys.executable, "-c", LETTING_GO, str(tmp_path)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]

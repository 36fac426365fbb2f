"""What the operating system refuses: named as what it is, with what to do; never called damage, never a traceback.

Real permission bits, a real full disk's answer where one can be had; the rest is injected at the system call.
"""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import plyvel
import pytest

from consensus.signer import SigningDelayed
from genesis.errors import FatalError, LocalError, StorageCorrupt, StorageUnavailable
from node.devnet.plan import DevnetOptions, check_ports, make_devnet
from node.home import keystore
from node.home.config import resolve
from node.home.datadir import read_spec, settle_spec, write_new
from node.home.lock import DirectoryLock
from node.home.sign_record import SignRecordFile
from node.home.wal_file import WalFile
from node.os_errors import exists, explain, told
from node.signer.server import listen
from node.storage.database import LevelDatabase
from tests.unit.node.test_cli import OPENLEDGER, Done, refused, run

REFUSALS = {
    errno.EACCES: "check owner and mode",
    errno.EMFILE: "raise its limit",
    errno.EIO: "check the disk",
    errno.ENOSPC: "make room",
    errno.EROFS: "read-only",
}


@pytest.mark.parametrize(("number", "advice"), REFUSALS.items())
def test_a_number_becomes_words_and_advice(number: int, advice: str) -> None:
    for error in (
        OSError(number, os.strerror(number)),
        plyvel.IOError(f"IO error: /data/chain/000005.ldb: {os.strerror(number)}".encode()),
    ):
        text = explain(error)
        assert os.strerror(number) in text and advice in text


def test_what_has_no_number_is_still_said() -> None:
    assert explain(OSError("AF_UNIX path too long")) == "AF_UNIX path too long"
    assert explain(OSError()) == "OSError"
    assert explain(plyvel.IOError(b"IO error: lock /x/LOCK: already held by process")).endswith(
        "already held by process"
    )
    with pytest.raises(LocalError, match="cannot do it: /nonexistent/file: No such file"), told("do it"):
        open("/nonexistent/file")  # noqa: SIM115, PTH123 - it fails


# ---------------------------------------------------------------- injected at the system call

os_open = os.open


def failing(number: int) -> Callable[..., int]:
    def fail(*_arguments: object, **_named: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_a_sign_record_that_cannot_be_kept_stops_the_node_and_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    record = SignRecordFile(tmp_path / "record", create=True)
    record.save(b"first")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(number))
        if call == "open" and number == errno.EMFILE:
            with pytest.raises(SigningDelayed, match=REFUSALS[number]):  # it passes: whoever holds them lets go
                record.save(b"second")
            patch.setattr(os, "write", failing(number))
            patch.setattr(os, "open", os_open)
        with pytest.raises(StorageUnavailable, match=REFUSALS[number]) as caught:
            record.save(b"second")
        patch.setattr(Path, "read_bytes", failing(number))
        with pytest.raises(StorageUnavailable, match="cannot read the sign record"):
            record.load()
    assert isinstance(caught.value, LocalError) and isinstance(caught.value, FatalError)
    assert not isinstance(caught.value, StorageCorrupt)
    assert record.load() == b"first"


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize(
    ("call", "act"),
    [
        ("write", lambda log: log.append(b"more")),
        ("fdatasync", lambda log: log.sync()),
        ("ftruncate", lambda log: log.truncate(0)),
        ("fsync", lambda log: log.truncate(5)),
    ],
)
def test_a_consensus_log_that_cannot_be_kept_stops_the_node_and_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, act: Callable[[WalFile], None], number: int
) -> None:
    log = WalFile(tmp_path / "wal")
    log.append(b"bytes")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(number))
        with pytest.raises(StorageUnavailable, match=REFUSALS[number]):
            act(log)
    assert log.read_all() == b"bytes"
    log.close()


def test_a_short_write_loses_no_byte_and_the_rest_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, write = WalFile(tmp_path / "wal"), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
        log.append(b"0123456789")
        SignRecordFile(tmp_path / "record", create=True).save(b"a record")
    assert log.read_all() == b"0123456789"
    assert SignRecordFile(tmp_path / "record").load() == b"a record"
    log.close()


def test_a_cut_log_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, synced = WalFile(tmp_path / "wal"), list[int]()
    log.append(b"bytes")
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_size), fsync(fd))[1])
    log.truncate(2)
    assert synced == [2]
    log.close()


class Refusing:
    """A LevelDB whose disk refuses."""

    def __init__(self, text: str) -> None:
        self._error = plyvel.IOError(text.encode())

    def get(self, *_arguments: object, **_named: object) -> bytes:
        raise self._error

    def write_batch(self, **_named: object) -> object:
        raise self._error

    def close(self) -> None:
        pass


@pytest.fixture
def database(tmp_path: Path) -> Iterator[LevelDatabase]:
    found = LevelDatabase(tmp_path / "chain", create=True)
    found.write_batch({b"a": b"1"})
    yield found
    found.close()


@pytest.mark.parametrize("number", REFUSALS)
def test_a_database_that_cannot_be_read_or_written_is_not_called_damaged(database: LevelDatabase, number: int) -> None:
    real = database._db
    database._db = Refusing(f"IO error: /data/chain/000005.ldb: {os.strerror(number)}")
    try:
        for act in (lambda: database.get(b"a"), lambda: database.write_batch({b"a": b"2"})):
            with pytest.raises(StorageUnavailable, match=REFUSALS[number]) as caught:
                act()
            assert "delete" not in str(caught.value)
    finally:
        database._db = real
    assert database.get(b"a") == b"1"


@pytest.mark.parametrize(
    "text", ["IO error: 000005.ldb: Invalid argument", "IO error: 5.ldb: No such file or directory"]
)
def test_content_that_leads_nowhere_is_damage(database: LevelDatabase, text: str) -> None:
    real = database._db
    database._db = Refusing(text)
    try:
        with pytest.raises(StorageCorrupt, match="damaged"):
            database.get(b"a")
    finally:
        database._db = real


def test_a_lock_that_cannot_be_taken_is_not_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", failing(errno.ENOLCK))
        with pytest.raises(LocalError, match="can't lock files") as caught:
            DirectoryLock(tmp_path)
        assert "another node" not in str(caught.value)
        patch.setattr("fcntl.flock", lambda *_: None)
        patch.setattr(os, "pwrite", failing(errno.ENOSPC))
        with pytest.raises(LocalError, match="make room"):
            DirectoryLock(tmp_path)
    DirectoryLock(tmp_path).release()


def test_the_socket_of_a_living_signer_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s" / "signer.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        for number in (errno.EAGAIN, errno.EACCES, errno.EMFILE):  # a full backlog, say, is no sign of death
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "connect", failing(number))
                with pytest.raises(LocalError, match="cannot look who listens"):
                    listen(path)
        with pytest.raises(LocalError, match="another signer listens"):
            listen(path)
    assert path.exists()
    with pytest.raises(LocalError, match="too long"):
        listen(tmp_path / "s" / ("x" * 200))


def test_a_port_that_cannot_be_had_is_not_called_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devnet = make_devnet(DevnetOptions(tmp_path))
    monkeypatch.setattr(socket.socket, "bind", failing(errno.EACCES))
    with pytest.raises(LocalError, match="can't be used: Permission denied"):
        check_ports(devnet)


def test_half_a_file_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, open_file = tmp_path / "genesis.json", Path.open

    def on_a_full_disk(self: Path, mode: str) -> BinaryIO:
        open_file(self, mode).close()
        return open_file(Path("/dev/full"), "wb", buffering=0)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", on_a_full_disk)
        with pytest.raises(LocalError, match="make room"):
            write_new(path, b"x")
    assert not path.exists()
    write_new(path, b"whole")
    with pytest.raises(LocalError, match="exists already"):
        write_new(path, b"other")
    with pytest.raises(LocalError, match="File exists"):
        write_new(path / "x", b"x")
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: resolve(folder.parent, {}, {}) if folder.name == "config.toml" else read_spec(folder),
        keystore.read_keystore,
        lambda folder: settle_spec(folder.parent, folder),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path, read: Callable[[Path], object]) -> None:
    folder = tmp_path / "config.toml"
    folder.mkdir()
    with pytest.raises(LocalError, match=r"Is a directory"):
        read(folder)


# ---------------------------------------------------------------- real permission bits

DROP = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override,-dac_read_search")
NOBODY = 65_534

needs_capabilities = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None or os.uname().sysname != "Linux",
    reason="permission bits bind a process only if it may not override them: needs root and setpriv",
)


def dropped(*arguments: object) -> Done:
    """The command as root without the right to override permission bits."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OPENLEDGER_")}
    command = [*DROP, *OPENLEDGER, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A validator's data directory with a chain in it."""
    password, directory = tmp_path / "password.txt", tmp_path / "data"
    password.write_text("secret\n")
    password.chmod(0o600)
    made = run("init", "--datadir", directory, "--validator", "--chain-id", 77, "--password-file", password)
    assert made.returncode == 0, made.stderr
    LevelDatabase(directory / "chain", create=True).close()
    return directory


def make_foreign(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o700 if path.is_dir() else 0o600)


@needs_capabilities
@pytest.mark.parametrize(
    "name",
    ["chain", "chain/CURRENT", "chain/LOCK", "keystore/node.key", "keystore", "config.toml", "genesis.json", "LOCK"],
)
def test_what_the_node_may_not_read_is_named_and_nothing_is_to_be_deleted(node: Path, name: str) -> None:
    (node / "LOCK").touch()
    kept = ("genesis.json", "config.toml", "keystore/node.key", "keystore/validator.json")
    before = [(node / name).read_bytes() for name in kept]
    make_foreign(node / name)
    text = refused("Permission denied", dropped("start", "--datadir", node, "--http.port", 0, "--p2p.port", 0))
    said = text.splitlines()[-1]
    assert str(node / name) in said
    assert "check owner and mode" in said
    for wrong in ("None", "delete", "damaged", "FATAL", "hex digits"):
        assert wrong not in said
    assert [(node / name).read_bytes() for name in kept] == before


@needs_capabilities
def test_keys_in_a_folder_that_cannot_be_read_are_not_no_keys(node: Path) -> None:
    listed = dropped("keys", "list", "--datadir", node)
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 1)
    make_foreign(node / "keystore" / "validator.json")
    refused("validator.json: Permission denied", dropped("keys", "list", "--datadir", node))
    make_foreign(node / "keystore")
    assert "no keys" not in refused("Permission denied", dropped("keys", "list", "--datadir", node))
    none = run("keys", "list", "--datadir", node.parent / "nothing")
    assert (none.returncode, none.stdout) == (0, "") and "no keys in" in none.stderr


@needs_capabilities
def test_a_table_that_may_not_be_read_is_not_damage(node: Path) -> None:
    """LevelDB opens its tables when they are first read, so this comes late."""
    path = node / "chain"
    raw = plyvel.DB(str(path))
    raw.put(b"k", b"v" * 1_000)
    raw.compact_range()
    raw.close()
    for table in path.glob("*.ldb"):
        make_foreign(table)
    program = (
        "import pathlib, sys; from node.storage.database import LevelDatabase\n"
        "try: LevelDatabase(pathlib.Path(sys.argv[1]), create=False).get(b'k')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [*DROP, sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith("StorageUnavailable cannot read the chain database"), done
    assert ".ldb: Permission denied" in done.stdout


def test_a_chain_that_another_process_holds_open_is_said_to_be_in_use(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    LevelDatabase(path, create=True).close()
    program = "import plyvel, sys; db = plyvel.DB(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(LocalError, match="in use by another process"):
            LevelDatabase(path, create=True)
        holder.stdin.close()


@needs_capabilities
def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this process may not mount a file system")
    try:
        with (disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
            while True:
                ballast.write(bytes(4096))
        with pytest.raises(LocalError, match="make room") as caught:
            LevelDatabase(disk / "chain", create=True)
        assert not isinstance(caught.value, StorageCorrupt)
        with pytest.raises(StorageUnavailable, match="make room"):
            SignRecordFile(disk / "record", create=True).save(b"x" * 100)
        with pytest.raises(LocalError, match="make room"):
            keystore.write_private(disk / "key", b"x" * 100)
        assert not exists(disk / "key")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_secret_is_written_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keystore.write_private(tmp_path / "k", b"secret")
        WalFile(tmp_path / "wal").close()
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("k", "wal")] == [0o600, 0o600]

"""A short run of `python -m tests.chaos points`: real files, deaths at their boundaries; and what broken storage code shows."""

import contextlib
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import node.home.sign_record
from consensus.engine import Engine
from consensus.events import EnterHeight
from consensus.wal import Wal
from genesis.primitives import Height
from node.home.sign_record import SignRecordFile
from node.home.wal_file import WalFile
from tests.chaos.disk import Death, Disk, DyingDatabase, Files
from tests.chaos.points import run_world

Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("seed", ["a", "b", "c"])
def test_validators_that_die_at_any_boundary_of_their_files_go_on(seed: str, tmp_path: Path) -> None:
    tally = run_world(seed, tmp_path / "world", points=12)
    assert not tally.failure, tally.failure
    assert tally.points.total() == 12 and tally.blocks > 0


@pytest.mark.parametrize("left", range(1, 8))
def test_a_sign_record_that_was_read_is_not_taken_back_by_a_power_loss(left: int, tmp_path: Path) -> None:
    """Killed before its name was durable, read at the restart, sent again as it was: then it must stay."""
    for seed in range(8):
        with Files() as files:
            disk, path = _disk(files, tmp_path / str(seed)), tmp_path / str(seed) / "signed"
            SignRecordFile(path, create=True).save(b"first")
            disk.left = left
            with contextlib.suppress(Death):
                SignRecordFile(path).save(b"second")
            disk.crash(random.Random(seed), power_loss=False)
            read = SignRecordFile(path).load()
            disk.crash(random.Random(seed), power_loss=True)
            assert SignRecordFile(path).load() == read


def test_log_records_that_were_read_are_not_taken_back_by_a_power_loss(tmp_path: Path) -> None:
    record = EnterHeight(Height(1))
    for seed in range(8):
        with Files() as files:
            disk, path = _disk(files, tmp_path / str(seed)), tmp_path / str(seed) / "wal"
            for power_loss in (False, True):
                file = WalFile(path)
                if not power_loss:
                    Wal(file).append(record)
                assert Wal(file).replay(Height(1)) == [record]
                file.close()
                disk.crash(random.Random(seed), power_loss=power_loss)
            assert Wal(WalFile(path)).replay(Height(1)) == [record]


def _disk(files: Files, folder: Path) -> Disk:
    folder.mkdir()
    disk = Disk(folder)
    files.disks = [disk]
    return disk


def _no_log_sync(patch: Patch) -> None:
    patch.setattr(WalFile, "sync", lambda self: None)


def _no_sync_of_the_records_name(patch: Patch) -> None:
    patch.setattr(node.home.sign_record, "sync_directory", lambda path: None)


def _record_in_place(patch: Patch) -> None:
    patch.setattr(Path, "with_name", lambda self, name: self)


def _batch_not_synced(patch: Patch) -> None:
    correct = DyingDatabase.write_batch

    def broken(self: DyingDatabase, writes: Mapping[bytes, bytes | None], *, sync: bool = True) -> None:
        correct(self, writes, sync=False)

    patch.setattr(DyingDatabase, "write_batch", broken)


def _log_emptied_before_the_batch(patch: Patch) -> None:
    correct = Engine._finalize

    async def broken(self: Engine, decision: object) -> object:
        self._wal.reset()
        return await correct(self, decision)  # type: ignore[arg-type]

    patch.setattr(Engine, "_finalize", broken)


BROKEN: list[tuple[Callable[[Patch], None], str]] = [
    (_no_log_sync, "does not hold|does not know"),
    (_no_sync_of_the_records_name, "forgotten that it signed|its sign record ends at|sign record does not know"),
    (_record_in_place, "the sign record .* is garbled"),
    (_batch_not_synced, "has lost final block"),
    (_log_emptied_before_the_batch, "does not hold"),
]


@pytest.mark.parametrize(("break_it", "complaint"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
def test_broken_storage_shows(break_it: Callable[[Patch], None], complaint: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        break_it(patch)
        failures = (run_world(f"broken {place}", tmp_path / str(place), points=25).failure for place in range(8))
        failure = next(filter(None, failures), "nothing shows")
    assert re.search(complaint, failure), failure

"""Runs and tables against plain lists: sorted, merged and looked up right, also where ids share half of their bits."""

import random
from bisect import bisect_left

import numpy as np
import pytest

from attribution_precompile.index import walks, window_runs
from attribution_precompile.index.window_runs import Run, Table, Windows, merge

Entry = tuple[int, int, int]
"""(high, low, key)"""


def windows(ids: list[tuple[int, int]]) -> Windows:
    return Windows.of(b"".join(high.to_bytes(8, "little") + low.to_bytes(8, "little") for high, low in ids))


BY_KEY = np.arange(20_001, dtype=np.uint64)
"""The rank of keys that go by their number."""


def run_of(entries: list[Entry], rank: list[int] | None = None) -> Run:
    keys = np.array([key for _, _, key in entries], np.uint32)
    return Run.sort(windows([entry[:2] for entry in entries]), keys, as_rank(rank))


def as_rank(rank: list[int] | None) -> np.ndarray:
    return BY_KEY if rank is None else np.array(rank, np.uint64)


def entries_of(run: Run) -> list[Entry]:
    return list(zip(run.windows.high.tolist(), run.windows.low.tolist(), run.keys.tolist(), strict=True))


def some_entries(rng: random.Random, count: int, keys: range) -> list[Entry]:
    """Few ids, so that most share a half or all of it; the extremes among them."""
    halves = [0, 1, 2, 1 << 63, (1 << 64) - 1]
    return [(rng.choice(halves), rng.choice(halves), rng.choice(keys)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(60))
def test_runs_equal_sorted_lists(seed: int) -> None:
    rng = random.Random(seed)
    rank = None if seed % 2 else rng.sample(range(1_000), 40)
    if rank and seed % 4:
        rank[1] = rank[0]  # as the pieces of committed content

    def place(entry: Entry) -> tuple[int, ...]:
        return (*entry[:2], entry[2] if rank is None else rank[entry[2]], entry[2])

    older = some_entries(rng, rng.choice([1, 5, 60]), range(20))
    newer = some_entries(rng, rng.choice([1, 5, 60]), range(20, 40))
    one, other = run_of(older, rank), run_of(newer, rank)
    assert entries_of(one) == sorted(set(older), key=place), f"seed {seed}"
    both = sorted({*older, *newer}, key=place)
    assert entries_of(merge(one, other, as_rank(rank))) == entries_of(merge(other, one, as_rank(rank))) == both

    asked = [entry[:2] for entry in some_entries(rng, rng.choice([30, 90]), range(1))]
    start, end = merge(one, other, as_rank(rank)).entries_of(windows(asked))
    ids = [entry[:2] for entry in both]
    assert start.tolist() == [bisect_left(ids, each) for each in asked]
    assert [both[a:b] for a, b in zip(start, end, strict=True)] == [
        [entry for entry in both if entry[:2] == each] for each in asked
    ]


@pytest.mark.parametrize("seed", range(30))
def test_what_is_taken_out_is_not_met(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken out in several goes, as places noted or as a copy; found again by its place, and merged without it."""
    monkeypatch.setattr(window_runs, "MERGED_AT_ONCE_MAX", 0 if seed % 2 else 1 << 16)
    rng = random.Random(seed)
    run = run_of(some_entries(rng, 90, range(30)))
    entries = entries_of(run)
    for _ in range(rng.randint(1, 3)):
        gone = rng.sample(entries, rng.randint(0, len(entries)))
        has, places = run.find(windows([e[:2] for e in gone]), np.array([e[2] for e in gone], np.uint32), BY_KEY)
        assert has.all()
        run = run.without(places)
        entries = [entry for entry in entries if entry not in gone]
    assert len(run) == len(entries) and entries_of(run.packed()) == entries
    asked = sorted({(high, low) for high, low, _ in some_entries(rng, 90, range(1))})
    for each, start, end in zip(asked, *run.entries_of(windows(asked)), strict=True):
        keys = run.keys_of(np.arange(start, end)).tolist()
        assert [(*each, key) for key in keys] == [entry for entry in entries if entry[:2] == each], f"seed {seed}"
    other = run_of(some_entries(rng, 20, range(30, 40)))
    assert entries_of(merge(run, other, BY_KEY)) == sorted(entries + entries_of(other))


@pytest.mark.parametrize("seed", range(60))
def test_walks_equal_a_walk_over_plain_lists(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries in several runs, some taken out, some not there, few that end a walk; whatever a round looks at."""
    rng = random.Random(seed)
    monkeypatch.setattr(walks, "ROUND_ENTRIES", rng.choice([1, 7, 1 << 10]))
    keys = list(range(60))
    rng.shuffle(keys)
    runs, entries = [], []
    for part in range(rng.randint(1, 4)):
        run = run_of(some_entries(rng, rng.choice([3, 80]), range(part * 15, part * 15 + 15)), keys)
        gone = np.array(sorted(rng.sample(range(len(run)), rng.randint(0, len(run) - 1))), np.intp)
        run = run.without(gone) if rng.random() < 0.5 else run
        runs.append(run)
        entries += entries_of(run.packed())
    rank, there, ends = (
        as_rank(keys),
        np.array(rng.choices([0, 1], [1, 4], k=60)),
        np.array(rng.choices([0, 1], [4, 1], k=60)),
    )
    asked = [entry[:2] for entry in some_entries(rng, rng.choice([3, 90]), range(1))]
    told: list[int] = []
    found = walks.first_that_ends(
        runs, rank, windows(asked), lambda _places, met: (there[met] > 0, ends[met] > 0), told.append
    )
    passed = 0
    for each, key in zip(asked, found.tolist(), strict=True):
        having = sorted((k for *window, k in entries if tuple(window) == each and there[k]), key=keys.__getitem__)
        last = next((place for place, k in enumerate(having) if ends[k]), None)
        assert key == (walks.NO_KEY if last is None else having[last]), f"seed {seed}"
        passed += max(0, len(having) - 1) if last is None else last
    assert sum(told) == passed, f"seed {seed}"


def test_a_walk_ends_where_it_can_not_be_paid_for() -> None:
    """Of 100,000 that have a window, no more are looked at than were paid for twice over."""
    run = Run(Windows(np.zeros(100_000, np.uint64), np.zeros(100_000, np.uint64)), np.arange(100_000, dtype=np.uint32))
    looked: list[int] = []

    def judge(places: np.ndarray, _keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        looked.append(len(places))
        return np.ones(len(places), np.bool_), np.zeros(len(places), np.bool_)

    def charge(entries: int, left: list[int] = [10_000]) -> None:  # noqa: B006  # meant to be kept
        left[0] -= entries
        if left[0] < 0:
            raise ValueError

    with pytest.raises(ValueError):
        walks.first_that_ends([run], np.arange(100_000, dtype=np.uint64), windows([(0, 0)]), judge, charge)
    assert sum(looked) < 3 * 10_000 and len(looked) < 10


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1_000, 20_000])
@pytest.mark.parametrize("crowded", [False, True])
def test_a_directory_changes_no_answer(count: int, crowded: bool) -> None:
    """Ids spread evenly, as hashes are, or all behind one place of the directory."""
    rng = random.Random(count)
    bits = 20 if crowded else 64
    ids = sorted({(rng.getrandbits(bits), rng.getrandbits(64)) for _ in range(count)})
    run = run_of([(*each, key) for key, each in enumerate(ids)])
    asked = [*rng.choices(ids, k=80), *((rng.getrandbits(bits), rng.getrandbits(64)) for _ in range(80))]
    asked += [(0, 0), ((1 << 64) - 1, (1 << 64) - 1), (ids[0][0], 0)]
    indexed = run.with_directory()
    assert (indexed.directory is None) == (count < window_runs.BUCKET_ENTRIES)
    for plain, found in zip(run.entries_of(windows(asked)), indexed.entries_of(windows(asked)), strict=True):
        assert plain.tolist() == found.tolist()
    assert run.entries_of(windows(asked))[0].tolist() == [bisect_left(ids, each) for each in asked]


@pytest.mark.parametrize("at_once", [0, 50, 1 << 16])
def test_tables_stay_in_few_runs_and_lose_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_runs, "MERGED_AT_ONCE_MAX", at_once)
    rng = random.Random(5)
    table, added = Table(), []
    for key in range(300):
        fresh = [(rng.getrandbits(64), rng.getrandbits(64), key) for _ in range(rng.randint(0, 9))]
        table = table.add(run_of(fresh), BY_KEY) if fresh else table
        added += fresh
    while pair := table.overdue():
        table = table.replace(pair, merge(*pair, BY_KEY))
    assert len(table.runs) <= len(added).bit_length()
    assert sorted(entry for run in table.runs for entry in entries_of(run)) == sorted(added)
    assert len(table) == len(added)
    assert sum(run.windows.high.nbytes + run.windows.low.nbytes + run.keys.nbytes for run in table.runs) == 20 * len(
        added
    )


def test_a_merge_that_comes_too_late_changes_nothing() -> None:
    runs = [run_of([(x, x, x)]) for x in range(4)]
    table = Table(tuple(runs))
    merged = merge(runs[1], runs[2], BY_KEY)
    after = table.replace(runs[1:3], merged)
    assert after.runs == (runs[0], merged, runs[3])
    assert after.replace(runs[1:3], merged) is after
    assert table.replace((runs[1], runs[3]), merged) is table, "not neighbours"

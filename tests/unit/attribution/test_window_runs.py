"""Runs and tables against plain lists: sorted, merged and looked up right, also where ids share half of their bits."""

import random
from bisect import bisect_left

import numpy as np
import pytest

from attribution_precompile import window_runs
from attribution_precompile.window_runs import Run, Table, Windows, merge

Entry = tuple[int, int, int]
"""(high, low, key)"""


def windows(ids: list[tuple[int, int]]) -> Windows:
    return Windows.of(b"".join(high.to_bytes(8, "little") + low.to_bytes(8, "little") for high, low in ids))


def run_of(entries: list[Entry], rank: list[int] | None) -> Run:
    keys = np.array([key for _, _, key in entries], np.uint32)
    return Run.sort(windows([entry[:2] for entry in entries]), keys, as_rank(rank))


def as_rank(rank: list[int] | None) -> np.ndarray | None:
    return None if rank is None else np.array(rank, np.uint64)


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
    start, end = merge(one, other, as_rank(rank)).ranges(windows(asked))
    ids = [entry[:2] for entry in both]
    assert start.tolist() == [bisect_left(ids, each) for each in asked]
    assert [both[a:b] for a, b in zip(start, end, strict=True)] == [
        [entry for entry in both if entry[:2] == each] for each in asked
    ]


@pytest.mark.parametrize("seed", range(30))
def test_the_last_key_below_a_limit(seed: int) -> None:
    rng = random.Random(seed)
    entries = some_entries(rng, 80, range(30))
    run, limit = run_of(entries, None).with_directory(), rng.randint(0, 31)
    asked = [entry[:2] for entry in some_entries(rng, rng.choice([30, 90]), range(1))]
    places, keys = run.last_below(windows(asked), limit)
    found = dict(zip(places.tolist(), keys.tolist(), strict=True))
    for place, each in enumerate(asked):
        below = [key for *window, key in entries if tuple(window) == each and key < limit]
        assert found.get(place) == max(below, default=None), f"seed {seed}"


@pytest.mark.parametrize("count", [1, 3, 4, 5, 1_000, 20_000])
@pytest.mark.parametrize("crowded", [False, True])
def test_a_directory_changes_no_answer(count: int, crowded: bool) -> None:
    """Ids spread evenly, as hashes are, or all behind one place of the directory."""
    rng = random.Random(count)
    bits = 20 if crowded else 64
    ids = sorted({(rng.getrandbits(bits), rng.getrandbits(64)) for _ in range(count)})
    run = run_of([(*each, key) for key, each in enumerate(ids)], None)
    asked = [*rng.choices(ids, k=80), *((rng.getrandbits(bits), rng.getrandbits(64)) for _ in range(80))]
    asked += [(0, 0), ((1 << 64) - 1, (1 << 64) - 1), (ids[0][0], 0)]
    indexed = run.with_directory()
    assert (indexed.directory is None) == (count < window_runs.BUCKET_ENTRIES)
    for plain, found in zip(run.ranges(windows(asked)), indexed.ranges(windows(asked)), strict=True):
        assert plain.tolist() == found.tolist()
    assert run.ranges(windows(asked))[0].tolist() == [bisect_left(ids, each) for each in asked]


def test_rounds_go_on_where_they_are_wanted() -> None:
    run = run_of([(1, 1, 0), (1, 1, 1), (1, 1, 2), (2, 2, 3)], None)
    looking = np.array([True, True, False, True])
    seen = []
    for places, keys in run.rounds(windows([(1, 1), (2, 2), (1, 1), (9, 9)]), looking):
        seen.append((places.tolist(), keys.tolist()))
        looking[places[keys == 1]] = False
    assert seen == [([0, 1], [0, 3]), ([0], [1])]


@pytest.mark.parametrize("at_once", [0, 50, 1 << 16])
def test_tables_stay_in_few_runs_and_lose_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_runs, "MERGED_AT_ONCE_MAX", at_once)
    rng = random.Random(5)
    table, added = Table(), []
    for key in range(300):
        fresh = [(rng.getrandbits(64), rng.getrandbits(64), key) for _ in range(rng.randint(0, 9))]
        table = table.add(run_of(fresh, None), None) if fresh else table
        added += fresh
    while pair := table.overdue():
        table = table.replace(pair, merge(*pair, None))
    assert len(table.runs) <= len(added).bit_length()
    assert sorted(entry for run in table.runs for entry in entries_of(run)) == sorted(added)
    assert len(table) == len(added)
    assert sum(run.windows.high.nbytes + run.windows.low.nbytes + run.keys.nbytes for run in table.runs) == 20 * len(
        added
    )


def test_a_merge_that_comes_too_late_changes_nothing() -> None:
    runs = [run_of([(x, x, x)], None) for x in range(4)]
    table = Table(tuple(runs))
    merged = merge(runs[1], runs[2], None)
    after = table.replace(runs[1:3], merged)
    assert after.runs == (runs[0], merged, runs[3])
    assert after.replace(runs[1:3], merged) is after
    assert table.replace((runs[1], runs[3]), merged) is table, "not neighbours"

"""Which cases are run: all of a folder, or a sample that is the same every time and spread over its folders."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from tests.conformance.fixture import FixtureError, cases, load


@dataclass(frozen=True, slots=True)
class Work:
    """Cases of one file, by their places among the file's cases of the forks asked for; None: all of them."""

    path: Path
    places: frozenset[int] | None = None


def files_in(root: Path) -> list[Path]:
    """All JSON files, in order, but for the index that execution-spec-tests keep in `.meta`."""
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*.json") if ".meta" not in path.parts)


def select(root: Path, fork: str | None, limit: int | None) -> list[Work]:
    """Everything, or at most `limit` cases: a turn for each folder in order, within a folder by the hash of their names.

    A file that can't be read takes no part in the sample, but is always in it, so that it is reported.
    """
    files = files_in(root)
    if limit is None:
        return [Work(path) for path in files]
    folders: dict[Path, list[tuple[bytes, Path, int]]] = defaultdict(list)
    broken = []
    for path in files:
        try:
            found = [case.name for case in cases(load(path), fork)]
        except FixtureError:
            broken.append(Work(path))
            continue
        folders[path.parent].extend((_rank(path, name), path, place) for place, name in enumerate(found))
    chosen: dict[Path, set[int]] = defaultdict(set)
    for _, path, place in list(_in_turns(folders))[:limit]:
        chosen[path].add(place)
    return [*broken, *(Work(path, frozenset(places)) for path, places in sorted(chosen.items()))]


def _rank(path: Path, name: str) -> bytes:
    return hashlib.sha256(f"{path.name} {name}".encode()).digest()


def _in_turns(folders: dict[Path, list[tuple[bytes, Path, int]]]) -> Iterator[tuple[bytes, Path, int]]:
    rounds = zip_longest(*(sorted(folders[folder]) for folder in sorted(folders)))
    return (entry for entry in chain.from_iterable(rounds) if entry is not None)

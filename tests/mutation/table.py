"""The two data files of the campaign: which modules and tests there are, and which mutants are known to change nothing."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from tests.mutation.operators import Mutant

HERE: Final = Path(__file__).parent
MODULES: Final = HERE / "modules.toml"
EQUIVALENTS: Final = HERE / "equivalents.toml"


@dataclass(frozen=True)
class Area:
    """Modules that share their tests. `rest`: tests that are asked only about what survived `tests`."""

    name: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Equivalent:
    """A mutant that no test can notice. `function` and `line` may be left out where the rest says enough."""

    module: str
    operator: str
    before: str
    after: str
    reason: str
    function: str | None = None
    line: str | None = None

    def covers(self, mutant: Mutant) -> bool:
        return (
            (self.module, self.operator) == (mutant.module, mutant.operator)
            and self.before == mutant.before
            and self.after == mutant.after
            and self.function in (None, mutant.function)
            and self.line in (None, mutant.line)
        )


def path_of(module: str) -> str:
    """`consensus.wal` -> `consensus/wal.py`."""
    return module.replace(".", "/") + ".py"


def areas(path: Path) -> list[Area]:
    """The table of modules. ValueError: a module stands there twice."""
    found = [
        Area(name, tuple(row["modules"]), tuple(row["tests"]), tuple(row.get("rest", ())))
        for name, row in tomllib.loads(path.read_text()).items()
    ]
    names = [module for area in found for module in area.modules]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{path.name}: {', '.join(sorted(twice))} twice")
    return found


def equivalents(path: Path) -> list[Equivalent]:
    """The known equivalents: a table a module, a list of mutants in it. ValueError: one gives no reason."""
    found = [
        Equivalent(module=module, **row) for module, rows in tomllib.loads(path.read_text()).items() for row in rows
    ]
    for each in found:
        if not each.reason.strip():
            raise ValueError(f"{path.name}: {each} has no reason")
    return found


def matching(found: list[Area], pattern: str) -> Iterator[Area]:
    """The areas with only those modules whose import path begins with, or matches, the pattern."""
    for area in found:
        modules = tuple(
            name
            for name in area.modules
            if fnmatchcase(name, pattern) or name == pattern or name.startswith(pattern + ".")
        )
        if modules:
            yield Area(area.name, modules, area.tests, area.rest)

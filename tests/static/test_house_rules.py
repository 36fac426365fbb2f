"""The rules of the house that no linter knows: one-way imports, purity, no machine's paths, files of one size."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("genesis", "consensus", "evm_runtime", "attribution_precompile", "p2p", "openledger", "node")
PURE = ("genesis", "consensus", "evm_runtime", "attribution_precompile")
MAY_IMPORT = {
    "genesis": set(),
    "consensus": {"genesis"},
    "p2p": {"genesis"},
    "evm_runtime": {"genesis"},
    "attribution_precompile": {"genesis", "evm_runtime"},
    "openledger": {"genesis", "consensus"},
    "node": {"genesis", "consensus", "evm_runtime", "attribution_precompile", "p2p", "openledger"},
}
OUTSIDE_WORLD = {
    "asyncio",
    "multiprocessing",
    "os",
    "plyvel",
    "random",
    "secrets",
    "signal",
    "socket",
    "ssl",
    "subprocess",
} | {
    "threading",
    "time",
    "trio",
    "datetime",
    "uuid",
    "libp2p",
}
SHELLS = {"consensus/engine.py", "consensus/block_tasks.py", "consensus/pauses.py"}
"""The only files in a pure package that may touch the outside: consensus' trio shell."""


def modules(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    forbidden = set(PACKAGES) - MAY_IMPORT[package] - {package}
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in modules(package)
        for line, name in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def test_attribution_knows_only_the_native_framework_of_the_runtime() -> None:
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in modules("attribution_precompile")
        for line, name in imports(path)
        if name.startswith("evm_runtime") and not name.startswith("evm_runtime.native")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_do_not_touch_the_outside(package: str) -> None:
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in modules(package)
        if path.relative_to(ROOT).as_posix() not in SHELLS
        for line, name in imports(path)
        if name.split(".")[0] in OUTSIDE_WORLD
    ]
    assert not wrong, "\n".join(wrong)


def test_no_floats_where_consensus_could_see_them() -> None:
    wrong = []
    for path in modules(*PURE):
        if path.relative_to(ROOT).as_posix() in SHELLS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                wrong.append(f"{where(path, node.lineno)} has the float {node.value}")
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
                wrong.append(f"{where(path, node.lineno)} divides with /")
    assert not wrong, "\n".join(wrong)


def test_no_assert_outside_tests() -> None:
    wrong = [
        where(path, node.lineno)
        for path in modules(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not wrong, "`python -O` strips assert; raise InvariantError instead:\n" + "\n".join(wrong)


def test_files_and_functions_stay_readable() -> None:
    long = []
    for path in modules(*PACKAGES):
        text = path.read_text()
        if text.count("\n") > 450:
            long.append(f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > 80:
                    long.append(f"{where(path, node.lineno)} {node.name} has {size} lines")
    assert not long, "\n".join(long)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def test_nothing_names_one_machine_or_a_registry() -> None:
    machine = re.compile(r"(?<![\w.])/(?:home|Users|root|mnt|work)/\w")
    registry = re.compile("|".join([r"pypi\.org", r"pythonhosted\.org", r"registry\.npmjs", r"deb\.debian\.org"]))
    wrong = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if machine.search(line) or registry.search(line):
                wrong.append(f"{where(path, number)} {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_for_later() -> None:
    word = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
    wrong = [
        f"{where(path, number)} {line.strip()[:100]}"
        for path in modules(*PACKAGES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if word.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for name in ("runtime.in", "dev.in"):
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            found = re.match(r"([A-Za-z0-9_-]+)", line)
            if found and not line.startswith(("#", "-r")):
                assert f"`{found[1]}`" in page, f"docs/dependencies.md does not say what {found[1]} is for"


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def graph() -> dict[str, set[str]]:
    """Which files of the packages import which, however: at the top, late, or for types only."""
    files = {module_name(path): path for path in modules(*PACKAGES)}
    edges: dict[str, set[str]] = {}
    for name, path in files.items():
        edges[name] = found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update((inside & files.keys()) or {node.module})
        found &= files.keys() - {name}
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Files that import each other: what is left when those that import nothing left, or that nothing left imports, go."""
    left = {name: set(found) for name, found in edges.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        ends = {name for name, found in left.items() if not found or name not in imported}
        if not ends:
            break
        left = {name: found - ends for name, found in left.items() if name not in ends}
    return [[name, *sorted(found)] for name, found in sorted(left.items())]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b"], ["b", "c"], ["c", "a"]]
    found = circles(graph())
    assert not found, "\n".join(f"{name} imports {', '.join(others)}" for name, *others in found)


def test_one_place_words_what_the_operating_system_refuses() -> None:
    """`strerror` is None for LevelDB's errors, and alone it says nothing about what to do."""
    wrong = [
        where(path, node.lineno)
        for path in modules("node")
        if path.name != "os_errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "strerror"
    ]
    assert not wrong, "\n".join(wrong)

"""The mutator and its campaign: every operator on an example, and a toy project in which it is known what survives."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.mutation import table
from tests.mutation.campaign import Baseline
from tests.mutation.operators import OPERATORS, Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]

EXAMPLES = {
    "cmp": ("x = a < b", "x = (a <= b)"),
    "arith": ("total -= power", "total += power"),
    "const": ("x = 1000", "x = (1001)"),
    "const-bool": ("f(x, sure=True)", "f(x, sure=(False))"),
    "bool": ("x = a or b", "x = (a and b)"),
    "bool-drop": ("x = a and b > 1", "x = a and (True)"),
    "not": ("x = not a", "x = (a)"),
    "if-false": ("if f(x):\n    g()", "if (False):\n    g()"),
    "if-true": ("if x is None:\n    g()", "if (True):\n    g()"),
    "ifexp": ("x = a if c else b", "x = a if not (c) else b"),
    "drop-filter": ("x = [i for i in y if i > 2]", "x = [i for i in y if (True)]"),
    "minmax": ("x = min(a, b)", "x = max(a, b)"),
    "slice": ("x = y[a:b]", "x = y[a:(b) + 1]"),
    "drop-call": ("frame.charge(9, 'signature')", "pass"),
    "drop-assign": ("found[i] = 5", "pass"),
    "drop-return": ("def f(x):\n    if x:\n        return\n    g()", "def f(x):\n    if x:\n        pass\n    g()"),
    "drop-raise": ("if x:\n    raise ValueError(1)", "if x:\n    pass"),
    "drop-del": ("del x[i]", "pass"),
    "drop-continue": ("for i in x:\n    continue", "for i in x:\n    pass"),
    "break-continue": ("for i in x:\n    break", "for i in x:\n    continue"),
    "early-return": ("def f(x):\n    g(x)\n    h(x)", "def f(x):\n    return\n    h(x)"),
}


def changed(source: str, operator: str | None = None) -> list[str]:
    return [m.applied_to(source) for m in mutants("m", source) if operator in (None, m.operator)]


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_does_what_its_example_says(operator: str) -> None:
    before, after = EXAMPLES[operator]
    normal = ast.unparse(ast.parse(after))
    assert normal in [ast.unparse(ast.parse(text)) for text in changed(before, operator)]


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring with 1 number."""',
        "x: Literal[1]",
        "@dataclass(frozen=True)\nclass A:\n    pass",
        "raise ValueError(f'{1 + 1}', 2 < 3)",
        "x = f'{a + 1}'",
        "log.info('at', 1 + 1)",
        "self._log.warning(a < b)",
        "zip(a, b, strict=True)",
        "from a import b",
    ],
)
def test_what_no_test_should_notice_is_left_alone(source: str) -> None:
    inside = [mutant for mutant in mutants("m", source) if mutant.operator not in ("drop-raise", "drop-call")]
    assert not inside
    assert not [mutant for mutant in mutants("m", source) if "log" in mutant.before]


@pytest.mark.parametrize(
    "module", ["consensus.vote_set", "p2p.noise", "node.rpc.transport.access", "attribution_precompile.methods.consent"]
)
def test_every_mutant_of_real_modules_is_valid_python_and_another_program(module: str) -> None:
    source = (ROOT / table.path_of(module)).read_text()
    found = mutants(module, source)
    assert len(found) > 30
    plain = ast.dump(ast.parse(source))
    for mutant in found:
        assert ast.dump(ast.parse(mutant.applied_to(source))) != plain, mutant


def test_a_mutant_is_known_by_words_that_outlive_a_move_of_its_lines() -> None:
    source = "def f(x):\n    return x + 1 < 2\n"
    moved = "# a comment\n\n" + source
    for seed in (1, 2):
        ranks = [{m.key: m.rank(seed) for m in mutants("m", text)} for text in (source, moved)]
        assert ranks[0] == ranks[1] and len(ranks[0]) > 3
    assert mutants("m", source)[0].rank(1) != mutants("m", source)[0].rank(2)
    twice = mutants("m", "x = [1, 1]")
    assert len({m.rank(1) for m in twice}) == 2, "the same words twice are two mutants"


def test_lines_that_run_at_import_or_in_no_test_lead_to_all_tests() -> None:
    [mutant] = [m for m in mutants("a.b", "x = 1\n\n\ny = 2\n") if m.before == "2"]
    baseline = Baseline(seconds={"t_slow.py::a": 9.0, "t_slow.py::b": 0.1, "t_quick.py::c": 1.0})
    assert baseline.tests_for(mutant) == ["t_quick.py::c", "t_slow.py::a", "t_slow.py::b"]
    baseline.running = {("a/b.py", 4): {"t_slow.py::b"}, ("a/b.py", 1): {"t_quick.py::c"}}
    assert baseline.tests_for(mutant) == ["t_slow.py::b"]
    baseline.at_import = {("a/b.py", 4)}
    assert len(baseline.tests_for(mutant)) == 3


# ---------------------------------------------------------------- the real tables


def test_the_table_names_modules_and_tests_that_exist() -> None:
    found = table.areas(table.MODULES)
    for area in found:
        for path in (*map(table.path_of, area.modules), *area.tests, *area.rest):
            assert (ROOT / path).exists(), f"{area.name}: {path}"
    assert len({module for area in found for module in area.modules}) > 40


def test_every_listed_equivalent_is_a_mutant_of_today() -> None:
    """A line that changed needs a new look, so its entry must go or follow it."""
    listed = table.equivalents(table.EQUIVALENTS)
    modules = {module for area in table.areas(table.MODULES) for module in area.modules}
    assert not {each.module for each in listed} - modules
    found: dict[str, list[Mutant]] = {}
    for module in {each.module for each in listed}:
        found[module] = mutants(module, (ROOT / table.path_of(module)).read_text())
    gone = [each for each in listed if not any(each.covers(mutant) for mutant in found[each.module])]
    assert not gone, "\n".join(map(str, gone))


# ---------------------------------------------------------------- a toy project

TOY = '''
"""A toy."""

import helper

LIMIT = 3


def grow(x):
    helper.note(x)
    if x > LIMIT:
        return LIMIT
    return x + 1


def loose(x):
    return x * 2
'''
TOY_TESTS = """
import helper
import toy

def test_grow():
    helper.seen.clear()
    assert [toy.grow(x) for x in (2, 3, 4)] == [3, 4, 3]
    assert helper.seen == [2, 3, 4]

def test_loose():
    assert toy.loose(0) == 0
"""
TOY_TABLE = '[toys]\nmodules = ["toy"]\ntests = ["test_toy.py"]\nrest = ["more/test_more.py"]\n'
REST = "import toy\n\ndef test_more():\n    assert toy.loose(3) == 6\n"
OTHER_SURVIVOR = "SURVIVED toy:17 loose (arith) `x * 2` -> `(x // 2)` in `return x * 2`"
SURVIVORS = ("SURVIVED toy:17 loose (const) `2` -> `(3)` in `return x * 2`", OTHER_SURVIVOR)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    files = {
        "toy.py": TOY, "helper.py": "seen = []\n\n\ndef note(x):\n    seen.append(x)\n", "test_toy.py": TOY_TESTS,
        "more/test_more.py": REST, "table.toml": TOY_TABLE, "equivalents.toml": "", "pytest.ini": "[pytest]\npythonpath = .\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def campaign(toy: Path, *options: str) -> tuple[int, str]:
    command = [
        sys.executable, "-m", "tests.mutation", "--root", str(toy), "--table", str(toy / "table.toml"),
        "--equivalents", str(toy / "equivalents.toml"), "--samples", "100", "--jobs", "2", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    return done.returncode, done.stdout + done.stderr


def test_a_survivor_is_reported_unless_it_is_listed_and_the_project_stays_as_it_was(toy: Path) -> None:
    entry = """
        [[toy]]
        operator = "const"
        before = "2"
        after = "(3)"
        function = "loose"
        reason = "for the sake of the test"
    """
    (toy / "equivalents.toml").write_text(textwrap.dedent(entry))
    before = {path: path.read_text() for path in toy.rglob("*") if path.is_file()}
    code, said = campaign(toy)
    survived = [line for line in said.splitlines() if line.startswith("SURVIVED")]
    assert code == 1 and survived == [OTHER_SURVIVOR], said
    assert "1 listed as equivalent" in said and said.splitlines()[-1].endswith(" passed, 1 failed")
    assert {path: path.read_text() for path in toy.rglob("*") if path.is_file()} == before


def test_the_rest_of_the_tests_is_asked_about_survivors(toy: Path) -> None:
    code, said = campaign(toy, "--rest")
    found = sorted(line for line in said.splitlines() if line.startswith("ELSEWHERE"))
    expected = [f"ELSEWHERE {line.removeprefix('SURVIVED ')}: more/test_more.py::test_more" for line in SURVIVORS]
    assert code == 0 and found == sorted(expected), said
    assert "SURVIVED" not in said and said.splitlines()[-1].endswith(" passed, 0 failed")


def test_a_mutant_that_never_ends_is_killed_by_time(toy: Path) -> None:
    (toy / "endless.py").write_text("def endless(x):\n    while x > 0:\n        x -= 1\n")
    (toy / "test_endless.py").write_text("import endless\n\ndef test_it():\n    endless.endless(3)\n")
    (toy / "table.toml").write_text('[toys]\nmodules = ["endless"]\ntests = ["test_endless.py"]\n')
    _, said = campaign(toy, "--patience", "1")
    [by_time] = re.findall(r"\((\d+) by time", said)
    assert int(by_time) >= 1, said


def test_tests_that_fail_by_themselves_end_the_campaign(toy: Path) -> None:
    (toy / "test_toy.py").write_text(TOY_TESTS + "    assert toy.loose(1) == 3\n")
    code, said = campaign(toy)
    assert code == 1 and "test_toy.py fails without a mutant: test_toy.py::test_loose" in said


def test_an_equivalent_needs_a_reason(toy: Path) -> None:
    (toy / "equivalents.toml").write_text('[[toy]]\noperator="const"\nbefore="2"\nafter="3"\nreason=" "\n')
    with pytest.raises(ValueError, match="no reason"):
        table.equivalents(toy / "equivalents.toml")

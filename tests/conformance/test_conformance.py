"""The state tests of our own, whose results EELS computed, on every tier; and the runner's manners."""

import copy
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.fixture import FORKS, Case, FixtureError, cases, load, read
from tests.conformance.refusals import matches
from tests.conformance.selection import select
from tests.conformance.state_test import TIERS, run

FIXTURE = Path(__file__).parent / "fixtures" / "small.json"
DOCUMENT: dict[str, Any] = load(FIXTURE)
CASES = list(cases(DOCUMENT))
ENDLESS = "5b5f56"
"""JUMPDEST PUSH0 JUMP."""


def case_of(name: str, fork: str, **changes: Any) -> Case:
    """One of our cases, some of its `post` changed."""
    test = copy.deepcopy(DOCUMENT[name])
    test["post"][fork][0].update(changes)
    return next(cases({name: test}, fork))


def problem_of(case: Case, tier: str = "reference") -> str:
    return run(read(case), case.fork, TIERS[tier]()).problem


def command(root: Path, *arguments: str, python: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    """The runner's exit code and lines."""
    line = [sys.executable, *python, "-m", "tests.conformance", "--fixtures", str(root), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


# ---------------------------------------------------------------- the cases


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_own_state_tests(case: Case, tier: str) -> None:
    assert problem_of(case, tier) == ""


def test_all_forks_are_there_and_they_differ() -> None:
    assert Counter(case.fork for case in CASES) == dict.fromkeys(FORKS, len(DOCUMENT))

    def differing(one: str, other: str) -> set[str]:
        return {
            name for name, test in DOCUMENT.items() if test["post"][one][0]["hash"] != test["post"][other][0]["hash"]
        }

    assert {"bls_g1_add", "calldata_floor", "calldata_floor_missed", "set_code", "blob"} <= differing(
        "Cancun", "Prague"
    )
    assert {"clz", "p256verify", "modexp", "modexp_small", "modexp_long", "gas_cap"} <= differing("Prague", "Osaka")


def test_a_transaction_without_bytes_is_signed_and_gives_the_same() -> None:
    for original in CASES:
        case = copy.deepcopy(original)
        given = bytes.fromhex(case.post.pop("txbytes")[2:])
        assert read(case).transaction == given, case.name
        assert problem_of(case) == "", case.name


def test_indexes_choose_data_gas_and_value() -> None:
    case = case_of("transient", "Osaka")
    del case.post["txbytes"]
    for name in ("data", "gasLimit", "value"):
        case.test["transaction"][name] = ["0x1", "0x2", *case.test["transaction"][name]]
    case.post["indexes"] = {"data": 2, "gas": 2, "value": 2}
    assert problem_of(case) == ""


# ---------------------------------------------------------------- what is found wrong


@pytest.mark.parametrize(("key", "what"), [("hash", "state root"), ("logs", "logs hash")])
def test_a_wrong_root_and_wrong_logs_are_told(key: str, what: str) -> None:
    assert what in problem_of(case_of("logs", "Prague", **{key: "0x" + "00" * 32}))


def test_the_state_afterwards_helps_to_find_a_wrong_root() -> None:
    wrong = {"balance": "0x0", "nonce": "0x1", "code": "0x", "storage": {}}
    case = case_of("logs", "Prague", hash="0x" + "00" * 32, state={"0x" + "e1" * 20: wrong})
    assert f"balance of 0x{'e1' * 20} is {10**18}, expected 0" in problem_of(case)


def test_a_transaction_must_be_refused_for_the_reason_given() -> None:
    assert "not refused" in problem_of(case_of("logs", "Prague", expectException="TransactionException.NONCE_IS_MAX"))
    for name, words in (("TransactionException.NONCE_IS_MAX", "for another reason"), ("", "refused: max fee per gas")):
        assert words in problem_of(case_of("fee_below_base", "Prague", expectException=name))
    either = "TransactionException.NONCE_IS_MAX|TransactionException.INSUFFICIENT_MAX_FEE_PER_GAS"
    assert problem_of(case_of("fee_below_base", "Prague", expectException=either)) == ""
    assert matches("TR_SomethingOld", "whatever")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("env", {"currentNumber": None}, "env: 'currentNumber' is missing"),
        ("env", {"currentGasLimit": "0xno"}, "env: invalid literal"),
        ("pre", {"0x" + "e1" * 19: {}}, "pre: 0xe1"),
        ("transaction", {"secretKey": "0x01"}, "transaction: 0x01 has 1 bytes, expected 32"),
        ("transaction", {"gasLimit": []}, "transaction: list index out of range"),
    ],
)
def test_a_malformed_case_is_named(part: str, change: dict[str, Any], message: str) -> None:
    case = case_of("clz", "Osaka")
    del case.post["txbytes"]
    case.test[part].update(change)
    case.test[part] = {key: value for key, value in case.test[part].items() if value is not None}
    with pytest.raises(FixtureError, match=message) as caught:
        read(case)
    assert str(caught.value).startswith(case.name)


# ---------------------------------------------------------------- the command


def write_folders(root: Path) -> None:
    """Two folders with one file each, a broken file, and what is no test."""
    for folder, names in (("one", ["clz", "logs"]), ("two", ["revert", "refund", "create2", "blob"])):
        (root / folder).mkdir()
        (root / folder / "tests.json").write_text(json.dumps({name: DOCUMENT[name] for name in names}))
    (root / ".meta").mkdir()
    (root / ".meta" / "index.json").write_text("[]")
    (root / "two" / "broken.json").write_text("{")
    (root / "two" / "berlin.json").write_text(json.dumps({"old": {**DOCUMENT["clz"], "post": {"Berlin": []}}}))


def test_the_command_ends_with_the_counts_and_lists_failures(tmp_path: Path) -> None:
    write_folders(tmp_path)
    document = json.loads((tmp_path / "one" / "tests.json").read_text())
    document["clz"]["post"]["Osaka"][0]["hash"] = "0x" + "00" * 32
    document["logs"]["post"]["Osaka"][0]["txbytes"] = "0xzz"
    (tmp_path / "one" / "tests.json").write_text(json.dumps(document))
    code, lines = command(tmp_path, "--fork", "Osaka", "--jobs", "2", "--folders")
    assert code == 1 and lines[-1] == "4 passed, 3 failed"
    failing = lines[lines.index("failing cases:") + 1 : -2]
    assert failing == [
        "  broken.json: ",
        "  tests.json: clz Osaka d0g0v0 [all]",
        "  tests.json: logs Osaka d0g0v0 [all]",
    ]
    assert sum("malformed fixture" in line for line in lines) == 2
    assert any(line.split()[:6] == ["two", "Osaka", "4", "passed", "0", "failed"] for line in lines)


def test_a_sample_is_spread_over_the_folders_and_always_the_same(tmp_path: Path) -> None:
    write_folders(tmp_path)
    broken, *chosen = select(tmp_path, "Osaka", 3)
    assert broken.path.name == "broken.json" and broken.places is None
    assert {work.path.parent.name: len(work.places or ()) for work in chosen} == {"one": 2, "two": 1}
    assert select(tmp_path, "Osaka", 3) == [broken, *chosen]
    assert sum(len(work.places or ()) for work in select(tmp_path, None, 1_000)) == 18


def write_endless(path: Path) -> None:
    """A case that loops for days, and after it one of ours."""
    endless = copy.deepcopy(DOCUMENT["transient"])
    endless["pre"]["0x" + "e0" * 20]["code"] = "0x" + ENDLESS
    endless["transaction"]["gasLimit"] = [hex(10**14)]
    endless["env"]["currentGasLimit"] = hex(10**15)
    for fork in FORKS:
        del endless["post"][fork][0]["txbytes"]
    path.write_text(json.dumps({"endless": endless, "logs": DOCUMENT["logs"]}))


def test_a_case_past_its_limit_of_processor_time_fails_and_the_run_goes_on(tmp_path: Path) -> None:
    write_endless(tmp_path / "a.json")
    code, lines = command(tmp_path, "--fork", "Prague", "--seconds", "0.5", "--tier", "reference")
    assert code == 1 and lines[-1] == "1 passed, 1 failed"
    assert any("endless" in line and "took more than 0.5 s" in line for line in lines)


def test_an_interrupted_run_says_so_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    write_endless(tmp_path / "b.json")
    line = [sys.executable, "-m", "tests.conformance", "--fixtures", str(tmp_path), "--tier", "reference"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        assert "a.json" in running.stdout.readline()
        running.terminate()
        lines = running.stdout.read().splitlines()  # to its end: nobody holds the pipe any more
    assert running.returncode == 1
    assert lines[-2:] == ["interrupted: not every case was run", "0 passed, 1 failed"]


def test_python_dash_o_changes_nothing() -> None:
    code, lines = command(FIXTURE, "--tier", "reference", python=("-O",))
    assert (code, lines[-1]) == (0, f"{len(CASES)} passed, 0 failed")

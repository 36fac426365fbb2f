"""The exports in the hands of those who publish the formats: MLCommons' mlcroissant, and SPDX's own model in Python.

Their packages (and pandas under them) are no part of this project's environment; `make test-exports` installs them into build/.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.rpc.reads.exports import croissant, spdx
from tests.unit.attribution.test_audit import summary_of
from tests.unit.attribution.world import ALICE, BOB, World, words

WANTED = "TEST_WITH_EXPORTS"
PACKAGES = ("mlcroissant==1.1.1", "spdx-python-model==0.0.6")
FOLDER = Path(__file__).parents[3] / "build" / "export-validators"
CROISSANT_READER = """
import json, sys
import mlcroissant
dataset = mlcroissant.Dataset(jsonld=json.load(sys.stdin))
issues = dataset.metadata.ctx.issues
assert not issues.errors and not issues.warnings, issues.report()
assert dataset.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
print(len(list(dataset.records("uses"))))
"""
SPDX_READER = """
import io, sys
from spdx_python_model import v3_0_1 as model
found = model.SHACLObjectSet()
model.JSONLDDeserializer().read(sys.stdin, found)
assert not found.missing_ids, found.missing_ids
model.JSONLDSerializer().write(found, io.BytesIO())  # checks what has to be there
print(len(list(found.foreach())))
"""

pytestmark = pytest.mark.skipif(os.environ.get(WANTED) != "1", reason="370 MB of packages: make test-exports")


def read(reader: str, document: Any) -> int | None:
    """How many records or elements a reader finds in a document; None if it refuses it."""
    python = FOLDER / "bin" / "python"
    if not (FOLDER / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (FOLDER / "complete").touch()
    done = subprocess.run(
        [python, "-c", reader], input=json.dumps(document), capture_output=True, text=True, timeout=120
    )
    return int(done.stdout.split()[-1]) if done.returncode == 0 else None


@pytest.fixture(scope="module")
def world() -> World:
    """Model 2 descends from model 1 and uses two versions."""
    world = World()
    world.datanet()
    for who, text in ((ALICE, words(0, 40)), (BOB, words(100, 40))):
        world.accept(world.give(1, who, text))
    world.publish(1)
    world.model([(1, 1, 0, 10_000)])
    world.publish(1)
    world.model([(1, 1, 2, 6_000), (1, 2, 0, 4_000)], parents=[(1, 500)])
    return world


def test_mlcroissant_reads_the_versions_and_finds_nothing_to_say(world: World) -> None:
    found = croissant(summary_of(world, 2))
    assert read(CROISSANT_READER, found) == 2
    del found["license"]
    assert read(CROISSANT_READER, found) is None, "it warns"
    spoiled = croissant(summary_of(world, 2))
    del spoiled["recordSet"][0]["data"][0]["uses/version"]
    assert read(CROISSANT_READER, spoiled) is None


def _unset(element: dict[str, Any]) -> None:
    del element["creationInfo"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda package: package.update(software_primaryPurpose="nonsense"),
        lambda package: package.update(ai_nonsense="x"),
        lambda package: package.update(releaseTime="yesterday"),
        _unset,
    ],
)
def test_the_model_of_spdx_takes_the_bill_and_refuses_a_spoiled_one(
    world: World, spoil: Callable[[dict[str, Any]], None]
) -> None:
    found = spdx(summary_of(world, 2))
    assert read(SPDX_READER, found) == len(found["@graph"]) + sum("verifiedUsing" in each for each in found["@graph"])
    spoiled = copy.deepcopy(found)
    [package] = [each for each in spoiled["@graph"] if each["type"] == "ai_AIPackage"]
    spoil(package)
    assert read(SPDX_READER, spoiled) is None

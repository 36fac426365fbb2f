"""Foundry's forge against a real devnet: create, script (signed here, and by the node), and tests on a fork of its state.

Contracts are compiled offline by npm's solc, which forge is given as its compiler.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from devnet_process import rpc
from eth_account import Account
from packages import HERE, NotAvailableError, foundry, installed

pytestmark = pytest.mark.e2e

TOKEN = "src/Token.sol:Token"


class Forge:
    """A project in a folder of its own."""

    def __init__(self, program: Path, folder: Path, setting: dict[str, Any]) -> None:
        self.program, self.folder, self.setting = program, folder, setting
        self.key = setting["keys"]["forge"]
        self.address = Account.from_key(self.key).address
        shutil.copytree(HERE / "forge", folder, dirs_exist_ok=True)
        compiler = folder / "solc"
        compiler.write_text(f'#!/bin/sh\nexec node "{HERE / "solc.cjs"}" "$@"\n')
        compiler.chmod(0o755)
        self.compiler = str(compiler)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CLIENT_PACKAGES": str(installed()), "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1"}
        environment |= {"NO_COLOR": "1", **variables}
        command = [str(self.program), words[0], "--use", self.compiler, *words[1:]]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=110)

    def __call__(self, *words: str, **variables: str) -> str:
        done = self.run(*words, **variables)
        assert done.returncode == 0, f"forge {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def forge(setting: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Forge:
    try:
        return Forge(foundry("forge"), tmp_path_factory.mktemp("forge"), setting)
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def token(forge: Forge) -> dict[str, Any]:
    """A token made by `forge create`."""
    words = ("create", TOKEN, "--rpc-url", forge.setting["rpc"], "--private-key", forge.key, "--broadcast", "--json")
    shown = forge(*words, "--constructor-args", "1000")
    made: dict[str, Any] = json.loads(shown[shown.index("{") :])
    return made


def test_create(forge: Forge, token: dict[str, Any]) -> None:
    receipt = rpc(forge.setting["rpc"], "eth_getTransactionReceipt", token["transactionHash"])
    assert (receipt["status"], receipt["from"]) == ("0x1", forge.address.lower())
    assert receipt["contractAddress"] == token["deployedTo"].lower()
    assert rpc(forge.setting["rpc"], "eth_getCode", token["deployedTo"], "latest") != "0x"


def script(forge: Forge, *words: str) -> list[dict[str, Any]]:
    """Run the script and return the receipts that forge wrote down."""
    shown = forge("script", "script/Deploy.s.sol:Deploy", "--rpc-url", forge.setting["rpc"], "--broadcast", *words)
    assert "ONCHAIN EXECUTION COMPLETE & SUCCESSFUL" in shown, shown
    saved = forge.folder / "broadcast" / "Deploy.s.sol" / str(forge.setting["chainId"]) / "run-latest.json"
    receipts: list[dict[str, Any]] = json.loads(saved.read_text())["receipts"]
    return receipts


def test_script_signed_by_forge(forge: Forge) -> None:
    receipts = script(forge, "--private-key", forge.key)
    assert [int(each["status"], 16) for each in receipts] == [1, 1, 1]
    assert len(receipts[1]["logs"]) == 1
    assert receipts[2]["to"] == "0x4e59b44847b379578588920ca78fbf26c0b4956c", "CREATE2 goes through the deployer"


def test_script_signed_by_the_node(forge: Forge) -> None:
    receipts = script(forge, "--unlocked", "--sender", forge.address, "--slow")
    assert [int(each["status"], 16) for each in receipts] == [1, 1, 1]


def test_a_fork(forge: Forge, token: dict[str, Any]) -> None:
    receipt = rpc(forge.setting["rpc"], "eth_getTransactionReceipt", token["transactionHash"])
    shown = forge(
        "test",
        "--fork-url",
        forge.setting["rpc"],
        TOKEN=token["deployedTo"],
        OWNER=forge.address,
        DEPLOYED=str(int(receipt["blockNumber"], 16)),
        CHAIN=str(forge.setting["chainId"]),
    )
    assert re.search(r"2 (tests )?passed", shown), shown

"""Hardhat 2 against a real devnet. Its packages take 330 MB, so only `make test-hardhat` asks for it.

(Hardhat 3 needs Node 22, and its own code a Node with full Unicode support, which the builds on PyPI lack.)
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packages import HERE, NotAvailableError, install

pytestmark = pytest.mark.e2e

WANTED = "TEST_WITH_HARDHAT"


@pytest.mark.skipif(os.environ.get(WANTED) != "1", reason="330 MB of packages: make test-hardhat")
def test_deploy_send_call_and_sign(setting: dict[str, Any], tmp_path: Path) -> None:
    try:
        packages = install(HERE / "hardhat" / "package.json")
    except NotAvailableError as error:
        pytest.skip(str(error))
    for name in ("hardhat.config.js", "run.js", "package.json"):
        shutil.copy(HERE / "hardhat" / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    shutil.copytree(HERE / "forge" / "src", tmp_path / "contracts")
    environment = {**os.environ, "RPC": setting["rpc"], "HARDHAT_DISABLE_TELEMETRY_PROMPT": "true", "CI": "1"}
    command = ["node", "node_modules/hardhat/internal/cli/bootstrap.js", "run", "run.js", "--network", "devnet"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), done.stdout + done.stderr

"""Clients from npm, installed once into build/, and run by the tests. Versions are exact; install scripts are not run."""

import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / "build" / "npm-clients"
INSTALL_TIMEOUT_S = 180
RUN_TIMEOUT_S = 120


class NotAvailableError(Exception):
    """Why the clients can't be run here."""


def installed() -> Path:
    """The folder that holds the clients' node_modules. Raises NotAvailableError as `install`."""
    return install(HERE / "package.json")


@cache
def install(manifest_path: Path) -> Path:
    """A folder with the packages of a package.json. Raises NotAvailableError without npm, or a registry that answers."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise NotAvailableError(f"{tool} is not installed: ethers, viem, cast and forge are not tested")
    manifest = manifest_path.read_text()
    folder = CACHE / hashlib.sha256(manifest.encode()).hexdigest()[:16]
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(manifest)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotAvailableError(f"npm install took more than {INSTALL_TIMEOUT_S} s: clients are not tested") from None
    if done.returncode:
        raise NotAvailableError(f"npm install failed, clients are not tested: {done.stderr.strip()[-500:]}")
    (folder / "complete").touch()
    return folder


def run_script(name: str, scenario: str, setting: dict[str, Any]) -> None:
    """Run a scenario of a script of ours; fails with what the script printed."""
    command = ["node", str(HERE / name), scenario]
    environment = {**os.environ, "CLIENT_PACKAGES": str(installed()), "CLIENT_SETTING": json.dumps(setting)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), f"{name} {scenario}:\n{done.stdout}{done.stderr}"


def foundry(tool: str) -> Path:
    """The native program itself: the wrapper's child would outlive it. Raises NotAvailableError on other systems."""
    path = installed() / "node_modules" / "@foundry-rs" / f"{tool}-linux-amd64" / "bin" / tool
    if not path.exists():
        raise NotAvailableError(f"there is no {tool} for this system: it is not tested")
    path.chmod(0o755)
    return path

"""ethers v6 and viem against a real devnet; the scenarios are in ethers.mjs and viem.mjs."""

from pathlib import Path
from typing import Any

import pytest
from packages import run_script

pytestmark = pytest.mark.e2e

ETHERS = ["token", "permit", "transactions", "delegation", "create2", "errors", "subscriptions", "polling"]
ETHERS += ["nodeAccounts", "attributions"]
VIEM = ["token", "multicall", "fees", "delegation", "errors", "subscriptions", "sync", "simulate", "nodeAccounts"]


@pytest.mark.parametrize("scenario", ETHERS)
def test_ethers(packages: Path, setting: dict[str, Any], scenario: str) -> None:
    run_script("ethers.mjs", scenario, setting)


@pytest.mark.parametrize("scenario", VIEM)
def test_viem(packages: Path, setting: dict[str, Any], scenario: str) -> None:
    run_script("viem.mjs", scenario, setting)

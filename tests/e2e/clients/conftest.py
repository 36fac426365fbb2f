"""What the client scripts are told about the shared devnet. Each client signs with an account of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from contracts import compiled
from devnet_process import DevnetProcess, rpc
from packages import NotAvailableError, installed

import attribution_precompile

ACCOUNTS = {"ethers": 4, "viem": 5, "cast": 6, "forge": 7, "metamask": 8}


@pytest.fixture(scope="session")
def packages() -> Path:
    try:
        return installed()
    except NotAvailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def setting(devnet: DevnetProcess) -> dict[str, Any]:
    interface = Path(attribution_precompile.__file__).parent / "IAttribution.json"
    return {
        "rpc": devnet.url(),
        "ws": devnet.info["nodes"][0]["ws"],
        "chainId": int(rpc(devnet.url(), "eth_chainId"), 16),
        "keys": {client: devnet.key(account) for client, account in ACCOUNTS.items()},
        "contracts": compiled(),
        "attribution": devnet.info["contracts"]["attribution"],
        "attributionAbi": json.loads(interface.read_text()),
    }

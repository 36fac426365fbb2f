"""What this node calls itself."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _version() -> str:
    try:
        return version("openledger-node")
    except PackageNotFoundError:  # run from a checkout that isn't installed
        return "0.0.0"


VERSION: Final = _version()


def client_version() -> str:
    """As `web3_clientVersion` gives it: name/version/platform/language."""
    return f"openledger/{VERSION}/{platform.system().lower()}-{platform.machine()}/python{platform.python_version()}"

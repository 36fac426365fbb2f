"""The interface for tools: `IAttribution.sol` and `IAttribution.json` beside this, generated from the declarations."""

from typing import Any, Final

from attribution_precompile.contract import AttributionContract
from evm_runtime.native import abi_json, interface_files

INTERFACE: Final = "IAttribution"
_HEADER: Final = """
@title The native attribution contract at 0x0000000000000000000000000000000000000A00
@notice Generated from the node's code: do not edit. Rules, prices and units are in docs/attribution.md.
Amounts are wei, shares basis points (10000 = all), times seconds; ids start at 1.
"""


def attribution_abi() -> list[dict[str, Any]]:
    """The ABI JSON, for web3.py, ethers and the like."""
    return abi_json(AttributionContract, INTERFACE)


def generated_files() -> dict[str, bytes]:
    """File name to content, as they belong beside this module."""
    return interface_files(AttributionContract, INTERFACE, _HEADER)

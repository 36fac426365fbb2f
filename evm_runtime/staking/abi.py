"""The interface for tools: `IStaking.sol` and `IStaking.json` beside this, generated from the declarations."""

from typing import Any, Final

from evm_runtime.native.interface import abi_json, interface_files
from evm_runtime.staking.contract import StakingContract

INTERFACE: Final = "IStaking"
_HEADER: Final = """
@title The native staking contract at 0x0000000000000000000000000000000000000A01
@notice Generated from the node's code: do not edit. Rules and units are in docs/staking.md.
Amounts are wei, shares basis points (10000 = all), times seconds unless named otherwise.
"""


def staking_abi() -> list[dict[str, Any]]:
    """The ABI JSON, for web3.py, ethers and the like."""
    return abi_json(StakingContract, INTERFACE)


def generated_files() -> dict[str, bytes]:
    """File name to content, as they belong beside this module."""
    return interface_files(StakingContract, INTERFACE, _HEADER)

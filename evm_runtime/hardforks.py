"""The forks that a chain can be on, each as what it adds to the one before: opcodes, precompiles, limits.

A chain's schedule is in its spec (`ChainSpec.forks`); `fork_at` looks it up. Everything else of Prague is in `fork.py`.

Osaka: CLZ (EIP-7939), P256VERIFY (EIP-7951), MODEXP's bounds and prices (EIP-7823, EIP-7883), a transaction's gas cap
(EIP-7825). The block size cap (EIP-7934) is one of the spec's own checks. Its other EIPs are about blobs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth.abc import ComputationAPI
from eth.vm.forks.byzantium.opcodes import ensure_no_static
from eth.vm.forks.cancun.logic import selfdestruct_eip6780
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.logic.invalid import InvalidOpcode
from eth.vm.opcode import as_opcode

from evm_runtime.precompiles import OSAKA_PRECOMPILES, PRAGUE_PRECOMPILES, Precompile
from genesis.chain_spec import ForkActivation
from genesis.primitives import Address

TRANSACTION_GAS_MAX: Final = 1 << 24
"""EIP-7825."""
_CLZ: Final = 0x1E
_CLZ_GAS: Final = 5
_SELFDESTRUCT: Final = 0xFF
_SELFDESTRUCT_GAS: Final = 5_000


@dataclass(frozen=True, slots=True)
class BlobSchedule:
    """EIP-7840: what a fork says of blobs. `transaction_max` is the most of one transaction (EIP-7594; before, of a block)."""

    transaction_max: int
    base_fee_update_fraction: int
    """Blob gas."""


@dataclass(frozen=True, slots=True)
class Fork:
    """One set of rules. `transaction_gas_max` None: the block's gas limit is the only bound."""

    name: str
    opcodes: Mapping[int, Any]
    """All 256; a hole is an invalid opcode."""
    precompiles: Mapping[Address, Precompile]
    blobs: BlobSchedule
    transaction_gas_max: int | None = None


def fork_at(schedule: tuple[ForkActivation, ...], height: int) -> Fork:
    """The fork whose rules block `height` follows."""
    return FORKS[[activation.fork for activation in schedule if activation.height <= height][-1]]


def clz(computation: ComputationAPI) -> None:
    """EIP-7939: the number of leading zero bits of a word, 256 for zero."""
    computation.stack_push_int(256 - computation.stack_pop1_int().bit_length())


def _prague_opcodes() -> dict[int, Any]:
    """py-evm's, with SELFDESTRUCT as it is (py-evm wraps it in a DeprecationWarning) and every hole an invalid opcode."""
    selfdestruct = as_opcode(ensure_no_static(selfdestruct_eip6780), "SELFDESTRUCT", _SELFDESTRUCT_GAS)
    known = {**PRAGUE_OPCODES, _SELFDESTRUCT: selfdestruct}
    return {value: known.get(value) or InvalidOpcode(value) for value in range(256)}


PRAGUE: Final = Fork("prague", _prague_opcodes(), PRAGUE_PRECOMPILES, BlobSchedule(9, 5_007_716))
OSAKA: Final = Fork(
    "osaka",
    {**PRAGUE.opcodes, _CLZ: as_opcode(clz, "CLZ", _CLZ_GAS)},
    OSAKA_PRECOMPILES,
    BlobSchedule(6, 5_007_716),
    TRANSACTION_GAS_MAX,
)
FORKS: Final = {fork.name: fork for fork in (PRAGUE, OSAKA)}

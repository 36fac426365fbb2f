"""The forks that a chain can be on, each as what it adds to the one before: opcodes, precompiles, limits.

A chain's schedule is in its spec (`ChainSpec.forks`); `fork_at` looks it up. Everything else of Prague is in `fork.py`.

Osaka: CLZ (EIP-7939), P256VERIFY (EIP-7951), MODEXP's bounds and prices (EIP-7823, EIP-7883), a transaction's gas cap
(EIP-7825). The block size cap (EIP-7934) is one of the spec's own checks. Its other EIPs are about blobs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth.abc import ComputationAPI, OpcodeAPI
from eth.vm.forks.byzantium.opcodes import ensure_no_static
from eth.vm.forks.cancun.logic import selfdestruct_eip6780
from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.logic.invalid import InvalidOpcode
from eth.vm.opcode import as_opcode
from eth.vm.stack import to_int

from evm_runtime import work
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


class Weighted(OpcodeAPI):
    """An opcode that counts work once it has run: see `work.py`."""

    def __init__(self, value: int, opcode: Any) -> None:
        self._value: Final = value
        self._run: Final = opcode
        self.mnemonic = opcode.mnemonic
        self.gas_cost = opcode.gas_cost

    def __call__(self, computation: ComputationAPI) -> None:
        meter: Any = computation.get_gas_meter()
        before = meter.gas_remaining
        hashed = _second_item(computation) if self._value == work.KECCAK256 else 0
        self._run(computation)
        state: Any = computation.state
        state.account_db.do_work(work.opcode_work(self._value, before - meter.gas_remaining, hashed))

    @classmethod
    def as_opcode(cls, logic_fn: Any, mnemonic: str, gas_cost: int) -> OpcodeAPI:
        """py-evm's own maker of opcodes."""
        return as_opcode(logic_fn, mnemonic, gas_cost)


def _second_item(computation: Any) -> int:
    """Below the top of the stack, where KECCAK256 has the size; 0 if nothing is there."""
    values = computation._stack.values
    return to_int(values[-2]) if len(values) > 1 else 0


def clz(computation: ComputationAPI) -> None:
    """EIP-7939: the number of leading zero bits of a word, 256 for zero."""
    computation.stack_push_int(256 - computation.stack_pop1_int().bit_length())


def selfdestruct(computation: ComputationAPI) -> None:
    """EIP-6780, as py-evm has it, with the work of the account that gets the balance."""
    frame: Any = computation
    frame.state.account_db.do_work(work.ACCOUNT_WRITE_WORK)
    frame.before_selfdestruct()
    selfdestruct_eip6780(computation)


def _prague_opcodes() -> dict[int, Any]:
    """py-evm's, weighted, with SELFDESTRUCT (py-evm's is wrapped in a DeprecationWarning), every hole an invalid opcode."""
    known = {
        **PRAGUE_OPCODES,
        _SELFDESTRUCT: as_opcode(ensure_no_static(selfdestruct), "SELFDESTRUCT", _SELFDESTRUCT_GAS),
    }
    all_256 = {value: known.get(value) or InvalidOpcode(value) for value in range(256)}
    return {value: Weighted(value, opcode) if value in work.WEIGHTED else opcode for value, opcode in all_256.items()}


PRAGUE: Final = Fork("prague", _prague_opcodes(), PRAGUE_PRECOMPILES, BlobSchedule(9, 5_007_716))
OSAKA: Final = Fork(
    "osaka",
    {**PRAGUE.opcodes, _CLZ: as_opcode(clz, "CLZ", _CLZ_GAS)},
    OSAKA_PRECOMPILES,
    BlobSchedule(6, 5_007_716),
    TRANSACTION_GAS_MAX,
)
FORKS: Final = {fork.name: fork for fork in (PRAGUE, OSAKA)}

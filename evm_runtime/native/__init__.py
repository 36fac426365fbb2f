"""A small framework for native contracts: ABI methods by decorator, gas before work, typed storage, events, end-of-block hook.

`contract.py` has the rules of a call, `frame.py` what a method may do, `base.py` what it stands on, `storage.py` the layout of
state, `abi.py` the codec, `gas.py` the framework's own prices, `hashing.py` digests of many things at once, `interface.py` the
generated ABI JSON and Solidity interface.
"""

from evm_runtime.llvm.layout import DIGEST_BYTES, Offsets
from evm_runtime.native.abi import AbiError, AbiType, array, enumeration, struct
from evm_runtime.native.base import AccountsReader, Base, MadeUp
from evm_runtime.native.contract import (
    ContractError,
    ContractRevert,
    Method,
    NativeContract,
    NativePrecompile,
    event,
    method,
)
from evm_runtime.native.frame import Event, Frame, NativeState, PlainSlots
from evm_runtime.native.hashing import digests
from evm_runtime.native.interface import abi_json, interface_files
from evm_runtime.native.storage import (
    U8,
    U16,
    U32,
    U40,
    U64,
    U96,
    U128,
    U160,
    U256,
    Account,
    Flag,
    RecordLists,
    Records,
    Slots,
    Texts,
    Uint64Lists,
    Value,
    Word,
    array_slot,
    mapping_slot,
)

__all__ = [
    "DIGEST_BYTES",
    "U8",
    "U16",
    "U32",
    "U40",
    "U64",
    "U96",
    "U128",
    "U160",
    "U256",
    "AbiError",
    "AbiType",
    "Account",
    "AccountsReader",
    "Base",
    "ContractError",
    "ContractRevert",
    "Event",
    "Flag",
    "Frame",
    "MadeUp",
    "Method",
    "NativeContract",
    "NativePrecompile",
    "NativeState",
    "Offsets",
    "PlainSlots",
    "RecordLists",
    "Records",
    "Slots",
    "Texts",
    "Uint64Lists",
    "Value",
    "Word",
    "abi_json",
    "array",
    "array_slot",
    "digests",
    "enumeration",
    "event",
    "interface_files",
    "mapping_slot",
    "method",
    "struct",
]

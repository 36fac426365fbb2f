"""The interpreter, compiled: once per process, for this machine's processor."""

import ctypes
from collections.abc import Mapping
from typing import Any, Final

import llvmlite.binding as llvm

from evm_runtime.jit.analysis import STACK_EFFECT
from evm_runtime.llvm.interpreter import INVALID, Interpreter, by_python_name, handler_name

OPTIMIZATION: Final = 2


class Engine:
    """Machine code and what leads into it. Immutable once made; threads share it."""

    def __init__(self, forks: list[Mapping[int, Any]]) -> None:
        interpreter = Interpreter(_prices(forks))
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        module = llvm.parse_assembly(str(interpreter.module))
        module.verify()
        target = llvm.Target.from_default_triple()
        features = llvm.get_host_cpu_features().flatten()
        machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=OPTIMIZATION)
        self._code: Final = llvm.create_mcjit_compiler(module, machine)
        self._code.finalize_object()
        self._native: Final = interpreter.opcodes
        address = self._code.get_function_address
        self.resume: Final = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address("resume"))
        self.resume_apart: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address("resume"))
        self.scan = ctypes.PYFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p)(address("scan"))
        self._tables: Final = {id(opcodes): self._table(opcodes) for opcodes in forks}

    def _table(self, opcodes: Mapping[int, Any]) -> Any:
        address = self._code.get_function_address
        names = []
        for op in range(256):
            opcode = opcodes[op]
            if opcode.mnemonic == "INVALID" or op not in STACK_EFFECT:
                names.append(INVALID)
            elif op in self._native:
                names.append(handler_name(op, int(opcode.gas_cost)))
            else:
                names.append(by_python_name(STACK_EFFECT[op][0]))
        return (ctypes.c_uint64 * 256)(*map(address, names))

    def table(self, opcodes):
        return ctypes.addressof(self._tables[id(opcodes)])


def _prices(forks: list[Mapping[int, Any]]) -> dict[int, frozenset[int]]:
    return {
        op: frozenset(int(opcodes[op].gas_cost) for opcodes in forks if opcodes[op].mnemonic != "INVALID")
        for op in range(256)
    }

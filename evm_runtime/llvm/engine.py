"""The interpreter compiled for this machine's processor: once per process, half a second of work, the same for all forks.

`load()` compiles and may be called from any thread (LLVM lets others run meanwhile); until it has returned, and for ever
where there is no engine, `loaded()` is None and the tier runs frames by its fallback. When that changes, no result does.
"""

import ctypes
import platform
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from evm_runtime.hardforks import FORKS
from evm_runtime.llvm.layout import DIGEST_BYTES, Offsets
from genesis.errors import InvariantError, LocalError

_OPTIMIZATION: Final = 2
_NO_VECTORS: Final = ",-mmx,-sse"
"""A word that was written limb by limb and is read as a vector has to wait until the writes are through."""


class NoEngine(LocalError):
    """This machine or installation can't have the native tier; the message says why."""


class Engine:
    """Machine code and the ways into it. Nothing in it changes once it is made; threads share it."""

    def __init__(self, code: Any, hashing: Any, handlers: Mapping[int, list[str]]) -> None:
        """`handlers` has the names of a fork's 256 functions, by the identity of its table of opcodes."""
        self._code: Final = code, hashing
        """Keeps the machine code alive."""
        address = code.get_function_address
        self.resume: Final = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address("resume"))
        """Run a frame at an address until it leaves: see `layout.Leave`."""
        self.resume_apart: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(address("resume"))
        """The same for long runs: other threads go on meanwhile, and it may take a while to get back among them."""
        scan = ctypes.PYFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p)
        self._scan: Final = scan(address("scan"))
        digests = ctypes.PYFUNCTYPE(None, ctypes.c_char_p, *(ctypes.c_void_p,) * 2, ctypes.c_int64, ctypes.c_void_p)
        self._digests: Final = digests(hashing.get_function_address("digests"))
        self._tables: Final[dict[int, Any]] = {
            key: (ctypes.c_uint64 * 256)(*map(address, names)) for key, names in handlers.items()
        }

    def table(self, opcodes: Mapping[int, Any]) -> int | None:
        """The address of the table of handlers for a fork's opcodes; None for opcodes of no fork."""
        table = self._tables.get(id(opcodes))
        return None if table is None else ctypes.addressof(table)

    def jump_bitmap(self, code: bytes) -> bytearray:
        """One bit for each byte of code: whether it is a jump destination."""
        bitmap = bytearray(len(code) // 8 + 1)
        self._scan(code, len(code), address_of_bytearray(bitmap))
        return bitmap

    def digests(self, data: bytes, starts: Offsets, ends: Offsets) -> bytes:
        """BLAKE2b-128 of each data[start:end], 16 bytes each. The slices must lie in `data`."""
        count = len(starts)
        if not count:
            return b""
        starts, ends = np.ascontiguousarray(starts), np.ascontiguousarray(ends)
        if len(ends) != count or starts.min() < 0 or (ends < starts).any() or ends.max() > len(data):
            raise InvariantError(f"{count} slices do not lie in {len(data)} bytes")
        results = bytearray(DIGEST_BYTES * count)
        self._digests(data, starts.ctypes.data, ends.ctypes.data, count, address_of_bytearray(results))
        return bytes(results)


address_of_bytes: Final = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyBytes_AsString", ctypes.pythonapi))
"""Where the content of a bytes object lies, for as long as the object lives."""
address_of_bytearray: Final = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ("PyByteArray_AsString", ctypes.pythonapi)
)
"""Where the content of a bytearray lies, until its size changes."""

_loaded: list[Engine | NoEngine] = []


def loaded() -> Engine | None:
    """The engine, if there is one by now."""
    return _loaded[0] if _loaded and isinstance(_loaded[0], Engine) else None


def load() -> Engine:
    """The engine, compiled if it is not yet. Raises NoEngine."""
    if not _loaded:
        try:
            found: Engine | NoEngine = _compile()
        except NoEngine as error:
            found = error
        _loaded.append(found)  # two threads may both have compiled: then the first one's counts
    if isinstance(_loaded[0], NoEngine):
        raise _loaded[0]
    return _loaded[0]


def _compile() -> Engine:
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.implementation.name != "cpython":
        raise NoEngine(f"native code is written for CPython on Linux x86-64, not for {platform.platform()}")
    forks = [fork.opcodes for fork in FORKS.values()]
    try:
        import llvmlite.binding as llvm

        from evm_runtime.llvm import blake2
        from evm_runtime.llvm.interpreter import Interpreter

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        interpreter = Interpreter(forks)
        code = _machine_code(interpreter.text(), _NO_VECTORS)
        hashing = _machine_code(blake2.module_text())
    except (ImportError, OSError, RuntimeError) as error:
        raise NoEngine(f"LLVM can't be had: {error}") from error
    return Engine(code, hashing, {id(opcodes): interpreter.handlers(opcodes) for opcodes in forks})


def _machine_code(text: str, features: str = "") -> Any:
    """A module compiled for this machine's processor."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten() + features, opt=_OPTIMIZATION
    )
    code = llvm.create_mcjit_compiler(module, machine)
    code.finalize_object()
    return code

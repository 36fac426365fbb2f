"""What `evm_runtime/llvm/` uses of llvmlite's IR builder. Values are untyped: LLVM's verifier checks what mypy can't."""

from collections.abc import Sequence
from typing import Any

class Type:
    def as_pointer(self) -> Any: ...

class IntType(Type):
    width: int
    def __init__(self, bits: int) -> None: ...

class VoidType(Type): ...

class PointerType(Type):
    def __init__(self) -> None: ...

class ArrayType(Type):
    def __init__(self, element: Any, count: int) -> None: ...

class VectorType(Type):
    def __init__(self, element: Any, count: int) -> None: ...

Undefined: Any

class LiteralStructType(Type):
    def __init__(self, elems: Sequence[Any]) -> None: ...

class FunctionType(Type):
    def __init__(self, return_type: Any, args: Sequence[Any]) -> None: ...

class Constant:
    type: Any
    def __init__(self, typ: Any, constant: Any) -> None: ...

class InlineAsm:
    def __init__(self, ftype: FunctionType, asm: str, constraint: str, side_effect: bool = False) -> None: ...

class Module:
    globals: dict[str, Any]
    def __init__(self, name: str = "") -> None: ...
    def get_global(self, name: str) -> Any: ...

class GlobalVariable:
    initializer: Any
    global_constant: bool
    linkage: str
    type: Any
    def __init__(self, module: Module, typ: Any, name: str) -> None: ...

class Function:
    args: Any
    module: Module
    calling_convention: str
    linkage: str
    def __init__(self, module: Module, ftype: FunctionType, name: str) -> None: ...
    def append_basic_block(self, name: str = "") -> Any: ...

class IRBuilder:
    block: Any
    def __init__(self, block: Any = None) -> None: ...
    def __getattr__(self, instruction: str) -> Any: ...

"""The base of native contracts: methods declared in Python, called through py-evm's precompile convention.

    class Counter(NativeContract):
        \"\"\"Counts.\"\"\"

        @method("add(uint64 amount) returns (uint64 total)", gas=lambda amount: 50)
        def add(self, frame: Frame, amount: int) -> int: ...

A call is handled in this order, and each step is paid for before it is done:

1. DELEGATECALL, CALLCODE and delegated code run in another account's name: they do nothing and return nothing.
2. Gas for dispatch. An unknown selector (plain transfers included) reverts.
3. A method that writes refuses STATICCALL (`WriteProtection`); one that is not payable refuses wei.
4. Gas for the arguments' words and, as they are decoded, their values; what is not canonical ABI reverts with
   `MalformedInput`.
5. The method's own gas formula, over the decoded arguments; then its body.
6. Gas for the result's values; then its encoding.

Only py-evm's VMError family leaves `__call__`, so the EVM rolls back what the call did; fatal errors of the node pass through,
and so does WorkExceeded, which ends the transaction. Anything else would be a bug, on which nodes might disagree: it stops the
node as an InvariantError.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, TypeVar, cast

from eth.abc import ComputationAPI
from eth.exceptions import Revert, VMError, WriteProtection

from evm_runtime.native import gas as gas_costs
from evm_runtime.native.abi import AbiError, AbiType, Signature, count_values, decode, encode, parse_signature
from evm_runtime.native.frame import Event, Frame, NativeState
from evm_runtime.work import WorkExceeded
from genesis.errors import FatalError, InvariantError, LocalError
from genesis.primitives import Address, Wei

Handler = TypeVar("Handler", bound=Callable[..., Any])
GasFormula = Callable[..., int]


class ContractRevert(Revert):
    """A revert with data. Methods raise it through a declared `ContractError`."""

    def __init__(self, text: str, data: bytes) -> None:
        super().__init__(text)
        self.data: Final = data


class ContractError:
    """A custom error, declared as `Name(type name, …)`; `raise ERROR(values)` reverts with its encoding."""

    def __init__(self, text: str, types: Mapping[str, AbiType] | None = None) -> None:
        self.text: Final = text
        self.signature: Final = parse_signature(text, types)

    def __call__(self, *values: Any) -> ContractRevert:
        types = [parameter.type for parameter in self.signature.inputs]
        data = self.signature.selector + encode(types, values)
        shown = ", ".join("0x" + value.hex() if isinstance(value, bytes) else str(value) for value in values)
        return ContractRevert(f"{self.signature.name}({shown})", data)


def event(text: str, types: Mapping[str, AbiType] | None = None) -> Event:
    """Declare a log as `Name(type indexed name, type name, …)`."""
    return Event(text, parse_signature(text, types))


UNKNOWN_METHOD: Final = ContractError("UnknownMethod(bytes4 selector)")
MALFORMED_INPUT: Final = ContractError("MalformedInput(string reason)")
NOT_PAYABLE: Final = ContractError("NotPayable(uint256 value)")
INCONSISTENT_STATE: Final = ContractError("InconsistentState(string reason)")
FRAMEWORK_ERRORS: Final = (UNKNOWN_METHOD, MALFORMED_INPUT, NOT_PAYABLE, INCONSISTENT_STATE)


@dataclass(frozen=True, slots=True)
class _Declaration:
    text: str
    payable: bool
    view: bool
    gas: GasFormula


@dataclass(frozen=True, slots=True)
class Method:
    """A declared method of a native contract."""

    signature: Signature
    payable: bool
    view: bool
    gas: GasFormula
    handler: Callable[..., Any]
    notice: str
    inputs: tuple[AbiType, ...]
    outputs: tuple[AbiType, ...]


def method(
    signature: str, *, payable: bool = False, view: bool = False, gas: GasFormula | int = 0
) -> Callable[[Handler], Handler]:
    """Declare a method. `gas` is a number or a formula over the decoded arguments, charged before the body runs."""
    formula: GasFormula = gas if callable(gas) else lambda *_args: gas

    def mark(handler: Handler) -> Handler:
        handler.__native__ = _Declaration(signature, payable, view, formula)  # type: ignore[attr-defined]  # a function's own attribute
        return handler

    return mark


class NativePrecompile(Protocol):
    """How the runtime sees a native contract."""

    address: Address

    def __call__(self, computation: ComputationAPI) -> ComputationAPI: ...

    def end_block(self, state: NativeState) -> Wei: ...

    def isolated(self) -> "NativePrecompile": ...


class NativeContract:
    """Subclass, set `address`, `types`, `events` and `errors`, and declare methods; the table is built once per class."""

    address: Address
    types: ClassVar[Mapping[str, AbiType]] = {}
    events: ClassVar[tuple[Event, ...]] = ()
    errors: ClassVar[tuple[ContractError, ...]] = ()
    methods: ClassVar[Mapping[bytes, Method]] = {}
    hypothetical: bool = False
    """True for an instance that runs on made-up state (a call with overrides): what would stop the node reverts instead."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        table: dict[bytes, Method] = {}
        for base in cls.__mro__:
            for name, handler in vars(base).items():
                declaration = getattr(handler, "__native__", None)
                if declaration is None or getattr(cls, name) is not handler:
                    continue
                signature = parse_signature(declaration.text, cls.types)
                if signature.selector in table:
                    raise ValueError(f"{declaration.text}: the selector is taken")
                notice = " ".join((handler.__doc__ or "").split())
                table[signature.selector] = Method(
                    signature,
                    declaration.payable,
                    declaration.view,
                    declaration.gas,
                    handler,
                    notice,
                    tuple(parameter.type for parameter in signature.inputs),
                    tuple(parameter.type for parameter in signature.outputs),
                )
        cls.methods = table

    def end_block(self, _state: NativeState) -> Wei:
        """Run the contract's end-of-block operations; the wei it gives up (already out of its balance) go to the caller."""
        return Wei(0)

    def isolated(self) -> NativePrecompile:
        """An instance for made-up state or blocks (calls with overrides): it reverts where this one would stop the node."""
        twin = copy.copy(self)
        twin.hypothetical = True
        return twin

    def __call__(self, computation: ComputationAPI) -> ComputationAPI:
        """Handle one call (see the module's rules). Raises VMError, FatalError or LocalError, nothing else."""
        message = computation.msg
        if bytes(message.storage_address) != self.address or bytes(message.code_address) != self.address:
            computation.output = b""
            return computation
        try:
            computation.output = self._guarded(computation)
        except ContractRevert as revert:
            computation.output = revert.data
            raise
        return computation

    def _guarded(self, computation: ComputationAPI) -> bytes:
        try:
            return self._dispatch(computation)
        except (VMError, WorkExceeded, LocalError):
            raise
        except Exception as error:
            if self.hypothetical:
                raise INCONSISTENT_STATE(str(error)) from error
            if isinstance(error, FatalError):
                raise
            raise InvariantError(f"native contract {self.address.hex()}: {type(error).__name__}: {error}") from error

    def _dispatch(self, computation: ComputationAPI) -> bytes:
        computation.consume_gas(gas_costs.CALL_BASE, "native call")
        data = computation.msg.data
        selector = bytes(data[:4])
        found = self.methods.get(selector)
        if found is None:
            raise UNKNOWN_METHOD(selector.ljust(4, b"\0"))
        if computation.msg.is_static and not found.view:
            raise WriteProtection(f"{found.signature.name} writes and was called statically")
        if computation.msg.value and not found.payable:
            raise NOT_PAYABLE(computation.msg.value)
        computation.consume_gas(gas_costs.CALLDATA_WORD * gas_costs.words(len(data)), "native arguments")

        def pay(values: int) -> None:
            computation.consume_gas(gas_costs.ABI_VALUE * values, "native values")

        try:
            arguments = decode(found.inputs, bytes(data[4:]), pay)
        except AbiError as error:
            raise MALFORMED_INPUT(str(error)) from None
        computation.consume_gas(found.gas(*arguments), found.signature.name)
        frame = Frame(computation, self.address, read_only=found.view)
        result = found.handler(self, frame, *arguments)
        if not found.outputs:
            return b""
        results = (result,) if len(found.outputs) == 1 else cast(tuple[Any, ...], result)
        pay(sum(map(count_values, found.outputs, results)))
        return encode(found.outputs, results)

"""The interface of a native contract for tools: ABI JSON and a Solidity interface, generated from its declarations."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from evm_runtime.native.abi import AbiType, Parameter
from evm_runtime.native.contract import FRAMEWORK_ERRORS, Method, NativeContract

_LINE = 116
_JSON_OPTIONS: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def abi_json(contract: type[NativeContract], interface: str) -> list[dict[str, Any]]:
    """The standard ABI JSON: functions, events and errors in order of declaration."""
    entries: list[dict[str, Any]] = []
    for found in contract.methods.values():
        mutability = "view" if found.view else "payable" if found.payable else "nonpayable"
        entries.append(
            {
                "type": "function",
                "name": found.signature.name,
                "inputs": [_json(parameter, interface) for parameter in found.signature.inputs],
                "outputs": [_json(parameter, interface) for parameter in found.signature.outputs],
                "stateMutability": mutability,
            }
        )
    for declared in contract.events:
        inputs = [_json(p, interface) | {"indexed": p.indexed} for p in declared.signature.inputs]
        entries.append({"type": "event", "name": declared.signature.name, "inputs": inputs, "anonymous": False})
    for error in (*contract.errors, *FRAMEWORK_ERRORS):
        inputs = [_json(parameter, interface) for parameter in error.signature.inputs]
        entries.append({"type": "error", "name": error.signature.name, "inputs": inputs})
    return entries


def solidity(contract: type[NativeContract], interface: str, header: str) -> str:
    """A Solidity interface that compiles to the same ABI; methods carry their docstrings as NatSpec."""
    lines = ["// SPDX-License-Identifier: MIT", "pragma solidity ^0.8.20;", ""]
    lines += [f"/// {line}".rstrip() for line in header.strip().splitlines()]
    lines.append(f"interface {interface} {{")
    for declared in contract.types.values():
        if declared.labels:
            lines += [f"    enum {declared.declared} {{ {', '.join(declared.labels)} }}", ""]
    for declared in contract.types.values():
        if declared.components and declared.item is None:
            lines.append(f"    struct {declared.declared} {{")
            lines += [f"        {field.type.declared} {field.name};" for field in declared.components]
            lines += ["    }", ""]
    for error in (*contract.errors, *FRAMEWORK_ERRORS):
        lines.append(f"    error {error.signature.name}({_list(error.signature.inputs, '')});")
    lines.append("")
    for event in contract.events:
        fields = [f"{p.type.declared} {'indexed ' if p.indexed else ''}{p.name}" for p in event.signature.inputs]
        lines += _wrapped(f"event {event.signature.name}(", fields, ");")
    for found in contract.methods.values():
        lines += ["", *_method(found)]
    lines += ["}", ""]
    return "\n".join(lines)


def interface_files(contract: type[NativeContract], interface: str, header: str) -> dict[str, bytes]:
    """File name to content of both, as they belong beside the contract."""
    return {
        f"{interface}.sol": solidity(contract, interface, header).encode(),
        f"{interface}.json": orjson.dumps(abi_json(contract, interface), option=_JSON_OPTIONS),
    }


def _method(found: Method) -> list[str]:
    lines = []
    text = found.notice
    prefix = "/// @notice "
    while text:
        cut = len(text) if len(text) + len(prefix) <= _LINE else text.rfind(" ", 0, _LINE - len(prefix))
        lines.append("    " + prefix + text[:cut])
        text, prefix = text[cut:].lstrip(), "/// "
    mutability = " view" if found.view else " payable" if found.payable else ""
    outputs = [_parameter(parameter, " memory") for parameter in found.signature.outputs]
    ending = f") external{mutability}" + (f" returns ({', '.join(outputs)});" if outputs else ";")
    inputs = [_parameter(parameter, " calldata") for parameter in found.signature.inputs]
    declared = _wrapped(f"function {found.signature.name}(", inputs, ending)
    if len(declared[-1]) > _LINE:
        declared[-1:] = _wrapped(f") external{mutability} returns (", outputs, ");")
    return lines + declared


def _wrapped(head: str, items: Sequence[str], ending: str) -> list[str]:
    line = f"    {head}{', '.join(items)}{ending}"
    if len(line) <= _LINE:
        return [line]
    return [
        f"    {head}",
        *(f"        {item}{',' * (i + 1 < len(items))}" for i, item in enumerate(items)),
        f"    {ending}",
    ]


def _list(parameters: Iterable[Parameter], location: str) -> str:
    return ", ".join(_parameter(parameter, location) for parameter in parameters)


def _parameter(parameter: Parameter, location: str) -> str:
    in_memory = parameter.type.dynamic or bool(parameter.type.components)
    return f"{parameter.type.declared}{location if in_memory else ''} {parameter.name}"


def _json(parameter: Parameter, interface: str) -> dict[str, Any]:
    abi_type = parameter.type
    entry: dict[str, Any] = {"name": parameter.name, "type": _json_type(abi_type)}
    entry["internalType"] = _internal_type(abi_type, interface)
    if abi_type.components:
        entry["components"] = [_json(component, interface) for component in abi_type.components]
    return entry


def _json_type(abi_type: AbiType) -> str:
    if not abi_type.components:
        return abi_type.canonical
    return "tuple[]" if abi_type.item is not None else "tuple"


def _internal_type(abi_type: AbiType, interface: str) -> str:
    inner = abi_type.item or abi_type
    if inner.components:
        return f"struct {interface}.{abi_type.declared}"
    if inner.labels:
        return f"enum {interface}.{abi_type.declared}"
    return abi_type.declared

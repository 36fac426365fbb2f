"""A chain spec as JSON: plain values of its dataclasses, and back, with errors that name the field."""

import dataclasses
import typing
from typing import Any

from genesis.errors import LocalError
from genesis.primitives import Address, Hash32, Wei


def to_plain(value: Any, hint: Any = None) -> Any:
    """Dataclasses as objects, bytes as 0x-hex, amounts and large integers as decimal strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value))
        return {f.name: to_plain(getattr(value, f.name), hints[f.name]) for f in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple):
        return [to_plain(item, typing.get_args(hint)[0]) for item in value]
    if hint is Wei or (isinstance(value, int) and value >= 1 << 53):
        return str(value)
    return value


def from_plain(hint: Any, raw: Any, path: str) -> Any:
    """The value of type `hint` that JSON `raw` stands for. Raises LocalError that names `path` and what is wrong there."""
    try:
        if dataclasses.is_dataclass(hint):
            return _dataclass_from_plain(typing.cast(Any, hint), raw, path)
        if typing.get_origin(hint) is tuple:
            return _tuple_from_plain(typing.get_args(hint), raw, path)
        plain = hint
        while hasattr(plain, "__supertype__"):
            plain = plain.__supertype__
        if plain is bytes:
            return _bytes_from_plain(hint, raw)
        if plain is int:
            return int(raw) if isinstance(raw, str) and raw.isdecimal() else _exactly(int, raw)
        return _exactly(plain, raw)
    except (ValueError, TypeError) as error:
        raise LocalError(f"{path}: {error}") from None


def _dataclass_from_plain(cls: Any, raw: Any, path: str) -> Any:
    entries = _exactly(dict, raw)
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(entries) - set(hints))
    if unknown:
        raise LocalError(f"{path}: unknown key {unknown[0]!r}")
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in entries]
    if missing:
        raise LocalError(f"{path}: {missing[0]!r} is missing")
    return cls(**{name: from_plain(hints[name], item, f"{path}.{name}") for name, item in entries.items()})


def _tuple_from_plain(items: tuple[Any, ...], raw: Any, path: str) -> tuple[Any, ...]:
    values = _exactly(list, raw)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(from_plain(items[0], value, f"{path}[{i}]") for i, value in enumerate(values))
    if len(values) != len(items):
        raise ValueError(f"expected {len(items)} items, found {len(values)}")
    return tuple(
        from_plain(item, value, f"{path}[{i}]") for i, (item, value) in enumerate(zip(items, values, strict=True))
    )


def _bytes_from_plain(hint: Any, raw: Any) -> bytes:
    text = _exactly(str, raw)
    if not text.startswith("0x"):
        raise ValueError("byte strings are written as 0x-hex")
    value = bytes.fromhex(text[2:])
    size = {Address: 20, Hash32: 32}.get(hint)
    if size is not None and len(value) != size:
        raise ValueError(f"expected {size} bytes, found {len(value)}")
    return value


def _exactly(kind: type, raw: Any) -> Any:
    if type(raw) is not kind:
        raise ValueError(f"expected {kind.__name__}, found {type(raw).__name__}")
    return raw


def differences(path: str, ours: Any, theirs: Any) -> typing.Iterator[str]:
    """One line for each plain value that differs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(f"{path}.{key}" if path else key, ours.get(key), theirs.get(key))
    elif ours != theirs:
        short = [text if len(text) <= 80 else text[:77] + "..." for text in (str(ours), str(theirs))]
        yield f"{path}: {short[0]} here, {short[1]} there"

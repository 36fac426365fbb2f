"""The ABI codec equals eth_abi on what is canonical, and refuses everything else with AbiError only."""

import random
from typing import Any

import eth_abi
import pytest
from eth_abi.exceptions import DecodingError

from evm_runtime.native.abi import AbiError, array, count_values, decode, encode, parse_signature, struct

INNER = struct("Inner", "uint64 id, bytes data", lambda *values: values)
OUTER = struct("Outer", "address who, Inner inner, uint16[] shares", lambda *values: values, {"Inner": INNER})
POINT = struct("Point", "uint8 x, bool y", lambda *values: values)
TYPES = {"Inner": INNER, "Outer": OUTER, "Point": POINT}
SIGNATURES = [
    "f(uint256 a, uint8 b, bool c, address d, bytes32 e, bytes4 f)",
    "f(bytes a, string b)",
    "f(uint64[] a, bytes[] b, address[] c)",
    "f(Point a, Point[] b, Inner c, Inner[] d)",
    "f(Outer a, uint32 b, Outer[] c)",
]


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def random_value(rng: random.Random, kind: Any) -> Any:
    if kind.item is not None:
        return tuple(random_value(rng, kind.item) for _ in range(rng.randint(0, 3)))
    if kind.components:
        return tuple(random_value(rng, component.type) for component in kind.components)
    name = kind.canonical
    if name.startswith("uint"):
        return rng.choice([0, 1, (1 << int(name[4:])) - 1, rng.getrandbits(int(name[4:]))])
    if name == "bool":
        return rng.random() < 0.5
    if name == "bytes":
        return rng.randbytes(rng.choice([0, 1, 31, 32, 33, 70]))
    if name == "string":
        return "".join(rng.choice("aé中\U0001f600") for _ in range(rng.randint(0, 40)))
    return rng.randbytes(20 if name == "address" else int(name[5:]))


def for_eth_abi(kind: Any, value: Any) -> Any:
    if kind.item is not None:
        return [for_eth_abi(kind.item, item) for item in value]
    if kind.components:
        return tuple(for_eth_abi(c.type, item) for c, item in zip(kind.components, value, strict=True))
    return "0x" + value.hex() if kind.canonical == "address" else value


@pytest.mark.parametrize("text", SIGNATURES)
def test_encoding_equals_eth_abi_and_comes_back(text: str) -> None:
    rng = random.Random(text)
    types = [parameter.type for parameter in parse_signature(text, TYPES).inputs]
    names = [kind.canonical for kind in types]
    for _ in range(300):
        values = tuple(random_value(rng, kind) for kind in types)
        data = encode(types, values)
        assert data == eth_abi.encode(names, [for_eth_abi(k, v) for k, v in zip(types, values, strict=True)])
        told: list[int] = []
        assert decode(types, data, told.append) == values
        assert sum(told) == sum(map(count_values, types, values)), "what is read and what is written count alike"


def test_the_items_of_an_array_are_told_before_any_is_read() -> None:
    """Whoever can't pay for them ends the reading there, whatever the input holds behind."""

    def pay(values: int) -> None:
        if values > 100:
            raise ZeroDivisionError

    spoiled = word(32) + word(1_000) + b"\xff" * 64_000
    for kind in (POINT, INNER.components[0].type):
        with pytest.raises(ZeroDivisionError):
            decode([array(kind)], spoiled, pay)
        with pytest.raises(AbiError):
            decode([array(kind)], spoiled)


def test_values_are_counted_by_what_reading_them_takes() -> None:
    counts = {"uint64 a": 1, "Point a": 3, "Inner a": 6, "bytes a": 3, "uint64[] a": 3, "Point[] a": 3}
    for text, count in counts.items():
        [parameter] = parse_signature(f"f({text})", TYPES).inputs
        assert parameter.type.values == count, text
    [outers] = parse_signature("f(Outer[] a)", TYPES).inputs
    one = (bytes(20), (1, b"x"), (1, 2, 3))
    assert count_values(outers.type, (one, one)) == 3 + 2 * (2 + 1 + 6 + 3 + 3)


@pytest.mark.parametrize("text", SIGNATURES)
def test_mutated_input_is_refused_or_is_another_canonical_value(text: str) -> None:
    rng = random.Random(text)
    types = [parameter.type for parameter in parse_signature(text, TYPES).inputs]
    refused = 0
    for _ in range(1_500):
        data = bytearray(encode(types, tuple(random_value(rng, kind) for kind in types)))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 0x20, 0x40, 0x7F, 0xFF])
        if rng.random() < 0.3:
            data = data[: rng.randrange(len(data) + 1)]
        if rng.random() < 0.1:
            data += rng.randbytes(rng.choice([1, 32]))
        try:
            values = decode(types, bytes(data))
        except AbiError:
            refused += 1
        else:
            assert bytes(data).startswith(encode(types, values))
    assert refused > 300


def test_what_is_not_canonical_is_refused_even_where_others_read_it() -> None:
    two = [parse_signature("f(bytes a, bytes b)").inputs[0].type] * 2
    shared = word(64) + word(64) + word(1) + b"\x05".ljust(32, b"\0")
    assert eth_abi.decode(["bytes", "bytes"], shared) == (b"\x05", b"\x05")
    with pytest.raises(AbiError, match="not canonical"):
        decode(two, shared)
    assert decode(two, encode(two, (b"", b"x")) + b"a wallet's tag") == (b"", b"x")
    nested = array(array(two[0]))
    with pytest.raises(AbiError, match="longer than the input"):
        decode([nested], word(32) + word(2**200))
    with pytest.raises(AbiError, match="too short"):
        decode(two, word(64) + word(2**255))


def test_a_small_input_cannot_unfold_into_a_large_value() -> None:
    """Offsets that all point to one place are how other decoders are made to work; here each must point behind the last."""
    count = 300
    bomb = word(32) + word(count) + word(32 * count) * count + word(0)
    with pytest.raises(AbiError):
        decode([array(array(POINT))], bomb)


def test_random_bytes_raise_nothing_but_abi_errors() -> None:
    rng = random.Random(5)
    types = [parameter.type for parameter in parse_signature(SIGNATURES[4], TYPES).inputs]
    names = [kind.canonical for kind in types]
    for _ in range(2_000):
        data = rng.randbytes(rng.randrange(400))
        with pytest.raises(AbiError):
            decode(types, data)
        with pytest.raises((DecodingError, OverflowError)):
            eth_abi.decode(names, data)

"""Many BLAKE2b-128 in one call are hashlib's, whatever lies beside them."""

import random
from hashlib import blake2b

import numpy as np
import pytest

from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.llvm import engine
from genesis.errors import InvariantError


def expected(data: bytes, slices: list[tuple[int, int]]) -> bytes:
    return b"".join(blake2b(data[start:end], digest_size=16).digest() for start, end in slices)


def found(data: bytes, slices: list[tuple[int, int]]) -> bytes:
    starts, ends = np.array(slices, np.int64).reshape(-1, 2).T
    return engine.load().digests(data, starts, ends)


def test_around_the_ends_of_blocks() -> None:
    data = random.Random(1).randbytes(1_100)
    for size in (0, 1, 31, 32, 127, 128, 129, 255, 256, 257, 1_000):
        assert found(data, [(3, 3 + size)]) == expected(data, [(3, 3 + size)]), size


@pytest.mark.parametrize("seed", range(5))
def test_slices_of_different_lengths_side_by_side(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(2_000)
    for count in (*range(1, 20), 333):
        slices = [
            (start, start + rng.choice([0, 5, 128, rng.randrange(700)])) for start in rng.choices(range(1_300), k=count)
        ]
        assert found(data, slices) == expected(data, slices), f"seed {seed}, {count} slices"


def test_nothing_and_what_is_outside() -> None:
    assert found(b"abc", []) == b""
    for slices in ([(0, 4)], [(-1, 2)], [(2, 1)], [(0, 1), (1, 9)]):
        with pytest.raises(InvariantError, match="do not lie in 3 bytes"):
            found(b"abc", slices)


def test_windows_have_the_same_ids_without_native_code(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokenize(b"It was a bright cold day in April, and the clocks were striking thirteen. " * 3, WORDS_V1)
    engine.load()
    native = [tokens.window_ids(k) for k in (1, 8, 32)]
    monkeypatch.setattr(engine, "_loaded", [])
    assert [tokens.window_ids(k) for k in (1, 8, 32)] == native
    assert len(native[1]) == 16 * (len(tokens) - 7)

"""Jump destinations: found right in every kind of code, and kept in little memory whatever the code."""

import random
import tracemalloc

from evm_runtime.code import jump_destinations

SEED = 20261124
CODE_BYTES = 24_576


def by_stepping(code: bytes) -> set[int]:
    found, place = set(), 0
    while place < len(code):
        if code[place] == 0x5B:
            found.add(place)
        place += code[place] - 0x5F + 1 if 0x60 <= code[place] <= 0x7F else 1
    return found


def test_they_are_found_in_sparse_and_dense_code() -> None:
    rng = random.Random(SEED)
    for share in (0.0, 0.01, 0.05, 0.3, 0.9, 1.0):
        for size in (0, 1, 33, 500, 5_000):
            code = bytes(0x5B if rng.random() < share else rng.randrange(256) for _ in range(size))
            found = jump_destinations(code)
            expected = by_stepping(code)
            assert {place for place in range(-2, size + 300) if place in found} == expected, SEED
            assert 2**255 not in found
            assert -1 not in found


def test_a_code_full_of_destinations_takes_little_more_than_its_size() -> None:
    jump_destinations.cache_clear()
    tracemalloc.start()
    try:
        for place in range(20):
            jump_destinations(b"\x5b" * (CODE_BYTES - place) + b"\x00" * place)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        jump_destinations.cache_clear()
    assert kept < 20 * 3 * CODE_BYTES

"""Texts and lists that are written over leave nothing behind."""

from dataclasses import dataclass

import pytest

from evm_runtime.native import U64, RecordLists, Texts, Word
from genesis.primitives import Hash32

TEXTS = Texts(3)


@dataclass(frozen=True, slots=True)
class Pair:
    number: U64
    word: Word


PAIRS = RecordLists(4, Pair)


class Slots:
    def __init__(self) -> None:
        self.words: dict[int, int] = {}

    def load(self, slot: int) -> int:
        return self.words.get(slot, 0)

    def store(self, slot: int, value: int) -> None:
        self.words[slot] = value
        if value == 0:
            del self.words[slot]


@pytest.mark.parametrize("first", [0, 1, 31, 32, 33, 64, 200])
@pytest.mark.parametrize("second", [0, 1, 31, 32, 33, 64, 200])
def test_a_text_written_over_another_is_as_if_it_stood_alone(first: int, second: int) -> None:
    slots, alone = Slots(), Slots()
    TEXTS.set_once(slots, b"a" * first, 7)
    TEXTS.set(slots, b"b" * second, 7)
    TEXTS.set(alone, b"b" * second, 7)
    assert TEXTS.get(slots, 7) == b"b" * second
    assert slots.words == alone.words


@pytest.mark.parametrize(("first", "second"), [(0, 3), (3, 0), (3, 1), (2, 2), (1, 4)])
def test_a_replaced_list_is_as_if_it_stood_alone(first: int, second: int) -> None:
    slots, alone = Slots(), Slots()
    PAIRS.replace(slots, [Pair(i, Hash32(b"a" * 32)) for i in range(first)], 1)
    values = [Pair(10 + i, Hash32(b"b" * 32)) for i in range(second)]
    PAIRS.replace(slots, values, 1)
    PAIRS.replace(alone, values, 1)
    assert [PAIRS.get(slots, i, 1) for i in range(PAIRS.length(slots, 1))] == values
    assert slots.words == alone.words

"""What the demo's model says: mixtures of known passages, unrelated text, and text of a small n-gram model."""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from attribution_precompile.rules.tokens import WORDS_V1, token_offsets

PASSAGE_TOKENS_MIN: Final = 12
PASSAGE_TOKENS_MAX: Final = 80
NGRAM_ORDER: Final = 3

Offsets = Sequence[tuple[int, int]]
"""Where each token stands in its text: (first byte, byte behind)."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A verbatim stretch of one body that was put into an output: tokens [start, start + length) of the output."""

    body: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the model, and what is known about how it was made (nothing, for n-gram text)."""

    label: str
    text: str
    passages: tuple[Passage, ...] = ()


def mixture(generator: random.Random, label: str, bodies: Sequence[str], unrelated: str, passages: int) -> Output:
    """`passages` stretches of random bodies with stretches of unrelated text between them."""
    sources = [token_offsets(text.encode(), WORDS_V1) for text in bodies]
    filler = token_offsets(unrelated.encode(), WORDS_V1)
    parts: list[str] = []
    known: list[Passage] = []
    position = 0
    for _ in range(passages):
        text, count = _stretch(generator, unrelated, filler, generator.randint(3, 20))
        parts.append(text)
        position += count
        body = generator.randrange(len(bodies))
        length = generator.randint(PASSAGE_TOKENS_MIN, PASSAGE_TOKENS_MAX)
        text, count = _stretch(generator, bodies[body], sources[body], length)
        parts.append(text)
        known.append(Passage(body, position, count))
        position += count
    return Output(label, " ".join(parts), tuple(known))


def unrelated_only(generator: random.Random, unrelated: str, tokens: int) -> Output:
    """Text of which nobody should be paid by score (short common runs aside, which the reference decides)."""
    text, _ = _stretch(generator, unrelated, token_offsets(unrelated.encode(), WORDS_V1), tokens)
    return Output("unrelated text", text)


def ngram_text(generator: random.Random, bodies: Sequence[str], words: int) -> Output:
    """A walk of an order-3 word model trained on the bodies: what a (very) small language model says."""
    follow: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for text in bodies:
        sequence = re.findall(r"\S+", text)
        for place in range(len(sequence) - NGRAM_ORDER):
            follow[tuple(sequence[place : place + NGRAM_ORDER])].append(sequence[place + NGRAM_ORDER])
    starts = sorted(follow)
    said = list(generator.choice(starts))
    while len(said) < words:
        choices = follow.get(tuple(said[-NGRAM_ORDER:]))
        said.append(generator.choice(choices) if choices else generator.choice(generator.choice(starts)))
    return Output(f"{NGRAM_ORDER}-gram model", " ".join(said))


def edited_copy(generator: random.Random, text: str, every_words: int = 25) -> str:
    """A copier's work: the same text with one word in about `every_words` replaced by another word of the text."""
    pieces = re.split(r"(\s+)", text)
    words = [piece for piece in pieces if piece and not piece.isspace()]
    for place, piece in enumerate(pieces):
        if piece and not piece.isspace() and generator.randrange(every_words) == 0:
            pieces[place] = generator.choice(words)
    return "".join(pieces)


def _stretch(generator: random.Random, text: str, tokens: Offsets, length: int) -> tuple[str, int]:
    """`length` consecutive tokens from a random place, with everything that stands between them."""
    first = generator.randrange(len(tokens) - length)
    data = text.encode()
    return data[tokens[first][0] : tokens[first + length - 1][1]].decode(), length

"""Rules 1 to 3 at their edges, against vectors and against the reference."""

import random

import pytest

from attribution_precompile.rules import reference
from attribution_precompile.rules.tokens import WORDS_V1, TextError, split_ids, token_offsets, tokenize
from genesis.primitives import Hash32

UINT32 = Hash32(b"v".ljust(32, b"\0"))


def as_words(text: str | bytes) -> list[str]:
    content = text.encode() if isinstance(text, str) else text
    tokens = tokenize(content, WORDS_V1)
    return [tokens.data[start:end].decode() for start, end in zip(tokens.starts, tokens.ends, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" ,.\n\t", []),
        ("Hello, World", ["hello", "world"]),
        ("don't x_y a-b", ["don", "t", "x", "y", "a", "b"]),
        ("GRÖSSE Straße ÉÀ", ["grÖsse", "straße", "ÉÀ"]),
        ("ΑΒΓ αβγ Привет", ["ΑΒΓ", "αβγ", "Привет"]),
        ("中文abc日本", ["中", "文", "abc", "日", "本"]),
        ("한국", ["한", "국"]),
        ("İKEA", ["İkea"]),
        ("\u00bf\u00c0 \u1fff\u2000x", ["\u00c0", "\u1fff", "x"]),
        ("\u2e7f\u2e80\ud7ff\ue000\uf8ff\uf900\ufaff\ufb00", ["\u2e80", "\ud7ff", "\uf900", "\ufaff"]),
        ("\U0001ffff\U00020000\U0003ffff\U00040000\U0010ffff", ["\U00020000", "\U0003ffff"]),
        ("a×b÷c", ["a×b÷c"]),
        ("x\u0000y", ["x", "y"]),
    ],
)
def test_text_is_split_as_the_rules_say(text: str, expected: list[str]) -> None:
    assert as_words(text) == expected
    assert list(reference.tokens_of(text.encode(), False)) == expected


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe4\xb8"])
def test_what_is_not_strict_utf8_is_refused(bad: bytes) -> None:
    with pytest.raises(TextError, match="not UTF-8"):
        tokenize(bad, WORDS_V1)
    with pytest.raises(TextError):
        token_offsets(bad, WORDS_V1)


def test_uint32_tokens_are_words() -> None:
    tokens = tokenize(bytes(range(12)), UINT32)
    assert len(tokens) == 3 and len(split_ids(tokens.window_ids(2))) == 2 and tokens.window_ids(4) == b""
    with pytest.raises(TextError, match="multiple of 4"):
        tokenize(bytes(5), UINT32)
    assert token_offsets(bytes(8), UINT32) == [(0, 4), (4, 8)]


def test_windows_are_equal_when_their_tokens_are() -> None:
    ids = split_ids(tokenize(b"a b c a b. C ab c", WORDS_V1).window_ids(2))
    # a b | b c | c a | a b | b c | c ab | ab c
    assert ids[0] == ids[3] and ids[1] == ids[4] and len(set(ids)) == 5
    assert tokenize(b"ab c", WORDS_V1).window_ids(2) != tokenize(b"a bc", WORDS_V1).window_ids(2)


@pytest.mark.parametrize("points", [range(128), range(256), range(0x2000, 0x3100)])
def test_every_character_between_two_others(points: range) -> None:
    for point in points:
        for text in (chr(point), f"a{chr(point)}B", f" {chr(point)} ", chr(point) * 3):
            assert as_words(text) == list(reference.tokens_of(text.encode(), False)), f"U+{point:04X}"


def test_random_text_equals_the_reference_and_offsets_point_at_the_tokens() -> None:
    rng = random.Random(6)
    edges = [
        0x2F,
        0x30,
        0x39,
        0x41,
        0x5A,
        0x7A,
        0xBF,
        0xC0,
        0x1FFF,
        0x2000,
        0x2E80,
        0xD7FF,
        0xE000,
        0xF900,
        0xFB00,
        0x20000,
    ]
    for _ in range(2_000):
        points = [rng.choice([rng.choice(edges), rng.randrange(128), rng.randrange(0x3000)]) for _ in range(30)]
        text = "".join(chr(point) for point in points)
        content = text.encode()
        expected = list(reference.tokens_of(content, False))
        assert as_words(content) == expected
        offsets = token_offsets(content, WORDS_V1)
        assert [content[start:end].lower().decode() for start, end in offsets] == expected

"""Rules 1 to 3: text to tokens, tokens to windows.

1. Text is strict UTF-8. A token is a maximal run of [A-Za-z0-9] and U+00C0..U+1FFF, ASCII lower-cased; each character of
   U+2E80..U+D7FF, U+F900..U+FAFF, U+20000..U+3FFFF is a token of its own; all else separates. No Unicode tables are used:
   they differ between versions.
2. With any tokenizer but `words-v1`, tokens are 32-bit big-endian words of that vocabulary.
3. A window is k consecutive tokens of one segment. Windows are equal when their tokens are; a BLAKE2b-128 id stands for one.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from evm_runtime.native import DIGEST_BYTES, Offsets, digests
from genesis.primitives import Hash32

WORDS_V1: Final = Hash32(b"words-v1".ljust(32, b"\0"))
WINDOW_ID_BYTES: Final = DIGEST_BYTES
MIN_SPAN: Final = 8
MAX_SPAN: Final = 32
HASH_BLOCK_BYTES: Final = 128
"""BLAKE2b takes in so many bytes at a time."""
_WORD_BYTES: Final = 4
"""The size of a token of any other tokenizer than words-v1."""

_TOKEN: Final = re.compile("[A-Za-z0-9\u00c0-\u1fff]+|[\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
_ASCII: Final = bytes(ord(chr(x).lower()) if x < 128 and chr(x).isalnum() else ord(" ") for x in range(256))
"""Rule 1 for what is ASCII only, where most text is: its letters lower-cased, its digits, spaces for all that separates."""


class TextError(ValueError):
    """The content is not what its datanet's tokenizer reads."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Tokens as one byte string: token i is `data[starts[i]:ends[i]]`, consecutive tokens are one slice.

    Words are joined by a space, which no token contains, so different windows are different slices.
    """

    data: bytes
    starts: Offsets
    ends: Offsets

    def __len__(self) -> int:
        return len(self.ends)

    def window_ids(self, k: int) -> bytes:
        """The ids of the windows of k tokens, WINDOW_ID_BYTES each, by their first tokens; none if there are fewer tokens."""
        ends = self.ends[k - 1 :]
        return digests(self.data, self.starts[: len(ends)], ends)

    def further_blocks(self, k: int) -> int:
        """Blocks that hashing the windows of k tokens takes beyond one for each: none where they are of ordinary words."""
        ends = self.ends[k - 1 :]
        return int(((ends - self.starts[: len(ends)] - 1) // HASH_BLOCK_BYTES).sum())


def split_ids(joined: bytes) -> list[bytes]:
    """Window ids one by one."""
    return [joined[at : at + WINDOW_ID_BYTES] for at in range(0, len(joined), WINDOW_ID_BYTES)]


def tokenize(content: bytes, tokenizer: Hash32) -> Tokens:
    """Split content into tokens. Raises TextError."""
    if tokenizer != WORDS_V1:
        _check_words(content)
        starts = np.arange(0, len(content), _WORD_BYTES, dtype=np.int64)
        return Tokens(content, starts, starts + _WORD_BYTES)
    if content.isascii():
        joined = b" ".join(content.translate(_ASCII).split())
    else:
        joined = " ".join(_TOKEN.findall(_lowered_text(content))).encode()
    if not joined:
        return Tokens(b"", np.zeros(0, np.int64), np.zeros(0, np.int64))
    spaces = np.flatnonzero(np.frombuffer(joined, np.uint8) == ord(" "))
    return Tokens(joined, np.concatenate(([0], spaces + 1)), np.concatenate((spaces, [len(joined)])))


def token_offsets(content: bytes, tokenizer: Hash32) -> list[tuple[int, int]]:
    """Where each token stands in the content: (first byte, byte behind). Raises TextError."""
    if tokenizer != WORDS_V1:
        _check_words(content)
        return [(at, at + _WORD_BYTES) for at in range(0, len(content), _WORD_BYTES)]
    text = _lowered_text(content)
    offsets = []
    done_characters = done_bytes = 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        start_byte = done_bytes + len(text[done_characters:start].encode())
        done_characters, done_bytes = end, start_byte + len(match.group().encode())
        offsets.append((start_byte, done_bytes))
    return offsets


def _lowered_text(content: bytes) -> str:
    """Lower-casing the bytes touches ASCII letters only, whatever the Python version knows of Unicode."""
    try:
        return content.lower().decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise TextError(f"not UTF-8 at byte {error.start}") from None


def _check_words(content: bytes) -> None:
    if len(content) % _WORD_BYTES:
        raise TextError(f"a uint32 vocabulary needs a multiple of {_WORD_BYTES} bytes")

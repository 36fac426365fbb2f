"""What attribution costs, in gas. One table; `docs/attribution.md` states the same figures.

Storage, logs and calldata decoding come on top at the framework's prices (`evm_runtime/native/gas.py`). Index work is paid when
content comes in, whenever a node does it: the later calls that trigger it pay nothing for it.
"""

from typing import Final

TEXT_BYTE: Final = 8
"""Checking and splitting a byte of text into tokens."""
STORED_BYTE: Final = 24
"""Keeping a byte of content for good, as a blob beside the state."""
INDEX_TOKEN: Final = 200
"""Hashing the window that begins at a token; reading and hashing it again for the index, once while it waits, once when a
version takes it in and once when it leaves; its share of merging."""
WINDOW_BLOCK: Final = 16
"""Hashing one more block of 128 bytes of a window: its tokens are long (`Tokens.further_blocks`)."""
INDEX_HASHES: Final = 4
"""How often a window is hashed on behalf of who brings it in."""
SEGMENT: Final = 20_000
"""Reading a segment again: its record, its content, and what splitting and hashing take however short it is."""
REVIEW_TOKEN: Final = 200
"""Counting the owned windows of a contribution, per token."""
TRACE: Final = 45_000
"""Attributing anything at all, however short the output."""
TRACE_USE: Final = 28_000
"""A use of the model: its records, and a look-up in each run of its datanet's index, however short the output."""
TRACE_TOKEN: Final = 20
"""Hashing the window at an output token, and finding the runs that cover the token (rules 3, 8, 9)."""
TRACE_TOKEN_USE: Final = 80
"""Looking up the owner of the window at an output token, for each use of the model."""
RUN: Final = 80
"""A run's place among the others, the tokens that it gets, its contribution's score (rules 9 to 11)."""
PASSED_OVER: Final = 150
"""Looking at a further one of those that have a window, after the first: `trace`, `infer` and `review`."""
PAYEE: Final = 1_500
"""The share of one contribution: ordering, division, cap."""
ROYALTY: Final = 600
"""The royalty of one ancestor of a model."""
SIGNATURE: Final = 9_000
"""EIP-712 hashing and recovery of a model signer's signature."""
MATCH: Final = 16_000
"""Two slots of the reserve's account, read and written."""
VECTOR_BYTE: Final = 40
"""Keeping a component of a vector for good, with the later reading of it into memory."""
VECTOR: Final = 1_000
"""Hashing a vector, and its place among the others."""
PRODUCT_VECTOR: Final = 40
"""A vector's place in the order, per vector of a query's datanets."""
PRODUCTS_PER_GAS: Final = 4
"""int8 products that one gas pays for."""
RELEASE: Final = 20_000
"""Giving what nobody has claimed of attested scores to the pools of a model's uses."""
PROOF_NODE: Final = 400
"""One step of a Merkle proof."""
OPENING: Final = 12_000
"""Splitting and hashing the text of one opened window."""
CHALLENGE_TOKEN: Final = 300
"""Splitting and hashing a token of the content that a challenge compares."""


def content_gas(length: int) -> int:
    """A segment of `length` bytes, before it is split into tokens."""
    return (TEXT_BYTE + STORED_BYTE) * length


def windows_gas(further_blocks: int) -> int:
    """Hashing windows of long tokens, beyond what the price of a token has of it."""
    return WINDOW_BLOCK * further_blocks


def index_gas(tokens: int, further_blocks: int) -> int:
    return INDEX_TOKEN * tokens + INDEX_HASHES * windows_gas(further_blocks)


def review_gas(tokens: int, segments: int, further_blocks: int) -> int:
    """Counting the owned windows of a contribution."""
    return REVIEW_TOKEN * tokens + SEGMENT * segments + windows_gas(further_blocks)


def passage_gas(tokens: int, further_blocks: int) -> int:
    """Comparing a passage: for each of the two segments."""
    return SEGMENT + CHALLENGE_TOKEN * tokens + windows_gas(further_blocks)


def output_gas(length: int) -> int:
    """An output of `length` bytes, before it is split into tokens."""
    return TEXT_BYTE * length


def trace_gas(tokens: int, uses: int) -> int:
    return TRACE + TRACE_USE * uses + (TRACE_TOKEN + TRACE_TOKEN_USE * uses) * tokens


def vectors_gas(length: int) -> int:
    """`length` bytes of int8 vectors, before their number is known."""
    return VECTOR_BYTE * length


def products_gas(vectors: int, dim: int) -> int:
    """The products of a query with `vectors` vectors of `dim` components."""
    return PRODUCT_VECTOR * vectors + vectors * dim // PRODUCTS_PER_GAS


def proof_gas(nodes: int) -> int:
    return PROOF_NODE * (nodes + 1)


def opening_gas(length: int, nodes: int) -> int:
    """A window opened by `length` bytes, and its proof."""
    return proof_gas(nodes) + TEXT_BYTE * length + OPENING


def settlement_gas(payees: int) -> int:
    return PAYEE * payees


def royalty_gas(ancestors: int) -> int:
    return ROYALTY * ancestors

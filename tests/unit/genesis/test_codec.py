"""The gateway: one way to write each value, and nothing but WireError for anything else."""

import random
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
import rlp

from genesis.codec import RLP_DEPTH_MAX, decode, decode_json, decode_rlp, encode, encode_rlp
from genesis.errors import WireError
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Hash32, Height, Round, Signature
from genesis.types import (
    EMPTY_COMMIT,
    Block,
    ConsensusData,
    DuplicateProposal,
    DuplicateVote,
    Proposal,
    Vote,
    VoteType,
    Withdrawal,
)

HASH_A, HASH_B = Hash32(b"a" * 32), Hash32(b"b" * 32)
SIGNATURE = Signature(bytes(range(65)))


def vote(block_hash: Hash32 = ZERO_HASH, kind: VoteType = VoteType.PREVOTE) -> Vote:
    return Vote(kind, Height(7), Round(2), block_hash, ZERO_ADDRESS, SIGNATURE)


def proposal(block_hash: Hash32 = HASH_A, valid_round: int = -1, polka: tuple[Vote, ...] = ()) -> Proposal:
    return Proposal(Height(7), Round(2), Round(valid_round), block_hash, ZERO_ADDRESS, SIGNATURE, polka)


def block() -> Block:
    data = ConsensusData(1_000, Round(0), ZERO_ADDRESS, ZERO_HASH, ZERO_HASH, ZERO_HASH, ZERO_HASH)
    evidence = (DuplicateVote(vote(HASH_A), vote(HASH_B)), DuplicateProposal(proposal(HASH_A), proposal(HASH_B)))
    return Block(b"header", (b"tx", b""), (Withdrawal(0, 1, ZERO_ADDRESS, 2),), data, EMPTY_COMMIT, evidence)


VALUES = [
    vote(),
    vote(HASH_A, VoteType.PRECOMMIT),
    proposal(),
    proposal(HASH_B, 1, (vote(HASH_B),)),
    EMPTY_COMMIT,
    block(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_is_encoded_reads_back(value: object) -> None:
    data = encode(value)
    assert decode(type(value), data, size_max=len(data)) == value


def test_a_union_is_tagged_by_its_place() -> None:
    union = Vote | Proposal
    for value in (vote(), proposal()):
        assert decode(union, encode(value, union), size_max=1_000) == value
    with pytest.raises(WireError, match="unknown message tag"):
        decode(union, msgpack.packb([2, 1]), size_max=1_000)


def test_the_cap_comes_before_the_decoder() -> None:
    data = encode(vote())
    with pytest.raises(WireError, match=f"{len(data)} bytes, at most {len(data) - 1}"):
        decode(Vote, data, size_max=len(data) - 1)


@dataclass(frozen=True, slots=True)
class Small:
    number: int
    name: str
    flag: bool
    maybe: Hash32 | None
    items: tuple[int, ...]


def test_every_field_type_is_strict() -> None:
    good = [1, "x", True, None, [1, 2]]
    assert decode(Small, msgpack.packb(good), size_max=100) == Small(1, "x", True, None, (1, 2))
    for place, bad in [
        (0, "1"),
        (0, 1.0),
        (0, True),
        (0, -2),
        (0, 1 << 63),
        (1, b"x"),
        (2, 1),
        (3, b"short"),
        (4, {}),
        (4, ["1"]),
    ]:
        raw = list(good)
        raw[place] = bad
        with pytest.raises(WireError):
            decode(Small, msgpack.packb(raw), size_max=100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x95\x01\xa1x\xc3\xc0\x92\x01",  # ends early
        b"\x95\x01\xa1x\xc3\xc0\x92\x01\x02\x00",  # trailing byte
        b"\x95\xcc\x01\xa1x\xc3\xc0\x92\x01\x02",  # 1 written in two bytes
        b"\x95\x01\xd9\x01x\xc3\xc0\x92\x01\x02",  # long form of a short string
        b"\x95\x01\xa1\xff\xc3\xc0\x92\x01\x02",  # not UTF-8
        b"\xdc\x00\x05\x01\xa1x\xc3\xc0\x92\x01\x02",  # long form of a short array
        b"\x96\x01\xa1x\xc3\xc0\x92\x01\x02\x00",  # a field too many
        b"\x81\x01\x02",  # a map
        b"\xd4\x01\x00",  # an extension type
        b"\x91" * 5_000,  # deep nesting
    ],
)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(Small, data, size_max=10_000)


def test_mutations_give_the_value_back_or_wire_error() -> None:
    seed = 20_261_122
    generator = random.Random(seed)
    for value in VALUES:
        original = encode(value)
        for _ in range(1_500):
            data = bytearray(original)
            for _ in range(generator.randint(1, 4)):
                choice = generator.randrange(3)
                place = generator.randrange(len(data))
                if choice == 0:
                    data[place] = generator.randrange(256)
                elif choice == 1:
                    del data[place:]
                    data += generator.randbytes(generator.randrange(4))
                else:
                    data.insert(place, generator.randrange(256))
                if not data:
                    break
            try:
                decoded = decode(type(value), bytes(data), size_max=10_000)
            except WireError:
                continue
            assert encode(decoded) == bytes(data), f"seed {seed}"


def test_rlp_agrees_with_the_reference_library() -> None:
    values = [b"", b"\x00", b"\x7f", b"\x80", b"x" * 55, b"x" * 56, b"x" * 300, [], [b"a", [b"b", []]], [b"x" * 60] * 5]
    for value in values:
        data = rlp.encode(value)
        assert encode_rlp(value) == data
        assert decode_rlp(data, size_max=10_000) == rlp.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81\x01",
        b"\xb8\x01a",
        b"\xc1",
        b"\xc0\x00",
        b"\xbf" + b"\xff" * 8,
        b"\xff" + b"\xff" * 8,
        b"\xb9\x00\x38" + b"x" * 56,
    ],
)
def test_bad_rlp_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_rlp(data, size_max=10_000)


def test_deep_rlp_is_refused_before_the_decoder_recurses() -> None:
    data = b"\xc0"
    for _ in range(3_000):
        data = encode_rlp_list(data)
    with pytest.raises(WireError, match="nested more than"):
        decode_rlp(data, size_max=1 << 20)


@pytest.mark.parametrize("beside", [b"", b"x", b"y" * 60, b"z" * 300])
def test_the_depth_that_is_refused_does_not_depend_on_the_shape(beside: bytes) -> None:
    """Short and long lists, with and without something beside the next one, in front of it and behind."""
    for before, after in ((False, False), (True, False), (False, True), (True, True)):
        nested: Any = []
        for depth in range(2, RLP_DEPTH_MAX + 3):
            nested = [*[beside] * before, nested, *[beside] * after]
            data = encode_rlp(nested)
            if depth <= RLP_DEPTH_MAX:
                assert decode_rlp(data, size_max=1 << 20) == nested
            else:
                with pytest.raises(WireError, match=f"nested more than {RLP_DEPTH_MAX} deep"):
                    decode_rlp(data, size_max=1 << 20)


def test_many_lists_beside_each_other_are_not_deep() -> None:
    for each in ([], [b"x"], [b"y" * 60], [b"z" * 300], [b"y" * 60, [b"z" * 300]]):
        value = [each] * 50
        assert decode_rlp(encode_rlp(value), size_max=1 << 20) == value


def test_random_structures_are_refused_by_their_depth_alone() -> None:
    seed = 7
    generator = random.Random(seed)

    def made(depth_left: int) -> Any:
        if not depth_left or generator.random() < 0.3:
            return generator.randbytes(generator.choice([0, 1, 2, 54, 55, 56, 57, 255, 256, 257]))
        return [made(depth_left - 1) for _ in range(generator.randrange(1, 4))]

    def depth(value: Any) -> int:
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    depths = set()
    for _ in range(600):
        value = made(11)
        depths.add(depth(value))
        try:
            assert decode_rlp(encode_rlp(value), size_max=1 << 24) == value
            assert depth(value) <= RLP_DEPTH_MAX, f"seed {seed}"
        except WireError:
            assert depth(value) > RLP_DEPTH_MAX, f"seed {seed}"
    assert {RLP_DEPTH_MAX, RLP_DEPTH_MAX + 1} <= depths


def test_the_cap_of_rlp_comes_before_the_decoder() -> None:
    data = encode_rlp([b"x" * 60])
    assert decode_rlp(data, size_max=len(data)) == [b"x" * 60]
    with pytest.raises(WireError, match=f"a thing: {len(data)} bytes, at most {len(data) - 1} are allowed"):
        decode_rlp(data, size_max=len(data) - 1, what="a thing")


def encode_rlp_list(payload: bytes) -> bytes:
    if len(payload) < 56:
        return bytes([0xC0 + len(payload)]) + payload
    length = len(payload).to_bytes((len(payload).bit_length() + 7) // 8, "big")
    return bytes([0xF7 + len(length)]) + length + payload


def test_random_bytes_as_rlp_raise_nothing_else() -> None:
    generator = random.Random(5)
    for _ in range(5_000):
        data = generator.randbytes(generator.randint(0, 40))
        try:
            value = decode_rlp(data, size_max=100)
        except WireError:
            continue
        assert encode_rlp(value) == data


def test_json_errors_are_wire_errors() -> None:
    assert decode_json(b'{"a": 1}', size_max=20) == {"a": 1}
    for bad in (b"{", b"\xff", b"[" * 2_000, b'"\\ud800"'):
        with pytest.raises(WireError):
            decode_json(bad, size_max=10_000)
    with pytest.raises(WireError, match="at most 3"):
        decode_json(b"[1,2]", size_max=3)


def test_address_and_hash_do_not_pass_for_each_other() -> None:
    with pytest.raises(WireError, match="expected 20 bytes"):
        raw = [1, 7, 2, ZERO_HASH, bytes(32), SIGNATURE]
        decode(Vote, msgpack.packb(raw), size_max=1_000)

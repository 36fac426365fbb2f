"""Blocks in chunks: put together exactly, or refused within bounds."""

import contextlib
import random

import pytest

from genesis.codec import encode
from genesis.errors import PeerFault, WireError
from genesis.limits import BLOCK_BYTES_MAX, BLOCK_CHUNK_BYTES, FRAME_BYTES_MAX
from genesis.primitives import Hash32, keccak256
from genesis.types import Block
from node.net.block_chunks import BlockAssembler, BlockChunk, split
from tests.unit.node.local_chain import LocalChain, make_spec, transfer


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Block:
    """A block of some hundred kilobytes."""
    chain = LocalChain(tmp_path_factory.mktemp("chunks") / "chain", make_spec())
    built = chain.extend(*(transfer(key, 0, data=bytes(110_000), gas=6_000_000) for key in range(4)))
    chain.close()
    return built


@pytest.fixture
def assembler() -> BlockAssembler:
    return BlockAssembler(2 * 1024 * 1024)


def test_a_block_arrives_as_it_was_sent(block: Block, assembler: BlockAssembler) -> None:
    frames = list(split(block))
    assert len(frames) > 4
    assert all(len(frame) <= FRAME_BYTES_MAX for frame in frames)
    results = [assembler.take("peer", frame) for frame in frames]
    assert results[:-1] == [None] * (len(frames) - 1)
    assert results[-1] == block
    assert assembler.assembling_bytes == 0


def test_peers_do_not_disturb_each_other(block: Block, assembler: BlockAssembler) -> None:
    frames = list(split(block))
    for frame in frames[:-1]:
        assert assembler.take("a", frame) is None
        assert assembler.take("b", frame) is None
    assert assembler.take("b", frames[-1]) == block
    assert assembler.take("a", frames[-1]) == block


def test_a_lost_chunk_gives_up_the_block_without_blame(block: Block, assembler: BlockAssembler) -> None:
    frames = list(split(block))
    for frame in (*frames[:2], *frames[3:]):
        assert assembler.take("peer", frame) is None
    assert assembler.assembling_bytes == 0
    assert [assembler.take("peer", frame) for frame in frames][-1] == block


def test_a_tail_without_its_beginning_is_ignored(block: Block, assembler: BlockAssembler) -> None:
    assert all(assembler.take("peer", frame) is None for frame in list(split(block))[1:])
    assert assembler.assembling_bytes == 0


def test_a_new_block_replaces_the_one_under_way(block: Block, assembler: BlockAssembler) -> None:
    frames = list(split(block))
    for frame in frames[:-1]:
        assembler.take("peer", frame)
    held = assembler.assembling_bytes
    assembler.take("peer", frames[0])
    assert assembler.assembling_bytes == BLOCK_CHUNK_BYTES < held
    assembler.forget("peer")
    assert assembler.assembling_bytes == 0


def test_what_lies_about_its_hash_or_is_no_block_is_blamed(block: Block, assembler: BlockAssembler) -> None:
    data = encode(block)
    other = Hash32(keccak256(b"another block"))
    with pytest.raises(PeerFault, match="another block than they said"):
        _send(assembler, other, data)
    with pytest.raises(PeerFault, match="make no block"):
        _send(assembler, block.hash, bytes(len(data)))
    with pytest.raises(PeerFault, match="make no block"):
        _send(assembler, block.hash, data + b"\x00")
    assert assembler.assembling_bytes == 0


def _send(assembler: BlockAssembler, block_hash: Hash32, data: bytes) -> None:
    for offset in range(0, len(data), BLOCK_CHUNK_BYTES):
        chunk = BlockChunk(block_hash, len(data), offset, data[offset : offset + BLOCK_CHUNK_BYTES])
        assembler.take("peer", encode(chunk))


@pytest.mark.parametrize(
    ("total", "offset", "size"),
    [
        (0, 0, 0),
        (-1, 0, 0),
        (10, 0, 9),
        (10, 0, 11),
        (10, 10, 0),
        (10, -1, 10),
        (10, 5, 5),
        (BLOCK_BYTES_MAX + 1, 0, BLOCK_CHUNK_BYTES),
        (200_000, BLOCK_CHUNK_BYTES, 10),
        (1 << 62, 1 << 61, BLOCK_CHUNK_BYTES),
    ],
)
def test_a_chunk_outside_its_block_is_refused(assembler: BlockAssembler, total: int, offset: int, size: int) -> None:
    raw = _raw_chunk(total, offset, size)
    with pytest.raises(WireError):
        assembler.take("peer", raw)
    assert assembler.assembling_bytes == 0


def _raw_chunk(total: int, offset: int, size: int) -> bytes:
    import msgpack

    return bytes(msgpack.packb([bytes(32), total, offset, bytes(size)], use_bin_type=True))


def test_a_block_over_the_chains_limit_is_refused_before_it_is_kept(assembler: BlockAssembler) -> None:
    frame = encode(BlockChunk(Hash32(bytes(32)), 3 * 1024 * 1024, 0, bytes(BLOCK_CHUNK_BYTES)))
    with pytest.raises(PeerFault, match="at most"):
        assembler.take("peer", frame)
    assert assembler.assembling_bytes == 0


def test_many_peers_cannot_fill_the_memory() -> None:
    limit = 10 * BLOCK_CHUNK_BYTES
    assembler = BlockAssembler(2 * 1024 * 1024, limit)
    for peer in range(100):
        for offset in (0, BLOCK_CHUNK_BYTES, 2 * BLOCK_CHUNK_BYTES):
            chunk = BlockChunk(Hash32(bytes([peer]) * 32), 1_000_000, offset, bytes(BLOCK_CHUNK_BYTES))
            assembler.take(f"peer {peer}", encode(chunk))
            assert assembler.assembling_bytes <= limit


@pytest.mark.parametrize("seed", range(3))
def test_garbled_frames_raise_wire_errors_or_faults_only(block: Block, assembler: BlockAssembler, seed: int) -> None:
    generator = random.Random(seed)
    frames = list(split(block))
    for _ in range(300):
        frame = bytearray(generator.choice(frames))
        for _ in range(generator.randrange(1, 4)):
            frame[generator.randrange(60)] = generator.randrange(256)
        with contextlib.suppress(WireError, PeerFault):
            assembler.take("peer", bytes(frame))
        assert assembler.assembling_bytes <= 2 * 1024 * 1024, seed

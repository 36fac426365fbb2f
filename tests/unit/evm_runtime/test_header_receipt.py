"""Headers, receipts and blooms against py-evm's own classes."""

import random

import pytest
import rlp
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth_bloom import BloomFilter

from evm_runtime.fields import int_bytes
from evm_runtime.header import EMPTY_REQUESTS_HASH, EMPTY_TRIE_ROOT, Header
from evm_runtime.receipt import ExecutedTransaction, Log, Receipt, bloom_may_contain, bloom_of, bloom_union
from genesis.codec import decode_rlp, encode_rlp
from genesis.errors import WireError
from genesis.primitives import Address, Hash32, keccak256
from tests.unit.evm_runtime.chain import Chain, signed


def test_a_header_hashes_as_py_evm_hashes_it_and_reads_back() -> None:
    chain = Chain()
    header = chain.advance(signed(nonce=0, to=b"\x09" * 20)).header
    theirs = rlp.decode(header.to_rlp(), PragueBlockHeader)
    assert theirs.hash == header.hash == keccak256(header.to_rlp())
    assert (theirs.block_number, theirs.gas_used, theirs.base_fee_per_gas) == (1, 21_000, header.base_fee_per_gas)
    assert theirs.requests_hash == EMPTY_REQUESTS_HASH and theirs.withdrawals_root == EMPTY_TRIE_ROOT
    assert Header.from_rlp(header.to_rlp()) == header


@pytest.mark.parametrize(
    ("place", "item", "message"),
    [
        (0, bytes(31), "parent_hash: expected 32 bytes"),
        (2, bytes(32), "coinbase: expected 20 bytes"),
        (6, bytes(255), "bloom: expected 256"),
        (8, b"\x00\x01", "number: an integer has no leading zeros"),
        (8, b"\x01" * 9, "number: the integer is too large"),
        (12, bytes(33), "extra_data: at most 32"),
        (14, bytes(7), "nonce: expected 8"),
        (15, [], "base_fee_per_gas: expected bytes"),
    ],
)
def test_a_malformed_header_is_a_wire_error(place: int, item: object, message: str) -> None:
    fields = decode_rlp(Chain().tip.to_rlp(), size_max=1_024)
    fields[place] = item
    with pytest.raises(WireError, match=message):
        Header.from_rlp(encode_rlp(fields))
    with pytest.raises(WireError, match="expected 21 items"):
        Header.from_rlp(encode_rlp(fields[:20]))


def random_log(rng: random.Random) -> Log:
    topics = tuple(Hash32(rng.randbytes(32)) for _ in range(rng.randrange(5)))
    return Log(Address(rng.randbytes(20)), topics, rng.randbytes(rng.randrange(80)))


def test_blooms_equal_eth_bloom() -> None:
    rng = random.Random(5)
    for _ in range(20):
        logs = [random_log(rng) for _ in range(rng.randrange(5))]
        theirs = BloomFilter()
        for log in logs:
            theirs.extend([log.address, *log.topics])
        bloom = bloom_of(logs)
        assert bloom == int(theirs).to_bytes(256, "big")
        assert all(bloom_may_contain(bloom, log.address) for log in logs)
        assert bloom_union([bloom, bytes(256)]) == bloom
    assert not bloom_may_contain(bytes(256), b"\x01" * 20)


@pytest.mark.parametrize("kind", [0, 1, 2, 4])
def test_receipts_read_back(kind: int) -> None:
    rng = random.Random(kind)
    logs = tuple(random_log(rng) for _ in range(3))
    receipt = Receipt(kind, 1, 123_456, bloom_of(logs), logs)
    assert Receipt.decode(receipt.encode()) == receipt
    result = ExecutedTransaction(21_000, Address(b"\x01" * 20), 10**30)
    assert ExecutedTransaction.decode(result.encode()) == result
    bare = ExecutedTransaction(21_000, None, 0)
    assert ExecutedTransaction.decode(bare.encode()) == bare


def test_malformed_receipts_are_wire_errors() -> None:
    good = Receipt(2, 1, 5, bytes(256), ()).encode()
    spoiled = [b"", b"\x03" + good[1:], b"\x00" + good[1:], good[:-1], good + b"\x00", good[1:][:-1]]
    spoiled.append(b"\x02" + encode_rlp([int_bytes(2), b"\x05", bytes(256), []]))
    for data in spoiled:
        with pytest.raises(WireError):
            Receipt.decode(data)
    with pytest.raises(WireError):
        ExecutedTransaction.decode(encode_rlp([b"\x01", b"\x02", b""]))

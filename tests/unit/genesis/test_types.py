"""Value types: their bounds, and their hash preimages frozen as vectors and checked against eth_abi and rlp."""

import json
from pathlib import Path

import eth_abi
import pytest
import rlp
from eth_keys import keys

from genesis.crypto import SECP256K1_N, address_of_private_key, recover, sign
from genesis.errors import WireError
from genesis.primitives import (
    ZERO_HASH,
    Address,
    Hash32,
    Height,
    Power,
    Round,
    Signature,
    abi_words,
    keccak256,
)
from genesis.types import (
    EMPTY_COMMIT,
    TOTAL_POWER_MAX,
    Block,
    ChainIdentity,
    Commit,
    ConsensusData,
    DuplicateProposal,
    DuplicateVote,
    Proposal,
    Validator,
    ValidatorSet,
    Vote,
    VoteType,
    evidence_hash,
    sign_digest,
)

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
HASH_A, HASH_B = Hash32(b"\xaa" * 32), Hash32(b"\xbb" * 32)
ALICE, BOB, CAROL = (Address(bytes([n]) * 20) for n in (1, 2, 3))
CHAIN = ChainIdentity(31_337, Hash32(b"\x11" * 32))
SIGNATURE = Signature(bytes(range(65)))


def validator_set() -> ValidatorSet:
    return ValidatorSet((Validator(BOB, Power(20), CAROL), Validator(ALICE, Power(10), ALICE)))


def vote(block_hash: Hash32, kind: VoteType = VoteType.PRECOMMIT) -> Vote:
    return Vote(kind, Height(5), Round(1), block_hash, ALICE, SIGNATURE)


def proposal(block_hash: Hash32, valid_round: int = -1) -> Proposal:
    return Proposal(Height(5), Round(1), Round(valid_round), block_hash, ALICE, SIGNATURE)


def consensus_data() -> ConsensusData:
    return ConsensusData(1_700_000_000_123, Round(3), BOB, HASH_A, HASH_B, Hash32(b"\x01" * 32), Hash32(b"\x02" * 32))


def preimages() -> dict[str, Hash32]:
    evidence = (DuplicateVote(vote(HASH_A), vote(HASH_B)), DuplicateProposal(proposal(HASH_A, 0), proposal(HASH_B)))
    return {
        "vote_digest": vote(HASH_A).digest(CHAIN, HASH_B),
        "nil_prevote_digest": vote(ZERO_HASH, VoteType.PREVOTE).digest(CHAIN, HASH_B),
        "proposal_digest": proposal(HASH_A).digest(CHAIN, HASH_B),
        "reproposal_digest": proposal(HASH_A, 0).digest(CHAIN, HASH_B),
        "commit": Commit(Height(5), Round(1), HASH_A, (SIGNATURE, b"")).hash(),
        "empty_commit": EMPTY_COMMIT.hash(),
        "validator_set": validator_set().hash(),
        "consensus_data": consensus_data().hash(),
        "no_evidence": evidence_hash(()),
        "evidence": evidence_hash(evidence),
    }


@pytest.mark.parametrize("name", sorted(preimages()))
def test_preimages_are_frozen(name: str) -> None:
    assert "0x" + preimages()[name].hex() == VECTORS[name]


def test_digest_is_the_abi_encoding_that_a_contract_would_build() -> None:
    types = ["bytes32", "uint256", "bytes32", "uint8", "uint64", "uint64", "bytes32", "bytes32", "uint64"]
    domain = keccak256(b"OpenLedger consensus signature v1")
    values = [domain, 31_337, CHAIN.genesis_hash, 3, 5, 1, HASH_A, HASH_B, 1]
    expected = keccak256(eth_abi.encode(types, values))
    assert sign_digest(CHAIN, VoteType.PROPOSAL, Height(5), Round(1), HASH_A, HASH_B, Round(0)) == expected


def test_consensus_data_is_eight_abi_words() -> None:
    data = consensus_data()
    types = ["uint256", "uint256", "uint256", "address", "bytes32", "bytes32", "bytes32", "bytes32"]
    values = [1, data.time_ms, 3, "0x" + BOB.hex(), HASH_A, HASH_B, b"\x01" * 32, b"\x02" * 32]
    assert data.hash() == keccak256(eth_abi.encode(types, values))


def test_evidence_hashes_as_rlp() -> None:
    assert evidence_hash(()) == keccak256(rlp.encode([]))
    pair = DuplicateVote(vote(HASH_A), vote(HASH_B))
    fields = [b"\x02", b"\x05", b"\x01", ALICE, HASH_A, SIGNATURE, HASH_B, SIGNATURE]
    assert evidence_hash((pair,)) == keccak256(rlp.encode([fields]))


def test_abi_words_refuse_what_has_no_word() -> None:
    assert abi_words(-1) == b"\xff" * 32
    for bad in (b"short", 1 << 256, -2):
        with pytest.raises(ValueError, match=r"fit a word|neither an address"):
            abi_words(bad)


def test_domains_and_kinds_never_share_a_digest() -> None:
    digests = {
        sign_digest(chain, kind, Height(height), Round(round_), block_hash, HASH_B)
        for chain in (CHAIN, ChainIdentity(1, CHAIN.genesis_hash), ChainIdentity(31_337, HASH_A))
        for kind in VoteType
        for height in (1, 2)
        for round_ in (0, 1)
        for block_hash in (ZERO_HASH, HASH_A)
    }
    assert len(digests) == 3 * 3 * 2 * 2 * 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Vote(VoteType.PROPOSAL, Height(1), Round(0), HASH_A, ALICE, SIGNATURE),
        lambda: Vote(VoteType.PREVOTE, Height(-1), Round(0), HASH_A, ALICE, SIGNATURE),
        lambda: Vote(VoteType.PREVOTE, Height(1), Round(1 << 31), HASH_A, ALICE, SIGNATURE),
        lambda: proposal(ZERO_HASH),
        lambda: proposal(HASH_A, 1),
        lambda: Proposal(Height(5), Round(1), Round(-1), HASH_A, ALICE, SIGNATURE, (vote(HASH_A),)),
        lambda: Commit(Height(1), Round(0), HASH_A, (b"short",)),
        lambda: DuplicateVote(vote(HASH_B), vote(HASH_A)),
        lambda: DuplicateVote(vote(HASH_A), vote(HASH_A)),
        lambda: DuplicateVote(vote(HASH_A), vote(HASH_B, VoteType.PREVOTE)),
        lambda: DuplicateProposal(proposal(HASH_A), proposal(HASH_A)),
        lambda: Validator(ALICE, Power(0), ALICE),
        lambda: ValidatorSet(()),
        lambda: ValidatorSet((Validator(ALICE, Power(1), ALICE), Validator(ALICE, Power(2), BOB))),
        lambda: ValidatorSet((Validator(ALICE, Power(TOTAL_POWER_MAX), ALICE), Validator(BOB, Power(1), BOB))),
        lambda: ConsensusData(-1, Round(0), ALICE, HASH_A, HASH_A, HASH_A, HASH_A),
        lambda: ConsensusData(1, Round(0), ALICE, HASH_A, HASH_A, HASH_A, HASH_A, version=2),
    ],
)
def test_bounds(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"."):
        make()


def test_quorums_are_strict() -> None:
    four = ValidatorSet(tuple(Validator(Address(bytes([n]) * 20), Power(1), ALICE) for n in range(1, 5)))
    assert [four.is_quorum(power) for power in range(5)] == [False, False, False, True, True]
    assert [four.is_weak_quorum(power) for power in range(5)] == [False, False, True, True, True]
    three = ValidatorSet(four.members[:3])
    assert [three.is_quorum(power) for power in range(4)] == [False, False, False, True]


def test_a_set_stands_in_order_of_address() -> None:
    members = validator_set()
    assert [member.address for member in members.members] == [ALICE, BOB]
    assert members.index(BOB) == 1
    assert members.index(CAROL) is None
    assert members.power(CAROL) == 0
    assert members == ValidatorSet(members.members[::-1])


def test_block_height_follows_its_last_commit() -> None:
    block = Block(b"\x01", (), (), consensus_data(), EMPTY_COMMIT, ())
    assert block.height == 1
    assert block.hash == keccak256(b"\x01")


def test_signatures_agree_with_eth_keys() -> None:
    secret = b"\x07" * 32
    digest = keccak256(b"message")
    signature = sign(secret, digest)
    reference = keys.PrivateKey(secret)
    assert signature == reference.sign_msg_hash(digest).to_bytes()
    assert recover(digest, signature) == address_of_private_key(secret) == reference.public_key.to_canonical_address()


def test_a_short_private_key_is_not_padded() -> None:
    for bad in (b"\x07", b"", bytes(32), b"\x07" * 33, SECP256K1_N.to_bytes(32, "big")):
        with pytest.raises(ValueError, match=r"."):
            address_of_private_key(bad)


def test_malleable_and_broken_signatures_are_refused() -> None:
    digest = keccak256(b"message")
    signature = sign(b"\x07" * 32, digest)
    high_s = SECP256K1_N - int.from_bytes(signature[32:64], "big")
    flipped = signature[:32] + high_s.to_bytes(32, "big") + bytes([signature[64] ^ 1])
    for bad in (flipped, signature[:64], signature[:64] + b"\x02", bytes(65), b"\xff" * 32 + signature[32:], b""):
        with pytest.raises(WireError):
            recover(digest, bad)

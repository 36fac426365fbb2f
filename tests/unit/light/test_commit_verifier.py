"""The example contract that verifies commits, run by the chain's own EVM on its own blocks and on chains made up to fool it."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import vyper
from eth_utils.address import to_checksum_address
from web3 import Web3

from consensus.light import LightBlock, check_light_block
from evm_runtime.calls import CallRequest, CallResult
from genesis.primitives import Address, Height, Power, Round, keccak256
from genesis.types import ChainIdentity, Commit, Validator, ValidatorSet, VoteType, sign_digest
from tests.unit.evm_runtime.chain import ADDRESSES, Chain, signed
from tests.unit.light.light_chain import CHAIN, commit_by, constant_chain, light_block, validators, wandering_chain

SOURCE = Path(__file__).resolve().parents[3] / "examples" / "commit_verifier" / "CommitVerifier.vy"
EVER_MS = 10**15
FOUR, STRANGERS = validators(range(4)), validators(range(24, 28))


@cache
def artifact() -> dict[str, Any]:
    found: dict[str, Any] = vyper.compile_code(SOURCE.read_text(), output_formats=["abi", "bytecode"])
    return found


def consensus_words(block: LightBlock) -> tuple[Any, ...]:
    data = block.consensus
    hashes = (data.last_commit_hash, data.evidence_hash, data.validators_hash, data.next_validators_hash)
    return (data.time_ms, data.round, to_checksum_address(data.proposer), *hashes)


def commit_words(commit: Commit) -> tuple[Any, ...]:
    return (commit.height, commit.round, commit.block_hash, list(commit.signatures))


def set_words(members: ValidatorSet) -> tuple[Any, ...]:
    return (
        [to_checksum_address(m.address) for m in members.members],
        [m.power for m in members.members],
        [to_checksum_address(m.payout) for m in members.members],
    )


@dataclass
class Verifier:
    """A deployed CommitVerifier on a chain of the runtime."""

    host: Chain
    address: Address
    contract: Any

    @classmethod
    def deploy(
        cls, identity: ChainIdentity, trusted: LightBlock, host: Chain | None = None, period_ms: int = EVER_MS
    ) -> "Verifier":
        host = host or Chain()
        factory = Web3().eth.contract(abi=artifact()["abi"], bytecode=artifact()["bytecode"])
        built = factory.constructor(
            identity.chain_id,
            identity.genesis_hash,
            period_ms,
            trusted.height,
            trusted.header,
            consensus_words(trusted),
        )
        nonce = host.runtime.state().nonce(ADDRESSES[0])
        code = bytes.fromhex(built.data_in_transaction.removeprefix("0x"))
        done = host.advance(signed(0, nonce=nonce, data=code, gas=6_000_000))
        assert done.receipts[0].status == 1
        address = done.results[0].contract_address
        assert address is not None
        return cls(host, address, factory(address=to_checksum_address(address)))

    def ask(self, name: str, *arguments: Any) -> Any:
        result = self.call(name, *arguments)
        assert result.status == "success", result.output
        types = next(entry for entry in artifact()["abi"] if entry.get("name") == name)["outputs"]
        return Web3().codec.decode([each["type"] for each in types], result.output)[0]

    def call(self, name: str, *arguments: Any) -> CallResult:
        data = bytes.fromhex(self.contract.encode_abi(name, list(arguments)).removeprefix("0x"))
        return self.host.runtime.call(self.host.tip, CallRequest(to=self.address, data=data), gas_cap=20_000_000)

    def submit_arguments(self, block: LightBlock) -> tuple[Any, ...]:
        return (block.header, consensus_words(block), commit_words(block.commit), set_words(block.validators))

    def submit(self, block: LightBlock) -> int:
        """In a transaction of its own; returns the gas it took."""
        data = bytes.fromhex(self.contract.encode_abi("submit", list(self.submit_arguments(block))).removeprefix("0x"))
        nonce = self.host.runtime.state().nonce(ADDRESSES[0])
        done = self.host.advance(signed(0, nonce=nonce, to=self.address, data=data, gas=5_000_000))
        assert done.receipts[0].status == 1
        return done.results[0].gas_used

    def refuses(self, block: LightBlock, words: str) -> None:
        result = self.call("submit", *self.submit_arguments(block))
        assert result.status == "revert", "it was accepted"
        assert words.encode() in result.output, result.output


def own_block(chain: Chain, place: int) -> LightBlock:
    """A block of the runtime's chain as a light client gets it; `place` counts from 0."""
    executed = chain.blocks[place]
    members = chain.spec.validator_set
    following = chain.blocks[place + 1].block.last_commit if place + 1 < len(chain.blocks) else chain.commit
    return LightBlock(executed.block.header, executed.block.consensus, following, members, members)


# ---------------------------------------------------------------- the chain verifies itself


def test_a_chain_can_verify_its_own_blocks() -> None:
    chain = Chain()
    for _ in range(3):
        chain.advance(absent=frozenset({0}))
    for place in range(3):
        check_light_block(chain.identity, own_block(chain, place))
    verifier = Verifier.deploy(chain.identity, own_block(chain, 0), chain)
    assert verifier.ask("height") == 1
    for place in (1, 2):
        block = own_block(chain, place)
        verifier.submit(block)
        assert verifier.ask("blockHash") == block.hash
        assert verifier.ask("stateRoot") == block.state_root == chain.blocks[place].header.state_root
        assert verifier.ask("timeMs") == block.time_ms
    later = len(chain.blocks) - 1
    verifier.submit(own_block(chain, later))
    assert verifier.ask("height") == later + 1


def test_hashes_are_those_of_genesis_types() -> None:
    block = constant_chain(1)[1]
    verifier = Verifier.deploy(CHAIN, block)
    assert verifier.ask("consensusHash", consensus_words(block)) == block.consensus.hash()
    assert verifier.ask("belongs", block.header, consensus_words(block)) is True
    other = replace(block, consensus=replace(block.consensus, round=Round(1)))
    assert verifier.ask("belongs", block.header, consensus_words(other)) is False
    for members in (FOUR, validators([3]), validators(range(28), lambda number: 1 + number)):
        assert verifier.ask("validatorsHash", set_words(members)) == members.hash()
    digest = sign_digest(CHAIN, VoteType.PRECOMMIT, Height(77), Round(3), block.hash, FOUR.hash())
    assert verifier.ask("voteDigest", 77, 3, block.hash, FOUR.hash()) == digest


def test_it_follows_changing_validators() -> None:
    """Every block that announces another set, and the last one, are enough."""
    chain = wandering_chain(60, seed=5)
    verifier = Verifier.deploy(CHAIN, chain[1])
    needed = [
        height for height in range(2, 61) if height == 60 or chain[height].next_validators != chain[height].validators
    ]
    assert len(needed) > 8
    for height in needed:
        verifier.submit(chain[height])
    assert verifier.ask("blockHash") == chain[60].hash
    assert verifier.ask("nextValidatorsHash") == chain[60].next_validators.hash()


# ---------------------------------------------------------------- what must be refused


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    """Trusts block 4 of a chain of four equal validators."""
    return Verifier.deploy(CHAIN, GOOD[4])


GOOD = constant_chain(8)


def test_good_blocks_are_accepted(verifier: Verifier) -> None:
    for height in (5, 8):
        result = verifier.call("submit", *verifier.submit_arguments(GOOD[height]))
        assert result.status == "success", result.output


def test_wrong_signatures(verifier: Verifier) -> None:
    block = GOOD[5]
    good = block.commit.signatures
    high_s = good[0][:32] + b"\xff" * 32 + good[0][64:]
    for bad, words in (
        (bytes([good[0][0] ^ 1]) + good[0][1:], "a bad signature"),
        (good[1], "a bad signature"),
        (bytes(65), "a bad signature"),
        (high_s, "not a canonical signature"),
        (good[0][:64] + b"\x1b", "not a canonical signature"),
    ):
        verifier.refuses(replace(block, commit=replace(block.commit, signatures=(bad, *good[1:]))), words)
    verifier.refuses(replace(block, commit=replace(block.commit, round=Round(1))), "a bad signature")
    other_chain = light_block(5, GOOD[4].hash, FOUR, FOUR, chain=ChainIdentity(9, CHAIN.genesis_hash))
    verifier.refuses(other_chain, "a bad signature")


def test_a_prevote_is_no_precommit(verifier: Verifier) -> None:
    block = GOOD[5]
    from genesis import crypto
    from tests.unit.light.light_chain import keys

    digest = sign_digest(CHAIN, VoteType.PREVOTE, Height(5), Round(0), block.hash, FOUR.hash())
    signatures = tuple(bytes(crypto.sign(keys()[m.address], digest)) for m in FOUR.members)
    verifier.refuses(replace(block, commit=replace(block.commit, signatures=signatures)), "a bad signature")


def test_too_little_power_and_odd_bit_arrays(verifier: Verifier) -> None:
    addresses = [m.address for m in FOUR.members]
    weak = light_block(5, GOOD[4].hash, FOUR, FOUR, signers=addresses[:2])
    verifier.refuses(weak, "not more than 2/3")
    nobody = replace(GOOD[5], commit=replace(GOOD[5].commit, signatures=(b"",) * 4))
    verifier.refuses(nobody, "not more than 2/3")
    for slots in (0, 3, 5):
        signatures = (GOOD[5].commit.signatures * 2)[:slots]
        verifier.refuses(replace(GOOD[5], commit=replace(GOOD[5].commit, signatures=signatures)), "one signature slot")


def test_made_up_sets(verifier: Verifier) -> None:
    verifier.refuses(light_block(5, GOOD[4].hash, STRANGERS, FOUR), "not the set that was announced")
    verifier.refuses(replace(GOOD[5], validators=STRANGERS), "not the set of this block")
    richer = ValidatorSet(tuple(Validator(m.address, Power(99), m.payout) for m in FOUR.members))
    verifier.refuses(replace(GOOD[5], validators=richer), "not the set of this block")


def test_one_validator_is_not_counted_twice(verifier: Verifier) -> None:
    """Sets out of order, or with somebody twice, have hashes as well."""
    member = FOUR.members[0]
    twice = ([to_checksum_address(member.address)] * 4, [10] * 4, [to_checksum_address(member.payout)] * 4)
    set_hash = verifier.ask("validatorsHash", twice)
    from genesis import crypto
    from tests.unit.light.light_chain import keys

    digest = sign_digest(CHAIN, VoteType.PRECOMMIT, Height(5), Round(0), GOOD[5].hash, set_hash)
    signature = bytes(crypto.sign(keys()[member.address], digest))
    result = verifier.call("isFinal", (5, 0, GOOD[5].hash, [signature] * 4), twice)
    assert result.status == "revert" and b"order of address" in result.output
    nobody = (["0x" + "00" * 20], [10], ["0x" + "00" * 20])
    result = verifier.call("isFinal", (5, 0, GOOD[5].hash, [bytes(65)]), nobody)
    assert result.status == "revert" and b"order of address" in result.output


def test_headers_and_consensus_data_must_belong_together(verifier: Verifier) -> None:
    block = GOOD[5]
    verifier.refuses(replace(block, header=GOOD[6].header), "the commit is for another block")
    later = replace(block, consensus=replace(block.consensus, time_ms=block.time_ms + 1))
    verifier.refuses(later, "not the ConsensusData of this header")
    announces = replace(block, consensus=replace(block.consensus, next_validators_hash=STRANGERS.hash()))
    verifier.refuses(announces, "not the ConsensusData of this header")


def test_nothing_goes_back_or_outlives_the_trusting_period(verifier: Verifier) -> None:
    verifier.refuses(GOOD[4], "not above the trusted block")
    verifier.refuses(GOOD[3], "not above the trusted block")
    early = light_block(5, GOOD[4].hash, FOUR, FOUR, time_ms=GOOD[4].time_ms)
    verifier.refuses(early, "not later than the trusted block")
    host = Chain()
    host.advance()
    gap = host.tip.timestamp * 1000 - GOOD[4].time_ms
    Verifier.deploy(CHAIN, GOOD[4], period_ms=gap - 10_000).refuses(GOOD[5], "has expired")


def test_a_false_start_is_refused() -> None:
    lie = replace(GOOD[4], consensus=replace(GOOD[4].consensus, next_validators_hash=STRANGERS.hash()))
    with pytest.raises(AssertionError):
        Verifier.deploy(CHAIN, lie)


def test_gas_for_ordinary_sets() -> None:
    """A bound, so that a change that makes it dear is noticed."""
    few, many = FOUR, validators(range(28))
    for members, gas_max in ((few, 250_000), (many, 900_000)):
        trusted = light_block(1, CHAIN.genesis_hash, members, members)
        gas = Verifier.deploy(CHAIN, trusted).submit(light_block(2, trusted.hash, members, members))
        assert gas < gas_max, gas


def test_commits_by_round_and_absence_agree_with_python(verifier: Verifier) -> None:
    for round_, absent in ((0, 1), (3, 0), (7, 1)):
        signers = [m.address for m in FOUR.members[absent:]]
        commit = commit_by(FOUR, 6, keccak256(b"any block"), signers, round_=round_)
        assert verifier.ask("isFinal", commit_words(commit), set_words(FOUR)) is True
    two = commit_by(FOUR, 6, keccak256(b"any block"), [m.address for m in FOUR.members[2:]])
    assert verifier.ask("isFinal", commit_words(two), set_words(FOUR)) is False

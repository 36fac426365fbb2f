"""Audit: receipts proven to a third party, verdicts on why somebody was or wasn't paid, exports as others read them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import rlp
from eth_abi import encode
from trie import HexaryTrie
from trie.exceptions import BadTrieProof

from attribution_precompile.declarations import Method
from attribution_precompile.reading.audit import AuditQueries, receipt_slots
from attribution_precompile.reading.explain import TraceError, Verdict, count_windows, explain, why
from attribution_precompile.reading.queries import Queries
from consensus.light import LightBlock, LightParams, check_first_block, verify
from evm_runtime.runtime import ExecutedBlock
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import InvalidBlock
from genesis.primitives import WEI_PER_OPEN, Address, Hash32, Height, keccak256
from genesis.types import ChainIdentity
from node.cli.light import prove_receipt
from node.rpc.reads.exports import CROISSANT, TrainingSummary, UsedVersion, croissant, spdx
from openledger.light import LightClient
from openledger.provider import Proof
from tests.unit.attribution.finals import attributing_chain
from tests.unit.attribution.test_interface import Reader
from tests.unit.attribution.world import ALICE, BOB, CAROL, NONE, ZERO32, World, params, words
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, Chain, make_spec, signed

# ---------------------------------------------------------------- receipts


class Proven:
    """A `StorageReader` over slots that were proven under a state root; it knows nothing else."""

    def __init__(self, state_root: Hash32, account_proof: Sequence[bytes], slots: dict[int, Sequence[bytes]]) -> None:
        account = HexaryTrie.get_from_proof(
            state_root, keccak256(ATTRIBUTION_ADDRESS), [rlp.decode(n) for n in account_proof]
        )
        self._storage_root = rlp.decode(account)[2]
        self._slots = {slot: self._prove(slot, proof) for slot, proof in slots.items()}

    def _prove(self, slot: int, proof: Sequence[bytes]) -> int:
        nodes = [rlp.decode(node) for node in proof]
        value = HexaryTrie.get_from_proof(self._storage_root, keccak256(slot.to_bytes(32, "big")), nodes)
        return int.from_bytes(rlp.decode(value), "big") if value else 0

    def storage(self, address: Address, slot: int) -> int:
        assert address == ATTRIBUTION_ADDRESS
        return self._slots[slot]

    def get_blob(self, _hash: Hash32) -> bytes | None:
        raise AssertionError("a receipt has no content")


def paid_chain() -> tuple[Chain, Hash32, list[tuple[int, int]]]:
    """A chain with one paid inference: its receipt's id, and the scores that its events show."""
    chain, data = attributing_chain(make_spec()), World().data
    nonces = [0] * 5

    def send(key: int, name: str, *arguments: Any, value: int = 0) -> Any:
        call = {"to": ATTRIBUTION_ADDRESS, "gas": 5_000_000, "data": data(name, *arguments), "value": value}
        nonces[key] += 1
        executed = chain.advance(signed(key, nonce=nonces[key] - 1, **call))
        assert executed.receipts[0].status == 1
        return executed

    send(0, "createDatanet", params())
    for key, first in ((1, 0), (2, 100)):
        send(key, "contribute", 1, words(first, 30).encode(), ZERO32, ADDRESSES[key], ZERO32)
    for contribution in (1, 2):
        send(0, "review", contribution, True, 9_000)
    send(0, "publishVersion", 1)
    send(2, "registerModel", "m", ZERO32, 0, bytes(20), 0, 1_000 * WEI_PER_OPEN, 0, [], [(1, 1, 0, 10_000)])
    output = f"{words(0, 20)} z {words(100, 12)}".encode()
    paid = send(3, "infer", (1, 0, ZERO32, 0, output, NONE), value=50 * WEI_PER_OPEN)
    attributed = keccak256(b"Attributed(bytes32,uint64,address,uint256,uint256)")
    events = [log for log in paid.receipts[0].logs if log.topics[0] == attributed]
    scores = [(int.from_bytes(log.topics[2], "big"), int.from_bytes(log.data[:32], "big")) for log in events]
    return chain, Hash32(events[0].topics[1]), scores


def light_block(chain: Chain, executed: ExecutedBlock) -> LightBlock:
    """What a full node sends of a block; the validators are the genesis ones throughout."""
    members = chain.spec.validator_set
    return LightBlock(executed.block.header, executed.block.consensus, chain.commit_of(executed), members, members)


def test_a_third_party_verifies_a_receipt_from_a_header_and_proofs() -> None:
    """It trusts the genesis validators, checks one header's commit, and takes all else from whoever sends it."""
    chain, receipt_id, scores = paid_chain()
    first, last = light_block(chain, chain.blocks[0]), light_block(chain, chain.blocks[-1])
    check_first_block(chain.identity, chain.spec.validator_set, first)
    verify(chain.identity, LightParams(), first, last, last.time_ms)
    slots = receipt_slots(receipt_id)
    proof = chain.runtime.state().proof(ATTRIBUTION_ADDRESS, slots)
    sent = {slot: found.proof for slot, found in zip(slots, proof.storage_proof, strict=True)}
    proven = Proven(last.state_root, proof.account_proof, sent)
    receipt = Queries(proven, CHAIN_ID).receipt(receipt_id)
    assert receipt is not None and (receipt.payer, receipt.tokens, receipt.unmatched) == (ADDRESSES[3], 33, 1)
    assert receipt.fee == 33 * WEI_PER_OPEN and receipt.block_number == last.height
    assert receipt.scores_hash == keccak256(encode(["(uint64,uint128)[]"], [scores])), "and who was scored with what"
    assert receipt.scores_hash != keccak256(encode(["(uint64,uint128)[]"], [scores[::-1]]))
    forged = {**sent, slots[2]: sent[slots[0]]}
    with pytest.raises(BadTrieProof):
        Queries(Proven(last.state_root, proof.account_proof, forged), CHAIN_ID).receipt(receipt_id)


class OneNode:
    """A node that serves a chain to a light client; `forge` changes what it says of slots."""

    name = "the only node"

    def __init__(self, chain: Chain, forge: Callable[[list[tuple[bytes, ...]]], object] = lambda _proofs: None) -> None:
        self._chain = chain
        self._forge = forge

    def identity(self) -> ChainIdentity:
        return self._chain.identity

    def tip(self) -> Height:
        return Height(len(self._chain.blocks))

    def light_block(self, height: Height) -> LightBlock:
        return light_block(self._chain, self._chain.blocks[height - 1])

    def proof(self, address: Address, _height: Height, slots: Sequence[int] = ()) -> Proof:
        found = self._chain.runtime.state().proof(address, tuple(slots))
        proofs = [each.proof for each in found.storage_proof]
        self._forge(proofs)
        return Proof(found.account_proof, tuple(proofs))


def client_of(chain: Chain, node: OneNode) -> LightClient:
    first, last = (light_block(chain, chain.blocks[place]) for place in (0, -1))
    return LightClient(chain.identity, LightParams(), first, node, [], lambda: last.time_ms)


def test_the_light_client_proves_receipts_and_that_there_is_none() -> None:
    chain, receipt_id, _ = paid_chain()
    client = client_of(chain, OneNode(chain))
    with pytest.raises(InvalidBlock, match="does not belong to the state root"):
        prove_receipt(client, receipt_id)  # the node proves the state of now, the client trusts that of block 1
    client.advance()
    proven = prove_receipt(client, receipt_id)
    assert proven is not None and (proven.payer, proven.fee) == (ADDRESSES[3], 33 * WEI_PER_OPEN)
    assert prove_receipt(client, Hash32(b"\x07" * 32)) is None
    for forge in (lambda proofs: proofs.reverse(), lambda proofs: proofs.__setitem__(1, proofs[1][:-1])):
        lying = client_of(chain, OneNode(chain, forge))
        lying.advance()
        with pytest.raises(InvalidBlock, match="does not belong to the storage root"):
            prove_receipt(lying, receipt_id)


# ---------------------------------------------------------------- why


@pytest.fixture
def world() -> World:
    """Alice owns w0..w39; Bob has a copy with more behind it; Carol's is rejected; a fourth comes in later."""
    world = World()
    world.datanet()
    for who, text in ((ALICE, words(0, 40)), (BOB, words(0, 20) + " " + words(200, 20)), (CAROL, words(300, 20))):
        world.give(1, who, text)
    world.chain.next_block()
    for contribution in (1, 2):
        world.review(contribution, True, 10_000)
    world.review(3, False, 0)
    world.publish(1)
    world.model([(1, 1, 0, 10_000)])
    world.accept(world.give(1, CAROL, words(400, 20)))
    world.datanet()
    world.give(2, CAROL, words(0, 40))
    return world


def verdict(world: World, output: str, contribution: int, model: int = 1, payees: int = 64) -> tuple[Verdict, int, int]:
    world.chain.next_block()
    found = why(
        world.view(world.fresh_index()),
        model,
        output.encode(),
        contribution,
        tokens_max=1_000,
        payees_max=payees,
    )
    assert sum(span.length for span in found.spans) == found.tokens
    assert sum(count for _, count in found.owners) == found.windows
    return found.verdict, found.tokens, found.windows


def test_every_verdict(world: World) -> None:
    output = f"{words(0, 20)} {words(200, 15)}"
    assert verdict(world, output, 1) == (Verdict.PAID, 13, 13)
    assert verdict(world, output, 2) == (Verdict.PAID, 22, 28), "its own run is the longer one"
    assert verdict(world, output, 1, payees=1)[0] is Verdict.BEYOND_THE_BEST
    assert verdict(world, words(0, 20), 2) == (Verdict.OWNED_BY_OTHERS, 0, 13)
    assert verdict(world, words(5, 12) + " " + words(200, 3), 2)[0] is Verdict.OWNED_BY_OTHERS
    assert verdict(world, words(20, 15), 2) == (Verdict.NOT_IN_THE_OUTPUT, 0, 0)
    assert verdict(world, words(300, 20), 3) == (Verdict.NOT_IN_A_VERSION, 0, 13)
    assert verdict(world, words(400, 20), 4) == (Verdict.NOT_IN_A_VERSION, 0, 13)
    assert verdict(world, output, 5) == (Verdict.NOT_USED, 0, 0)
    world.erase(1, sender=ALICE)
    world.chain.next_block()
    assert verdict(world, output, 1) == (Verdict.DEAD, 0, 13)
    pool = world.model([(1, 1, 0, 10_000)], kind=Method.POOL)
    assert verdict(world, output, 2, pool)[0] is Verdict.OTHER_METHOD


def test_outranked_windows_are_owned_and_still_not_paid(world: World) -> None:
    """One owned window between two longer runs of another: all of its tokens are taken."""
    world.datanet()
    world.give(3, ALICE, words(0, 12))
    world.give(3, BOB, words(8, 9))
    world.give(3, ALICE, words(9, 20))
    world.chain.next_block()
    for contribution in (6, 7, 8):
        world.review(contribution, True, 10_000)
    world.publish(3)
    model = world.model([(3, 1, 0, 10_000)])
    found, tokens, windows = verdict(world, words(0, 29), 7, model)
    assert (found, tokens, windows) == (Verdict.OUTRANKED, 0, 2)


def test_a_curator_sees_what_a_review_would_count_before_paying_for_it(world: World) -> None:
    """Equal to what the review then finds; it is asked before it and on the state before it."""
    copy = world.give(1, CAROL, words(0, 40))
    partly = world.give(1, CAROL, words(30, 10) + " " + words(700, 20))
    world.chain.next_block()
    for contribution, counted in ((copy, (33, 0)), (partly, (23, 20)), (3, (13, 13))):
        found = count_windows(world.view(world.fresh_index()), contribution)
        assert (found.windows, found.owned) == counted
    for contribution, owned in ((copy, 0), (partly, 20)):
        world.review(contribution, True, 1)
        assert world.getContribution(contribution)[5] == owned
    with pytest.raises(TraceError, match="no contribution 99"):
        count_windows(world.view(), 99)


def test_what_cannot_be_explained_says_why(world: World) -> None:
    with pytest.raises(TraceError, match="no contribution 99"):
        verdict(world, words(0, 20), 99)
    dot = world.model([(1, 1, 0, 10_000)], kind=Method.DOT)
    with pytest.raises(TraceError, match="by DOT"):
        verdict(world, words(0, 20), 1, dot)
    pool = world.model([(1, 1, 0, 10_000)], kind=Method.POOL)
    world.chain.next_block()
    report = explain(world.view(), pool, words(0, 20).encode(), tokens_max=100)
    assert (report.tokens, report.unmatched, report.scores) == (20, 20, ())


# ---------------------------------------------------------------- exports


def summary_of(world: World, model_id: int) -> TrainingSummary:
    queries = AuditQueries(Reader(world), 7)
    model = queries.model(model_id)
    assert model is not None
    uses = []
    for use in model.uses:
        datanet, version = queries.datanet(use.datanet_id), queries.version(use.datanet_id, use.version)
        assert datanet is not None and version is not None
        terms = queries.terms_hash(use.datanet_id, use.version)
        uses.append(UsedVersion(use.stage, use.bps, datanet, version, terms))
    return TrainingSummary("test", 7, 42, 1_700_000_000, model, queries.royalties(model_id), tuple(uses))


def test_croissant_has_what_its_specification_asks_for(world: World) -> None:
    world.publish(1)
    world.model([(1, 1, 2, 6_000), (1, 2, 0, 4_000)])
    found = croissant(summary_of(world, 2))
    assert found["conformsTo"] == CROISSANT == "http://mlcommons.org/croissant/1.1" and found["@type"] == "sc:Dataset"
    needed = {"@context", "name", "description", "url", "license", "creator", "datePublished", "version"}
    assert needed <= found.keys()
    [records] = found["recordSet"]
    ids = [column["@id"] for column in records["field"]]
    assert len(ids) == len(set(ids)) and all(set(row) == set(ids) for row in records["data"])
    assert [(row["uses/version"], row["uses/shareBps"], row["uses/stage"]) for row in records["data"]] == [
        (1, 6_000, "retrieval"), (2, 4_000, "pre-training"),
    ]  # fmt: skip


def test_spdx_has_what_its_profiles_ask_for(world: World) -> None:
    child = world.model([(1, 1, 1, 10_000)], parents=[(1, 500)])
    found = spdx(summary_of(world, child))
    graph = found["@graph"]
    by_id = {element["spdxId"]: element for element in graph if "spdxId" in element}
    assert len(by_id) == len(graph) - 1 and graph[0]["type"] == "CreationInfo" and graph[0]["specVersion"] == "3.0.1"
    one = {element["type"]: element for element in graph}
    for field in (
        "suppliedBy",
        "releaseTime",
        "software_packageVersion",
        "software_primaryPurpose",
        "software_downloadLocation",
    ):
        assert one["ai_AIPackage"][field]
    for field in ("originatedBy", "builtTime", "releaseTime", "software_downloadLocation", "dataset_datasetType"):
        assert one["dataset_DatasetPackage"][field]
    relations = [element for element in graph if element["type"] == "Relationship"]
    assert all(target in by_id for r in relations for target in (r["from"], *r["to"]))
    for package in (one["ai_AIPackage"]["spdxId"], one["dataset_DatasetPackage"]["spdxId"]):
        mine = [r["relationshipType"] for r in relations if r["from"] == package]
        licences = sorted(kind for kind in mine if "License" in kind)
        assert licences == ["hasConcludedLicense", "hasDeclaredLicense"], "exactly one of each"
    [trained] = [r for r in relations if r["relationshipType"] == "trainedOn"]
    assert (trained["from"], trained["to"]) == (
        one["ai_AIPackage"]["spdxId"],
        [one["dataset_DatasetPackage"]["spdxId"]],
    )
    assert [r["relationshipType"] for r in relations if r["from"] == trained["from"]].count("descendantOf") == 1

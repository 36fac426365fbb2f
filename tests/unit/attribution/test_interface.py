"""The generated interface is up to date, tools read it, and typed queries agree with the contract."""

from pathlib import Path

import pytest
from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector
from web3 import Web3

import attribution_precompile
from attribution_precompile.abi import attribution_abi, generated_files
from attribution_precompile.reading.explain import TraceError, explain
from attribution_precompile.reading.queries import Queries
from attribution_precompile.rules.tokens import WORDS_V1, TextError
from genesis.primitives import WEI_PER_OPEN, Address, Hash32
from tests.unit.attribution.world import ALICE, BOB, DEV, OWNER, USER, World, params, words
from tests.unit.native.harness import CHAIN_ID, Reverted


class Reader:
    def __init__(self, world: World) -> None:
        self.state = world.chain.state

    def storage(self, address: Address, slot: int) -> int:
        return int(self.state.get_storage(address, slot))

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self.state.get_blob(blob_hash)  # type: ignore[no-any-return]  # the harness's state is untyped


@pytest.fixture
def world() -> World:
    world = World()
    datanet = world.datanet(uri="ipfs://a-document-whose-address-is-longer-than-a-slot", min_fee_per_1k=10**15)
    world.accept(world.give(datanet, ALICE, words(0, 40), payout=BOB), 8_000)
    world.publish(datanet)
    world.model([(datanet, 1, 2, 10_000)], output_price=WEI_PER_OPEN, signer=bytes(20))
    world.give(datanet, BOB, words(100, 10))
    return world


def test_the_generated_files_are_up_to_date() -> None:
    folder = Path(attribution_precompile.__file__).parent
    for name, content in generated_files().items():
        assert (folder / name).read_bytes() == content, "run: python -m attribution_precompile.generate"


def test_tools_compute_the_selectors_and_topics_that_the_contract_uses(world: World) -> None:
    abi = attribution_abi()
    functions = {entry["name"]: entry for entry in abi if entry["type"] == "function"}
    selectors = {function_abi_to_4byte_selector(entry) for entry in functions.values()}  # type: ignore[arg-type]
    assert selectors == set(world.contract.methods)
    topics = {event_abi_to_log_topic(entry) for entry in abi if entry["type"] == "event"}  # type: ignore[arg-type]
    assert topics == {event.topic.to_bytes(32, "big") for event in world.contract.events}
    assert functions["infer"]["inputs"][0]["components"][5]["internalType"] == "struct IAttribution.Signed"


def test_web3_encodes_and_decodes_calls(world: World) -> None:
    contract = Web3().eth.contract(abi=attribution_abi())
    keys = [field["name"] for field in contract.get_function_by_name("createDatanet").abi["inputs"][0]["components"]]
    data = contract.encode_abi("createDatanet", args=[dict(zip(keys, params(), strict=True))])
    assert bytes.fromhex(data[2:]) == world.data("createDatanet", params())
    assert contract.decode_function_input(data)[0].fn_name == "createDatanet"
    with pytest.raises(Reverted) as caught:
        world.getModel(77)
    assert caught.value.values == (77,)


def test_queries_agree_with_the_contract(world: World) -> None:
    receipt = world.run(1, words(0, 10), WEI_PER_OPEN, input_tokens=3)
    queries = Queries(Reader(world), CHAIN_ID)
    counts = queries.counts()
    assert (counts.datanets, counts.contributions, counts.models, counts.receipts) == (1, 2, 1, 1)
    datanet = queries.datanet(1)
    owner, given, contributions, versions = world.getDatanet(1)
    assert datanet is not None and "0x" + datanet.owner.hex() == owner == "0x" + OWNER.hex()
    assert tuple(datanet.params) == given and (datanet.contributions, datanet.versions) == (contributions, versions)
    assert (
        datanet.params.uri.startswith("ipfs://a-document")
        and datanet.pool_weight == datanet.pool_next_weight == 8_000 * 33
    )
    first = queries.contribution(1)
    assert first is not None and first.payout == BOB and first.owned_windows == 33 and first.accepted_version == 1
    assert world.getContribution(1)[3] == first.content_root
    assert queries.content(1) == (words(0, 40).encode(),) and queries.content(9) is None
    version = queries.version(1, 1)
    assert version is not None and (
        version.content_root,
        version.contributions,
        version.block_number,
    ) == world.getVersion(1, 1)
    model = queries.model(1)
    assert model is not None and model.owner == DEV and model.uri == "hf://model" and model.uses[0].allowed
    assert world.getUses(1, 0) == (((1, 1, 2, 10_000),), 0) and world.getUses(1, 5) == ((), 0)
    found = queries.receipt(Hash32(receipt))
    assert found is not None and (found.model_id, found.payer, found.tokens, found.unmatched) == (1, USER, 10, 0)
    assert found.fee == WEI_PER_OPEN // 100 == world.getReceipt(receipt)[3]
    assert queries.claimable(USER) == world.balance(USER) == WEI_PER_OPEN - found.fee
    assert queries.money().burned == found.fee * 300 // 10_000
    assert [d.id for d in queries.datanets(1, 10)] == [1]
    assert [c.id for c in queries.contributions(2, 10)] == [2] == [c.id for c in queries.contributions_of(1, 2, 1)]
    assert [v.version for v in queries.versions_of(1, 0, 5)] == [1]
    assert [m.id for m in queries.models(1, 5)] == [1] and [r.id for r in queries.receipts(1, 5)] == [receipt]
    for nothing in (queries.datanet(2), queries.contribution(0), queries.version(1, 2), queries.model(2)):
        assert nothing is None
    assert queries.receipt(Hash32(bytes(32))) is None and list(queries.models(2, 5)) == []


def test_an_explanation_points_at_the_bytes(world: World) -> None:
    world.chain.next_block()
    output = f"Intro: {words(5, 12).upper()}; then — {words(20, 9)}!"
    report = explain(world.view(), 1, output.encode(), tokens_max=100)
    assert (report.tokens, report.unmatched, report.scores) == (23, 2, ((1, 21),))
    texts = [output.encode()[span.byte_start : span.byte_end].decode() for span in report.spans]
    assert texts == [words(5, 12).upper(), words(20, 9)]
    assert [(s.start_token, s.length, s.use, s.datanet) for s in report.spans] == [(1, 12, 0, 1), (14, 9, 0, 1)]
    scores, tokens, unmatched = world.trace(1, output.encode())
    assert (scores, tokens, unmatched) == (report.scores, report.tokens, report.unmatched)
    with pytest.raises(TraceError, match="no model 9"):
        explain(world.view(), 9, b"x", tokens_max=100)
    with pytest.raises(TraceError, match="0 tokens"):
        explain(world.view(), 1, b"", tokens_max=100)
    with pytest.raises(TextError):
        explain(world.view(), 1, b"\xff", tokens_max=100)


def test_tokenizer_names_are_padded_text() -> None:
    assert WORDS_V1.rstrip(b"\0") == b"words-v1"

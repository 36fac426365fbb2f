"""What work costs in gas where a call can make much of it: arrays, tokens as long as content, many segments, many departures.

Prices are what `make bench-gas` and `make bench-worst` found; that they are taken is held here.
"""

from collections.abc import Callable
from typing import Any

import pytest
from eth.exceptions import OutOfGas

from attribution_precompile import gas
from attribution_precompile.declarations import Method
from attribution_precompile.index.content import stored_window_ids
from attribution_precompile.layout import CONTRIBUTIONS, SEGMENTS
from attribution_precompile.rules.tokens import WORDS_V1
from evm_runtime.native import PlainSlots
from evm_runtime.native import gas as framework
from evm_runtime.native.abi import count_values
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import keccak256
from tests.unit.attribution.world import ALICE, BOB, DEV, NONE, USER, ZERO32, World, words

LONG = " ".join(f"{place:0390}" for place in range(60)).encode()
"""As few tokens as fill a call."""


@pytest.fixture
def world() -> World:
    return World()


def blocks_of(text: bytes, k: int) -> int:
    """BLAKE2b blocks of all windows, without the first of each, counted window by window."""
    tokens = text.split()
    sizes = [len(b" ".join(tokens[at : at + k])) for at in range(len(tokens) - k + 1)]
    return sum(-(-size // 128) - 1 for size in sizes)


def spent(world: World, name: str, *arguments: Any, **options: Any) -> int:
    getattr(world, name)(*arguments, **options)
    assert world.last is not None
    return world.last.gas_used


MODEL = ("", ZERO32, 0, bytes(20), 0, 0, 0)
ARRAYS: list[tuple[str, tuple[Any, ...]]] = [
    ("registerModel", (*MODEL, [(1, 1)] * 15_000, [])),
    ("registerModel", (*MODEL, [], [(1, 1, 1, 1)] * 8_000)),
    ("setUses", (1, [(1, 1, 1, 1)] * 8_000)),
    ("inferBatch", ([(1, 0, ZERO32, 0, b"", NONE)] * 2_500,)),
    ("claimPool", (list(range(1, 30_001)),)),
    ("reveal", (1, b"", [ZERO32] * 20_000)),
]


@pytest.mark.parametrize("case", ARRAYS, ids=lambda case: case[0])
def test_an_array_is_paid_for_by_its_values_before_it_is_read(world: World, case: Any) -> None:
    """Refused or not: who can't pay for all of them pays what he sent, and nothing is refused."""
    name, arguments = case
    data = world.data(name, *arguments)
    types = [parameter.type for parameter in world._methods[name].signature.inputs]
    price = framework.ABI_VALUE * sum(map(count_values, types, arguments))
    price += framework.CALL_BASE + framework.CALLDATA_WORD * framework.words(len(data))
    assert price > 100 * len(data) / 32
    short = world.chain.call(USER, ATTRIBUTION_ADDRESS, data, gas=price - 1)
    assert isinstance(short.error, OutOfGas) and short.gas_used == price - 1
    enough = world.chain.call(USER, ATTRIBUTION_ADDRESS, data)
    assert not isinstance(enough.error, OutOfGas) and enough.gas_used >= price


def test_results_are_paid_for_by_their_values(world: World) -> None:
    """`trainingSummary` returns a use of four values in its struct, and a word, for each use of a model."""
    uses = []
    for place in range(2):
        world.datanet()
        world.give(place + 1, ALICE, words(100 * place, 20))
        world.accept(place + 1)
        world.publish(place + 1)
        uses.append((place + 1, 1, 0, 5_000))
    one, two = world.model([(1, 1, 0, 10_000)]), world.model(uses)
    less, more = (spent(world, "trainingSummary", model, 0) for model in (one, two))
    slots = 2 * framework.COLD_SLOT  # of the second use: its record, its version's terms
    assert more - less == slots + framework.ABI_VALUE * (5 + 1)


# ---------------------------------------------------------------- long tokens, many segments


def test_content_pays_for_the_bytes_that_its_windows_hash(world: World) -> None:
    """The same text in windows of 8 and of 32 tokens, given and appended."""
    world.datanet()
    world.give(1, BOB, words(0, 40))  # the chain's first fills slots that are empty
    given, appended = [], []
    for net, span in enumerate((8, 32), start=2):
        world.datanet(min_span=span)
        given.append(spent(world, "contribute", net, LONG, ZERO32, ALICE, ZERO32, sender=ALICE))
        appended.append(spent(world, "appendContent", net, LONG, sender=ALICE))
    more = blocks_of(LONG, 32) - blocks_of(LONG, 8)
    assert more > 1_000
    assert given[1] - given[0] == appended[1] - appended[0] == gas.INDEX_HASHES * gas.WINDOW_BLOCK * more
    slots = PlainSlots(world.chain.state, ATTRIBUTION_ADDRESS)
    for net, span in enumerate((8, 32), start=2):
        record = CONTRIBUTIONS.load(slots, net)
        assert (record.segments, record.further_blocks) == (2, 2 * blocks_of(LONG, span))
        assert SEGMENTS.get(slots, 1, net).further_blocks == blocks_of(LONG, span)


def test_words_of_ordinary_length_cost_nothing_more(world: World) -> None:
    world.datanet(min_span=8)
    world.give(1, ALICE, words(0, 1_000, prefix="ordinary"))
    assert CONTRIBUTIONS.load(PlainSlots(world.chain.state, ATTRIBUTION_ADDRESS), 1).further_blocks == 0


def test_a_trace_pays_for_each_length_of_window_that_it_hashes(world: World) -> None:
    spans = (8, 8, 20, 32)
    for net, span in enumerate(spans, start=1):
        world.datanet(min_span=span)
        world.give(net, ALICE, words(0, 40))
        world.accept(net)
        world.publish(net)
    output = {"short": b" ".join([b"w"] * 60), "long": LONG}
    paid: dict[tuple[int, str], int] = {}
    for count in (1, 2, 4):
        uses = [(net, 1, 0, 10_000 // count) for net in range(1, count + 1)]
        model = world.model(uses)
        for name, text in output.items():
            words_of_calldata = framework.words(len(world.data("trace", model, text)))
            free = gas.output_gas(len(text)) + framework.CALLDATA_WORD * words_of_calldata
            paid[count, name] = spent(world, "trace", model, text) - free
    for count in (1, 2, 4):
        blocks = sum(blocks_of(LONG, span) for span in set(spans[:count]))
        assert paid[count, "long"] - paid[count, "short"] == gas.WINDOW_BLOCK * blocks > 0


def reviewed(world: World, pieces: list[bytes], span: int) -> int:
    """Gas of accepting a contribution of these segments, the second of its datanet."""
    net = world.datanet(min_span=span)
    world.give(net, BOB, words(0, 40))
    given = world.give(net, ALICE, pieces[0])
    for piece in pieces[1:]:
        world.appendContent(given, piece, sender=ALICE)
    world.chain.next_block()
    return spent(world, "review", given, True, 0)


def test_a_review_pays_for_segments_and_for_long_tokens(world: World) -> None:
    tokens = LONG.split()
    halves = [b" ".join(tokens[:32]), b" ".join(tokens[28:])]
    short = reviewed(world, [words(0, 64).encode()], 32)
    price = gas.windows_gas(sum(blocks_of(half, 32) for half in halves)) + gas.SEGMENT
    assert reviewed(world, halves, 32) - short == price > gas.SEGMENT


def challenge(world: World, text: bytes) -> tuple[int, Callable[[], int]]:
    """Two datanets with the same text: what a challenge of the later one by the earlier costs."""
    for _ in range(2):
        world.datanet(min_span=32)
    world.give(1, ALICE, text)
    world.give(2, BOB, text)
    for contribution, who in ((1, ALICE), (2, BOB)):
        world.finalizeContent(contribution, sender=who)
    world.chain.next_block()
    data = world.data("challengePriority", 2, 0, 0, len(text.split()) - 31, 1, 0, 0)

    def ask() -> int:
        go_back = world.chain.checkpoint()
        result = world.chain.call(ALICE, ATTRIBUTION_ADDRESS, data)
        go_back()
        assert result.ok
        return result.gas_used

    return len(text.split()), ask


def test_a_challenge_pays_for_both_segments_whether_or_not_a_node_has_their_text() -> None:
    tokens, short = challenge(World(), words(0, 60).encode())
    world = World()
    assert challenge(world, LONG)[0] == tokens
    _, long = challenge(world := World(), LONG)
    assert long() - short() == 2 * gas.windows_gas(blocks_of(LONG, 32))
    slots, blobs = PlainSlots(world.chain.state, ATTRIBUTION_ADDRESS), dict(world.chain.state.blobs)
    for net in (1, 2):
        segment = SEGMENTS.get(slots, 0, net)
        ids = stored_window_ids(world.chain.state, segment, WORDS_V1, 32)
        blobs[keccak256(ids)] = ids
    before = long()
    for net in (1, 2):
        blobs.pop(SEGMENTS.get(slots, 0, net).content_hash, None)
    world.chain.state.blobs = blobs
    assert long() == before


# ---------------------------------------------------------------- loops


def test_pool_shares_are_paid_for_one_by_one_also_where_all_is_warm(world: World) -> None:
    world.datanet()
    world.give(1, ALICE, words(0, 40))
    world.accept(1)
    world.publish(1)
    few, many = (spent(world, "claimPool", [1] * count) for count in (2, 66))
    assert (many - few) / 64 > 5 * framework.WARM_SLOT


def test_what_has_departed_costs_a_query_nothing(world: World) -> None:
    """It is known to the index, which looks at each vector anyway."""
    world.datanet()
    for place in range(9):
        world.give(1, ALICE, words(100 * place, 20))
        world.commitVectors(place + 1, 4, bytes(8), sender=ALICE)
    world.chain.next_block()
    for place in range(9):
        world.review(place + 1, True, 1)
    world.publish(1)
    world.registerModel("", ZERO32, int(Method.DOT), bytes(20), 0, 0, 0, [], [(1, 1, 0, 10_000)], sender=DEV)
    before = spent(world, "traceVector", 1, bytes(4))
    for place in range(8):
        world.erase(place + 1, sender=ALICE)
    world.chain.next_block()
    assert spent(world, "traceVector", 1, bytes(4)) == before

"""The node's fast path equals the reference implementation of the twelve rules, on random histories of datanets."""

import random
from contextlib import nullcontext
from itertools import pairwise

import pytest

from attribution_precompile import reference
from attribution_precompile.fees import split_fee
from attribution_precompile.queries import ReaderSlots
from attribution_precompile.settlement import UseTerms, divide
from attribution_precompile.span_index import SpanIndex
from attribution_precompile.tokens import WORDS_V1, tokenize
from attribution_precompile.tracing import load_uses, trace_tokens
from genesis.primitives import Wei
from tests.reference.timelines import VOCABULARY, Timeline

HISTORIES = 400
OUTPUTS = 16


@pytest.mark.parametrize("block", range(5))
def test_the_fast_path_equals_the_reference(block: int) -> None:
    for seed in range(block * HISTORIES // 5, (block + 1) * HISTORIES // 5):
        timeline = Timeline(random.Random(seed))
        try:
            for _ in range(timeline.rng.randint(3, 18)):
                timeline.step()
            check_outputs(timeline)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


def check_outputs(timeline: Timeline) -> None:
    for _ in range(2):
        uses = timeline.uses()
        model = timeline.model(uses)
        for _ in range(OUTPUTS // 2):
            output = timeline.content(timeline.tokens(timeline.rng.randint(1, 40)))
            compare(timeline, model, uses, output)
        for _ in range(timeline.rng.randint(0, 5)):
            timeline.step()


def compare(timeline: Timeline, model: int, uses: list, output: bytes) -> None:
    contract, state = timeline.direct.contract, timeline.direct.state
    slots = ReaderSlots(state)
    datanets = {d.id: d.for_reference(state.block_number) for d in timeline.datanets}
    plain_uses = [reference.Use(use.datanet_id, use.version, use.bps) for use in uses]
    expected = reference.trace(output, plain_uses, datanets)

    loaded = load_uses(slots, model)
    tokens = tokenize(output, VOCABULARY if timeline.uint32 else WORDS_V1)
    index = contract.index if timeline.rng.random() < 0.8 else SpanIndex(nullcontext())
    traced = trace_tokens(slots, state, index, loaded, tokens, block_number=state.block_number)
    found = traced.attribution
    credited = [None] * found.tokens
    for span in found.spans:
        assert span.length > 0
        credited[span.start : span.start + span.length] = [(span.use, span.contribution)] * span.length
    assert tuple(credited) == expected.credited
    assert found.scores == expected.scores
    assert found.unmatched == expected.unmatched
    assert all(a.start + a.length <= b.start for a, b in pairwise(found.spans))

    amount = split_fee(Wei(timeline.rng.choice([0, 1, 99, 10**6 + 7, 10**21 + 12_345])), contract.params).contributors
    payees_max = timeline.rng.choice([1, 2, 64])
    terms = [UseTerms(x.use.datanet_id, x.use.bps, x.datanet.curator_bps, x.datanet.soft_cap_bps) for x in loaded]
    division = divide(amount, found, terms, traced.datanet_of, payees_max)
    paid = reference.pay(amount, expected, plain_uses, datanets, payees_max)
    assert {p.contribution: p.amount for p in division.payments} == paid.contributions
    assert division.curators == paid.curators
    assert division.pools == paid.pools

"""One case: a random output of a random model, attributed and paid by the node's fast path and by the reference.

The fast path's index is whatever a node might have: the one that lived through the history, one that was just started, one that
was warmed halfway, one that merges at odd moments, and its steps and merges are cut as small as can be.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from unittest import mock

from attribution_precompile.declarations import Use
from attribution_precompile.index import datanet_index, losses, roster, walks, window_runs
from attribution_precompile.index.span_index import IndexView
from attribution_precompile.methods.attribute import Traced, load_uses, trace_tokens
from attribution_precompile.methods.settlement import load_terms
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules import reference
from attribution_precompile.rules.division import divide
from attribution_precompile.rules.fees import split_fee
from attribution_precompile.rules.tokens import WORDS_V1, TextError, tokenize
from evm_runtime.native import Base
from genesis.errors import ErasedContent
from genesis.primitives import Wei
from tests.reference.timelines import VOCABULARY, Timeline
from tests.unit.attribution.redacting import drop

OUTPUTS = 16
"""Cases of one history."""


def check_history(seed: int) -> int:
    """Live through a random history and compare all along. Returns the number of cases; an error names the seed."""
    rng = random.Random(seed)
    try:
        with cut_small(rng):
            timeline = Timeline(rng)
            for _ in range(rng.randint(3, 18)):
                timeline.step()
                _tend_index(timeline)
            return _check_outputs(timeline)
    except Exception as error:
        raise AssertionError(f"seed {seed}") from error


@contextmanager
def cut_small(rng: random.Random) -> Iterator[None]:
    """Steps of a few tokens and records, merges of a few entries: what large datanets do, on small ones."""
    tokens, records, entries = rng.choice([1, 30, 1 << 14]), rng.choice([1, 3, 128]), rng.choice([0, 8, 60, 1 << 16])
    with (
        mock.patch.object(datanet_index, "STEP_ENTRIES", rng.choice([3, 50, 1 << 17])),
        mock.patch.object(datanet_index, "SIFTING_PAYS", rng.choice([0, 1, 32, 1 << 20])),
        mock.patch.object(datanet_index, "STEP_TOKENS", tokens),
        mock.patch.object(datanet_index, "STEP_RECORDS", records),
        mock.patch.object(roster, "STEP_RECORDS", records),
        mock.patch.object(losses, "STEP_LOSSES", rng.choice([1, 4])),
        mock.patch.object(walks, "ROUND_ENTRIES", rng.choice([1, 8, 1 << 10])),
        mock.patch.object(datanet_index, "EPOCHS_KEPT", rng.choice([0, 1, 2, 50])),
        mock.patch.object(window_runs, "MERGED_AT_ONCE_MAX", entries),
        mock.patch.object(window_runs, "SMALL_RUN", rng.choice([0, 20, 1 << 11])),
        mock.patch.object(window_runs, "FEW", rng.choice([0, 64])),
    ):
        yield


def _tend_index(timeline: Timeline) -> None:
    """What the node does beside executing: warm, merge, and put window ids in place of erased text."""
    rng, state = timeline.rng, timeline.direct.state
    slots, index = ReaderSlots(state), timeline.direct.contract.index
    if rng.random() < 0.3:
        datanet = rng.choice(timeline.datanets)
        for _ in range(rng.randint(1, 12)):
            index.warm(state.finals.tip(), datanet.id)
    for _ in range(rng.choice([0, 0, 1, 5])):
        index.maintain()
    if rng.random() < 0.2:
        for written in (written for datanet in timeline.datanets for written in datanet.written):
            if 0 < written.died_block < state.block_number:
                drop(slots, state, written.id)


@dataclass(frozen=True)
class _Asked:
    """A question that was put to an earlier state, and the answer."""

    base: Base
    block_number: int
    model: int
    output: bytes
    traced: Traced
    owned: dict[int, int]
    """Of some contributions: the windows that a review would have counted."""


def _check_outputs(timeline: Timeline) -> int:
    rng, state, cases = timeline.rng, timeline.direct.state, 0
    asked: list[_Asked] = []
    for _ in range(2):
        uses = timeline.uses()
        model = timeline.model(uses)
        for _ in range(OUTPUTS // 2):
            output = _output(timeline)
            traced = compare(timeline, model, uses, output)
            cases += 1
            if traced is not None and rng.random() < 0.2:
                view = timeline.direct.view(timeline.direct.fresh_index())
                owned = _owned(view, rng.sample(_reviewable(timeline), 1))
                asked.append(_Asked(state.base, state.block_number, model, output, traced, owned))
        for _ in range(rng.randint(0, 5)):
            timeline.step()
            _tend_index(timeline)
    for old in asked:
        _check_old_state(timeline, old)
    return cases


def _output(timeline: Timeline) -> bytes:
    """Text as its authors might have written it; sometimes a whole piece, the seam of two, one word for ever, or nothing."""
    rng = timeline.rng
    kind = rng.random()
    if kind < 0.1 and timeline.pieces:
        return timeline.content(rng.choice(timeline.pieces))
    if kind < 0.2 and timeline.pieces:
        one, other = rng.choice(timeline.pieces), rng.choice(timeline.pieces)
        return timeline.content(one[-rng.randint(1, 12) :] + other[: rng.randint(1, 12)])
    if kind < 0.25:
        return timeline.content(timeline.tokens(1) * rng.randint(1, 40))
    if kind < 0.28:
        return rng.choice([b"", b"\xff", b"..", b"\xe4\xb8", b"abc"])
    return timeline.content(timeline.tokens(rng.randint(1, 40)))


def compare(timeline: Timeline, model: int, uses: list[Use], output: bytes) -> Traced | None:
    """Attribute and pay; None for an output that both refuse."""
    contract, state = timeline.direct.contract, timeline.direct.state
    datanets = {d.id: d.for_reference(state.block_number) for d in timeline.datanets}
    plain_uses = [reference.Use(use.datanet_id, use.version, use.bps) for use in uses]
    try:
        expected = reference.trace(output, plain_uses, datanets)
    except ValueError:
        assert _refused(timeline, output)
        return None
    index = contract.index if timeline.rng.random() < 0.8 else timeline.direct.fresh_index()
    traced = _trace(timeline, timeline.direct.view(index), model, output)
    found = traced.attribution
    credited: list[tuple[int, int] | None] = [None] * found.tokens
    spans = list(traced.credited.spans())
    for span in spans:
        assert span.length > 0
        credited[span.start : span.start + span.length] = [(span.use, span.contribution)] * span.length
    assert tuple(credited) == expected.credited
    assert found.scores == expected.scores
    assert found.unmatched == expected.unmatched
    assert all(a.start + a.length <= b.start for a, b in pairwise(spans))

    amount = split_fee(Wei(timeline.rng.choice([0, 1, 99, 10**6 + 7, 10**21 + 12_345])), contract.params).contributors
    payees_max = timeline.rng.choice([1, 2, 64])
    loaded = load_uses(ReaderSlots(state), model)
    terms = load_terms(ReaderSlots(state), [each.use for each in loaded])
    division = divide(amount, found, terms, traced.use_of, payees_max)
    paid = reference.pay(amount, expected, plain_uses, datanets, payees_max)
    assert {p.contribution: p.amount for p in division.payments} == paid.contributions
    assert division.curators == paid.curators
    assert division.pools == paid.pools
    return traced


def _trace(timeline: Timeline, index: IndexView, model: int, output: bytes) -> Traced:
    uses = load_uses(ReaderSlots(timeline.direct.state), model)
    return trace_tokens(index, uses, tokenize(output, VOCABULARY if timeline.uint32 else WORDS_V1))


def _refused(timeline: Timeline, output: bytes) -> bool:
    try:
        return len(tokenize(output, VOCABULARY if timeline.uint32 else WORDS_V1)) == 0
    except TextError:
        return True


def _check_old_state(timeline: Timeline, old: _Asked) -> None:
    """An index that has seen more answers over an earlier state as it did then."""
    view, deep = timeline.direct.contract.index.at(old.base), timeline.deep
    used = {loaded.use.datanet_id for loaded in load_uses(ReaderSlots(timeline.direct.state), old.model)}
    died = {d.id for d in timeline.datanets if any(old.block_number <= w.died_block <= deep for w in d.written)}
    asked = {d.id for d in timeline.datanets if any(w.id in old.owned for w in d.written)}
    with _refused_if(bool(used & died)):
        again = _trace(timeline, view, old.model, old.output)
        assert again.attribution == old.traced.attribution
        assert list(again.credited.spans()) == list(old.traced.credited.spans())
    with _refused_if(bool(asked & died)):
        assert _owned(view, list(old.owned)) == old.owned


@contextmanager
def _refused_if(refused: bool) -> Iterator[None]:
    try:
        yield
        assert not refused
    except ErasedContent:
        assert refused


def _reviewable(timeline: Timeline) -> list[int]:
    """Contributions that stand in earlier blocks."""
    number = timeline.direct.state.block_number
    found = [written for datanet in timeline.datanets for written in datanet.written if written.last_block < number]
    return [written.id for written in found] or [0]


def _owned(index: IndexView, contributions: list[int]) -> dict[int, int]:
    return {each: index.owned_windows(each) for each in contributions if each}

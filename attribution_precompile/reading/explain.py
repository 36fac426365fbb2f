"""Why an output is attributed as it is: the spans of text behind the scores, with byte offsets. For people, over RPC."""

import enum
from collections import Counter
from dataclasses import dataclass

from attribution_precompile.declarations import Method
from attribution_precompile.index.content import FinalState, stored_window_ids
from attribution_precompile.index.membership import is_in
from attribution_precompile.index.span_index import Charge, IndexView, free
from attribution_precompile.layout import CONTRIBUTIONS, DATANETS, DEPARTURES, MODELS, SEGMENTS, UPLOADS, Datanet
from attribution_precompile.methods.attribute import LoadedUse, load_uses, trace_tokens
from attribution_precompile.rules.tokens import split_ids, token_offsets, tokenize
from genesis.primitives import ZERO_ADDRESS


class Verdict(enum.StrEnum):
    """Why a contribution is paid for an output by score, or why not; the first that holds."""

    PAID = "paid"
    """Tokens are credited to it, and it is among the best."""
    BEYOND_THE_BEST = "beyond the best"
    """Tokens are credited to it, but others have more: its part goes to the pools."""
    OUTRANKED = "outranked"
    """It owns windows of the output, but longer runs (or earlier ones of the same length) take all of their tokens."""
    OWNED_BY_OTHERS = "owned by others"
    """The output has windows of it, but earlier contributions own them."""
    NOT_IN_THE_OUTPUT = "not in the output"
    """No window of it is in the output."""
    DEAD = "dead"
    """It was erased, or lost a dispute."""
    NOT_IN_A_VERSION = "not in a version"
    """Its datanet is used, but the version has it not: rejected, not accepted in time, or gone before."""
    NOT_USED = "not used"
    """The model uses no version of its datanet."""
    OTHER_METHOD = "other method"
    """The model's outputs are not attributed by spans."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`windows` of the contribution are in the output; `owners` says how many of them belong to whom (0: to nobody)."""

    verdict: Verdict
    tokens: int
    spans: tuple["TracedSpan", ...]
    windows: int
    owners: tuple[tuple[int, int], ...]


class TraceError(ValueError):
    """The model is unknown or the output can't be traced; the message says why."""


@dataclass(frozen=True, slots=True)
class TracedSpan:
    """Consecutive tokens of the output credited to one contribution; bytes [byte_start, byte_end) of the output."""

    start_token: int
    length: int
    byte_start: int
    byte_end: int
    use: int
    datanet: int
    contribution: int


@dataclass(frozen=True, slots=True)
class TraceReport:
    """`scores` are (contribution, tokens credited), best first, as `trace` on chain returns them."""

    tokens: int
    spans: tuple[TracedSpan, ...]
    scores: tuple[tuple[int, int], ...]
    unmatched: int


def explain(index: IndexView, model_id: int, output: bytes, *, tokens_max: int, charge: Charge = free) -> TraceReport:
    """Trace an output as the block after the index's state would. Raises TraceError, TextError for content that isn't text, or
    ErasedContent for a state of before a death that is deep by now. `charge` may raise to bound the work."""
    slots = index.state
    model = MODELS.load(slots, model_id)
    if model.owner == ZERO_ADDRESS:
        raise TraceError(f"there is no model {model_id}")
    if model.method in (Method.DOT, Method.ATTESTED):
        raise TraceError(f"model {model_id} is attributed by {model.method.name}, not by the spans of an output")
    tokens = tokenize(output, model.tokenizer)
    if not 1 <= len(tokens) <= tokens_max:
        raise TraceError(f"the output has {len(tokens)} tokens; 1 to {tokens_max} can be traced")
    uses = load_uses(slots, model_id) if model.method == Method.SPAN else []
    traced = trace_tokens(index, uses, tokens, charge)
    found = traced.attribution
    offsets = token_offsets(output, model.tokenizer)
    spans = tuple(
        TracedSpan(
            start_token=span.start,
            length=span.length,
            byte_start=offsets[span.start][0],
            byte_end=offsets[span.start + span.length - 1][1],
            use=span.use,
            datanet=uses[span.use].use.datanet_id,
            contribution=span.contribution,
        )
        for span in traced.credited.spans()
    )
    return TraceReport(found.tokens, spans, found.scores, found.unmatched)


def why(
    index: IndexView,
    model_id: int,
    output: bytes,
    contribution_id: int,
    *,
    tokens_max: int,
    payees_max: int,
    charge: Charge = free,
) -> Explanation:
    """Why a contribution is or isn't paid by score for an output. Raises as `explain` does."""
    slots = index.state
    record = CONTRIBUTIONS.load(slots, contribution_id)
    if record.contributor == ZERO_ADDRESS:
        raise TraceError(f"there is no contribution {contribution_id}")
    report = explain(index, model_id, output, tokens_max=tokens_max, charge=charge)
    mine = tuple(span for span in report.spans if span.contribution == contribution_id)
    credited = sum(span.length for span in mine)
    uses = [loaded for loaded in load_uses(slots, model_id) if loaded.use.datanet_id == record.datanet_id]
    windows, owners = _shared_windows(index, uses, output, contribution_id, charge)

    def verdict() -> Verdict:
        if MODELS.load_field(slots, "method", model_id) != Method.SPAN:
            return Verdict.OTHER_METHOD
        if credited:
            best = {who for who, _ in report.scores[:payees_max]}
            return Verdict.PAID if contribution_id in best else Verdict.BEYOND_THE_BEST
        if not uses:
            return Verdict.NOT_USED
        upload, departure = UPLOADS.load(slots, contribution_id), DEPARTURES.load(slots, contribution_id)
        if departure.died_block:
            return Verdict.DEAD
        if not any(is_in(slots, loaded.use.version, record, upload, departure) for loaded in uses):
            return Verdict.NOT_IN_A_VERSION
        if windows == 0:
            return Verdict.NOT_IN_THE_OUTPUT
        return Verdict.OUTRANKED if contribution_id in dict(owners) else Verdict.OWNED_BY_OTHERS

    return Explanation(verdict(), credited, mine, windows, owners)


@dataclass(frozen=True, slots=True)
class WindowCount:
    """Distinct windows that a contribution has, and how many of them a review that accepts it would count as its own."""

    windows: int
    owned: int


def count_windows(index: IndexView, contribution_id: int, *, charge: Charge = free) -> WindowCount:
    """What a review in the block after the index's state would find. Raises TraceError for an unknown contribution."""
    slots = index.state
    record = CONTRIBUTIONS.load(slots, contribution_id)
    if record.contributor == ZERO_ADDRESS:
        raise TraceError(f"there is no contribution {contribution_id}")
    datanet = DATANETS.load(slots, record.datanet_id)
    windows = _windows_of(slots, datanet, record.datanet_id, contribution_id)
    return WindowCount(len(windows), index.owned_windows(contribution_id, charge))


def _shared_windows(
    index: IndexView,
    uses: list[LoadedUse],
    output: bytes,
    contribution_id: int,
    charge: Charge,
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """How many distinct windows of the output the contribution has, and who owns them in the first use of its datanet."""
    if not uses:
        return 0, ()
    use, datanet = uses[0].use, uses[0].datanet
    in_output = set(split_ids(tokenize(output, datanet.tokenizer).window_ids(datanet.min_span)))
    shared = sorted(in_output & _windows_of(index.state, datanet, use.datanet_id, contribution_id))
    owners = Counter(index.owners(use.datanet_id, use.version, b"".join(shared), charge)[0].tolist())
    return len(shared), tuple(sorted(owners.items(), key=lambda item: (-item[1], item[0])))


def _windows_of(state: FinalState, datanet: Datanet, datanet_id: int, contribution_id: int) -> set[bytes]:
    """The window ids of a contribution's segments, from its text or from what is kept in place of it."""
    found: set[bytes] = set()
    for i in range(SEGMENTS.length(state, datanet_id)):
        segment = SEGMENTS.get(state, i, datanet_id)
        if segment.contribution_id == contribution_id:
            found.update(split_ids(stored_window_ids(state, segment, datanet.tokenizer, datanet.min_span)))
    return found

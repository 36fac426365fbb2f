"""Why an output is attributed as it is: the spans of text behind the scores, with byte offsets. For people, over RPC."""

from dataclasses import dataclass

from attribution_precompile.layout import MODELS
from attribution_precompile.queries import ReaderSlots, StorageReader
from attribution_precompile.span_index import SpanIndex
from attribution_precompile.tokens import token_offsets, tokenize
from attribution_precompile.tracing import load_uses, trace_tokens
from genesis.primitives import ZERO_ADDRESS


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


def explain(reader: StorageReader, index: SpanIndex, model_id: int, output: bytes, *, tokens_max: int) -> TraceReport:
    """Trace an output as the chain would. Raises TraceError, or TextError for content that isn't text."""
    slots = ReaderSlots(reader)
    model = MODELS.load(slots, model_id)
    if model.owner == ZERO_ADDRESS:
        raise TraceError(f"there is no model {model_id}")
    tokens = tokenize(output, model.tokenizer)
    if not 1 <= len(tokens) <= tokens_max:
        raise TraceError(f"the output has {len(tokens)} tokens; 1 to {tokens_max} can be traced")
    uses = load_uses(slots, model_id)
    found = trace_tokens(slots, reader, index, uses, tokens).attribution
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
        for span in found.spans
    )
    return TraceReport(found.tokens, spans, found.scores, found.unmatched)

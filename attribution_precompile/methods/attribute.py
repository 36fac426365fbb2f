"""From an output's bytes to its attribution, over the contract's storage and the span index: rules 1, 2 and 6 to 11.

Used by `trace` and `infer` on chain and by `explain` for people, so all of them agree by construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attribution_precompile import gas
from attribution_precompile.index.span_index import Charge, IndexView, free
from attribution_precompile.layout import DATANETS, USES, Datanet, ModelUse
from attribution_precompile.rules.span import Attribution, Runs, UseHits, credit, score
from attribution_precompile.rules.tokens import Tokens
from evm_runtime.native import Slots


@dataclass(frozen=True, slots=True)
class LoadedUse:
    """A use of a model with its datanet's record."""

    use: ModelUse
    datanet: Datanet


def load_uses(slots: Slots, model_id: int) -> list[LoadedUse]:
    """A model's uses in registration order (rule 6)."""
    uses = [USES.get(slots, i, model_id) for i in range(USES.length(slots, model_id))]
    return [LoadedUse(use, DATANETS.load(slots, use.datanet_id)) for use in uses]


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """An attribution; the spans of the output that it is made of; and the first use that credits each contribution."""

    attribution: Attribution
    credited: Runs
    use_of: dict[int, int]


def trace_tokens(
    index: IndexView,
    uses: Sequence[LoadedUse],
    tokens: Tokens,
    charge: Charge = free,
) -> Traced:
    """Attribute an output in the block after the index's state. Callers pay by formula before, and through `charge` for
    crediting and for windows that many have. Raises ErasedContent as the index does."""
    spans = {loaded.datanet.min_span for loaded in uses}
    charge(gas.windows_gas(sum(map(tokens.further_blocks, spans))), "windows of long tokens")
    ids_by_k = {k: tokens.window_ids(k) for k in spans}
    hits: list[UseHits] = []
    for loaded in uses:
        k, datanet_id = loaded.datanet.min_span, loaded.use.datanet_id
        owners, priorities = index.owners(datanet_id, loaded.use.version, ids_by_k[k], charge)
        hits.append(UseHits(k, owners, priorities))
    runs = [Runs.of(number, found) for number, found in enumerate(hits)]
    charge(gas.RUN * sum(map(len, runs)), "runs")
    credited = credit(len(tokens), hits, runs)
    by_use = np.argsort(-credited.uses, kind="stable")
    use_of = dict(zip(credited.contributions[by_use].tolist(), credited.uses[by_use].tolist(), strict=True))
    return Traced(Attribution(len(tokens), score(credited)), credited, use_of)

"""From an output's bytes to its attribution, over the contract's storage and the span index: rules 1, 2 and 6 to 11.

Used by `trace` and `infer` on chain and by `explain` for people, so all of them agree by construction.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attribution_precompile import gas
from attribution_precompile.layout import DATANETS, DEPARTED, USES, Datanet, ModelUse
from attribution_precompile.membership import is_dead
from attribution_precompile.span import NOBODY, Attribution, UseHits, attribute
from attribution_precompile.span_index import BlobReader, SpanIndex
from attribution_precompile.tokens import Tokens
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


@dataclass(frozen=True, slots=True)
class Traced:
    """An attribution, and the datanet of each contribution in it."""

    attribution: Attribution
    datanet_of: dict[int, int]


def trace_tokens(
    slots: Slots,
    blobs: BlobReader,
    index: SpanIndex,
    uses: Sequence[LoadedUse],
    tokens: Tokens,
    *,
    block_number: int | None = None,
    charge: Callable[[int, str], None] = lambda _amount, _reason: None,
) -> Traced:
    """Attribute an output in a block (None: the one after all known). `slots` is not charged: callers pay by formula before,
    and through `charge` for asking whether the owners found are still alive, where their datanet has lost any.
    """
    ids_by_k = {k: tokens.window_ids(k) for k in {loaded.datanet.min_span for loaded in uses}}
    hits: list[UseHits] = []
    priorities: dict[int, int] = {}
    datanet_of: dict[int, int] = {}
    for loaded in uses:
        k, datanet_id = loaded.datanet.min_span, loaded.use.datanet_id
        owners = index.owners(slots, blobs, datanet_id, loaded.use.version, ids_by_k[k])
        found = set(owners) - {NOBODY}
        if found and DEPARTED.length(slots, datanet_id):
            charge(gas.OWNER * len(found), "owners")
            dead = {owner for owner in found if is_dead(slots, owner, block_number)}
            if dead:
                owners = [NOBODY if owner in dead else owner for owner in owners]
                found -= dead
        hits.append(UseHits(k, owners))
        priorities |= index.first_orders(slots, datanet_id, found)
        datanet_of |= dict.fromkeys(found, datanet_id)
    return Traced(attribute(len(tokens), hits, priorities.__getitem__), datanet_of)

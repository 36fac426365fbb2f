"""Models: who owns and signs for them, their prices, and the datanet versions they were built from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile.declarations import Method, Parent, Use
from attribution_precompile.layout import (
    LINEAGES,
    MODEL_COUNT,
    MODEL_HEIRS,
    MODEL_URIS,
    MODELS,
    USES,
    Model,
    ModelUse,
)
from attribution_precompile.methods.base import (
    AttributionBase,
    check,
    offer,
    require_datanet,
    require_model,
    require_version,
    take_offer,
)
from attribution_precompile.methods.lineage import (
    Named,
    carried_uses,
    found_lineage,
    inherited_uses,
    load_lineage,
    require_all,
)
from evm_runtime.native import Frame, Slots, method
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, Address, Hash32

STAGE_MAX: Final = 2
"""0 pre-training, 1 fine-tuning, 2 retrieval."""


def _named(uses: Sequence[Use]) -> set[Named]:
    return {(use.datanet_id, use.version) for use in uses}


def _store_uses(slots: Slots, model_id: int, uses: Sequence[Use], carried: set[Named]) -> None:
    records = [ModelUse(*use, carried=(use.datanet_id, use.version) in carried) for use in uses]
    USES.replace(slots, records, model_id)


class ModelMethods(AttributionBase):
    """The part of the contract that keeps models."""

    @method(
        "registerModel(string uri, bytes32 weights, Method method, address signer, uint128 inputPer1k, "
        "uint128 outputPer1k, uint16 minRoyaltyBps, Parent[] parents, Use[] uses) returns (uint64 modelId)"
    )
    def register_model(
        self,
        frame: Frame,
        uri: str,
        weights: Hash32,
        kind: Method,
        signer: Address,
        input_per_1k: int,
        output_per_1k: int,
        min_royalty_bps: int,
        parents: tuple[Parent, ...],
        uses: tuple[Use, ...],
    ) -> int:
        """Register a model, owned by the caller, with prices in wei per 1000 tokens, the models it was made from, and the
        versions it was built from: its own and those of all its ancestors."""
        if len(uri.encode()) > self.params.uri_bytes_max:
            raise d.TOO_LONG("uri", len(uri.encode()), self.params.uri_bytes_max)
        if kind == Method.ATTESTED and self.params.council == ZERO_ADDRESS:
            raise d.NOT_SUPPORTED("ATTESTED: this chain has no council to judge disputed scores")
        royalty_max = self.params.royalty_bps_max
        check(min_royalty_bps <= royalty_max, "minRoyaltyBps", f"at most {royalty_max}")
        slots = frame.storage
        royalties, depth = found_lineage(slots, parents, self.params)
        tokenizer = self._check_uses(frame, uses)
        carried = inherited_uses(slots, royalties)
        require_all(_named(uses), carried)
        model_id = MODEL_COUNT.add(slots, 1)
        record = Model(
            owner=frame.sender,
            active=True,
            method=kind,
            min_royalty_bps=min_royalty_bps,
            depth=depth,
            ancestors=len(royalties),
            signer=signer,
            input_per_1k=input_per_1k,
            output_per_1k=output_per_1k,
            tokenizer=tokenizer,
            weights=weights,
        )
        MODELS.store(slots, record, model_id)
        MODEL_URIS.set_once(slots, uri.encode(), model_id)
        _store_uses(slots, model_id, uses, carried)
        if royalties:
            LINEAGES.replace(slots, royalties, model_id)
        frame.emit(d.MODEL_REGISTERED, model_id, frame.sender, weights)
        return model_id

    def _check_uses(self, frame: Frame, uses: tuple[Use, ...]) -> Hash32:
        """Uses must exist, be final, share a tokenizer and sum to all; returns the tokenizer."""
        if len(uses) > self.params.uses_max:
            raise d.TOO_LONG("uses", len(uses), self.params.uses_max)
        check(len(uses) > 0, "uses", "a model needs at least one")
        check(sum(use.bps for use in uses) == BPS, "uses", f"shares must sum to {BPS}")
        tokenizers = set()
        for use in uses:
            check(use.bps > 0, "uses", "each share must be positive")
            check(use.stage <= STAGE_MAX, "uses", f"stage must be 0 to {STAGE_MAX}")
            tokenizers.add(require_datanet(frame.storage, use.datanet_id).tokenizer)
            if require_version(frame.storage, use.datanet_id, use.version).block_number >= frame.block_number:
                raise d.VERSION_NOT_FINAL(use.datanet_id, use.version)
        check(len(tokenizers) == 1, "uses", "all uses of a model share one tokenizer")
        return tokenizers.pop()

    @method("setUses(uint64 modelId, Use[] uses)")
    def set_uses(self, frame: Frame, model_id: int, uses: tuple[Use, ...]) -> None:
        """Name the versions a model is built from anew, by its owner, for the inferences that follow: with all that it carries
        for its ancestors since it was registered, or with all that they use now, which it carries from then on."""
        slots = frame.storage
        record = require_model(slots, model_id)
        if frame.sender != record.owner:
            raise d.NOT_ALLOWED(frame.sender, "the model's owner")
        tokenizer = self._check_uses(frame, uses)
        check(tokenizer == record.tokenizer, "uses", "a model keeps its tokenizer")
        carried = carried_uses(slots, model_id)
        if carried - _named(uses):
            agreed = inherited_uses(slots, load_lineage(slots, model_id, record))
            require_all(_named(uses), carried if agreed - _named(uses) else agreed)
            carried = agreed
        _store_uses(slots, model_id, uses, carried)
        frame.emit(d.USES_SET, model_id)

    @method("transferModel(uint64 modelId, address to)")
    def transfer_model(self, frame: Frame, model_id: int, to: Address) -> None:
        """Offer a model to somebody, who becomes its owner by `acceptModel`; the zero address ends an offer."""
        if frame.sender != require_model(frame.storage, model_id).owner:
            raise d.NOT_ALLOWED(frame.sender, "the model's owner")
        offer(frame, MODEL_HEIRS, model_id, to, model=True)

    @method("acceptModel(uint64 modelId)")
    def accept_model(self, frame: Frame, model_id: int) -> None:
        """Take over a model that was offered to the caller. Signer, prices and lineage stay as they are."""
        record = require_model(frame.storage, model_id)
        take_offer(frame, MODEL_HEIRS, model_id, model=True)
        MODELS.store(frame.storage, replace(record, owner=frame.sender), model_id)

    @method("setModel(uint64 modelId, address signer, uint128 inputPer1k, uint128 outputPer1k, bool active)")
    def set_model(
        self, frame: Frame, model_id: int, signer: Address, input_per_1k: int, output_per_1k: int, active: bool
    ) -> None:
        """Change a model's signer (zero: none), prices and whether it takes inferences. By its owner."""
        record = require_model(frame.storage, model_id)
        if frame.sender != record.owner:
            raise d.NOT_ALLOWED(frame.sender, "the model's owner")
        record = replace(record, signer=signer, input_per_1k=input_per_1k, output_per_1k=output_per_1k, active=active)
        MODELS.store(frame.storage, record, model_id)
        frame.emit(d.MODEL_CHANGED, model_id, signer, input_per_1k, output_per_1k, active)

"""Datanets: who owns and curates them, their terms, which models they admit.

Tokenizer, minSpan and commitOnly never change, and `useMask` can only lose bits: contributors consented to no more. The
other terms are the owner's to change. `curatorBps`, `softCapBps` and `termsHash` act with the next version: each
version seals the terms it was published under, and its uses pay by these for good. `minFeePer1k` and admission act on
the next inference, `bondPerKiB` and `reviewSeconds` on the next upload. So who pays sends no more wei than the fee he
accepts: what is sent bounds what a changed price can take.
"""

from dataclasses import replace

from attribution_precompile import declarations as d
from attribution_precompile.declarations import DatanetParams, Role
from attribution_precompile.layout import (
    ALLOWED,
    BOND_PRICES,
    DATANET_COUNT,
    DATANET_HEIRS,
    DATANET_URIS,
    DATANETS,
    ROLES,
    Datanet,
)
from attribution_precompile.methods.base import (
    USE_MASK_BITS,
    AttributionBase,
    check,
    offer,
    require_datanet,
    require_model,
    require_role,
    take_offer,
)
from attribution_precompile.rules.tokens import MAX_SPAN, MIN_SPAN
from evm_runtime.native import Frame, method
from genesis.emission import BPS
from genesis.primitives import ZERO_ADDRESS, ZERO_HASH, Address


class DatanetMethods(AttributionBase):
    """The part of the contract that keeps datanets."""

    @method("createDatanet(DatanetParams params) returns (uint64 datanetId)")
    def create_datanet(self, frame: Frame, params: DatanetParams) -> int:
        """Open a datanet, owned by the caller. Tokenizer and minSpan are immutable."""
        self._check_params(params)
        slots = frame.storage
        datanet_id = DATANET_COUNT.add(slots, 1)
        record = Datanet(
            owner=frame.sender,
            min_span=params.min_span,
            open_to_models=params.open_to_models,
            commit_only=params.commit_only,
            curator_bps=params.curator_bps,
            soft_cap_bps=params.soft_cap_bps,
            review_seconds=params.review_seconds,
            min_fee_per_1k=params.min_fee_per_1k,
            use_mask=params.use_mask,
            versions=0,
            contributions=0,
            terms_hash=params.terms_hash,
            tokenizer=params.tokenizer,
        )
        DATANETS.store(slots, record, datanet_id)
        DATANET_URIS.set_once(slots, params.uri.encode(), datanet_id)
        if params.bond_per_kib:
            BOND_PRICES.set(slots, params.bond_per_kib, datanet_id)
        frame.emit(d.DATANET_CREATED, datanet_id, frame.sender, params.terms_hash)
        return datanet_id

    @method("setDatanet(uint64 datanetId, DatanetParams params)")
    def set_datanet(self, frame: Frame, datanet_id: int, params: DatanetParams) -> None:
        """Change a datanet's terms, by its owner; tokenizer, minSpan and commitOnly stay, useMask only loses bits."""
        slots = frame.storage
        datanet = require_datanet(slots, datanet_id)
        if frame.sender != datanet.owner:
            raise d.NOT_ALLOWED(frame.sender, "the datanet's owner")
        self._check_params(params)
        check(params.tokenizer == datanet.tokenizer, "tokenizer", "it never changes: open another datanet")
        check(params.min_span == datanet.min_span, "minSpan", "it never changes: open another datanet")
        check(params.commit_only == datanet.commit_only, "commitOnly", "it never changes: open another datanet")
        check(
            params.use_mask & ~datanet.use_mask == 0, "useMask", "contributors consented to no more: bits can only go"
        )
        record = replace(
            datanet,
            open_to_models=params.open_to_models,
            curator_bps=params.curator_bps,
            soft_cap_bps=params.soft_cap_bps,
            review_seconds=params.review_seconds,
            min_fee_per_1k=params.min_fee_per_1k,
            use_mask=params.use_mask,
            terms_hash=params.terms_hash,
        )
        DATANETS.store(slots, record, datanet_id)
        DATANET_URIS.set(slots, params.uri.encode(), datanet_id)
        BOND_PRICES.set(slots, params.bond_per_kib, datanet_id)
        frame.emit(d.DATANET_CHANGED, datanet_id, params.terms_hash)

    @method("transferDatanet(uint64 datanetId, address to)")
    def transfer_datanet(self, frame: Frame, datanet_id: int, to: Address) -> None:
        """Offer a datanet to somebody, who becomes its owner by `acceptDatanet`; the zero address ends an offer."""
        datanet = require_datanet(frame.storage, datanet_id)
        if frame.sender != datanet.owner:
            raise d.NOT_ALLOWED(frame.sender, "the datanet's owner")
        offer(frame, DATANET_HEIRS, datanet_id, to, model=False)

    @method("acceptDatanet(uint64 datanetId)")
    def accept_datanet(self, frame: Frame, datanet_id: int) -> None:
        """Take over a datanet that was offered to the caller. Roles and terms stay as they are."""
        datanet = require_datanet(frame.storage, datanet_id)
        take_offer(frame, DATANET_HEIRS, datanet_id, model=False)
        DATANETS.store(frame.storage, replace(datanet, owner=frame.sender), datanet_id)

    def _check_params(self, params: DatanetParams) -> None:
        limits = self.params
        uri_bytes = len(params.uri.encode())
        if uri_bytes > limits.uri_bytes_max:
            raise d.TOO_LONG("uri", uri_bytes, limits.uri_bytes_max)
        check(params.tokenizer != ZERO_HASH, "tokenizer", "name words-v1 or a uint32 vocabulary")
        least = limits.committed_span_min if params.commit_only else MIN_SPAN
        check(least <= params.min_span <= MAX_SPAN, "minSpan", f"{least} to {MAX_SPAN} tokens")
        check(params.use_mask < 1 << USE_MASK_BITS, "useMask", f"only the lowest {USE_MASK_BITS} bits have a meaning")
        check(
            params.curator_bps <= limits.curator_bps_max,
            "curatorBps",
            f"at most {limits.curator_bps_max} on this chain",
        )
        least_cap = limits.soft_cap_bps_min
        check(least_cap <= params.soft_cap_bps <= BPS, "softCapBps", f"{least_cap} to {BPS}; {BPS} caps nothing")
        check(
            params.review_seconds <= limits.review_seconds_max,
            "reviewSeconds",
            f"at most {limits.review_seconds_max} on this chain",
        )

    @method("setRole(uint64 datanetId, address who, Role role)")
    def set_role(self, frame: Frame, datanet_id: int, who: Address, role: Role) -> None:
        """Give or take a role: the owner any, an ADMIN that of CURATOR."""
        datanet = require_datanet(frame.storage, datanet_id)
        check(who != ZERO_ADDRESS, "who", "nobody holds the zero address")
        current = Role(ROLES.get(frame.storage, datanet_id, who))
        if frame.sender != datanet.owner:
            if Role.ADMIN in (current, role):
                raise d.NOT_ALLOWED(frame.sender, "the datanet's owner")
            require_role(frame, datanet_id, datanet, Role.ADMIN)
        ROLES.set(frame.storage, int(role), datanet_id, who)
        frame.emit(d.ROLE_SET, datanet_id, who, role)

    @method("allowModel(uint64 datanetId, uint64 modelId, bool allowed)")
    def allow_model(self, frame: Frame, datanet_id: int, model_id: int, allowed: bool) -> None:
        """Admit a model to a datanet that isn't open to all, or end its admission. By the owner or an ADMIN."""
        datanet = require_datanet(frame.storage, datanet_id)
        require_role(frame, datanet_id, datanet, Role.ADMIN)
        require_model(frame.storage, model_id)
        ALLOWED.set(frame.storage, int(allowed), datanet_id, model_id)
        frame.emit(d.MODEL_ALLOWED, datanet_id, model_id, allowed)

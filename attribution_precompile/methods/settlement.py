"""What every paid inference does, whatever its method: admission, fee, receipt, and the parts of the fee (rules 10 to 12).

The contributors' part is matched from the reserve (`genesis/emission.py`, ADR 18): by at most half of what the same receipt
burned and sent to the treasury by its fixed parts, and by nothing where the payer is the treasury. What is matched is divided
together with the contributors' part and is covered by a withdrawal at the end of the block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Method
from attribution_precompile.layout import (
    ALLOWED,
    CONTRIBUTIONS,
    RECEIPT_COUNT,
    RECEIPTS,
    STAKERS,
    VERSIONS,
    Model,
    ModelUse,
    Receipt,
)
from attribution_precompile.methods.agents import agent_people, require_usable, spend
from attribution_precompile.methods.attribute import LoadedUse, load_uses
from attribution_precompile.methods.base import check, require_model
from attribution_precompile.methods.lineage import load_lineage, royalties_due
from attribution_precompile.methods.money import burn, credit
from attribution_precompile.methods.pool_books import pay_pool
from attribution_precompile.rules.division import UseTerms, divide
from attribution_precompile.rules.fees import FeeParts, quote, split_fee
from attribution_precompile.rules.span import Attribution
from evm_runtime.native import Frame, Slots
from evm_runtime.native.reserve import draw
from genesis.chain_spec import ATTRIBUTION_ADDRESS, AttributionParams
from genesis.emission import match_of
from genesis.primitives import Address, Hash32, Wei, abi_words, keccak256

FEE_BITS: Final = 96
"""The bits of a fee in a receipt: 79 times the greatest supply. Only calls on made-up balances can exceed it."""


@dataclass(frozen=True, slots=True)
class Order:
    """An inference that may be paid for: its model with its uses, and the agent that pays (0: the caller does)."""

    model_id: int
    model: Model
    uses: list[LoadedUse]
    agent_id: int


@dataclass(frozen=True, slots=True)
class Scored:
    """What a receipt keeps of an attribution."""

    tokens: int
    unmatched: int
    scores_hash: Hash32


def receipt_id_of(chain_id: int, number: int) -> Hash32:
    """The id of a chain's `number`th inference, counted from 1."""
    return keccak256(abi_words(chain_id, ATTRIBUTION_ADDRESS, number))


def admit(frame: Frame, model_id: int, agent_id: int, methods: tuple[Method, ...]) -> Order:
    """The model must be active, of one of the methods, admitted by its datanets, and on the agent's list if one pays."""
    model = require_model(frame.storage, model_id)
    if model.method not in methods:
        raise d.WRONG_METHOD(model_id, model.method)
    if not model.active:
        raise d.MODEL_INACTIVE(model_id)
    if agent_id:
        require_usable(frame, agent_id, model_id)
    uses = load_uses(frame.storage, model_id)
    for loaded in uses:
        datanet_id = loaded.use.datanet_id
        if not loaded.datanet.open_to_models and not ALLOWED.get(frame.storage, datanet_id, model_id):
            raise d.MODEL_NOT_ALLOWED(datanet_id, model_id)
    return Order(model_id, model, uses, agent_id)


def fee_of(model: Model, uses: list[LoadedUse], input_tokens: int, output_tokens: int) -> Wei:
    floors = [loaded.datanet.min_fee_per_1k for loaded in uses]
    return quote(model.input_per_1k, model.output_per_1k, floors, input_tokens, output_tokens)


def take_fee(frame: Frame, order: Order, input_tokens: int, output_tokens: int, sent: Wei) -> Wei:
    """The fee, taken out of the wei sent, or out of the deposit of the agent that pays."""
    fee = fee_of(order.model, order.uses, input_tokens, output_tokens)
    if not order.agent_id and sent < fee:
        raise d.FEE_TOO_LOW(fee, sent)
    check(fee < 1 << FEE_BITS, "fee", "more wei than there are")
    if order.agent_id:
        spend(frame, order.agent_id, fee)
    return fee


def write_receipt(frame: Frame, chain_id: int, order: Order, fee: Wei, scored: Scored) -> Hash32:
    receipt_id = receipt_id_of(chain_id, RECEIPT_COUNT.add(frame.storage, 1))
    record = Receipt(
        model_id=order.model_id,
        agent_id=order.agent_id,
        block_number=frame.block_number,
        tokens=scored.tokens,
        unmatched=scored.unmatched,
        payer=frame.sender,
        fee=fee,
        scores_hash=scored.scores_hash,
    )
    RECEIPTS.store(frame.storage, record, receipt_id)
    frame.emit(d.INFERRED, receipt_id, order.model_id, frame.sender, fee, scored.tokens, scored.unmatched)
    return receipt_id


def load_terms(slots: Slots, uses: Sequence[ModelUse]) -> list[UseTerms]:
    """The terms that each use pays by: those sealed with its version."""
    terms = []
    for use in uses:
        curator_bps, soft_cap_bps = (
            VERSIONS.load_field(slots, name, use.datanet_id, use.version) for name in ("curator_bps", "soft_cap_bps")
        )
        terms.append(UseTerms(use.bps, curator_bps, soft_cap_bps))
    return terms


def pay_use(frame: Frame, receipt_id: Hash32, use: ModelUse, amount: Wei) -> Wei:
    """Pay the pool of a use's version; returns what is the treasury's, for want of weight (all or nothing)."""
    unplaced = pay_pool(frame.storage, use.datanet_id, use.version, amount)
    if amount > unplaced:
        frame.emit(d.POOLED, receipt_id, use.datanet_id, use.version, amount)
    return unplaced


class Settlement:
    """A fee on its way to whom it belongs: credits are gathered, and written once by `close`.

    It takes all parts of the fee but the contributors', matches these, and offers them as `contributors`; one of `divide` and
    `hold` says what becomes of them.
    """

    def __init__(
        self, frame: Frame, params: AttributionParams, treasury: Address, receipt_id: Hash32, order: Order, fee: Wei
    ) -> None:
        self._frame = frame
        self._params = params
        self._treasury = treasury
        self._receipt_id = receipt_id
        self._order = order
        self._owed: dict[Address, int] = {}
        parts = split_fee(fee, params)
        self.contributors: Final = Wei(parts.contributors + self._match(parts))
        self._pay_owners(parts)
        self._add(treasury, parts.treasury)
        if parts.stakers:
            STAKERS.add(frame.storage, parts.stakers)
        burn(frame, parts.burn)

    def _add(self, who: Address, amount: int) -> None:
        self._owed[who] = self._owed.get(who, 0) + amount

    def _match(self, parts: FeeParts) -> Wei:
        frame, agent_id = self._frame, self._order.agent_id
        payers = {frame.sender, *(agent_people(frame, agent_id) if agent_id else ())}
        if self._treasury in payers or parts.burn == 0:
            return Wei(0)
        frame.charge(gas.MATCH, "matching")
        matched = draw(frame.state, match_of(parts.burn, parts.treasury))
        if matched:
            frame.emit(d.MATCHED, self._receipt_id, matched)
        return matched

    def _pay_owners(self, parts: FeeParts) -> None:
        frame, order = self._frame, self._order
        owner_part = parts.owner
        if owner_part:
            frame.charge(gas.royalty_gas(order.model.ancestors), "royalties")
            royalties = load_lineage(frame.storage, order.model_id, order.model)
            for ancestor, owner, amount in royalties_due(frame.storage, royalties, parts.owner):
                self._add(owner, amount)
                owner_part = Wei(owner_part - amount)
                frame.emit(d.ROYALTY_PAID, self._receipt_id, ancestor, amount)
        self._add(order.model.owner, owner_part)

    def divide(self, found: Attribution, use_of: Mapping[int, int]) -> None:
        """Give the contributors' part to those scored and to the pools."""
        frame = self._frame
        frame.charge(gas.settlement_gas(min(len(found.scores), self._params.payees_max)), "settlement")
        division = divide(self.contributors, found, self._terms(), use_of, self._params.payees_max)
        for payment in division.payments:
            payout = CONTRIBUTIONS.load_field(frame.storage, "payout", payment.contribution)
            self._add(payout, payment.amount)
            attributed = (payment.contribution, payout, payment.tokens, payment.amount)
            frame.emit(d.ATTRIBUTED, self._receipt_id, *attributed)
        self._pay_uses(division.curators, division.pools)

    def hold(self) -> Wei:
        """Give curators their share, and leave the rest of the contributors' part, which is returned, to be held."""
        division = divide(self.contributors, Attribution(1, ()), self._terms(), {}, 0)
        self._pay_uses(division.curators, (Wei(0),) * len(division.pools))
        return Wei(sum(division.pools))

    def _terms(self) -> list[UseTerms]:
        return load_terms(self._frame.storage, [loaded.use for loaded in self._order.uses])

    def _pay_uses(self, curators: tuple[Wei, ...], pools: tuple[Wei, ...]) -> None:
        for loaded, curators_part, pool_part in zip(self._order.uses, curators, pools, strict=True):
            self._add(loaded.datanet.owner, curators_part)
            self._add(self._treasury, pay_use(self._frame, self._receipt_id, loaded.use, pool_part))

    def close(self) -> None:
        credit(self._frame.storage, self._owed)

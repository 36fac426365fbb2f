"""Inferences: attribute an output and pay for it, in one call.

`infer` does, in this order: check model and terms; count the output's tokens; check the signer's signature if the model names
one; check the fee; attribute (rules 6 to 9); write the receipt; divide and credit the fee (rules 10 to 12, `settlement.py`).
"""

from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.agents import require_usable, spend
from attribution_precompile.base import AttributionBase, check, require_model
from attribution_precompile.declarations import TYPES, Call, Score
from attribution_precompile.fees import quote, split_fee
from attribution_precompile.layout import (
    ALLOWED,
    CONTRIBUTIONS,
    NONCES,
    RECEIPT_COUNT,
    RECEIPTS,
    STAKERS,
    Model,
    Receipt,
)
from attribution_precompile.lineage import load_lineage, royalties_due
from attribution_precompile.money import burn, credit, pay_pool
from attribution_precompile.settlement import UseTerms, divide
from attribution_precompile.signing import SignatureError, inference_digest, recover_signer
from attribution_precompile.span import Attribution
from attribution_precompile.tokens import TextError, Tokens, tokenize
from attribution_precompile.tracing import LoadedUse, Traced, load_uses, trace_tokens
from evm_runtime.native import Frame, array, method
from evm_runtime.native.abi import encode
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import ZERO_ADDRESS, Address, Hash32, Wei, abi_words, keccak256

FEE_BITS: Final = 96
"""Of a fee in a receipt: 79 times the greatest supply. Only calls on made-up balances can exceed it."""
_SCORES: Final = array(TYPES["Score"])


def receipt_id_of(chain_id: int, number: int) -> Hash32:
    """The id of a chain's `number`th inference, counted from 1."""
    return keccak256(abi_words(chain_id, ATTRIBUTION_ADDRESS, number))


def scores_hash(attribution: Attribution) -> Hash32:
    """keccak(abi.encode(Score[])) over all scores, best first: what a receipt keeps of them."""
    return keccak256(encode([_SCORES], [attribution.scores]))


class InferenceMethods(AttributionBase):
    """The part of the contract that attributes outputs and takes fees."""

    @method(
        "quote(uint64 modelId, uint32 inputTokens, uint32 outputTokens) returns (uint256 fee)",
        view=True,
    )
    def quote(self, frame: Frame, model_id: int, input_tokens: int, output_tokens: int) -> int:
        """The fee of an inference in wei: the model's price, but at least the sum of its datanets' floors."""
        model = require_model(frame.storage, model_id)
        return self._fee(model, load_uses(frame.storage, model_id), input_tokens, output_tokens)

    @method(
        "trace(uint64 modelId, bytes output) returns (Score[] scores, uint256 tokens, uint256 unmatched)",
        view=True,
        gas=lambda _model, output: gas.output_gas(len(output)),
    )
    def trace(self, frame: Frame, model_id: int, output: bytes) -> tuple[tuple[Score, ...], int, int]:
        """Which contributions an output comes from, in tokens credited, best first; pays nothing."""
        model = require_model(frame.storage, model_id)
        uses = load_uses(frame.storage, model_id)
        found = self._trace(frame, uses, self._tokens(model, output)).attribution
        return tuple(Score(*score) for score in found.scores), found.tokens, found.unmatched

    @method(
        "infer(Call call) returns (bytes32 receiptId)",
        payable=True,
        gas=lambda call: gas.output_gas(len(call.output)),
    )
    def infer(self, frame: Frame, call: Call) -> Hash32:
        """Attribute an output and pay for it in OPEN; what is sent above the fee is credited back to the caller. With an
        agentId the fee comes out of that agent's deposit."""
        receipt_id, taken = self._infer(frame, call, frame.value)
        credit(frame.storage, {frame.sender: frame.value - taken})
        return receipt_id

    @method(
        "inferBatch(Call[] calls) returns (bytes32[] receiptIds)",
        payable=True,
        gas=lambda calls: sum(gas.output_gas(len(call.output)) for call in calls),
    )
    def infer_batch(self, frame: Frame, calls: tuple[Call, ...]) -> tuple[Hash32, ...]:
        """Several inferences paid together: all of them, or none."""
        receipts = []
        left = frame.value
        for call in calls:
            receipt_id, taken = self._infer(frame, call, left)
            receipts.append(receipt_id)
            left = Wei(left - taken)
        credit(frame.storage, {frame.sender: left})
        return tuple(receipts)

    # ---------------------------------------------------------------- the steps

    def _infer(self, frame: Frame, call: Call, sent: Wei) -> tuple[Hash32, Wei]:
        """The receipt, and what was taken of the wei sent: the fee, or nothing where an agent pays."""
        model = require_model(frame.storage, call.model_id)
        if not model.active:
            raise d.MODEL_INACTIVE(call.model_id)
        if call.agent_id:
            require_usable(frame, call.agent_id, call.model_id)
        uses = load_uses(frame.storage, call.model_id)
        for loaded in uses:
            datanet_id = loaded.use.datanet_id
            if not loaded.datanet.open_to_models and not ALLOWED.get(frame.storage, datanet_id, call.model_id):
                raise d.MODEL_NOT_ALLOWED(datanet_id, call.model_id)
        tokens = self._tokens(model, call.output)
        self._check_signature(frame, model, call)
        fee = self._fee(model, uses, call.input_tokens, len(tokens))
        if not call.agent_id and sent < fee:
            raise d.FEE_TOO_LOW(fee, sent)
        check(fee < 1 << FEE_BITS, "fee", "more wei than there are")
        if call.agent_id:
            spend(frame, call.agent_id, fee)
        traced = self._trace(frame, uses, tokens)
        receipt_id = self._write_receipt(frame, call, fee, traced.attribution)
        self._settle(frame, receipt_id, call.model_id, model, uses, fee, traced)
        return receipt_id, Wei(0) if call.agent_id else fee

    def _tokens(self, model: Model, output: bytes) -> Tokens:
        """Rule 6: 1 <= n <= the chain's limit, else revert."""
        if len(output) > self.params.call_bytes_max:
            raise d.TOO_LONG("output (bytes)", len(output), self.params.call_bytes_max)
        try:
            tokens = tokenize(output, model.tokenizer)
        except TextError as error:
            raise d.INVALID_CONTENT(str(error)) from None
        if len(tokens) > self.params.output_tokens_max:
            raise d.TOO_LONG("output (tokens)", len(tokens), self.params.output_tokens_max)
        if len(tokens) == 0:
            raise d.TOO_SHORT("output (tokens)", 0, 1)
        return tokens

    def _check_signature(self, frame: Frame, model: Model, call: Call) -> None:
        signed = call.signed
        if model.signer == ZERO_ADDRESS:
            if signed.signature:
                raise d.BAD_SIGNATURE("the model names no signer: leave the signature empty")
            return
        frame.charge(gas.SIGNATURE, "signature")
        if frame.timestamp > signed.deadline:
            raise d.SIGNATURE_EXPIRED(signed.deadline, frame.timestamp)
        digest = inference_digest(
            self.chain_id,
            model_id=call.model_id,
            payer=frame.sender,
            prompt_hash=call.prompt_hash,
            input_tokens=call.input_tokens,
            output=call.output,
            nonce=signed.nonce,
            deadline=signed.deadline,
        )
        try:
            signer = recover_signer(digest, signed.signature)
        except SignatureError as error:
            raise d.BAD_SIGNATURE(str(error)) from None
        if signer != model.signer:
            raise d.BAD_SIGNATURE("not by the model's signer")
        word, bit = signed.nonce >> 8, 1 << (signed.nonce & 0xFF)
        used = NONCES.get(frame.storage, call.model_id, word)
        if used & bit:
            raise d.NONCE_USED(call.model_id, signed.nonce)
        NONCES.set(frame.storage, used | bit, call.model_id, word)

    def _fee(self, model: Model, uses: list[LoadedUse], input_tokens: int, output_tokens: int) -> Wei:
        floors = [loaded.datanet.min_fee_per_1k for loaded in uses]
        return quote(model.input_per_1k, model.output_per_1k, floors, input_tokens, output_tokens)

    def _trace(self, frame: Frame, uses: list[LoadedUse], tokens: Tokens) -> Traced:
        frame.charge(gas.trace_gas(len(tokens), len(uses)), "attribution")
        return trace_tokens(
            frame.plain,
            frame.state,
            self.index,
            uses,
            tokens,
            block_number=frame.block_number,
            charge=frame.charge,
        )

    def _write_receipt(self, frame: Frame, call: Call, fee: Wei, found: Attribution) -> Hash32:
        number = RECEIPT_COUNT.add(frame.storage, 1)
        receipt_id = receipt_id_of(self.chain_id, number)
        record = Receipt(
            model_id=call.model_id,
            agent_id=call.agent_id,
            block_number=frame.block_number,
            tokens=found.tokens,
            unmatched=found.unmatched,
            payer=frame.sender,
            fee=fee,
            scores_hash=scores_hash(found),
        )
        RECEIPTS.store(frame.storage, record, receipt_id)
        frame.emit(d.INFERRED, receipt_id, call.model_id, frame.sender, fee, found.tokens, found.unmatched)
        return receipt_id

    def _settle(
        self,
        frame: Frame,
        receipt_id: Hash32,
        model_id: int,
        model: Model,
        uses: list[LoadedUse],
        fee: Wei,
        traced: Traced,
    ) -> None:
        slots, found = frame.storage, traced.attribution
        frame.charge(gas.settlement_gas(min(len(found.scores), self.params.payees_max)), "settlement")
        parts = split_fee(fee, self.params)
        terms = [UseTerms(x.use.datanet_id, x.use.bps, x.datanet.curator_bps, x.datanet.soft_cap_bps) for x in uses]
        division = divide(parts.contributors, found, terms, traced.datanet_of, self.params.payees_max)
        owed: dict[Address, int] = {}

        def add(who: Address, amount: int) -> None:
            owed[who] = owed.get(who, 0) + amount

        for payment in division.payments:
            payout = CONTRIBUTIONS.load_field(slots, "payout", payment.contribution)
            add(payout, payment.amount)
            frame.emit(d.ATTRIBUTED, receipt_id, payment.contribution, payout, payment.tokens, payment.amount)
        for loaded, curators_part, pool_part in zip(uses, division.curators, division.pools, strict=True):
            add(loaded.datanet.owner, curators_part)
            unplaced = pay_pool(slots, loaded.use.datanet_id, pool_part)
            add(self.treasury, unplaced)
            if pool_part > unplaced:
                frame.emit(d.POOLED, receipt_id, loaded.use.datanet_id, pool_part)
        owner_part = parts.owner
        if owner_part:
            frame.charge(gas.royalty_gas(model.ancestors), "royalties")
            royalties = load_lineage(slots, model_id, model)
            for ancestor, owner, amount in royalties_due(slots, royalties, parts.owner):
                add(owner, amount)
                owner_part = Wei(owner_part - amount)
                frame.emit(d.ROYALTY_PAID, receipt_id, ancestor, amount)
        add(model.owner, owner_part)
        add(self.treasury, parts.treasury)
        credit(slots, owed)
        if parts.stakers:
            STAKERS.add(slots, parts.stakers)
        burn(frame, parts.burn)

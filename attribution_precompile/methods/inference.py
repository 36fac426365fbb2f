"""Inferences whose output is on chain: attribute it and pay for it, in one call (SPAN, and POOL, which asks nobody).

`infer` does, in this order: check model and terms; count the output's tokens; check the signer's signature if the model names
one; check the fee; attribute (rules 6 to 9); write the receipt; divide and credit the fee (rules 10 to 12, `payments.py`).
"""

from collections.abc import Mapping
from itertools import chain
from typing import Final

import numpy as np

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import Call, Method, Score
from attribution_precompile.layout import Model
from attribution_precompile.methods.attribute import LoadedUse, load_uses, trace_tokens
from attribution_precompile.methods.base import AttributionBase, require_model
from attribution_precompile.methods.money import credit
from attribution_precompile.methods.settlement import Scored, Settlement, admit, fee_of, take_fee, write_receipt
from attribution_precompile.methods.signing import check_signature, inference_digest
from attribution_precompile.rules.span import Attribution
from attribution_precompile.rules.tokens import TextError, Tokens, tokenize
from evm_runtime.native import Frame, method
from genesis.primitives import Hash32, Wei, abi_words, keccak256

ON_CHAIN: Final = (Method.SPAN, Method.POOL)
"""Methods for which the output itself is given."""
_WORD: Final = 32


def scores_hash(attribution: Attribution) -> Hash32:
    """keccak(abi.encode(Score[])) over all scores, best first: what a receipt keeps of them."""
    count = len(attribution.scores)
    words = np.zeros((2 * count, _WORD // 8), ">u8")
    words[:, -1] = np.fromiter(chain.from_iterable(attribution.scores), np.uint64, 2 * count)
    return keccak256(abi_words(_WORD, count) + words.tobytes())


class InferenceMethods(AttributionBase):
    """The part of the contract that attributes outputs and takes fees."""

    @method(
        "quote(uint64 modelId, uint32 inputTokens, uint32 outputTokens) returns (uint256 fee)",
        view=True,
    )
    def quote(self, frame: Frame, model_id: int, input_tokens: int, output_tokens: int) -> int:
        """The fee of an inference in wei: the model's price, but at least the sum of its datanets' floors."""
        model = require_model(frame.storage, model_id)
        return fee_of(model, load_uses(frame.storage, model_id), input_tokens, output_tokens)

    @method(
        "trace(uint64 modelId, bytes output) returns (Score[] scores, uint256 tokens, uint256 unmatched)",
        view=True,
        gas=lambda _model, output: gas.output_gas(len(output)),
    )
    def trace(self, frame: Frame, model_id: int, output: bytes) -> tuple[tuple[Score, ...], int, int]:
        """Which contributions an output comes from, in tokens credited, best first; pays nothing."""
        model = require_model(frame.storage, model_id)
        if model.method not in ON_CHAIN:
            raise d.WRONG_METHOD(model_id, model.method)
        uses = load_uses(frame.storage, model_id)
        found, _ = self._trace(frame, model.method, uses, self._tokens(model, output))
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
        order = admit(frame, call.model_id, call.agent_id, ON_CHAIN)
        tokens = self._tokens(order.model, call.output)
        check_signature(frame, order.model_id, order.model, call.signed, lambda: self._digest(frame, call))
        fee = take_fee(frame, order, call.input_tokens, len(tokens), sent)
        found, use_of = self._trace(frame, order.model.method, order.uses, tokens)
        scored = Scored(found.tokens, found.unmatched, scores_hash(found))
        receipt_id = write_receipt(frame, self.chain_id, order, fee, scored)
        settlement = Settlement(frame, self.params, self.treasury, receipt_id, order, fee)
        settlement.divide(found, use_of)
        settlement.close()
        return receipt_id, Wei(0) if call.agent_id else fee

    def _digest(self, frame: Frame, call: Call) -> Hash32:
        return inference_digest(
            self.chain_id,
            model_id=call.model_id,
            payer=frame.sender,
            prompt_hash=call.prompt_hash,
            input_tokens=call.input_tokens,
            output=call.output,
            nonce=call.signed.nonce,
            deadline=call.signed.deadline,
        )

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

    def _trace(
        self, frame: Frame, kind: Method, uses: list[LoadedUse], tokens: Tokens
    ) -> tuple[Attribution, Mapping[int, int]]:
        """An attribution, and the use that each contribution in it belongs to."""
        if kind == Method.POOL:
            return Attribution(len(tokens), ()), {}
        frame.charge(gas.trace_gas(len(tokens), len(uses)), "attribution")
        traced = trace_tokens(self.index.at(frame.state.base), uses, tokens, frame.charge)
        return traced.attribution, traced.use_of

"""What an inference costs, and how the fee splits in basis points (chain parameters). Exact to the wei."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from genesis.chain_spec import AttributionParams
from genesis.emission import BPS
from genesis.errors import InvariantError
from genesis.primitives import Wei

PER: Final = 1_000
"""Prices are per 1,000 tokens."""


@dataclass(frozen=True, slots=True)
class FeeParts:
    """The parts of a fee; they sum to it. What rounding leaves over is the contributors'."""

    burn: Wei
    treasury: Wei
    stakers: Wei
    owner: Wei
    contributors: Wei


def quote(
    input_per_1k: int, output_per_1k: int, floors_per_1k: Sequence[int], input_tokens: int, output_tokens: int
) -> Wei:
    """The price of an inference: the model's own, but at least the sum of its uses' floors; each rounded up to the wei."""
    price = _per_thousand(input_per_1k * input_tokens + output_per_1k * output_tokens)
    floor = _per_thousand(sum(floors_per_1k) * output_tokens)
    return Wei(max(price, floor))


def _per_thousand(amount: int) -> int:
    return -(-amount // PER)


def split_fee(fee: Wei, params: AttributionParams) -> FeeParts:
    """Each part is rounded down, the contributors get the rest."""
    burn = fee * params.burn_bps // BPS
    treasury = fee * params.treasury_bps // BPS
    stakers = fee * params.stakers_bps // BPS
    owner = fee * params.owner_bps // BPS
    rest = fee - burn - treasury - stakers - owner
    if rest < 0:
        raise InvariantError("the parts of a fee exceed it")
    return FeeParts(Wei(burn), Wei(treasury), Wei(stakers), Wei(owner), Wei(rest))

"""Rules 10 to 12: the contributors' part of a fee, divided. Pure; every division's parts sum to the whole.

Order of the division, with C the contributors' part:

1. curators: each use's share of C (floor), times its datanet's curator share (floor), to the datanet's owner;
2. C_span = C * M // n for the matched tokens, C_pool the rest;
3. the best 64 contributions share C_64 = C_span * S_64 // M by largest remainder; C_span - C_64 joins C_pool;
4. what a contribution gets above its datanet's soft cap (a share of C after curators) joins C_pool;
5. C_pool goes over the uses by their shares (floor; the rest to the first), each to its datanet's pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attribution_precompile.span import Attribution
from genesis.emission import BPS
from genesis.errors import InvariantError
from genesis.primitives import Wei


@dataclass(frozen=True, slots=True)
class UseTerms:
    """What settlement needs of a use: its share of the model, and its datanet's terms. All in basis points."""

    datanet_id: int
    bps: int
    curator_bps: int
    soft_cap_bps: int


@dataclass(frozen=True, slots=True)
class Payment:
    """One contribution's part: its credited tokens and wei."""

    contribution: int
    tokens: int
    amount: Wei


@dataclass(frozen=True, slots=True)
class Division:
    """The contributors' part, divided: `curators` and `pools` hold one amount for each use, in order."""

    curators: tuple[Wei, ...]
    payments: tuple[Payment, ...]
    pools: tuple[Wei, ...]

    @property
    def total(self) -> int:
        return sum(self.curators) + sum(payment.amount for payment in self.payments) + sum(self.pools)


def divide(
    amount: Wei, attribution: Attribution, uses: Sequence[UseTerms], datanet_of: Mapping[int, int], payees_max: int
) -> Division:
    """Divide the contributors' part of a fee. `datanet_of` gives the datanet of each scored contribution."""
    curators = tuple(Wei(amount * use.bps // BPS * use.curator_bps // BPS) for use in uses)
    net = amount - sum(curators)
    matched, tokens = attribution.matched, attribution.tokens
    span_part = net * matched // tokens
    best = attribution.scores[:payees_max]
    best_tokens = sum(score for _, score in best)
    best_part = span_part * best_tokens // matched if matched else 0
    caps = {use.datanet_id: net * use.soft_cap_bps // BPS for use in uses}
    payments = []
    for (contribution, score), share in zip(
        best, largest_remainder(best_part, [score for _, score in best]), strict=True
    ):
        payments.append(Payment(contribution, score, Wei(min(share, caps[datanet_of[contribution]]))))
    pool_part = net - sum(payment.amount for payment in payments)
    division = Division(curators, tuple(payments), split_pool(Wei(pool_part), [use.bps for use in uses]))
    if division.total != amount or pool_part < 0:
        raise InvariantError(f"{division.total} wei were divided out of {amount}")
    return division


def largest_remainder(amount: int, weights: Sequence[int]) -> list[int]:
    """`amount` in proportion to `weights`: floors, and one more for the largest remainders, ties in the order given."""
    total = sum(weights)
    if total == 0:
        return [0] * len(weights)
    shares = [amount * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(amount * weights[i] % total))
    for i in by_remainder[: amount - sum(shares)]:
        shares[i] += 1
    return shares


def split_pool(amount: Wei, shares_bps: Sequence[int]) -> tuple[Wei, ...]:
    """Rule 12's first half: over the uses by their shares, floor; the rest to the first."""
    parts = [amount * bps // BPS for bps in shares_bps]
    parts[0] += amount - sum(parts)
    return tuple(Wei(part) for part in parts)

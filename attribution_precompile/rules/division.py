"""Rules 10 to 12: the contributors' part of a fee, divided. Pure; every division's parts sum to the whole.

Order of the division, with C the contributors' part:

1. curators: each use's share of C (floor), times its version's curator share (floor), to the datanet's owner;
2. C_span = C * M // n for the matched tokens, C_pool the rest;
3. the best 64 contributions share C_64 = C_span * S_64 // M by largest remainder; C_span - C_64 joins C_pool;
4. what a contribution gets above its version's soft cap (a share of C after curators) goes to the others of the same
   use, by largest remainder over their scores; each takes of it at most what its own score gave it, and at most up to
   the cap;
5. C_pool goes over the uses by their shares (floor; the rest to the first), each to its version's pool; what step 4
   could not place goes to the pool of the version whose cap took it.

A contribution belongs to the first use (in the model's order) that credits it with a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attribution_precompile.rules.span import Attribution
from genesis.emission import BPS
from genesis.errors import InvariantError
from genesis.primitives import Wei


@dataclass(frozen=True, slots=True)
class UseTerms:
    """What settlement needs of a use, in basis points: its share of the model, and the terms sealed with its version."""

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
    amount: Wei, attribution: Attribution, uses: Sequence[UseTerms], use_of: Mapping[int, int], payees_max: int
) -> Division:
    """Divide the contributors' part of a fee. `use_of` gives the place of each scored contribution's use."""
    curators = tuple(Wei(amount * use.bps // BPS * use.curator_bps // BPS) for use in uses)
    net = amount - sum(curators)
    matched, tokens = attribution.matched, attribution.tokens
    span_part = net * matched // tokens
    best = attribution.scores[:payees_max]
    best_tokens = sum(score for _, score in best)
    best_part = span_part * best_tokens // matched if matched else 0
    shares = largest_remainder(best_part, [score for _, score in best])
    pools = list(split_pool(Wei(net - best_part), [use.bps for use in uses]))
    for number, use in enumerate(uses):
        places = [i for i, (contribution, _) in enumerate(best) if use_of[contribution] == number]
        capped, left = cap_shares(
            [shares[i] for i in places], [best[i][1] for i in places], Wei(net * use.soft_cap_bps // BPS)
        )
        for i, share in zip(places, capped, strict=True):
            shares[i] = share
        pools[number] = Wei(pools[number] + left)
    payments = tuple(Payment(*scored, Wei(share)) for scored, share in zip(best, shares, strict=True))
    division = Division(curators, payments, tuple(pools))
    if division.total != amount or net < best_part:
        raise InvariantError(f"{division.total} wei were divided out of {amount}")
    return division


def cap_shares(shares: Sequence[int], scores: Sequence[int], cap: Wei) -> tuple[list[int], Wei]:
    """Shares under a soft cap, and what is left of what the cap took once those below it have had their part."""
    over = sum(max(0, share - cap) for share in shares)
    below = [i for i, share in enumerate(shares) if share < cap]
    capped = [min(share, cap) for share in shares]
    for i, more in zip(below, largest_remainder(over, [scores[i] for i in below]), strict=True):
        capped[i] += min(more, shares[i], cap - shares[i])
    return capped, Wei(sum(shares) - sum(capped))


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

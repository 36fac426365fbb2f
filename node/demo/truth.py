"""The demo's ground truth: what the slow reference of the twelve rules says about the same contributions and outputs.

It is fed with the texts themselves, never with what the node answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from attribution_precompile.rules.reference import (
    Contribution,
    Datanet,
    Payout,
    Pool,
    Terms,
    Trace,
    Use,
    matched,
    owned_windows,
    pay,
    trace,
)
from genesis.chain_spec import AttributionParams
from genesis.emission import BPS


@dataclass(frozen=True, slots=True)
class Expected:
    """What one inference must come to."""

    trace: Trace
    payout: Payout
    fee_parts: dict[str, int]
    matched: int


@dataclass(slots=True)
class Truth:
    """One datanet in its first version, one model on it, and everything that was ever paid."""

    params: AttributionParams
    datanet_id: int
    k: int
    curator_bps: int
    soft_cap_bps: int
    contributions: list[Contribution] = field(default_factory=list)
    pool: Pool = field(default_factory=Pool)

    @property
    def datanet(self) -> Datanet:
        members = tuple(self.contributions)
        return Datanet(self.datanet_id, self.k, False, members, (Terms(self.curator_bps, self.soft_cap_bps),))

    def contribute(self, contribution_id: int, segments: Sequence[bytes]) -> None:
        """Note a contribution; the order of segments is the order in which they are noted."""
        order = sum(len(contribution.segments) for contribution in self.contributions)
        numbered = tuple((order + place + 1, segment) for place, segment in enumerate(segments))
        self.contributions.append(Contribution(contribution_id, numbered, accepted_in=1))

    def review(self, qualities: dict[int, int]) -> dict[int, int]:
        """Weigh each contribution by its quality and owned windows; returns the owned windows."""
        all_of_them = frozenset(c.id for c in self.contributions)
        owned = {c.id: owned_windows(self.datanet, c, all_of_them, versions=0) for c in self.contributions}
        self.contributions = [
            Contribution(c.id, c.segments, 1, qualities[c.id] * min(owned[c.id], self.params.pool_windows_max))
            for c in self.contributions
        ]
        self.pool.next_weights = {c.id: c.weight for c in self.contributions}
        self.pool.publish()
        return owned

    def infer(self, output: bytes, fee: int, reserve: int) -> Expected:
        """Trace an output and divide its fee, matched from the reserve; the pool's part is paid into the pool."""
        uses, datanets = [Use(self.datanet_id, 1, BPS)], {self.datanet_id: self.datanet}
        traced = trace(output, uses, datanets)
        parts = {
            "burned": fee * self.params.burn_bps // BPS,
            "treasury": fee * self.params.treasury_bps // BPS,
            "stakers": fee * self.params.stakers_bps // BPS,
            "model owner": fee * self.params.owner_bps // BPS,
        }
        parts["contributors"] = fee - sum(parts.values())
        match = matched(parts["burned"], parts["treasury"], reserve)
        payout = pay(parts["contributors"] + match, traced, uses, datanets, self.params.payees_max)
        self.pool.pay(1, sum(payout.pools))
        return Expected(traced, payout, parts, match)

    def pool_shares(self) -> dict[int, int]:
        """What each contribution takes out of the pool, in wei."""
        return {c.id: self.pool.claim(c.id) for c in self.contributions}

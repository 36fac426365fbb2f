"""Which parameters of the chain validators may change by vote, and between which bounds. Everything else in a spec is fixed.

The bounds are the same on every chain and no vote lifts them: they are chosen so that a chain goes on whatever is voted.
Besides, a change must leave parameters that pass the spec's own checks together (`chain_spec.check_parameters`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from genesis.chain_spec import BlockParams, Parameters, StakingParams, check_parameters
from genesis.emission import BPS
from genesis.errors import LocalError
from genesis.limits import VALIDATORS_MAX
from genesis.primitives import WEI_PER_OPEN

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 24 * 60 * _MINUTE_MS


@dataclass(frozen=True, slots=True)
class Bounds:
    """Least and greatest value, both allowed."""

    least: int
    greatest: int


GOVERNED: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        # A transaction may have 2**24 gas (EIP-7825): whatever is voted, each fits a block.
        "block.gas_limit": Bounds(1 << 24, 100_000_000),
        "block.interval_ms": Bounds(100, 10_000),
        "block.empty_interval_ms": Bounds(1_000, _MINUTE_MS),
        "staking.min_self_stake": Bounds(WEI_PER_OPEN // 10**9, 1_000_000 * WEI_PER_OPEN),
        "staking.min_delegation": Bounds(1, 1_000 * WEI_PER_OPEN),
        "staking.validators_max": Bounds(4, VALIDATORS_MAX),
        "staking.unbonding_ms": Bounds(_MINUTE_MS, 365 * _DAY_MS),
        "staking.evidence_age_ms": Bounds(_MINUTE_MS, 365 * _DAY_MS),
        "staking.slash_bps": Bounds(1, BPS // 2),
        "staking.downtime_ms": Bounds(_MINUTE_MS, 30 * _DAY_MS),
        "staking.jail_ms": Bounds(0, 30 * _DAY_MS),
        "staking.commission_bps_max": Bounds(0, BPS),
        "staking.commission_change_ms": Bounds(0, 365 * _DAY_MS),
    }
)
"""By `section.field` of the spec."""


def with_values(base: Parameters, values: Mapping[str, int]) -> Parameters:
    """The parameters with voted values in force. Raises LocalError if one is out of bounds, or they don't fit together."""
    changed = base
    for name, value in values.items():
        check_bounds(name, value)
        section, _, field = name.partition(".")
        old: BlockParams | StakingParams = getattr(changed, section)
        replaced: dict[str, Any] = {section: dataclasses.replace(old, **{field: value})}  # type: ignore[arg-type]  # by name
        changed = dataclasses.replace(changed, **replaced)
    check_parameters(changed)
    return changed


def value_of(parameters: Parameters, name: str) -> int:
    """The value in force of a governed parameter."""
    section, _, field = name.partition(".")
    value: int = getattr(getattr(parameters, section), field)
    return value


def check_bounds(name: str, value: int) -> None:
    """Raises LocalError for what no vote may change, or not to this."""
    bounds = GOVERNED.get(name)
    if bounds is None:
        raise LocalError(f"{name} can't be changed by vote; these can: {', '.join(GOVERNED)}")
    if not bounds.least <= value <= bounds.greatest:
        raise LocalError(f"{name} must be {bounds.least} .. {bounds.greatest}, not {value}")

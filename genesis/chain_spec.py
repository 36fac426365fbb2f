"""The chain spec: the one place that holds each constant of a chain. What is not here is the same on every chain.

A spec is data: JSON on disk (`genesis.json`), frozen dataclasses in memory, and one hash that the genesis state stores, so two
nodes with different parameters have different genesis blocks and never talk. Amounts are decimal strings of wei in the JSON,
byte strings are 0x-hex, times are milliseconds unless the name says otherwise.
"""

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Final

import orjson

from genesis.codec import decode_json
from genesis.emission import BPS, GENESIS_SUPPLY_MAX, SUPPLY_MAX
from genesis.errors import LocalError, WireError
from genesis.limits import CANDIDATES_MAX, JSON_BODY_BYTES_MAX, TRANSACTION_BYTES_MAX, VALIDATORS_MAX
from genesis.primitives import WEI_PER_OPEN, ZERO_ADDRESS, Address, Hash32, Wei, keccak256
from genesis.spec_json import differences, from_plain, to_plain
from genesis.types import TOTAL_POWER_MAX, Validator, ValidatorSet

ATTRIBUTION_ADDRESS: Final = Address(bytes.fromhex("0000000000000000000000000000000000000a00"))
STAKING_ADDRESS: Final = Address(bytes.fromhex("0000000000000000000000000000000000000a01"))
_PRECOMPILES: Final = (*range(1, 0x12), 0x100)
UNHELD_ADDRESSES: Final = frozenset(
    {ZERO_ADDRESS, ATTRIBUTION_ADDRESS, STAKING_ADDRESS, *(Address(at.to_bytes(20, "big")) for at in _PRECOMPILES)}
)
"""Addresses that are nobody's: zero, native contracts, precompiles. Wei owed or sent to them would be lost."""
SPEC_FORMAT: Final = 2
"""The version of the chain spec. Version 1, of OpenLedger 0.1, had other rules of attribution; no chain carries over."""
WORK_LIMIT_MIN: Final = 100_000_000
"""Enough for a transaction of the most gas that Ethereum allows (EIP-7825)."""
TRANSACTION_BYTES_LEAST: Final = 64 * 1024
"""Room for the largest initcode (EIP-3860), and for what a call may bring of content and proofs."""
ACCESS_LIST_ENTRIES_MAX: Final = 16_384
"""More fit no transaction: an entry is 23 bytes or more."""
_DAY_MS: Final = 24 * 3_600 * 1_000


@dataclass(frozen=True, slots=True)
class BlockParams:
    """Size and pace of blocks."""

    gas_limit: int = 30_000_000
    bytes_max: int = 2 * 1024 * 1024
    """The size of one block in the wire codec, body and commit included."""
    transaction_bytes_max: int = 128 * 1024
    """The size of one transaction as it stands in a block."""
    access_list_entries_max: int = 4_096
    """Entries of one transaction: addresses and storage keys together (EIP-2930)."""
    work_limit: int = 250_000_000
    """What executing a block may cost (`evm_runtime/work.py`): at most a nanosecond each, so half of the interval."""
    transaction_work_limit: int = 80_000_000
    """The work of one transaction, beyond what its gas stands for."""
    interval_ms: int = 500
    empty_interval_ms: int = 5_000
    base_fee_initial: Wei = Wei(10**9)
    base_fee_floor: Wei = Wei(10**6)
    base_fee_denominator: int = 128
    withdrawals_max: int = 64

    def paced(self, interval_ms: int) -> "BlockParams":
        """The same with another interval, and what depends on it: the least time of empty blocks, the limits of work."""
        work_limit = max(interval_ms * self.work_limit // self.interval_ms, WORK_LIMIT_MIN)
        return dataclasses.replace(
            self,
            interval_ms=interval_ms,
            empty_interval_ms=max(interval_ms, self.empty_interval_ms),
            work_limit=work_limit,
            transaction_work_limit=work_limit * 8 // 25,
        )


@dataclass(frozen=True, slots=True)
class ConsensusParams:
    """Timeouts grow linearly with the round and are capped; precision and message delay are those of proposer-based time."""

    propose_timeout_ms: int = 3_000
    propose_timeout_step_ms: int = 500
    vote_timeout_ms: int = 1_000
    vote_timeout_step_ms: int = 500
    timeout_cap_ms: int = 30_000
    precision_ms: int = 500
    message_delay_ms: int = 4_000


@dataclass(frozen=True, slots=True)
class StakingParams:
    """Stake, unbonding, slashing and downtime (`docs/staking.md`)."""

    stake_per_power: Wei = Wei(WEI_PER_OPEN)
    """Wei at stake that make one unit of voting power."""
    min_self_stake: Wei = Wei(WEI_PER_OPEN)
    """A validator's own stake at least; below it, it is no candidate."""
    min_delegation: Wei = Wei(10**16)
    """The least delegation, redelegation or undelegation (all that is left may always go)."""
    validators_max: int = 100
    """The candidates of most power, so many at most, are the validator set."""
    candidates_max: int = 200
    unbonding_ms: int = 21 * _DAY_MS
    """Stake that leaves is paid out after this long, and answers until then for what was done before."""
    evidence_age_ms: int = 14 * _DAY_MS
    """Evidence older than this is not taken any more; so no longer than the unbonding time."""
    trusting_period_ms: int = 7 * _DAY_MS
    """How long light clients trust a verified block; so shorter than evidence is taken."""
    slash_bps: int = 500
    """The part of a validator's stake and its delegators' that equivocation costs, once; it never validates again."""
    downtime_window_blocks: int = 10_000
    downtime_ms: int = 3_600_000
    """Who misses more than half of the window's blocks, and those took this long at least, is jailed."""
    jail_ms: int = 600_000
    commission_bps_max: int = 5_000
    commission_change_ms: int = _DAY_MS
    """Between two changes of a validator's commission."""
    governance_voting_ms: int = 7 * _DAY_MS
    """For which a proposal can be voted on; and for which it can be enacted once its time lock is over."""
    governance_delay_ms: int = 2 * _DAY_MS
    """The time lock: between the vote for a change and the change."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What of a spec can be in force otherwise than genesis had it (`genesis/governance.py`)."""

    block: BlockParams
    consensus: ConsensusParams
    staking: StakingParams


@dataclass(frozen=True, slots=True)
class AttributionParams:
    """How an inference's fee is split (basis points of the net fee, sum 10,000) and what bounds the work."""

    burn_bps: int = 300
    treasury_bps: int = 200
    stakers_bps: int = 1_000
    owner_bps: int = 3_000
    contributors_bps: int = 5_500
    curator_bps_max: int = 2_000
    output_tokens_max: int = 8_192
    call_bytes_max: int = 24 * 1024
    """Bytes of content or output in one call."""
    contribution_bytes_max: int = 1024 * 1024
    """Bytes of one contribution, all its segments together."""
    payees_max: int = 64
    pool_windows_max: int = 1_000_000
    uses_max: int = 16
    uri_bytes_max: int = 1_024
    ancestors_max: int = 64
    """Ancestors of a model, parents included."""
    lineage_depth_max: int = 16
    royalty_bps_max: int = 5_000
    """The share of a model owner's part that goes to all ancestors together."""
    agent_models_max: int = 64
    council: Address = ZERO_ADDRESS
    """May erase contributions, where the law asks for it. Zero: nobody but their contributors may."""
    review_seconds_max: int = 365 * 24 * 3_600
    commit_seconds: int = 24 * 3_600
    """For how long a commitment can be revealed."""
    vector_dim_max: int = 4_096
    """Components of an int8 vector: products stay far below 2**31."""
    attest_bond: Wei = Wei(10 * WEI_PER_OPEN)
    """What an attestor locks for a receipt, on top of what its scores divide."""
    attest_seconds: int = 3 * 24 * 3_600
    """For how long attested scores can be disputed; then they are final."""
    dispute_bond: Wei = Wei(10 * WEI_PER_OPEN)
    """The bond of a challenger; it goes to whoever was right."""
    resolve_seconds: int = 14 * 24 * 3_600
    """For the council's judgement; after it a dispute counts as dismissed."""
    reveal_seconds: int = 3 * 24 * 3_600
    """For opening a committed window; after it the challenge counts as upheld."""
    openings_max: int = 8
    """Committed windows that a contributor can be made to open, for one contribution."""
    committed_span_min: int = 16
    """The least minSpan of a commit-only datanet: ids of shorter windows are guessed too easily."""
    challenge_windows: int = 64
    """Consecutive windows that a priority challenge must show (all, if the contribution has fewer)."""
    soft_cap_bps_min: int = 1_000
    """The least share of the contributors' part that a datanet may leave to each contribution."""
    versions_max: int = 1 << 20
    """Versions of one datanet. The pool's tree has a level for each factor of 16: payments, claims and deaths touch it."""
    pool_steps_max: int = 8
    """Weights that a contribution may have one after the other in its datanet's versions; the last can only be none."""
    death_blocks: int = 64
    """For so many blocks after a death, states before it can still be asked about its datanet."""
    purge_tokens: int = 1 << 16
    """Tokens of contributions that have ended: about so many leave the span index in one block."""
    bond_seconds: int = 3 * 24 * 3_600
    """For how long a contribution's bond stays locked after it is decided, by review or deadline: time to challenge it."""
    losses_max: int = 64
    """Ranges of window places that a segment can lose."""
    open_seconds: int = 600
    """For opening the windows that an announced challenge is asked for; after it the challenge counts as dismissed."""
    score_seconds: int = 180 * 24 * 3_600
    """For claiming attested scores once they are final; what is left then goes to the pools, if somebody asks for it."""


VECTOR_DIM_MAX: Final = 65_535
"""Products of int8 vectors of up to this length fit an int32."""

FORKS: Final = ("prague", "osaka")
"""The execution rules that a chain can follow, oldest first (`evm_runtime/hardforks.py`)."""
BLOCK_RLP_BYTES_MAX: Final = 8 * 1024 * 1024
"""EIP-7934: 10 MiB less a margin of 2 MiB."""


@dataclass(frozen=True, slots=True)
class ForkActivation:
    """From block `height` on the chain follows the rules of `fork`."""

    fork: str
    height: int = 0


@dataclass(frozen=True, slots=True)
class GenesisAccount:
    """One account of the genesis state. Storage keys and values are 256-bit integers."""

    address: Address
    balance: Wei = Wei(0)
    nonce: int = 0
    code: bytes = b""
    storage: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """Everything that the nodes of one chain must agree on before block 1."""

    name: str
    chain_id: int
    genesis_time_ms: int
    validators: tuple[Validator, ...]
    treasury: Address
    alloc: tuple[GenesisAccount, ...] = ()
    block: BlockParams = field(default_factory=BlockParams)
    consensus: ConsensusParams = field(default_factory=ConsensusParams)
    attribution: AttributionParams = field(default_factory=AttributionParams)
    staking: StakingParams = field(default_factory=StakingParams)
    forks: tuple[ForkActivation, ...] = (ForkActivation("osaka"),)
    """The fork schedule, oldest first; the first one from block 0."""
    format: int = SPEC_FORMAT

    def __post_init__(self) -> None:
        _check(self)

    @property
    def validator_set(self) -> ValidatorSet:
        return ValidatorSet(self.validators)

    @property
    def parameters(self) -> Parameters:
        """What is in force as long as no vote has changed it."""
        return Parameters(self.block, self.consensus, self.staking)

    @property
    def genesis_supply(self) -> Wei:
        """Wei allocated in genesis, the stake of its validators included."""
        return Wei(sum(account.balance for account in self.alloc) + self.genesis_stake)

    @property
    def genesis_stake(self) -> Wei:
        """Wei that the validators of genesis have at stake."""
        return Wei(sum(validator.power for validator in self.validators) * self.staking.stake_per_power)

    def to_json(self) -> bytes:
        """The canonical JSON document (sorted keys, two spaces, final newline): what the hash is taken over."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(to_plain(self), option=options)

    def hash(self) -> Hash32:
        """keccak of the canonical JSON; stored in the genesis state of the staking contract."""
        return keccak256(self.to_json())

    @classmethod
    def from_json(cls, data: bytes) -> "ChainSpec":
        """Read a spec. Raises LocalError that names the field and what is wrong with it."""
        try:
            raw = decode_json(data, size_max=4 * JSON_BODY_BYTES_MAX, what="genesis file")
        except WireError as error:
            raise LocalError(f"{error}; expected the JSON written by `openledger genesis build`") from None
        _check_format(raw)
        return typing.cast(ChainSpec, from_plain(cls, raw, "genesis"))

    def differences(self, other: "ChainSpec") -> list[str]:
        """One line for each parameter that differs: `block.interval_ms: 250 here, 500 there`."""
        return list(differences("", to_plain(self), to_plain(other)))


def _check_format(raw: object) -> None:
    """Raises LocalError for the document of another version, before its fields are looked at: they may differ."""
    found = raw.get("format", SPEC_FORMAT) if isinstance(raw, dict) else SPEC_FORMAT
    if found == 1:
        raise LocalError(
            "genesis: this is version 1 of the chain spec (OpenLedger 0.1), whose rules of attribution and money this node "
            "no longer follows; no chain carries over: build a new genesis file and start in a new data directory"
        )
    if found != SPEC_FORMAT:
        raise LocalError(f"genesis: format {found} is unknown to this node (it knows {SPEC_FORMAT})")


def is_held(address: Address) -> bool:
    """Whether an address can be somebody's."""
    return address not in UNHELD_ADDRESSES


def _check(spec: ChainSpec) -> None:
    """Raises LocalError for a spec that no chain could run under."""
    fees, staking = spec.attribution, spec.staking
    shares = fees.burn_bps + fees.treasury_bps + fees.stakers_bps + fees.owner_bps + fees.contributors_bps
    smallest = min((member.power for member in spec.validators), default=0) * staking.stake_per_power
    checks = [
        (spec.format == SPEC_FORMAT, f"format {spec.format} is unknown to this node (it knows {SPEC_FORMAT})"),
        (0 < len(spec.name) <= 64, "name must have 1 to 64 characters"),
        (0 < spec.chain_id < 1 << 53, "chain_id must be between 1 and 2**53 - 1 (JavaScript's safe integers)"),
        (0 < spec.genesis_time_ms < 1 << 53, "genesis_time_ms must be a time in milliseconds since 1970"),
        (is_held(spec.treasury), "treasury must be an address that somebody holds"),
        (shares == BPS, f"attribution shares sum to {shares}, not {BPS} basis points"),
        (spec.genesis_supply <= GENESIS_SUPPLY_MAX, "alloc and the validators' stake exceed 600,000,000 OPEN"),
        (len({a.address for a in spec.alloc}) == len(spec.alloc), "alloc names an address twice"),
        (
            all(a.address != ATTRIBUTION_ADDRESS or a.balance == 0 for a in spec.alloc),
            "alloc gives wei to the attribution contract, which nobody could take out",
        ),
        (not spec.validators or smallest >= staking.min_self_stake, "a validator has less than staking.min_self_stake"),
        (len(spec.validators) <= staking.validators_max, "there are more validators than staking.validators_max"),
        (0 < fees.vector_dim_max <= VECTOR_DIM_MAX, f"attribution.vector_dim_max must be 1 .. {VECTOR_DIM_MAX}"),
        (fees.attest_bond > 0 and fees.dispute_bond > 0, "attribution.attest_bond and dispute_bond must be positive"),
        (fees.challenge_windows > 0, "attribution.challenge_windows must be positive"),
        (0 < fees.soft_cap_bps_min <= BPS, f"attribution.soft_cap_bps_min must be 1 .. {BPS}"),
        (0 < fees.versions_max <= 1 << 20, "attribution.versions_max must be 1 .. 2**20"),
        (2 <= fees.pool_steps_max <= 8, "attribution.pool_steps_max must be 2 .. 8"),
        *_fork_checks(spec.forks),
    ]
    _refuse("genesis: ", _parameter_checks(spec.parameters))
    _refuse("genesis: ", checks)
    try:
        ValidatorSet(spec.validators)
    except ValueError as error:
        raise LocalError(f"genesis: {error}") from None


def check_parameters(parameters: Parameters) -> None:
    """Raises LocalError for parameters that no chain could run under."""
    _refuse("", _parameter_checks(parameters))


def _refuse(prefix: str, checks: list[tuple[bool, str]]) -> None:
    for good, message in checks:
        if not good:
            raise LocalError(prefix + message)


def _parameter_checks(parameters: Parameters) -> list[tuple[bool, str]]:
    block, timing = parameters.block, parameters.consensus
    return [
        (5_000 <= block.gas_limit < 1 << 40, "block.gas_limit is out of range"),
        (
            0 < block.transaction_work_limit <= block.work_limit // 3 and block.work_limit >= WORK_LIMIT_MIN,
            f"block.work_limit must be at least {WORK_LIMIT_MIN}, and block.transaction_work_limit 1 to a third of it",
        ),
        (0 < block.base_fee_floor <= block.base_fee_initial, "block.base_fee_initial is below its floor"),
        (block.base_fee_denominator >= 2, "block.base_fee_denominator must be at least 2"),
        (0 < block.interval_ms <= block.empty_interval_ms, "block.interval_ms must be 1 .. empty_interval_ms"),
        (0 < block.withdrawals_max <= 64, "block.withdrawals_max must be 1 .. 64"),
        (
            block.bytes_max <= BLOCK_RLP_BYTES_MAX,
            f"block.bytes_max is above {BLOCK_RLP_BYTES_MAX} bytes, the most that a block may have (EIP-7934)",
        ),
        (
            TRANSACTION_BYTES_LEAST <= block.transaction_bytes_max <= TRANSACTION_BYTES_MAX,
            f"block.transaction_bytes_max must be {TRANSACTION_BYTES_LEAST} .. {TRANSACTION_BYTES_MAX}",
        ),
        (
            0 < block.access_list_entries_max <= ACCESS_LIST_ENTRIES_MAX,
            f"block.access_list_entries_max must be 1 .. {ACCESS_LIST_ENTRIES_MAX}",
        ),
        (
            timing.propose_timeout_ms >= 4 * (block.interval_ms // 2),
            "consensus.propose_timeout_ms is below four worst blocks",
        ),
        (timing.timeout_cap_ms >= timing.propose_timeout_ms, "consensus.timeout_cap_ms is below the propose timeout"),
        (timing.vote_timeout_ms > 0 and timing.precision_ms > 0, "consensus timeouts must be positive"),
        *_staking_checks(parameters.staking),
    ]


def _staking_checks(staking: StakingParams) -> list[tuple[bool, str]]:
    return [
        (
            staking.stake_per_power > 0 and SUPPLY_MAX // staking.stake_per_power <= TOTAL_POWER_MAX,
            "staking.stake_per_power is so small that all OPEN at stake would be too much power",
        ),
        (staking.min_self_stake >= staking.stake_per_power, "staking.min_self_stake is less than one unit of power"),
        (staking.min_delegation > 0, "staking.min_delegation must be positive"),
        (
            0 < staking.validators_max <= staking.candidates_max and staking.validators_max <= VALIDATORS_MAX,
            f"staking.validators_max must be 1 .. candidates_max, and at most {VALIDATORS_MAX}",
        ),
        (staking.candidates_max <= CANDIDATES_MAX, f"staking.candidates_max must be at most {CANDIDATES_MAX}"),
        (
            0 < staking.trusting_period_ms < staking.evidence_age_ms <= staking.unbonding_ms < 1 << 53,
            "staking needs trusting_period_ms < evidence_age_ms <= unbonding_ms",
        ),
        (0 < staking.slash_bps < BPS, f"staking.slash_bps must be 1 .. {BPS - 1}"),
        (
            staking.downtime_window_blocks >= 2 and staking.downtime_window_blocks % 2 == 0,
            "staking.downtime_window_blocks must be even and positive",
        ),
        (staking.downtime_window_blocks <= 1 << 20, "staking.downtime_window_blocks must be at most 2**20"),
        (
            staking.downtime_ms > 0 and staking.jail_ms >= 0,
            "staking.downtime_ms must be positive, jail_ms not negative",
        ),
        (0 <= staking.commission_bps_max <= BPS, f"staking.commission_bps_max must be 0 .. {BPS}"),
        (staking.commission_change_ms >= 0, "staking.commission_change_ms must not be negative"),
        (
            0 < staking.governance_voting_ms < 1 << 53 and 0 <= staking.governance_delay_ms < 1 << 53,
            "staking.governance_voting_ms must be positive, governance_delay_ms not negative",
        ),
    ]


def _fork_checks(schedule: tuple[ForkActivation, ...]) -> list[tuple[bool, str]]:
    known = [activation.fork for activation in schedule if activation.fork in FORKS]
    heights = [activation.height for activation in schedule]
    return [
        (len(known) == len(schedule), f"forks names a fork that this node does not know (it knows {', '.join(FORKS)})"),
        (bool(schedule) and heights[0] == 0, "the first of forks must be at height 0"),
        (heights == sorted(set(heights)), "the heights of forks must rise"),
        (known == sorted(set(known), key=FORKS.index), "forks must be in their order, each once"),
    ]

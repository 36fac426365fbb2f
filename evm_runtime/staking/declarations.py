"""The words of the staking contract's interface: structs, events and errors. Methods stand with their code.

Amounts are wei, shares basis points (10,000 = all), times seconds unless the name says milliseconds. A validator is named by
the Ethereum address of its consensus key.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from evm_runtime.native.abi import AbiType, enumeration, struct
from evm_runtime.native.contract import ContractError, event
from evm_runtime.staking.layout import ProposalState
from genesis.primitives import Address


class ValidatorInfo(NamedTuple):
    owner: Address
    payout: Address
    power: int
    self_stake: int
    delegated: int
    commission_bps: int
    commission_max_bps: int
    commission_step_bps: int
    kept_bps: int
    candidate: bool
    jailed: bool
    tombstoned: bool
    jailed_until: int
    missed_blocks: int
    missed_ms: int


class DelegationInfo(NamedTuple):
    amount: int
    rewards: int
    locked: int
    locked_until_ms: int


class UnbondingInfo(NamedTuple):
    owner: Address
    validator: Address
    amount: int
    completes_ms: int


class ProposalInfo(NamedTuple):
    parameter: str
    value: int
    state: ProposalState
    earliest_ms: int
    deadline_ms: int
    yes: int
    no: int
    total: int


class Books(NamedTuple):
    staked: int
    bonded: int
    unbonding: int
    owed: int
    slashed: int
    withdrawn: int


_STATES: Final[Mapping[str, AbiType]] = {"ProposalState": enumeration("ProposalState", ProposalState)}

TYPES: Final[Mapping[str, AbiType]] = {
    **_STATES,
    "ValidatorInfo": struct(
        "ValidatorInfo",
        "address owner, address payout, uint64 power, uint256 selfStake, uint256 delegated, uint16 commissionBps, "
        "uint16 commissionMaxBps, uint16 commissionStepBps, uint16 keptBps, bool candidate, bool jailed, bool tombstoned, "
        "uint64 jailedUntil, uint32 missedBlocks, uint64 missedMs",
        ValidatorInfo,
    ),
    "DelegationInfo": struct(
        "DelegationInfo", "uint256 amount, uint256 rewards, uint256 locked, uint64 lockedUntilMs", DelegationInfo
    ),
    "UnbondingInfo": struct(
        "UnbondingInfo", "address owner, address validator, uint256 amount, uint64 completesMs", UnbondingInfo
    ),
    "ProposalInfo": struct(
        "ProposalInfo",
        "string parameter, uint256 value, ProposalState state, uint64 earliestMs, uint64 deadlineMs, uint64 yes, uint64 no, "
        "uint64 total",
        ProposalInfo,
        _STATES,
    ),
    "Books": struct(
        "Books",
        "uint256 staked, uint256 bonded, uint256 unbonding, uint256 owed, uint256 slashed, uint256 withdrawn",
        Books,
    ),
}

VALIDATOR_CREATED: Final = event(
    "ValidatorCreated(address indexed validator, address indexed owner, address payout, uint256 stake)"
)
SELF_STAKED: Final = event("SelfStaked(address indexed validator, uint256 amount)")
SELF_UNSTAKED: Final = event("SelfUnstaked(address indexed validator, uint256 amount, uint64 indexed unbonding)")
DELEGATED: Final = event("Delegated(address indexed validator, address indexed delegator, uint256 amount)")
UNDELEGATED: Final = event(
    "Undelegated(address indexed validator, address indexed delegator, uint256 amount, uint64 indexed unbonding)"
)
REDELEGATED: Final = event(
    "Redelegated(address indexed from, address indexed to, address indexed delegator, uint256 amount)"
)
REWARDS_CLAIMED: Final = event("RewardsClaimed(address indexed validator, address indexed delegator, uint256 amount)")
REDELEGATION_SLASHED: Final = event(
    "RedelegationSlashed(address indexed validator, address indexed delegator, uint256 amount)"
)
COMMISSION_SET: Final = event("CommissionSet(address indexed validator, uint16 commissionBps)")
PAYOUT_SET: Final = event("PayoutSet(address indexed validator, address indexed payout)")
UNJAILED: Final = event("Unjailed(address indexed validator)")
ENLISTED: Final = event("Enlisted(address indexed validator)")
DISPLACED: Final = event("Displaced(address indexed validator)")
PROPOSED: Final = event("Proposed(uint64 indexed id, address indexed validator, string parameter, uint256 value)")
VOTED: Final = event("Voted(uint64 indexed id, address indexed validator, bool yes)")
QUEUED: Final = event("Queued(uint64 indexed id, uint64 earliestMs)")
ENACTED: Final = event("Enacted(uint64 indexed id, string parameter, uint256 value)")

EVENTS: Final = (
    VALIDATOR_CREATED,
    SELF_STAKED,
    SELF_UNSTAKED,
    DELEGATED,
    UNDELEGATED,
    REDELEGATED,
    REWARDS_CLAIMED,
    REDELEGATION_SLASHED,
    COMMISSION_SET,
    PAYOUT_SET,
    UNJAILED,
    ENLISTED,
    DISPLACED,
    PROPOSED,
    VOTED,
    QUEUED,
    ENACTED,
)

UNKNOWN_VALIDATOR: Final = ContractError("UnknownValidator(address validator)")
VALIDATOR_EXISTS: Final = ContractError("ValidatorExists(address validator)")
NOT_OWNER: Final = ContractError("NotOwner(address validator, address caller)")
BAD_PROOF: Final = ContractError("BadProof(string reason)")
INVALID_PARAMETER: Final = ContractError("InvalidParameter(string name, string reason)")
AMOUNT_TOO_LOW: Final = ContractError("AmountTooLow(uint256 amount, uint256 needed)")
AMOUNT_TOO_HIGH: Final = ContractError("AmountTooHigh(uint256 amount, uint256 available)")
TOMBSTONED: Final = ContractError("Tombstoned(address validator)")
STILL_JAILED: Final = ContractError("StillJailed(address validator, uint64 until)")
NOT_JAILED: Final = ContractError("NotJailed(address validator)")
ALREADY_CANDIDATE: Final = ContractError("AlreadyCandidate(address validator)")
CANDIDATES_FULL: Final = ContractError("CandidatesFull(uint256 stake, uint256 above)")
TOO_SOON: Final = ContractError("TooSoon(uint64 since, uint64 next)")
REDELEGATION_OPEN: Final = ContractError("RedelegationOpen(uint64 untilMs)")
UNKNOWN_UNBONDING: Final = ContractError("UnknownUnbonding(uint64 id)")
UNKNOWN_PROPOSAL: Final = ContractError("UnknownProposal(uint64 id)")
WRONG_PROPOSAL_STATE: Final = ContractError("WrongProposalState(uint64 id, ProposalState state)", _STATES)
PROPOSAL_EXPIRED: Final = ContractError("ProposalExpired(uint64 id, uint64 deadlineMs)")
NOT_ENOUGH_VOTES: Final = ContractError("NotEnoughVotes(uint64 yes, uint64 total)")

ERRORS: Final = (
    UNKNOWN_VALIDATOR,
    VALIDATOR_EXISTS,
    NOT_OWNER,
    BAD_PROOF,
    INVALID_PARAMETER,
    AMOUNT_TOO_LOW,
    AMOUNT_TOO_HIGH,
    TOMBSTONED,
    STILL_JAILED,
    NOT_JAILED,
    ALREADY_CANDIDATE,
    CANDIDATES_FULL,
    TOO_SOON,
    REDELEGATION_OPEN,
    UNKNOWN_UNBONDING,
    UNKNOWN_PROPOSAL,
    WRONG_PROPOSAL_STATE,
    PROPOSAL_EXPIRED,
    NOT_ENOUGH_VOTES,
)

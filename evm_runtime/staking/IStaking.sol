// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// @title The native staking contract at 0x0000000000000000000000000000000000000A01
/// @notice Generated from the node's code: do not edit. Rules and units are in docs/staking.md.
/// Amounts are wei, shares basis points (10000 = all), times seconds unless named otherwise.
interface IStaking {
    enum ProposalState { OPEN, QUEUED, ENACTED }

    struct ValidatorInfo {
        address owner;
        address payout;
        uint64 power;
        uint256 selfStake;
        uint256 delegated;
        uint16 commissionBps;
        uint16 commissionMaxBps;
        uint16 commissionStepBps;
        uint16 keptBps;
        bool candidate;
        bool jailed;
        bool tombstoned;
        uint64 jailedUntil;
        uint32 missedBlocks;
        uint64 missedMs;
    }

    struct DelegationInfo {
        uint256 amount;
        uint256 rewards;
        uint256 locked;
        uint64 lockedUntilMs;
    }

    struct UnbondingInfo {
        address owner;
        address validator;
        uint256 amount;
        uint64 completesMs;
    }

    struct ProposalInfo {
        string parameter;
        uint256 value;
        ProposalState state;
        uint64 earliestMs;
        uint64 deadlineMs;
        uint64 yes;
        uint64 no;
        uint64 total;
    }

    struct Books {
        uint256 staked;
        uint256 bonded;
        uint256 unbonding;
        uint256 owed;
        uint256 slashed;
        uint256 withdrawn;
    }

    error UnknownValidator(address validator);
    error ValidatorExists(address validator);
    error NotOwner(address validator, address caller);
    error BadProof(string reason);
    error InvalidParameter(string name, string reason);
    error AmountTooLow(uint256 amount, uint256 needed);
    error AmountTooHigh(uint256 amount, uint256 available);
    error Tombstoned(address validator);
    error StillJailed(address validator, uint64 until);
    error NotJailed(address validator);
    error AlreadyCandidate(address validator);
    error CandidatesFull(uint256 stake, uint256 above);
    error TooSoon(uint64 since, uint64 next);
    error RedelegationOpen(uint64 untilMs);
    error UnknownUnbonding(uint64 id);
    error UnknownProposal(uint64 id);
    error WrongProposalState(uint64 id, ProposalState state);
    error ProposalExpired(uint64 id, uint64 deadlineMs);
    error NotEnoughVotes(uint64 yes, uint64 total);
    error UnknownMethod(bytes4 selector);
    error MalformedInput(string reason);
    error NotPayable(uint256 value);
    error InconsistentState(string reason);

    event ValidatorCreated(address indexed validator, address indexed owner, address payout, uint256 stake);
    event SelfStaked(address indexed validator, uint256 amount);
    event SelfUnstaked(address indexed validator, uint256 amount, uint64 indexed unbonding);
    event Delegated(address indexed validator, address indexed delegator, uint256 amount);
    event Undelegated(
        address indexed validator,
        address indexed delegator,
        uint256 amount,
        uint64 indexed unbonding
    );
    event Redelegated(address indexed from, address indexed to, address indexed delegator, uint256 amount);
    event RewardsClaimed(address indexed validator, address indexed delegator, uint256 amount);
    event RedelegationSlashed(address indexed validator, address indexed delegator, uint256 amount);
    event CommissionSet(address indexed validator, uint16 commissionBps);
    event PayoutSet(address indexed validator, address indexed payout);
    event Unjailed(address indexed validator);
    event Enlisted(address indexed validator);
    event Displaced(address indexed validator);
    event Proposed(uint64 indexed id, address indexed validator, string parameter, uint256 value);
    event Voted(uint64 indexed id, address indexed validator, bool yes);
    event Queued(uint64 indexed id, uint64 earliestMs);
    event Enacted(uint64 indexed id, string parameter, uint256 value);

    /// @notice Register a validator, owned by the caller, with what is sent as its own stake. `proof` is the consensus
    /// key's signature over chain, validator and caller; `commissionMaxBps` and `commissionStepBps` never change.
    function createValidator(
        address validator,
        address payout,
        uint16 commissionBps,
        uint16 commissionMaxBps,
        uint16 commissionStepBps,
        bytes calldata proof
    ) external payable;

    /// @notice Add what is sent to the validator's own stake, by its owner; who has the minimum again becomes a
    /// candidate.
    function addSelfStake(address validator) external payable;

    /// @notice Begin to unbond own stake, by the owner. With less than the minimum left the validator is no candidate
    /// any more: removing all is how a validator leaves.
    function removeSelfStake(address validator, uint256 amount) external returns (uint64 unbonding);

    /// @notice Change the commission, by the owner: within its maximum, by at most its step, once in a chain
    /// parameter's time.
    function setCommission(address validator, uint16 commissionBps) external;

    /// @notice Change who is paid, by the owner. It acts with the validator set, two heights later.
    function setPayout(address validator, address payout) external;

    /// @notice Let a validator back in after its time in jail, by its owner.
    function unjail(address validator) external;

    /// @notice Make a validator that was displaced a candidate again, once more is at stake with it. By anybody.
    function enlist(address validator) external;

    /// @notice Bond what is sent with a validator. It shares in its rewards, less commission, and in its slashing.
    function delegate(address validator) external payable;

    /// @notice Begin to unbond a delegation, or part of it, of `amount` wei as they came in. What it is worth is paid
    /// to the caller by withdrawal after the unbonding time; until then it answers for what the validator did before.
    function undelegate(address validator, uint256 amount) external returns (uint64 unbonding);

    /// @notice Move a delegation, or part of it, to another validator at once. For the unbonding time it answers for
    /// what the first one did before, and can't be moved or taken out; meanwhile no other delegation can be moved to
    /// its place.
    function redelegate(address from, address to, uint256 amount) external;

    /// @notice Have the caller's rewards so far paid out, by withdrawal in one of the next blocks (whole gwei).
    function claimRewards(address validator) external returns (uint256 amount);

    /// @notice Bring somebody's delegation up to date: its rewards are paid to them, and what it moved away from a
    /// validator that was slashed since is slashed too. By anybody.
    function settle(address validator, address delegator) external;

    /// @notice Propose a value for a parameter, by the owner of a validator in the set. It must be possible as things
    /// are.
    function propose(address validator, string calldata parameter, uint256 value) external returns (uint64 id);

    /// @notice Vote, or vote otherwise than before, by the validator's owner. It counts with the power that the
    /// validator has when the votes are counted.
    function vote(uint64 id, address validator, bool yes) external;

    /// @notice Start the time lock of a proposal that more than two thirds of the power are for. By anybody.
    function queue(uint64 id) external;

    /// @notice Put a proposal in force whose time lock is over, if more than two thirds of the power are for it still,
    /// and it fits what is in force by now. It acts from the next block on. By anybody.
    function enact(uint64 id) external;

    /// @notice A proposal, and the power that would be for it and against it if votes were counted now.
    function proposal(uint64 id) external view returns (ProposalInfo memory info);

    /// @notice A validator's stake, terms and behaviour. `power` is what its stake would give it; it votes if it is in
    /// the set.
    function validator(address validator) external view returns (ValidatorInfo memory info);

    /// @notice How many validators could be in the set.
    function candidateCount() external view returns (uint256 count);

    /// @notice Candidates by place, at most 200 at once.
    function candidates(uint256 first, uint256 count) external view returns (address[] memory validators);

    /// @notice A delegation's principal, its rewards so far, and what of it is locked by a redelegation.
    function delegation(address validator, address delegator) external view returns (DelegationInfo memory info);

    /// @notice Stake on its way out: the wei that will be paid by what is known now, and when it completes
    /// (milliseconds).
    function unbonding(uint64 id) external view returns (UnbondingInfo memory info);

    /// @notice All stake: staked == bonded + unbonding + owed + slashed + withdrawn.
    function books() external view returns (Books memory books);

    /// @notice What the consensus key signs, as 65 bytes r, s, v with v 0 or 1, so that `owner` may register it.
    function registrationDigest(address validator, address owner) external view returns (bytes32 digest);
}

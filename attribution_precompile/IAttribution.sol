// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// @title The native attribution contract at 0x0000000000000000000000000000000000000A00
/// @notice Generated from the node's code: do not edit. Rules, prices and units are in docs/attribution.md.
/// Amounts are wei, shares basis points (10000 = all), times seconds; ids start at 1.
interface IAttribution {
    enum Method { SPAN, DOT, ATTESTED, POOL }

    enum Status { PENDING, ACCEPTED, REJECTED, WITHDRAWN, ERASED, SLASHED }

    enum Role { NONE, CURATOR, ADMIN }

    enum DisputeKind { COMMITTED, SCORES, COPIED, PRIORITY }

    enum DisputeState { OPEN, UPHELD, DISMISSED }

    struct DatanetParams {
        string uri;
        bytes32 termsHash;
        bytes32 tokenizer;
        uint8 minSpan;
        bool commitOnly;
        bool openToModels;
        uint32 useMask;
        uint128 minFeePer1k;
        uint16 curatorBps;
        uint16 softCapBps;
        uint128 bondPerKiB;
        uint32 reviewSeconds;
    }

    struct Parent {
        uint64 modelId;
        uint16 bps;
    }

    struct Use {
        uint64 datanetId;
        uint32 version;
        uint8 stage;
        uint16 bps;
    }

    struct Score {
        uint64 contributionId;
        uint128 weight;
    }

    struct Opening {
        bytes opening;
        bytes32[] proof;
    }

    struct Signed {
        uint256 nonce;
        uint64 deadline;
        bytes signature;
    }

    struct Call {
        uint64 modelId;
        uint64 agentId;
        bytes32 promptHash;
        uint32 inputTokens;
        bytes output;
        Signed signed;
    }

    error UnknownDatanet(uint64 datanetId);
    error UnknownContribution(uint64 contributionId);
    error UnknownVersion(uint64 datanetId, uint32 version);
    error UnknownModel(uint64 modelId);
    error UnknownAgent(uint64 agentId);
    error UnknownReceipt(bytes32 receiptId);
    error NotAllowed(address caller, string needed);
    error NotSupported(string feature);
    error InvalidParameter(string name, string reason);
    error InvalidContent(string reason);
    error TooLong(string what, uint256 size, uint256 limit);
    error TooShort(string what, uint256 size, uint256 needed);
    error WrongStatus(uint64 contributionId, Status status);
    error ReviewTooEarly(uint64 contributionId, uint64 lastBlock);
    error DeadlinePassed(uint64 contributionId, uint64 deadline);
    error VersionNotFinal(uint64 datanetId, uint32 version);
    error ModelInactive(uint64 modelId);
    error ModelNotAllowed(uint64 datanetId, uint64 modelId);
    error BondTooLow(uint256 required, uint256 sent);
    error BondLocked(uint64 contributionId, uint64 until);
    error Complete(uint64 contributionId);
    error NotRevealed(uint64 contributionId);
    error UnknownCommitment(bytes32 commitment);
    error CommitmentExists(bytes32 commitment, uint64 until);
    error CommitmentTooNew(bytes32 commitment, uint64 blockNumber);
    error CommitmentExpired(bytes32 commitment, uint64 deadline);
    error RoyaltyTooLow(uint64 modelId, uint16 needed);
    error MissingUse(uint64 datanetId, uint32 version);
    error AgentModelNotAllowed(uint64 agentId, uint64 modelId);
    error DepositTooLow(uint64 agentId, uint256 required, uint256 available);
    error DailyCapExceeded(uint64 agentId, uint256 spent, uint256 cap);
    error NothingOffered(uint64 id, address caller);
    error FeeTooLow(uint256 required, uint256 sent);
    error BadSignature(string reason);
    error SignatureExpired(uint64 deadline, uint64 timestamp);
    error NonceUsed(uint64 modelId, uint256 nonce);
    error NotCoveredYet(uint256 amount, uint256 available);
    error WrongMethod(uint64 modelId, Method method);
    error CommitOnly(uint64 datanetId, bool commitOnly);
    error NotDecidable(string reason);
    error BadProof(string reason);
    error UnknownDispute(uint64 disputeId);
    error DisputeClosed(uint64 disputeId, DisputeState state);
    error DisputeOpen(uint64 disputeId, uint64 deadline);
    error DisputeOver(uint64 disputeId, uint64 deadline);
    error ScoresFinal(bytes32 receiptId, uint64 since);
    error ScoresNotFinal(bytes32 receiptId, uint64 claimableFrom);
    error ScoresSlashed(bytes32 receiptId);
    error ScoresReleased(bytes32 receiptId);
    error NotComplete(uint64 contributionId, uint64 until);
    error NotChosen(uint64 disputeId, uint64 blockNumber);
    error ScoreClaimed(bytes32 receiptId, uint64 contributionId);
    error UnknownMethod(bytes4 selector);
    error MalformedInput(string reason);
    error NotPayable(uint256 value);
    error InconsistentState(string reason);

    event DatanetCreated(uint64 indexed datanetId, address indexed owner, bytes32 termsHash);
    event DatanetChanged(uint64 indexed datanetId, bytes32 termsHash);
    event TransferOffered(bool indexed model, uint64 indexed id, address indexed to);
    event Transferred(bool indexed model, uint64 indexed id, address indexed to);
    event UsesSet(uint64 indexed modelId);
    event BondReturned(uint64 indexed contributionId, address indexed contributor, uint256 amount);
    event Completed(uint64 indexed contributionId, bytes32 contentRoot, uint64 tokens);
    event RoleSet(uint64 indexed datanetId, address indexed who, Role role);
    event ModelAllowed(uint64 indexed datanetId, uint64 indexed modelId, bool allowed);
    event Committed(bytes32 indexed commitment, address indexed sender);
    event Contributed(
        uint64 indexed datanetId,
        uint64 indexed contributionId,
        address indexed payout,
        bytes32 contentRoot,
        uint64 tokens
    );
    event Appended(uint64 indexed contributionId, bytes32 contentRoot, uint64 tokens);
    event PayoutSet(uint64 indexed contributionId, address indexed payout);
    event Reviewed(uint64 indexed contributionId, bool accepted, uint16 quality);
    event VersionPublished(uint64 indexed datanetId, uint32 version, bytes32 contentRoot);
    event ConsentWithdrawn(uint64 indexed contributionId, uint32 useMask);
    event Erased(uint64 indexed contributionId);
    event ModelRegistered(uint64 indexed modelId, address indexed owner, bytes32 weights);
    event ModelChanged(
        uint64 indexed modelId,
        address signer,
        uint128 inputPer1k,
        uint128 outputPer1k,
        bool active
    );
    event AgentRegistered(uint64 indexed agentId, address indexed wallet);
    event AgentChanged(uint64 indexed agentId, address indexed wallet, uint128 dailyCap);
    event AgentDeposited(uint64 indexed agentId, address indexed payer, uint256 amount);
    event AgentWithdrawn(uint64 indexed agentId, uint256 amount);
    event Inferred(
        bytes32 indexed receiptId,
        uint64 indexed modelId,
        address indexed payer,
        uint256 fee,
        uint32 tokens,
        uint32 unmatched
    );
    event Attributed(
        bytes32 indexed receiptId,
        uint64 indexed contributionId,
        address indexed payout,
        uint256 weight,
        uint256 amount
    );
    event RoyaltyPaid(bytes32 indexed receiptId, uint64 indexed modelId, uint256 amount);
    event Pooled(bytes32 indexed receiptId, uint64 indexed datanetId, uint32 version, uint256 amount);
    event PoolClaimed(uint64 indexed contributionId, address indexed payout, uint256 amount);
    event Matched(bytes32 indexed receiptId, uint256 amount);
    event VectorsCommitted(uint64 indexed contributionId, uint16 dim, uint32 count, bytes32 contentHash);
    event Attested(
        bytes32 indexed receiptId,
        address indexed attestor,
        bytes32 scoreRoot,
        uint256 held,
        uint64 claimableFrom
    );
    event Bonded(address indexed who, uint256 amount);
    event Unbonded(address indexed who, uint256 amount);
    event Slashed(address indexed who, uint256 amount, DisputeKind reason);
    event WindowsLost(
        uint64 indexed contributionId,
        uint64 indexed disputeId,
        uint64 segment,
        uint32 window,
        uint32 windows,
        uint256 bond,
        uint32 ownedWindows
    );
    event Recounted(uint64 indexed contributionId, uint64 ownedWindows);
    event Released(bytes32 indexed receiptId, uint256 amount);
    event Disputed(uint64 indexed disputeId, bytes32 indexed subject, DisputeKind kind);
    event Resolved(uint64 indexed disputeId, bool upheld);
    event Claimed(address indexed who, address indexed to, uint256 amount);

    /// @notice Open a datanet, owned by the caller. Tokenizer and minSpan are immutable.
    function createDatanet(DatanetParams calldata params) external returns (uint64 datanetId);

    /// @notice Change a datanet's terms, by its owner; tokenizer, minSpan and commitOnly stay, useMask only loses bits.
    function setDatanet(uint64 datanetId, DatanetParams calldata params) external;

    /// @notice Offer a datanet to somebody, who becomes its owner by `acceptDatanet`; the zero address ends an offer.
    function transferDatanet(uint64 datanetId, address to) external;

    /// @notice Take over a datanet that was offered to the caller. Roles and terms stay as they are.
    function acceptDatanet(uint64 datanetId) external;

    /// @notice Give or take a role: the owner any, an ADMIN that of CURATOR.
    function setRole(uint64 datanetId, address who, Role role) external;

    /// @notice Admit a model to a datanet that isn't open to all, or end its admission. By the owner or an ADMIN.
    function allowModel(uint64 datanetId, uint64 modelId, bool allowed) external;

    /// @notice Take a place in the order for content to be revealed from the next block on, until it expires. The
    /// caller's own: somebody else committing to the same hash changes nothing.
    function commit(bytes32 commitment) external;

    /// @notice Put content into a datanet; PENDING until reviewed or timed out. The salt is for commit-reveal: zero
    /// without.
    function contribute(
        uint64 datanetId,
        bytes calldata content,
        bytes32 provenance,
        address payout,
        bytes32 salt
    ) external payable returns (uint64 contributionId);

    /// @notice Add a segment to a pending contribution of the caller; its time for review starts again.
    function appendContent(uint64 contributionId, bytes calldata content) external payable;

    /// @notice Say that a contribution is complete: neither content nor vectors can be added any more. By its
    /// contributor, while it is pending. For one held with a salt: its content must be what a commitment of the caller
    /// promised.
    function finalizeContent(uint64 contributionId) external;

    /// @notice Credit what a contribution has left of its bond to its contributor, who calls this: `bond_seconds`
    /// after its first review, or after its deadline if that came earlier, whatever has become of it since, while no
    /// dispute is open.
    function withdrawBond(uint64 contributionId) external returns (uint256 amount);

    /// @notice Redirect a contribution's income, by its contributor. Its pool share so far goes to the old payout.
    function setPayout(uint64 contributionId, address payout) external;

    /// @notice Put the window ids of content that stays off chain into a commit-only datanet; one call for each
    /// contribution. With a salt it stands where the caller's commitment to all of this does; without (zero) it can
    /// challenge nobody.
    function contributeCommitted(
        uint64 datanetId,
        bytes32 contentRoot,
        uint64 tokens,
        bytes calldata windowIds,
        address payout,
        bytes32 salt
    ) external payable returns (uint64 contributionId);

    /// @notice Accept a contribution with a quality of 0 to 10000, or reject it. By a curator, in a later block than
    /// its content. Accepting again changes the quality, which acts with the next version. What was withdrawn or
    /// erased before any review can still be rejected.
    function review(uint64 contributionId, bool accept, uint16 quality) external;

    /// @notice Count an accepted contribution's owned windows again, as a review would now; acts with the next
    /// version, up or down. Anyone may: after one ahead of it was rejected or has gone, or content promised before it
    /// was revealed.
    function recount(uint64 contributionId) external returns (uint64 ownedWindows);

    /// @notice Seal what is accepted now as a version that models can use from the next block on. By a curator.
    function publishVersion(uint64 datanetId) external returns (uint32 version);

    /// @notice Withdraw consent to uses, by the contributor. If the datanet's useMask has one of them (or is empty),
    /// versions published later don't have the contribution, and its pool weight ends with the next; earlier ones keep
    /// it.
    function withdrawConsent(uint64 contributionId, uint32 useMask) external;

    /// @notice Erase a contribution, by its contributor or the chain's council: from the next block on its windows are
    /// nobody's, and nodes may drop its content. What it has earned stays claimable.
    function erase(uint64 contributionId) external;

    /// @notice The versions a model was built from, and the hash of the terms that each was published under.
    function trainingSummary(
        uint64 modelId,
        uint256 cursor
    ) external view returns (Use[] memory uses, bytes32[] memory terms, uint256 next);

    /// @notice Contributions in the model's versions that have withdrawn or were erased since. A page may be empty; a
    /// next cursor of 0 ends the list.
    function forgetSet(
        uint64 modelId,
        uint256 cursor
    ) external view returns (uint64[] memory contributionIds, uint256 next);

    /// @notice Register a model, owned by the caller, with prices in wei per 1000 tokens, the models it was made from,
    /// and the versions it was built from: its own and those of all its ancestors.
    function registerModel(
        string calldata uri,
        bytes32 weights,
        Method method,
        address signer,
        uint128 inputPer1k,
        uint128 outputPer1k,
        uint16 minRoyaltyBps,
        Parent[] calldata parents,
        Use[] calldata uses
    ) external returns (uint64 modelId);

    /// @notice Name the versions a model is built from anew, by its owner, for the inferences that follow: with all
    /// that it carries for its ancestors since it was registered, or with all that they use now, which it carries from
    /// then on.
    function setUses(uint64 modelId, Use[] calldata uses) external;

    /// @notice Offer a model to somebody, who becomes its owner by `acceptModel`; the zero address ends an offer.
    function transferModel(uint64 modelId, address to) external;

    /// @notice Take over a model that was offered to the caller. Signer, prices and lineage stay as they are.
    function acceptModel(uint64 modelId) external;

    /// @notice Change a model's signer (zero: none), prices and whether it takes inferences. By its owner.
    function setModel(
        uint64 modelId,
        address signer,
        uint128 inputPer1k,
        uint128 outputPer1k,
        bool active
    ) external;

    /// @notice Register an agent, owned by the caller, that may use the models named, for up to dailyCap wei a day.
    function registerAgent(
        string calldata uri,
        address wallet,
        uint128 dailyCap,
        uint64[] calldata models
    ) external returns (uint64 agentId);

    /// @notice Change an agent's wallet, cap and list of models, by its owner. What was spent today stays spent.
    function setAgent(uint64 agentId, address wallet, uint128 dailyCap, uint64[] calldata models) external;

    /// @notice Add the wei sent to an agent's deposit. Anybody may.
    function depositAgent(uint64 agentId) external payable;

    /// @notice Move a part of an agent's deposit to its owner's balance, who calls this.
    function withdrawAgent(uint64 agentId, uint256 amount) external;

    /// @notice An agent as it stands.
    function getAgent(
        uint64 agentId
    ) external view returns (address owner, address wallet, uint256 deposit, uint128 dailyCap, uint128 spentToday);

    /// @notice The fee of an inference in wei: the model's price, but at least the sum of its datanets' floors.
    function quote(uint64 modelId, uint32 inputTokens, uint32 outputTokens) external view returns (uint256 fee);

    /// @notice Which contributions an output comes from, in tokens credited, best first; pays nothing.
    function trace(
        uint64 modelId,
        bytes calldata output
    ) external view returns (Score[] memory scores, uint256 tokens, uint256 unmatched);

    /// @notice Attribute an output and pay for it in OPEN; what is sent above the fee is credited back to the caller.
    /// With an agentId the fee comes out of that agent's deposit.
    function infer(Call calldata call) external payable returns (bytes32 receiptId);

    /// @notice Several inferences paid together: all of them, or none.
    function inferBatch(Call[] calldata calls) external payable returns (bytes32[] memory receiptIds);

    /// @notice Add int8 vectors of `dim` components, one after the other, to a pending contribution of the caller that
    /// isn't finalized; its time for review starts again. They count once a review has accepted it.
    function commitVectors(uint64 contributionId, uint16 dim, bytes calldata int8s) external;

    /// @notice Attribute by the int8 query's products with the vectors of the model's versions, and pay for it. What
    /// is sent above the fee is credited back.
    function inferVector(
        uint64 modelId,
        uint64 agentId,
        bytes32 ioHash,
        uint32 inputTokens,
        uint32 outputTokens,
        bytes calldata query,
        Signed calldata signed
    ) external payable returns (bytes32 receiptId);

    /// @notice The best contributions for an int8 query by DOT, best first; pays nothing.
    function traceVector(uint64 modelId, bytes calldata query) external view returns (Score[] memory scores);

    /// @notice Add the wei sent to the caller's bond, which an attestor's scores are locked against.
    function bond() external payable;

    /// @notice Move a part of the caller's bond that isn't locked to its balance.
    function unbond(uint256 amount) external;

    /// @notice An attestor's bond.
    function getBond(address who) external view returns (uint256 free, uint256 locked);

    /// @notice Pay for an inference and vouch for its scores: the root of a Merkle tree over (contributionId, weight),
    /// and the sum of all weights. By the model's signer (its owner, if it names none), out of whose bond a part is
    /// locked.
    function inferAttested(
        uint64 modelId,
        uint64 agentId,
        bytes32 ioHash,
        uint32 inputTokens,
        uint32 outputTokens,
        bytes32 scoreRoot,
        uint256 totalWeight
    ) external payable returns (bytes32 receiptId);

    /// @notice Credit one attested score to its contribution's payout, once the scores are final. Anyone may. The
    /// first claim of a receipt also frees the attestor's bond.
    function claimScored(bytes32 receiptId, Score calldata score, bytes32[] calldata proof) external;

    /// @notice Give what nobody has claimed of a receipt, `score_seconds` after its scores were final, to the pools of
    /// the model's uses: weights may sum to less than their total, and proofs be lost. Anyone may. It frees the
    /// attestor's bond, too.
    function releaseScores(bytes32 receiptId) external returns (uint256 released);

    /// @notice Attested scores as they stand: what waits for them, the bond locked for them, and the open dispute, if
    /// any.
    function getAttestation(
        bytes32 receiptId
    ) external view returns (
        address attestor,
        uint64 finalAt,
        bytes32 scoreRoot,
        uint256 totalWeight,
        uint256 claimedWeight,
        uint256 held,
        uint256 locked,
        bool slashed,
        uint64 disputeId
    );

    /// @notice Ask a commit-only contribution to open one window, with a bond that its contributor gets for doing so.
    function challengeCommitted(uint64 contributionId, uint32 window) external payable returns (uint64 disputeId);

    /// @notice Say, with a bond, that a contribution isn't its contributor's to give; the evidence (its hash) is for
    /// the council.
    function disputeContribution(
        uint64 contributionId,
        bytes32 evidence
    ) external payable returns (uint64 disputeId);

    /// @notice Say, with a bond, that attested scores are wrong, before they are final; the evidence (its hash) is for
    /// the council.
    function disputeScores(bytes32 receiptId, bytes32 evidence) external payable returns (uint64 disputeId);

    /// @notice Open the window that was asked for: 32 bytes of salt, then the window's text, with its proof under the
    /// content root. By the contributor, who gets the challenger's bond.
    function reveal(uint64 disputeId, bytes calldata opening, bytes32[] calldata proof) external;

    /// @notice Decide a dispute: the council's judgement on scores and copies; after the deadline anybody, as it comes
    /// to by default (what wasn't opened is upheld, all else dismissed).
    function resolve(uint64 disputeId, bool upheld) external;

    /// @notice A dispute as it stands; its subject is a contribution's id or a receipt's.
    function getDispute(
        uint64 disputeId
    ) external view returns (
        DisputeKind kind,
        DisputeState state,
        address challenger,
        bytes32 subject,
        uint32 window,
        uint256 bond,
        uint64 deadline,
        bytes32 evidence
    );

    /// @notice Show that `windows` consecutive windows of a contribution of any datanet, 64 or more, stand in an
    /// earlier one of the caller, of any status but SLASHED: segments by their place in the datanet, windows by their
    /// number in the segment. The later one loses these places and that part of its bond, or the call reverts.
    function challengePriority(
        uint64 contributionId,
        uint64 segment,
        uint32 window,
        uint32 windows,
        uint64 earlierId,
        uint64 earlierSegment,
        uint32 earlierWindow
    ) external returns (uint64 disputeId);

    /// @notice Announce the challenge of a commit-only contribution that was given with a commitment, for 64 windows
    /// (all, of one that is a shorter segment), with a bond. `openPassage` decides it from the block after the next on.
    function announceChallenge(
        uint64 contributionId,
        uint64 segment,
        uint32 window,
        uint64 earlierId,
        uint64 earlierSegment,
        uint32 earlierWindow
    ) external payable returns (uint64 disputeId);

    /// @notice Open the windows of `windowsToOpen`, in that order: each 32 bytes of salt and the window's text, with
    /// its proof under the earlier contribution's content root. By its contributor; then the later one loses what it
    /// still has of the passage, and the bond comes back.
    function openPassage(uint64 disputeId, Opening[] calldata openings) external;

    /// @notice The windows of the earlier contribution that an announced challenge has to open, once they are chosen:
    /// in the second block after it.
    function windowsToOpen(uint64 disputeId) external view returns (uint32[] memory windows);

    /// @notice Move contributions' pool shares to their payouts' balances. Anyone may.
    function claimPool(uint64[] calldata contributionIds) external;

    /// @notice Pay the caller's whole balance to an address, without running its code. What the block's own receipts
    /// were matched with arrives at its end: `NotCoveredYet` asks to wait for that.
    function claim(address to) external returns (uint256 paid);

    /// @notice What an account may claim now, and what is locked: its bond as an attestor, which `unbond` frees. Pool
    /// shares appear once `claimPool` has moved them.
    function claimable(address who) external view returns (uint256 available, uint256 locked);

    /// @notice A datanet's owner, parameters and counts.
    function getDatanet(
        uint64 datanetId
    ) external view returns (address owner, DatanetParams memory params, uint64 contributions, uint32 versions);

    /// @notice A contribution as it stands.
    function getContribution(
        uint64 contributionId
    ) external view returns (
        uint64 datanetId,
        address contributor,
        address payout,
        bytes32 contentRoot,
        uint64 tokens,
        uint64 ownedWindows,
        uint16 quality,
        Status status
    );

    /// @notice A version's seal: the hash chain over contents and reviews, and how many contributions existed.
    function getVersion(
        uint64 datanetId,
        uint32 version
    ) external view returns (bytes32 contentRoot, uint64 contributions, uint64 blockNumber);

    /// @notice What uses of a version pay by, for good: the curator's share and the soft cap; and its members' weight
    /// in the pool now, which only deaths and lost disputes lower.
    function getTerms(
        uint64 datanetId,
        uint32 version
    ) external view returns (uint16 curatorBps, uint16 softCapBps, uint64 poolWeight);

    /// @notice A model as it stands.
    function getModel(
        uint64 modelId
    ) external view returns (address owner, address signer, string memory uri, Method method, bool active);

    /// @notice The datanet versions a model was built from, with their shares.
    function getUses(uint64 modelId, uint256 cursor) external view returns (Use[] memory uses, uint256 next);

    /// @notice All ancestors of a model, by id, and what each gets of its owner's part.
    function getRoyalties(uint64 modelId) external view returns (uint64[] memory models, uint16[] memory bps);

    /// @notice What was inferred and paid; `scoresHash` is keccak(abi.encode(Score[])) over all scores, best first.
    function getReceipt(
        bytes32 receiptId
    ) external view returns (
        uint64 modelId,
        uint64 agentId,
        address payer,
        uint256 fee,
        uint64 blockNumber,
        uint32 tokens,
        uint32 unmatched,
        bytes32 scoresHash
    );
}

"""The words of the contract's interface: enums, structs, events and errors. Methods stand with their code.

Amounts are wei, shares basis points (10,000 = all), times seconds since 1970; ids start at 1, so 0 is "none".
"""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from evm_runtime.native import AbiType, ContractError, enumeration, event, struct
from genesis.primitives import Hash32


class Method(enum.IntEnum):
    """How a model's outputs are attributed."""

    SPAN = 0
    DOT = 1
    ATTESTED = 2
    POOL = 3


class Status(enum.IntEnum):
    """The state of a contribution. PENDING past its deadline counts as accepted, without pool weight until it is reviewed."""

    PENDING = 0
    ACCEPTED = 1
    REJECTED = 2
    WITHDRAWN = 3
    ERASED = 4
    SLASHED = 5


class Role(enum.IntEnum):
    """In a datanet; each role may do what the lower ones may, the owner everything."""

    NONE = 0
    CURATOR = 1
    ADMIN = 2


class DisputeKind(enum.IntEnum):
    """What is disputed: that committed windows can be opened, attested scores, that a contribution is its contributor's own
    (judged by the council), or that it came before another's (decided by the contract at once)."""

    COMMITTED = 0
    SCORES = 1
    COPIED = 2
    PRIORITY = 3


class DisputeState(enum.IntEnum):
    """The state of a dispute. UPHELD: the challenger was right."""

    OPEN = 0
    UPHELD = 1
    DISMISSED = 2


class DatanetParams(NamedTuple):
    uri: str
    terms_hash: Hash32
    tokenizer: Hash32
    min_span: int
    commit_only: bool
    open_to_models: bool
    use_mask: int
    min_fee_per_1k: int
    curator_bps: int
    soft_cap_bps: int
    bond_per_kib: int
    review_seconds: int


class Parent(NamedTuple):
    model_id: int
    bps: int


class Use(NamedTuple):
    datanet_id: int
    version: int
    stage: int
    bps: int


class Score(NamedTuple):
    contribution_id: int
    weight: int


class Opening(NamedTuple):
    opening: bytes
    proof: tuple[Hash32, ...]


class Signed(NamedTuple):
    nonce: int
    deadline: int
    signature: bytes


class Call(NamedTuple):
    model_id: int
    agent_id: int
    prompt_hash: Hash32
    input_tokens: int
    output: bytes
    signed: Signed


_ENUMS: Final[Mapping[str, AbiType]] = {
    "Method": enumeration("Method", Method),
    "Status": enumeration("Status", Status),
    "Role": enumeration("Role", Role),
    "DisputeKind": enumeration("DisputeKind", DisputeKind),
    "DisputeState": enumeration("DisputeState", DisputeState),
}
_SIGNED: Final = struct("Signed", "uint256 nonce, uint64 deadline, bytes signature", Signed)

TYPES: Final[Mapping[str, AbiType]] = {
    **_ENUMS,
    "DatanetParams": struct(
        "DatanetParams",
        "string uri, bytes32 termsHash, bytes32 tokenizer, uint8 minSpan, bool commitOnly, bool openToModels, "
        "uint32 useMask, uint128 minFeePer1k, uint16 curatorBps, uint16 softCapBps, uint128 bondPerKiB, "
        "uint32 reviewSeconds",
        DatanetParams,
    ),
    "Parent": struct("Parent", "uint64 modelId, uint16 bps", Parent),
    "Use": struct("Use", "uint64 datanetId, uint32 version, uint8 stage, uint16 bps", Use),
    "Score": struct("Score", "uint64 contributionId, uint128 weight", Score),
    "Opening": struct("Opening", "bytes opening, bytes32[] proof", Opening),
    "Signed": _SIGNED,
    "Call": struct(
        "Call",
        "uint64 modelId, uint64 agentId, bytes32 promptHash, uint32 inputTokens, bytes output, Signed signed",
        Call,
        {"Signed": _SIGNED},
    ),
}

# ---------------------------------------------------------------- events

DATANET_CREATED: Final = event("DatanetCreated(uint64 indexed datanetId, address indexed owner, bytes32 termsHash)")
DATANET_CHANGED: Final = event("DatanetChanged(uint64 indexed datanetId, bytes32 termsHash)")
TRANSFER_OFFERED: Final = event("TransferOffered(bool indexed model, uint64 indexed id, address indexed to)")
TRANSFERRED: Final = event("Transferred(bool indexed model, uint64 indexed id, address indexed to)")
USES_SET: Final = event("UsesSet(uint64 indexed modelId)")
BOND_RETURNED: Final = event("BondReturned(uint64 indexed contributionId, address indexed contributor, uint256 amount)")
COMPLETED: Final = event("Completed(uint64 indexed contributionId, bytes32 contentRoot, uint64 tokens)")
ROLE_SET: Final = event("RoleSet(uint64 indexed datanetId, address indexed who, Role role)", _ENUMS)
MODEL_ALLOWED: Final = event("ModelAllowed(uint64 indexed datanetId, uint64 indexed modelId, bool allowed)")
COMMITTED: Final = event("Committed(bytes32 indexed commitment, address indexed sender)")
CONTRIBUTED: Final = event(
    "Contributed(uint64 indexed datanetId, uint64 indexed contributionId, address indexed payout, "
    "bytes32 contentRoot, uint64 tokens)"
)
APPENDED: Final = event("Appended(uint64 indexed contributionId, bytes32 contentRoot, uint64 tokens)")
PAYOUT_SET: Final = event("PayoutSet(uint64 indexed contributionId, address indexed payout)")
REVIEWED: Final = event("Reviewed(uint64 indexed contributionId, bool accepted, uint16 quality)")
VERSION_PUBLISHED: Final = event("VersionPublished(uint64 indexed datanetId, uint32 version, bytes32 contentRoot)")
CONSENT_WITHDRAWN: Final = event("ConsentWithdrawn(uint64 indexed contributionId, uint32 useMask)")
ERASED: Final = event("Erased(uint64 indexed contributionId)")
MODEL_REGISTERED: Final = event("ModelRegistered(uint64 indexed modelId, address indexed owner, bytes32 weights)")
MODEL_CHANGED: Final = event(
    "ModelChanged(uint64 indexed modelId, address signer, uint128 inputPer1k, uint128 outputPer1k, bool active)"
)
AGENT_REGISTERED: Final = event("AgentRegistered(uint64 indexed agentId, address indexed wallet)")
AGENT_CHANGED: Final = event("AgentChanged(uint64 indexed agentId, address indexed wallet, uint128 dailyCap)")
AGENT_DEPOSITED: Final = event("AgentDeposited(uint64 indexed agentId, address indexed payer, uint256 amount)")
AGENT_WITHDRAWN: Final = event("AgentWithdrawn(uint64 indexed agentId, uint256 amount)")
INFERRED: Final = event(
    "Inferred(bytes32 indexed receiptId, uint64 indexed modelId, address indexed payer, uint256 fee, "
    "uint32 tokens, uint32 unmatched)"
)
ATTRIBUTED: Final = event(
    "Attributed(bytes32 indexed receiptId, uint64 indexed contributionId, address indexed payout, "
    "uint256 weight, uint256 amount)"
)
ROYALTY_PAID: Final = event("RoyaltyPaid(bytes32 indexed receiptId, uint64 indexed modelId, uint256 amount)")
POOLED: Final = event("Pooled(bytes32 indexed receiptId, uint64 indexed datanetId, uint32 version, uint256 amount)")
POOL_CLAIMED: Final = event("PoolClaimed(uint64 indexed contributionId, address indexed payout, uint256 amount)")
MATCHED: Final = event("Matched(bytes32 indexed receiptId, uint256 amount)")
VECTORS_COMMITTED: Final = event(
    "VectorsCommitted(uint64 indexed contributionId, uint16 dim, uint32 count, bytes32 contentHash)"
)
ATTESTED: Final = event(
    "Attested(bytes32 indexed receiptId, address indexed attestor, bytes32 scoreRoot, uint256 held, uint64 claimableFrom)"
)
BONDED: Final = event("Bonded(address indexed who, uint256 amount)")
UNBONDED: Final = event("Unbonded(address indexed who, uint256 amount)")
SLASHED: Final = event("Slashed(address indexed who, uint256 amount, DisputeKind reason)", _ENUMS)
WINDOWS_LOST: Final = event(
    "WindowsLost(uint64 indexed contributionId, uint64 indexed disputeId, uint64 segment, uint32 window, uint32 windows, "
    "uint256 bond, uint32 ownedWindows)"
)
RECOUNTED: Final = event("Recounted(uint64 indexed contributionId, uint64 ownedWindows)")
RELEASED: Final = event("Released(bytes32 indexed receiptId, uint256 amount)")
DISPUTED: Final = event("Disputed(uint64 indexed disputeId, bytes32 indexed subject, DisputeKind kind)", _ENUMS)
RESOLVED: Final = event("Resolved(uint64 indexed disputeId, bool upheld)")
CLAIMED: Final = event("Claimed(address indexed who, address indexed to, uint256 amount)")

EVENTS: Final = (
    DATANET_CREATED,
    DATANET_CHANGED,
    TRANSFER_OFFERED,
    TRANSFERRED,
    USES_SET,
    BOND_RETURNED,
    COMPLETED,
    ROLE_SET,
    MODEL_ALLOWED,
    COMMITTED,
    CONTRIBUTED,
    APPENDED,
    PAYOUT_SET,
    REVIEWED,
    VERSION_PUBLISHED,
    CONSENT_WITHDRAWN,
    ERASED,
    MODEL_REGISTERED,
    MODEL_CHANGED,
    AGENT_REGISTERED,
    AGENT_CHANGED,
    AGENT_DEPOSITED,
    AGENT_WITHDRAWN,
    INFERRED,
    ATTRIBUTED,
    ROYALTY_PAID,
    POOLED,
    POOL_CLAIMED,
    MATCHED,
    VECTORS_COMMITTED,
    ATTESTED,
    BONDED,
    UNBONDED,
    SLASHED,
    WINDOWS_LOST,
    RECOUNTED,
    RELEASED,
    DISPUTED,
    RESOLVED,
    CLAIMED,
)

# ---------------------------------------------------------------- errors

UNKNOWN_DATANET: Final = ContractError("UnknownDatanet(uint64 datanetId)")
UNKNOWN_CONTRIBUTION: Final = ContractError("UnknownContribution(uint64 contributionId)")
UNKNOWN_VERSION: Final = ContractError("UnknownVersion(uint64 datanetId, uint32 version)")
UNKNOWN_MODEL: Final = ContractError("UnknownModel(uint64 modelId)")
UNKNOWN_AGENT: Final = ContractError("UnknownAgent(uint64 agentId)")
UNKNOWN_RECEIPT: Final = ContractError("UnknownReceipt(bytes32 receiptId)")
NOT_ALLOWED: Final = ContractError("NotAllowed(address caller, string needed)")
NOT_SUPPORTED: Final = ContractError("NotSupported(string feature)")
INVALID_PARAMETER: Final = ContractError("InvalidParameter(string name, string reason)")
INVALID_CONTENT: Final = ContractError("InvalidContent(string reason)")
TOO_LONG: Final = ContractError("TooLong(string what, uint256 size, uint256 limit)")
TOO_SHORT: Final = ContractError("TooShort(string what, uint256 size, uint256 needed)")
WRONG_STATUS: Final = ContractError("WrongStatus(uint64 contributionId, Status status)", _ENUMS)
REVIEW_TOO_EARLY: Final = ContractError("ReviewTooEarly(uint64 contributionId, uint64 lastBlock)")
DEADLINE_PASSED: Final = ContractError("DeadlinePassed(uint64 contributionId, uint64 deadline)")
VERSION_NOT_FINAL: Final = ContractError("VersionNotFinal(uint64 datanetId, uint32 version)")
MODEL_INACTIVE: Final = ContractError("ModelInactive(uint64 modelId)")
MODEL_NOT_ALLOWED: Final = ContractError("ModelNotAllowed(uint64 datanetId, uint64 modelId)")
BOND_TOO_LOW: Final = ContractError("BondTooLow(uint256 required, uint256 sent)")
BOND_LOCKED: Final = ContractError("BondLocked(uint64 contributionId, uint64 until)")
COMPLETE: Final = ContractError("Complete(uint64 contributionId)")
NOT_REVEALED: Final = ContractError("NotRevealed(uint64 contributionId)")
UNKNOWN_COMMITMENT: Final = ContractError("UnknownCommitment(bytes32 commitment)")
COMMITMENT_EXISTS: Final = ContractError("CommitmentExists(bytes32 commitment, uint64 until)")
COMMITMENT_TOO_NEW: Final = ContractError("CommitmentTooNew(bytes32 commitment, uint64 blockNumber)")
COMMITMENT_EXPIRED: Final = ContractError("CommitmentExpired(bytes32 commitment, uint64 deadline)")
ROYALTY_TOO_LOW: Final = ContractError("RoyaltyTooLow(uint64 modelId, uint16 needed)")
MISSING_USE: Final = ContractError("MissingUse(uint64 datanetId, uint32 version)")
AGENT_MODEL_NOT_ALLOWED: Final = ContractError("AgentModelNotAllowed(uint64 agentId, uint64 modelId)")
DEPOSIT_TOO_LOW: Final = ContractError("DepositTooLow(uint64 agentId, uint256 required, uint256 available)")
DAILY_CAP_EXCEEDED: Final = ContractError("DailyCapExceeded(uint64 agentId, uint256 spent, uint256 cap)")
NOTHING_OFFERED: Final = ContractError("NothingOffered(uint64 id, address caller)")
FEE_TOO_LOW: Final = ContractError("FeeTooLow(uint256 required, uint256 sent)")
BAD_SIGNATURE: Final = ContractError("BadSignature(string reason)")
SIGNATURE_EXPIRED: Final = ContractError("SignatureExpired(uint64 deadline, uint64 timestamp)")
NONCE_USED: Final = ContractError("NonceUsed(uint64 modelId, uint256 nonce)")
NOT_COVERED_YET: Final = ContractError("NotCoveredYet(uint256 amount, uint256 available)")
WRONG_METHOD: Final = ContractError("WrongMethod(uint64 modelId, Method method)", _ENUMS)
COMMIT_ONLY: Final = ContractError("CommitOnly(uint64 datanetId, bool commitOnly)")
NOT_DECIDABLE: Final = ContractError("NotDecidable(string reason)")
BAD_PROOF: Final = ContractError("BadProof(string reason)")
UNKNOWN_DISPUTE: Final = ContractError("UnknownDispute(uint64 disputeId)")
DISPUTE_CLOSED: Final = ContractError("DisputeClosed(uint64 disputeId, DisputeState state)", _ENUMS)
DISPUTE_OPEN: Final = ContractError("DisputeOpen(uint64 disputeId, uint64 deadline)")
DISPUTE_OVER: Final = ContractError("DisputeOver(uint64 disputeId, uint64 deadline)")
SCORES_FINAL: Final = ContractError("ScoresFinal(bytes32 receiptId, uint64 since)")
SCORES_NOT_FINAL: Final = ContractError("ScoresNotFinal(bytes32 receiptId, uint64 claimableFrom)")
SCORES_SLASHED: Final = ContractError("ScoresSlashed(bytes32 receiptId)")
SCORES_RELEASED: Final = ContractError("ScoresReleased(bytes32 receiptId)")
NOT_COMPLETE: Final = ContractError("NotComplete(uint64 contributionId, uint64 until)")
NOT_CHOSEN: Final = ContractError("NotChosen(uint64 disputeId, uint64 blockNumber)")
SCORE_CLAIMED: Final = ContractError("ScoreClaimed(bytes32 receiptId, uint64 contributionId)")

ERRORS: Final = (
    UNKNOWN_DATANET,
    UNKNOWN_CONTRIBUTION,
    UNKNOWN_VERSION,
    UNKNOWN_MODEL,
    UNKNOWN_AGENT,
    UNKNOWN_RECEIPT,
    NOT_ALLOWED,
    NOT_SUPPORTED,
    INVALID_PARAMETER,
    INVALID_CONTENT,
    TOO_LONG,
    TOO_SHORT,
    WRONG_STATUS,
    REVIEW_TOO_EARLY,
    DEADLINE_PASSED,
    VERSION_NOT_FINAL,
    MODEL_INACTIVE,
    MODEL_NOT_ALLOWED,
    BOND_TOO_LOW,
    BOND_LOCKED,
    COMPLETE,
    NOT_REVEALED,
    UNKNOWN_COMMITMENT,
    COMMITMENT_EXISTS,
    COMMITMENT_TOO_NEW,
    COMMITMENT_EXPIRED,
    ROYALTY_TOO_LOW,
    MISSING_USE,
    AGENT_MODEL_NOT_ALLOWED,
    DEPOSIT_TOO_LOW,
    DAILY_CAP_EXCEEDED,
    NOTHING_OFFERED,
    FEE_TOO_LOW,
    BAD_SIGNATURE,
    SIGNATURE_EXPIRED,
    NONCE_USED,
    NOT_COVERED_YET,
    WRONG_METHOD,
    COMMIT_ONLY,
    NOT_DECIDABLE,
    BAD_PROOF,
    UNKNOWN_DISPUTE,
    DISPUTE_CLOSED,
    DISPUTE_OPEN,
    DISPUTE_OVER,
    SCORES_FINAL,
    SCORES_NOT_FINAL,
    SCORES_SLASHED,
    SCORES_RELEASED,
    NOT_COMPLETE,
    NOT_CHOSEN,
    SCORE_CLAIMED,
)

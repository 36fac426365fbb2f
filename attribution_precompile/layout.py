"""Where the attribution contract keeps what, slot by slot (Solidity's layout; see `evm_runtime/native/storage.py`).

    0 datanets created          1 contributions             2 models                  3 receipts
    4 orders, chain-wide        5 wei burned, cumulative    6 wei owed to stakers     7 agents
    8 datanet -> record         9 contribution -> record   10 datanet -> version      11 model -> record
   12 model -> uses[]          13 receipt id -> record     14 account -> claimable    15 datanet -> account -> role
   16 datanet -> model -> may  17 datanet -> segments[]    18 datanet -> members[]    19 datanet -> reviewed[]
   20 datanet -> hash chain    21 datanet -> next weight   22 contribution -> steps[] 23 model -> nonce bitmap
   24 datanet -> uri           25 model -> uri            26 datanet -> bond per KiB 27 datanet -> heir
   28 model -> heir            29 contribution -> upload  30 account -> commitment   31 contribution -> held[]
   32 contribution -> salt     33 model -> royalties[]    34 agent -> record         35 agent -> uri
   36 agent -> generation -> model -> may                   37 contribution -> departure
   38 datanet -> departed[]    39 datanet -> vector space   40 contribution -> vectors[]
   41 datanet -> vectored[]    42 account -> bond          43 receipt id -> attestation
   44 receipt id -> contribution -> claimed                45 disputes created
   46 dispute -> record        47 contribution -> openings 48 contribution -> open disputes
   50 datanet -> segment -> losses[]                       51 datanet -> segment of each loss
   52 contribution -> standing 53 dispute -> announcement
   60 hash of uses -> uses[]   61 datanet -> node of its pool                         62 datanet -> version -> remainder
   63 contribution -> residue  70 datanet -> endings[]     71 datanet -> death blocks  72 queue -> its last purge

Slot 5 belongs to the supply (`genesis + minted - burned`), slot 6 is drained at the end of each block.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from attribution_precompile.declarations import DisputeKind, DisputeState, Method, Status
from evm_runtime.native import (
    U8,
    U16,
    U32,
    U40,
    U64,
    U96,
    U128,
    U160,
    Account,
    Flag,
    RecordLists,
    Records,
    Texts,
    Uint64Lists,
    Value,
    Word,
)

BURNED_SLOT: Final = 5
STAKERS_SLOT: Final = 6


@dataclass(frozen=True, slots=True)
class Datanet:
    """Slot 0: who and how attribution works; slot 1: price and counts; slots 2, 3: terms and tokenizer (immutable)."""

    owner: Account
    min_span: U8
    open_to_models: Flag
    commit_only: Flag
    curator_bps: U16
    soft_cap_bps: U16
    review_seconds: U32
    min_fee_per_1k: U128
    use_mask: U32
    versions: U32
    contributions: U64
    terms_hash: Word
    tokenizer: Word


@dataclass(frozen=True, slots=True)
class Contribution:
    """`accepted_version` is the first version after its acceptance by review (0: not accepted by review).

    `segments` and `further_blocks` (see `Segment`) are what reading its windows again costs beside its tokens.
    `owned_windows` is what the last count found, less what was lost
    since. `decided_at` is when its first review came, at latest the deadline (seconds since 1970; 0: none has).
    """

    contributor: Account
    datanet_id: U32
    quality: U16
    status: Annotated[Status, 8]
    decided_at: U40
    payout: Account
    first_order: U64
    accepted_version: U32
    tokens: U32
    owned_windows: U32
    deadline: U40
    last_block: U40
    segments: U32
    further_blocks: U32
    content_root: Word
    provenance: Word


@dataclass(frozen=True, slots=True)
class Upload:
    """What a contribution brought in, beside its record: bytes of content so far, and the bond held for it in wei.

    `complete` says that nothing can be appended any more; `hidden` that its segments are held until a commitment to all of
    them is found, and no review or version sees it before. `end` is how many segments its datanet had with its last one.
    `closed` says that its contributor has finalized it: it takes no vectors either.
    """

    content_bytes: U32
    bond: U128
    complete: Flag
    hidden: Flag
    end: U64
    closed: Flag = False


@dataclass(frozen=True, slots=True)
class Commitment:
    """A place in the order, taken in a block at a time (seconds). Order 0: there is none."""

    order: U64
    block_number: U64
    time: U64


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of content. `order` counts all segments and commitments of the chain; windows belong to the smallest.

    `windows_hash` is keccak over its window ids, in order: they are what is left of content that a node has erased.
    `further_blocks` says what hashing its windows takes beyond their number (`Tokens.further_blocks`): the price of doing so
    again must not depend on whether a node has the content still.
    """

    contribution_id: U64
    order: U64
    block_number: U64
    tokens: U32
    further_blocks: U32
    content_hash: Word
    windows_hash: Word


@dataclass(frozen=True, slots=True)
class Version:
    """A watermark: the first `segments` segments and `contributions` contributions existed when it was published.

    `curator_bps` and `soft_cap_bps` are the terms that its uses pay by, for good.
    """

    time: U64
    block_number: U64
    segments: U64
    contributions: U64
    content_root: Word
    terms_hash: Word
    vectors: U64 = 0
    """How many vectors its datanet's space had, and in `vectored` how many contributions brought them."""
    vectored: U64 = 0
    curator_bps: U16 = 0
    soft_cap_bps: U16 = 10_000


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The int8 vectors of a datanet: components of each, and how many accepted contributions have brought."""

    dim: U16
    vectors: U64


@dataclass(frozen=True, slots=True)
class VectorChunk:
    """Vectors that one call brought in. `order` counts with the segments of the chain: of equal vectors the smallest counts.

    `digests_hash` is keccak over the vectors' digests, in order: they are what is left of vectors that a node has erased.
    """

    order: U64
    count: U32
    dim: U16
    content_hash: Word
    digests_hash: Word


@dataclass(frozen=True, slots=True)
class Departure:
    """How a contribution left: `gone` from versions after number `left`; its windows dead since after block `died_block`."""

    left: U32
    gone: Flag
    died_block: U64
    withdrawn_mask: U32


@dataclass(frozen=True, slots=True)
class Standing:
    """What a contribution's bond and weight are cut by: `lost` of its window places, but for those that were the earlier
    contribution's anyway.

    `first_bond` is the bond it had when it lost the first. `counted` windows were its own at the last count, when `lost_before`
    places were lost. `barred` says that a dispute about it was upheld: it can challenge nobody.
    """

    first_bond: U128
    lost: U32
    lost_before: U32
    counted: U32
    barred: Flag


@dataclass(frozen=True, slots=True)
class Announced:
    """A priority challenge that waits for openings: `windows` in a row, from a place in a segment of the later contribution and
    from one in a segment of the earlier one; the hash of block `block_number` chooses what is opened."""

    segment: U64
    earlier_id: U64
    earlier_segment: U64
    block_number: U64
    window: U32
    earlier_window: U32
    windows: U32


@dataclass(frozen=True, slots=True)
class Model:
    owner: Account
    active: Flag
    method: Annotated[Method, 8]
    min_royalty_bps: U16
    depth: U8
    ancestors: U8
    signer: Account
    input_per_1k: U128
    output_per_1k: U128
    tokenizer: Word
    weights: Word


@dataclass(frozen=True, slots=True)
class ModelUse:
    """`carried` says that the model must keep the version, for its ancestors' sake."""

    datanet_id: U64
    version: U32
    stage: U8
    bps: U16
    carried: Flag = False


@dataclass(frozen=True, slots=True)
class Royalty:
    """What a model owes an ancestor, in basis points of its owner's part."""

    model_id: U64
    bps: U16


@dataclass(frozen=True, slots=True)
class Agent:
    """`spent` is that of `day`, in days since 1970; `generation` tells its list of models."""

    owner: Account
    generation: U32
    day: U64
    wallet: Account
    deposit: U96
    daily_cap: U128
    spent: U128


@dataclass(frozen=True, slots=True)
class Receipt:
    model_id: U64
    agent_id: U64
    block_number: U64
    tokens: U32
    unmatched: U32
    payer: Account
    fee: U96
    scores_hash: Word


@dataclass(frozen=True, slots=True)
class Bond:
    """An attestor's wei: free to be taken back, and locked for what was attested."""

    free: U128
    locked: U128


@dataclass(frozen=True, slots=True)
class Attestation:
    """Scores that an attestor vouches for, and the contributors' part that waits for them.

    `held` wei are divided by `total_weight`; `claimed_weight` says how far. `bond` is what the attestor has locked for it: 0
    once it is free or slashed. `released` says that what nobody had claimed in time has gone to the pools. `uses_hash`
    names the model's uses of that moment; `dispute` is the open one, or 0.
    """

    attestor: Account
    final_at: U64
    slashed: Flag
    released: Flag
    held: U128
    bond: U128
    total_weight: U128
    claimed_weight: U128
    dispute: U64
    score_root: Word
    uses_hash: Word


@dataclass(frozen=True, slots=True)
class Dispute:
    """`subject` is a contribution's id or a receipt's; `bond` the challenger's wei; `deadline` in seconds since 1970."""

    challenger: Account
    kind: Annotated[DisputeKind, 8]
    state: Annotated[DisputeState, 8]
    deadline: U64
    bond: U128
    window: U32
    subject: Word
    evidence: Word


@dataclass(frozen=True, slots=True)
class PoolNode:
    """A stretch of a datanet's versions: what each unit of weight in them was paid, and weight that all of them have.

    In parts of 2**-64 wei modulo 2**160, and modulo 2**64 (`pool.py`). `begun` is set when the first is published.
    """

    sum: U160
    weight: U64
    begun: Flag


@dataclass(frozen=True, slots=True)
class PoolStep:
    """A contribution's weight from version `first` on, and the sum from there on at which it was settled last."""

    first: U32
    weight: U64
    settled: U160


@dataclass(frozen=True, slots=True)
class Loss:
    """Window places [start, end) of a segment that a challenge took. Those of one segment are disjoint, sorted, and apart."""

    start: U32
    end: U32


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended of a contribution at the end of a block (`endings.py`): its claim, its membership in versions after number
    `left`, its life. From the end of block `purge_block` on the index has it no more."""

    contribution_id: U64
    block_number: U64
    purge_block: U64
    left: U32
    died: Flag


@dataclass(frozen=True, slots=True)
class PurgeQueue:
    """The last block that something is to leave the index in, and how many tokens do."""

    block: U64
    tokens: U64


DATANET_COUNT: Final = Value(0)
CONTRIBUTION_COUNT: Final = Value(1)
MODEL_COUNT: Final = Value(2)
RECEIPT_COUNT: Final = Value(3)
SEGMENT_COUNT: Final = Value(4)
BURNED: Final = Value(BURNED_SLOT)
STAKERS: Final = Value(STAKERS_SLOT)
AGENT_COUNT: Final = Value(7)
DATANETS: Final = Records(8, Datanet)
CONTRIBUTIONS: Final = Records(9, Contribution)
VERSIONS: Final = Records(10, Version)
MODELS: Final = Records(11, Model)
USES: Final = RecordLists(12, ModelUse)
RECEIPTS: Final = Records(13, Receipt)
CLAIMABLE: Final = Value(14)
ROLES: Final = Value(15)
ALLOWED: Final = Value(16)
SEGMENTS: Final = RecordLists(17, Segment)
MEMBERS: Final = Uint64Lists(18)
REVIEWED: Final = Uint64Lists(19)
CHAINS: Final = Value(20)
POOL_WEIGHTS: Final = Value(21)
POOL_STEPS: Final = RecordLists(22, PoolStep)
NONCES: Final = Value(23)
DATANET_URIS: Final = Texts(24)
MODEL_URIS: Final = Texts(25)
BOND_PRICES: Final = Value(26)
DATANET_HEIRS: Final = Value(27)
MODEL_HEIRS: Final = Value(28)
UPLOADS: Final = Records(29, Upload)
COMMITMENTS: Final = Records(30, Commitment)
HELD: Final = RecordLists(31, Segment)
SALTS: Final = Value(32)
LINEAGES: Final = RecordLists(33, Royalty)
AGENTS: Final = Records(34, Agent)
AGENT_URIS: Final = Texts(35)
AGENT_MODELS: Final = Value(36)
DEPARTURES: Final = Records(37, Departure)
DEPARTED: Final = Uint64Lists(38)
VECTOR_SPACES: Final = Records(39, VectorSpace)
VECTOR_CHUNKS: Final = RecordLists(40, VectorChunk)
VECTORED: Final = Uint64Lists(41)
BONDS: Final = Records(42, Bond)
ATTESTATIONS: Final = Records(43, Attestation)
CLAIMED_SCORES: Final = Value(44)
DISPUTE_COUNT: Final = Value(45)
DISPUTES: Final = Records(46, Dispute)
OPENINGS: Final = Value(47)
OPEN_DISPUTES: Final = Value(48)
LOSSES: Final = RecordLists(50, Loss)
LOSING: Final = Uint64Lists(51)
STANDINGS: Final = Records(52, Standing)
ANNOUNCED: Final = Records(53, Announced)
ATTESTED_USES: Final = RecordLists(60, ModelUse)
POOL_NODES: Final = Records(61, PoolNode)
POOL_REMAINDERS: Final = Value(62)
POOL_RESIDUES: Final = Value(63)
ENDINGS: Final = RecordLists(70, Ending)
DEATHS: Final = Uint64Lists(71)
PURGES: Final = Records(72, PurgeQueue)

# pragma version ~=0.4.0
"""
@title A light client of an OpenLedger chain, for another chain
@license MIT
@notice Holds a final block of the chain and moves on to later ones that its validators have signed. `stateRoot` is then good
        for Merkle proofs of accounts and storage (EIP-1186).
@dev What a validator signs, and how validator sets and ConsensusData hash, stands in genesis/types.py; all are
     keccak(abi.encode(...)). A block is accepted if the set that the stored block announced signed it: the next block always,
     later ones as long as the set stays. So whoever feeds it must bring every block that announces another set, and the
     stored block must be younger than the trusting period.
"""

MAX_VALIDATORS: constant(uint256) = 100
MAX_HEADER: constant(uint256) = 1024
SIGNATURE_DOMAIN: constant(bytes32) = keccak256("OpenLedger consensus signature v1")
PRECOMMIT: constant(uint256) = 2
CONSENSUS_DATA_VERSION: constant(uint256) = 1
# half of the order of secp256k1: a signature with a higher s is not canonical
HALF_N: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

# Where these stand in the RLP of a header: a list of more than 255 bytes has a head of three; hashes have one byte ahead.
STATE_ROOT_AT: constant(uint256) = 3 + 33 + 33 + 21 + 1
PARENT_BEACON_BLOCK_ROOT_FROM_END: constant(uint256) = 32 + 33


struct ConsensusData:
    timeMs: uint256
    round: uint256
    proposer: address
    lastCommitHash: bytes32
    evidenceHash: bytes32
    validatorsHash: bytes32
    nextValidatorsHash: bytes32


struct ValidatorSet:
    addresses: DynArray[address, MAX_VALIDATORS]
    powers: DynArray[uint64, MAX_VALIDATORS]
    payouts: DynArray[address, MAX_VALIDATORS]


struct Commit:
    height: uint256
    round: uint256
    blockHash: bytes32
    # 65 bytes (r, s, v in {0, 1}) or none, in the order of the set
    signatures: DynArray[Bytes[65], MAX_VALIDATORS]


event Accepted:
    height: indexed(uint256)
    blockHash: indexed(bytes32)
    stateRoot: bytes32


CHAIN_ID: public(immutable(uint256))
GENESIS_HASH: public(immutable(bytes32))
TRUSTING_PERIOD_MS: public(immutable(uint256))

height: public(uint256)
blockHash: public(bytes32)
stateRoot: public(bytes32)
timeMs: public(uint256)
nextValidatorsHash: public(bytes32)


@deploy
def __init__(
    chain_id: uint256,
    genesis_hash: bytes32,
    trusting_period_ms: uint256,
    trusted_height: uint256,
    header: Bytes[MAX_HEADER],
    data: ConsensusData,
):
    """
    @notice Begin from a block that the deployer vouches for.
    """
    CHAIN_ID = chain_id
    GENESIS_HASH = genesis_hash
    TRUSTING_PERIOD_MS = trusting_period_ms
    self._take(trusted_height, header, data)


@external
def submit(header: Bytes[MAX_HEADER], data: ConsensusData, commit: Commit, validators: ValidatorSet):
    """
    @notice Move on to a later block. Anybody may call; what counts is the signatures.
    """
    assert commit.height > self.height, "not above the trusted block"
    assert self.timeMs + TRUSTING_PERIOD_MS > block.timestamp * 1000, "the trusted block has expired"
    assert data.timeMs > self.timeMs, "not later than the trusted block"
    assert keccak256(header) == commit.blockHash, "the commit is for another block"
    assert data.validatorsHash == self.nextValidatorsHash, "not the set that was announced"
    assert self._validators_hash(validators) == data.validatorsHash, "not the set of this block"
    assert self._is_final(commit, validators), "not more than 2/3 of the power"
    self._take(commit.height, header, data)


@external
@view
def isFinal(commit: Commit, validators: ValidatorSet) -> bool:
    """
    @notice Did more than 2/3 of `validators` sign the commit? Reverts for a signature that is bad.
    @dev Says nothing about whether these are the chain's validators: compare `validatorsHash` with one that you trust.
    """
    return self._is_final(commit, validators)


@external
@pure
def validatorsHash(validators: ValidatorSet) -> bytes32:
    return self._validators_hash(validators)


@external
@pure
def consensusHash(data: ConsensusData) -> bytes32:
    """
    @notice What the header's parentBeaconBlockRoot must be.
    """
    return self._consensus_hash(data)


@external
@pure
def belongs(header: Bytes[MAX_HEADER], data: ConsensusData) -> bool:
    """
    @notice Is this the ConsensusData of the block with this header?
    """
    return self._beacon_root(header) == self._consensus_hash(data)


@external
@view
def voteDigest(height: uint256, round: uint256, block_hash: bytes32, validators_hash: bytes32) -> bytes32:
    """
    @notice What a validator signs to precommit a block.
    """
    return self._digest(height, round, block_hash, validators_hash)


@internal
def _take(height: uint256, header: Bytes[MAX_HEADER], data: ConsensusData):
    assert self._beacon_root(header) == self._consensus_hash(data), "not the ConsensusData of this header"
    self.height = height
    self.blockHash = keccak256(header)
    self.stateRoot = convert(slice(header, STATE_ROOT_AT, 32), bytes32)
    self.timeMs = data.timeMs
    self.nextValidatorsHash = data.nextValidatorsHash
    log Accepted(height=height, blockHash=self.blockHash, stateRoot=self.stateRoot)


@internal
@view
def _is_final(commit: Commit, validators: ValidatorSet) -> bool:
    count: uint256 = len(validators.addresses)
    assert count > 0 and len(commit.signatures) == count, "one signature slot per validator"
    assert len(validators.powers) == count and len(validators.payouts) == count, "columns of different length"
    digest: bytes32 = self._digest(commit.height, commit.round, commit.blockHash, self._validators_hash(validators))
    signed: uint256 = 0
    total: uint256 = 0
    last: uint160 = 0
    for place: uint256 in range(count, bound=MAX_VALIDATORS):
        # A set stands in order of address, so nobody is in it twice, and the zero address is not (a failed ecrecover).
        member: uint160 = convert(validators.addresses[place], uint160)
        assert member > last, "a set stands in order of address"
        last = member
        total += convert(validators.powers[place], uint256)
        if len(commit.signatures[place]) != 0:
            assert self._signer(digest, commit.signatures[place]) == validators.addresses[place], "a bad signature"
            signed += convert(validators.powers[place], uint256)
    return 3 * signed > 2 * total


@internal
@pure
def _signer(digest: bytes32, signature: Bytes[65]) -> address:
    assert len(signature) == 65, "a signature has 65 bytes"
    r: uint256 = convert(slice(signature, 0, 32), uint256)
    s: uint256 = convert(slice(signature, 32, 32), uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    assert s <= HALF_N and v <= 1, "not a canonical signature"
    return ecrecover(digest, v + 27, r, s)


@internal
@view
def _digest(height: uint256, round: uint256, block_hash: bytes32, validators_hash: bytes32) -> bytes32:
    # The last word is the valid round of a proposal plus one: 0 for votes.
    return keccak256(
        abi_encode(
            SIGNATURE_DOMAIN,
            CHAIN_ID,
            GENESIS_HASH,
            PRECOMMIT,
            height,
            round,
            block_hash,
            validators_hash,
            convert(0, uint256),
        )
    )


@internal
@pure
def _validators_hash(validators: ValidatorSet) -> bytes32:
    return keccak256(abi_encode(validators.addresses, validators.powers, validators.payouts))


@internal
@pure
def _consensus_hash(data: ConsensusData) -> bytes32:
    return keccak256(abi_encode(CONSENSUS_DATA_VERSION, data))


@internal
@pure
def _beacon_root(header: Bytes[MAX_HEADER]) -> bytes32:
    # The last two fields are hashes of 32 bytes, parentBeaconBlockRoot and requestsHash. 249 (0xf9) heads a list whose length
    # has two bytes, 160 (0xa0) heads 32 bytes.
    size: uint256 = len(header)
    assert size > STATE_ROOT_AT + 32 + PARENT_BEACON_BLOCK_ROOT_FROM_END, "too short for a header"
    assert convert(slice(header, 0, 1), uint256) == 249, "not a header of this fork"
    head: uint256 = size - PARENT_BEACON_BLOCK_ROOT_FROM_END - 1
    assert convert(slice(header, head, 1), uint256) == 160, "not a header of this fork"
    assert convert(slice(header, size - 33, 1), uint256) == 160, "not a header of this fork"
    return convert(slice(header, size - PARENT_BEACON_BLOCK_ROOT_FROM_END, 32), bytes32)

"""What a block's header and consensus data must say, given its parent and the parent's state. No execution here.

Our own rules, not py-evm's: the timestamp may repeat, the base fee has our denominator and floor, the gas limit is a parameter.
A proposer builds its header from `draft_header`, and everybody else compares with it, so the two can't differ.
"""

from typing import Final

from evm_runtime.header import (
    EMPTY_BLOOM,
    EMPTY_OMMERS_HASH,
    EMPTY_REQUESTS_HASH,
    EMPTY_TRIE_ROOT,
    ZERO_NONCE,
    Header,
)
from evm_runtime.staking.sets import ValidatorsState
from genesis.chain_spec import BlockParams
from genesis.errors import InvalidBlock
from genesis.primitives import ZERO_HASH, Address, Hash32, Height, Round, keccak256
from genesis.proposers import proposer
from genesis.types import EMPTY_COMMIT, Block, Commit, ConsensusData, Evidence, evidence_hash

ELASTICITY: Final = 2
"""EIP-1559: the target is half of the gas limit."""

EXECUTION_FIELDS: Final = frozenset(
    {"state_root", "transactions_root", "receipts_root", "bloom", "gas_used", "withdrawals_root"}
)
"""Header fields that only execution can tell; all others are fixed by the parent and the consensus data."""


def next_base_fee(parent: Header, params: BlockParams) -> int:
    """EIP-1559's base fee in wei of the block after `parent`, with the chain's denominator and floor."""
    target = parent.gas_limit // ELASTICITY
    base_fee = parent.base_fee_per_gas
    if parent.gas_used > target:
        step = base_fee * (parent.gas_used - target) // target // params.base_fee_denominator
        base_fee += max(step, 1)
    elif parent.gas_used < target:
        base_fee -= base_fee * (target - parent.gas_used) // target // params.base_fee_denominator
    return max(base_fee, params.base_fee_floor)


def prev_randao(parent: Header, last_commit: Commit) -> Hash32:
    """keccak of the last commit's signatures in set order, absent ones empty; block 1 takes the genesis hash."""
    if parent.number == 0:
        return parent.hash
    return keccak256(b"".join(last_commit.signatures))


def consensus_data(
    validators: ValidatorsState,
    *,
    time_ms: int,
    round_: Round,
    proposer_address: Address,
    last_commit: Commit,
    evidence: tuple[Evidence, ...],
) -> ConsensusData:
    """The ConsensusData of a block on a state with `validators`."""
    return ConsensusData(
        time_ms=time_ms,
        round=round_,
        proposer=proposer_address,
        last_commit_hash=last_commit.hash(),
        evidence_hash=evidence_hash(evidence),
        validators_hash=validators.current.hash(),
        next_validators_hash=validators.next.hash(),
    )


def draft_header(parent: Header, params: BlockParams, data: ConsensusData, coinbase: Address, randao: Hash32) -> Header:
    """The header of the block after `parent` before execution: `EXECUTION_FIELDS` stand for an empty block."""
    return Header(
        parent_hash=parent.hash,
        ommers_hash=EMPTY_OMMERS_HASH,
        coinbase=coinbase,
        state_root=ZERO_HASH,
        transactions_root=EMPTY_TRIE_ROOT,
        receipts_root=EMPTY_TRIE_ROOT,
        bloom=EMPTY_BLOOM,
        difficulty=0,
        number=Height(parent.number + 1),
        gas_limit=params.gas_limit,
        gas_used=0,
        timestamp=data.time_ms // 1_000,
        extra_data=b"",
        prev_randao=randao,
        nonce=ZERO_NONCE,
        base_fee_per_gas=next_base_fee(parent, params),
        withdrawals_root=EMPTY_TRIE_ROOT,
        blob_gas_used=0,
        excess_blob_gas=0,
        parent_beacon_block_root=data.hash(),
        requests_hash=EMPTY_REQUESTS_HASH,
    )


def unproposed_header(parent: Header, params: BlockParams, time_ms: int, coinbase: Address) -> Header:
    """The header of the block after `parent` as far as it is known before anybody has proposed it.

    Who asks what a transaction would do in the next block gets that block from here, and from nowhere else. Randomness and
    consensus data are not known yet: values that no earlier block had stand for them.
    """
    unknown = ConsensusData(time_ms, Round(0), coinbase, parent.hash, parent.hash, parent.hash, parent.hash)
    return draft_header(parent, params, unknown, coinbase, parent.hash)


def check_consensus_data(block: Block, parent: Header, validators: ValidatorsState) -> None:
    """Hold the block's consensus data to its body and to the parent's state. Raises InvalidBlock."""
    data = block.consensus
    check_last_commit(block.last_commit, parent, validators)
    expected = consensus_data(
        validators,
        time_ms=data.time_ms,
        round_=data.round,
        proposer_address=proposer_of(validators, data.round),
        last_commit=block.last_commit,
        evidence=block.evidence,
    )
    for name in ("proposer", "last_commit_hash", "evidence_hash", "validators_hash", "next_validators_hash"):
        have, want = getattr(data, name), getattr(expected, name)
        if have != want:
            raise InvalidBlock(f"consensus data: {name} is 0x{have.hex()}, expected 0x{want.hex()}")


def check_last_commit(commit: Commit, parent: Header, validators: ValidatorsState) -> None:
    """The commit is one of the parent's, with a place for each of its validators. Who signed what is consensus' to verify."""
    if parent.number == 0:
        if commit != EMPTY_COMMIT:
            raise InvalidBlock("last commit: block 1 carries an empty commit")
        return
    if commit.height != parent.number or commit.block_hash != parent.hash:
        raise InvalidBlock(
            f"last commit: it is for height {commit.height}, block 0x{commit.block_hash.hex()}; "
            f"the parent is {parent.number}, block 0x{parent.hash.hex()}"
        )
    if validators.last is None or len(commit.signatures) != len(validators.last):
        raise InvalidBlock("last commit: it does not have one place per validator of its height")


def check_time(params: BlockParams, parent_time_ms: int, data: ConsensusData, *, is_empty: bool) -> None:
    """A block keeps the interval; one without transactions and evidence the longer one, except after round 0."""
    interval_ms = params.empty_interval_ms if is_empty and data.round == 0 else params.interval_ms
    earliest_ms = parent_time_ms + interval_ms
    if data.time_ms < earliest_ms:
        kind = "an empty block" if is_empty else "a block"
        raise InvalidBlock(f"time: {kind} after {parent_time_ms} ms is due at {earliest_ms} ms, not {data.time_ms} ms")


def check_header(header: Header, expected: Header, *, executed: bool) -> None:
    """Compare field by field: before execution those that need none, after it all. Raises InvalidBlock naming the field."""
    for name in header.__dataclass_fields__:
        if not executed and name in EXECUTION_FIELDS:
            continue
        have, want = getattr(header, name), getattr(expected, name)
        if have != want:
            raise InvalidBlock(f"header: {name} is {_show(have)}, expected {_show(want)}")


def proposer_of(validators: ValidatorsState, round_: Round) -> Address:
    """Who proposes in `round_` of the height after the state that `validators` were read from."""
    return proposer(validators.current, validators.priorities, round_)


def payout_of(validators: ValidatorsState, address: Address) -> Address:
    """The coinbase of a block that `address` proposes. Raises InvalidBlock if it is no validator of the height."""
    place = validators.current.index(address)
    if place is None:
        raise InvalidBlock(f"consensus data: the proposer 0x{address.hex()} is not a validator of this height")
    return validators.current.members[place].payout


def _show(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)

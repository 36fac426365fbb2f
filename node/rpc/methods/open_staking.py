"""open: staking and punishment, as the chain has them after a block. What contracts ask for stands in `IStaking.sol`."""

from genesis.governance import GOVERNED, value_of
from genesis.primitives import Address
from genesis.types import DuplicateVote, Evidence
from node.rpc.context import Context
from node.rpc.reads.lookup import block_at, header_at, state_at
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.format import Json, data, quantity
from node.rpc.schema.params import ADDRESS, BLOCK_REF, LATEST, BlockRef

_BLOCK = Param("block", BLOCK_REF, default=LATEST)


@method("open_validator", Param("validator", ADDRESS), _BLOCK, result="validator record or null", runs=Runs.READ)
def validator(context: Context, address: Address, ref: BlockRef) -> Json | None:
    """A validator by its consensus address: owner, stake, terms, and how it behaves; null if there never was one."""
    record = state_at(context.chain, ref).validator_record(address)
    if not record.exists:
        return None
    return {
        "address": data(address),
        "owner": data(record.owner),
        "payout": data(record.payout),
        "power": quantity(record.tokens // context.chain.spec.staking.stake_per_power),
        "selfStake": quantity(record.self_stake),
        "delegated": quantity(record.tokens - record.self_stake),
        "commissionBps": quantity(record.commission_bps),
        "candidate": bool(record.place),
        "jailed": record.jailed,
        "jailedUntil": quantity(record.jailed_until),
        "tombstoned": record.tombstoned,
        "missedBlocks": quantity(record.missed_blocks),
        "missedMs": quantity(record.missed_ms),
    }


@method("open_stake", _BLOCK, result="stake", runs=Runs.READ)
def stake(context: Context, ref: BlockRef) -> Json:
    """All stake, in wei: staked = bonded + unbonding + owed + slashed + withdrawn, at every block."""
    books = state_at(context.chain, ref).stake_books()
    return {
        "staked": quantity(books.staked),
        "bonded": quantity(books.bonded),
        "unbonding": quantity(books.unbonding),
        "owed": quantity(books.owed),
        "slashed": quantity(books.slashed),
        "withdrawn": quantity(books.withdrawn),
    }


@method("open_parameters", _BLOCK, result="parameter[]", runs=Runs.READ)
def parameters(context: Context, ref: BlockRef) -> list[Json]:
    """The parameters that validators may change by vote: what is in force after a block, what genesis had, and the bounds."""
    in_force = context.chain.runtime.parameters(header_at(context.chain, ref))
    genesis = context.chain.spec.parameters
    return [
        {
            "name": name,
            "value": quantity(value_of(in_force, name)),
            "genesis": quantity(value_of(genesis, name)),
            "least": quantity(bounds.least),
            "greatest": quantity(bounds.greatest),
        }
        for name, bounds in GOVERNED.items()
    ]


@method("open_evidence", _BLOCK, result="evidence[] or null", runs=Runs.READ)
def evidence(context: Context, ref: BlockRef) -> list[Json] | None:
    """The evidence that a block carries: who signed two things, at which height and round, and which blocks they name."""
    stored = block_at(context.chain, ref)
    return None if stored is None else [_evidence_json(item) for item in stored.block.evidence]


def _evidence_json(item: Evidence) -> Json:
    kind = item.first.kind.name.lower() if isinstance(item, DuplicateVote) else "proposal"
    return {
        "kind": kind,
        "validator": data(item.offender),
        "height": quantity(item.height),
        "round": quantity(item.first.round),
        "blockHashes": [data(item.first.block_hash), data(item.second.block_hash)],
        "signatures": [data(item.first.signature), data(item.second.signature)],
    }

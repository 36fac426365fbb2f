"""open: the chain itself, where Ethereum has no word for it: validators, commits, consensus data, supply, this node."""

from genesis.emission import EMISSION_PERIOD_MS, EMISSION_TOTAL, VALIDATORS_EMISSION_BPS, emitted
from genesis.errors import StorageCorrupt
from genesis.primitives import Height, Round
from genesis.proposers import proposer
from genesis.types import Commit, ConsensusData, ValidatorSet
from node.rpc.context import Context
from node.rpc.reads.lookup import block_at, header_at, height_of, state_at
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import header_not_found
from node.rpc.schema.format import Json, data, quantity
from node.rpc.schema.params import BLOCK_REF, LATEST, BlockRef

_BLOCK = Param("block", BLOCK_REF, default=LATEST)


@method("open_status", result="node status")
def status(context: Context) -> Json:
    """This node: version, chain, height, peers, whether it is catching up."""
    chain, node = context.chain, context.status
    tip, progress = chain.tip(), node.syncing()
    validator = node.validator_address
    return {
        "version": node.client_version(),
        "chain": chain.spec.name,
        "chainId": quantity(chain.spec.chain_id),
        "genesisHash": data(chain.identity.genesis_hash),
        "height": quantity(tip.height),
        "hash": data(tip.hash),
        "timeMs": quantity(tip.time_ms),
        "catchingUp": progress is not None,
        "highest": quantity(progress.highest if progress else tip.height),
        "validator": None if validator is None else data(validator),
        "listening": node.listening(),
        "p2pAddress": node.p2p_address(),
        "peers": [
            {
                "id": peer.peer_id,
                "address": peer.address,
                "direction": peer.direction,
                "validator": None if peer.validator is None else data(peer.validator),
            }
            for peer in node.peers()
        ],
    }


@method("open_validators", _BLOCK, result="validator sets", runs=Runs.READ)
def validators(context: Context, ref: BlockRef) -> Json:
    """Who votes on the block after `block`, with powers and priorities, who proposes it first, and the set after that."""
    header = header_at(context.chain, ref)
    found = state_at(context.chain, ref).validators()
    return {
        "height": quantity(header.number + 1),
        "hash": data(found.current.hash()),
        "totalPower": quantity(found.current.total_power),
        "proposer": data(proposer(found.current, found.priorities, Round(0))),
        "validators": [
            {**each, "priority": priority}
            for each, priority in zip(_members(found.current), found.priorities, strict=True)
        ],
        "nextHash": data(found.next.hash()),
        "nextValidators": _members(found.next),
    }


def _members(members: ValidatorSet) -> list[Json]:
    return [
        {"address": data(each.address), "power": quantity(each.power), "payout": data(each.payout)}
        for each in members.members
    ]


@method("open_commit", _BLOCK, result="commit or null", runs=Runs.READ)
def commit(context: Context, ref: BlockRef) -> Json | None:
    """The precommits that made a block final, in the order of its validator set; null for genesis."""
    height = height_of(context.chain, ref)
    found = None if height is None else context.chain.commit(height)
    return None if found is None else _commit_json(found)


def _commit_json(found: Commit) -> Json:
    return {
        "height": quantity(found.height),
        "round": quantity(found.round),
        "blockHash": data(found.block_hash),
        "hash": data(found.hash()),
        "signatures": [data(signature) if signature else None for signature in found.signatures],
    }


@method("open_consensusData", _BLOCK, result="consensus data or null", runs=Runs.READ)
def consensus_data(context: Context, ref: BlockRef) -> Json | None:
    """What consensus adds to a header; its keccak is the header's parentBeaconBlockRoot. Null for genesis."""
    stored = block_at(context.chain, ref)
    if stored is None or stored.height == 0:
        return None
    return {
        **_consensus_json(stored.height, stored.block.consensus),
        "lastCommit": _commit_json(stored.block.last_commit),
        "evidence": quantity(len(stored.block.evidence)),
    }


def _consensus_json(height: Height, found: ConsensusData) -> Json:
    return {
        "height": quantity(height),
        "version": quantity(found.version),
        "timeMs": quantity(found.time_ms),
        "round": quantity(found.round),
        "proposer": data(found.proposer),
        "lastCommitHash": data(found.last_commit_hash),
        "evidenceHash": data(found.evidence_hash),
        "validatorsHash": data(found.validators_hash),
        "nextValidatorsHash": data(found.next_validators_hash),
        "hash": data(found.hash()),
    }


@method("open_lightBlock", _BLOCK, result="light block or null", runs=Runs.READ)
def light_block(context: Context, ref: BlockRef) -> Json | None:
    """What a light client verifies of a block: header (RLP), consensus data, commit, who signed it, who signs the next."""
    stored = block_at(context.chain, ref)
    if stored is None or stored.commit is None:
        return None
    found = context.chain.runtime.state(stored.header).validators()
    if found.last is None:
        raise StorageCorrupt(f"the state after block {stored.height} does not know who signed it")
    return {
        "header": data(stored.block.header),
        "consensusData": _consensus_json(stored.height, stored.block.consensus),
        "commit": _commit_json(stored.commit),
        "validators": _members(found.last),
        "nextValidators": _members(found.current),
    }


@method("open_supply", _BLOCK, result="supply", runs=Runs.READ)
def supply(context: Context, ref: BlockRef) -> Json:
    """All OPEN, in wei: total = genesis + minted - burned, at every block. The reserve is allocated, not minted."""
    found = state_at(context.chain, ref).supply()
    return {
        "genesis": quantity(found.genesis),
        "minted": quantity(found.minted),
        "burned": quantity(found.burned),
        "total": quantity(found.total),
        "reserve": quantity(found.reserve),
        "pendingRewards": quantity(found.pending_rewards),
        "emissionClockMs": quantity(found.emission_clock_ms),
    }


@method("open_emission", _BLOCK, result="emission", runs=Runs.READ)
def emission(context: Context, ref: BlockRef) -> Json:
    """The emission schedule at a block: its clock, what it has allocated and what is left, and what the next second brings."""
    clock_ms = state_at(context.chain, ref).supply().emission_clock_ms
    allocated = emitted(clock_ms)
    return {
        "clockMs": quantity(clock_ms),
        "allocated": quantity(allocated),
        "remaining": quantity(EMISSION_TOTAL - allocated),
        "nextSecond": quantity(emitted(clock_ms + 1_000) - allocated),
        "period": quantity(clock_ms // EMISSION_PERIOD_MS),
        "periodMs": quantity(EMISSION_PERIOD_MS),
        "validatorsBps": quantity(VALIDATORS_EMISSION_BPS),
    }


@method("open_treasury", _BLOCK, result="treasury", runs=Runs.READ)
def treasury(context: Context, ref: BlockRef) -> Json:
    """The treasury's address and what it holds, in wei."""
    address = context.chain.spec.treasury
    if height_of(context.chain, ref) is None:
        raise header_not_found()
    return {"address": data(address), "balance": quantity(state_at(context.chain, ref).balance(address))}


@method("open_chainSpec", result="chain spec")
def chain_spec(context: Context) -> Json:
    """The chain's parameters and their hash; its text is that of `genesis.json`."""
    spec = context.chain.spec
    return {"hash": data(spec.hash()), "json": spec.to_json().decode()}

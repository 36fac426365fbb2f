"""eth: accounts and their storage, at any height."""

from genesis.primitives import Address
from node.rpc.context import Context
from node.rpc.reads.lookup import state_at
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.format import Json, data, quantity, word
from node.rpc.schema.params import ADDRESS, BLOCK_REF, LATEST, PROOF_KEYS, STORAGE_KEY, STORAGE_REQUESTS, BlockRef

_ADDRESS = Param("address", ADDRESS)
_BLOCK = Param("block", BLOCK_REF, default=LATEST)


@method("eth_getBalance", _ADDRESS, _BLOCK, result="quantity", runs=Runs.LOOK, keeps=Keeps.TIP)
def balance(context: Context, address: Address, ref: BlockRef) -> str:
    """Wei of an account."""
    return quantity(state_at(context.chain, ref).balance(address))


@method("eth_getCode", _ADDRESS, _BLOCK, result="data", runs=Runs.LOOK, keeps=Keeps.TIP)
def code(context: Context, address: Address, ref: BlockRef) -> str:
    """Code of an account; empty if it has none."""
    return data(state_at(context.chain, ref).code(address))


@method(
    "eth_getStorageAt", _ADDRESS, Param("slot", STORAGE_KEY), _BLOCK, result="word", runs=Runs.LOOK, keeps=Keeps.TIP
)
def storage_at(context: Context, address: Address, slot: int, ref: BlockRef) -> str:
    """One storage slot, as 32 bytes."""
    return word(state_at(context.chain, ref).storage(address, slot))


@method(
    "eth_getStorageValues",
    Param("requests", STORAGE_REQUESTS),
    _BLOCK,
    result="words by address",
    runs=Runs.READ,
    keeps=Keeps.TIP,
)
def storage_values(context: Context, requests: dict[str, tuple[int, ...]], ref: BlockRef) -> dict[str, list[str]]:
    """Slots of several accounts at one block, as 32 bytes each, in the order asked for."""
    state = state_at(context.chain, ref)
    return {
        shown: [word(state.storage(Address(bytes.fromhex(shown[2:])), slot)) for slot in slots]
        for shown, slots in requests.items()
    }


@method("eth_getTransactionCount", _ADDRESS, _BLOCK, result="quantity", runs=Runs.LOOK)
def transaction_count(context: Context, address: Address, ref: BlockRef) -> str:
    """The nonce of an account; `pending` counts what waits in the mempool, too."""
    if ref.is_pending:
        return quantity(context.mempool.pending_nonce(address))
    return quantity(state_at(context.chain, ref).nonce(address))


@method(
    "eth_getProof", _ADDRESS, Param("keys", PROOF_KEYS), _BLOCK, result="account proof", runs=Runs.CALL, keeps=Keeps.TIP
)
def proof(context: Context, address: Address, keys: tuple[tuple[int, str], ...], ref: BlockRef) -> Json:
    """An account and some of its storage with their Merkle proofs (EIP-1186)."""
    found = state_at(context.chain, ref).proof(address, tuple(slot for slot, _ in keys))
    return {
        "address": data(address),
        "accountProof": [data(node) for node in found.account_proof],
        "balance": quantity(found.balance),
        "codeHash": data(found.code_hash),
        "nonce": quantity(found.nonce),
        "storageHash": data(found.storage_hash),
        "storageProof": [
            {"key": shown, "value": quantity(slot.value), "proof": [data(node) for node in slot.proof]}
            for (_, shown), slot in zip(keys, found.storage_proof, strict=True)
        ],
    }

"""Taking the last block back: the writes that turn the flat state after it into its parent's.

What a block changed is found by executing it once more on its parent's state, which the trie still has; the old value of each
changed entry is read from there. Content-addressed entries (code, blobs, trie nodes) stay: they belong to no state.
"""

from collections.abc import Mapping, Sequence

from evm_runtime.block import BlockRun
from evm_runtime.computation import Computation
from evm_runtime.fields import int_bytes
from evm_runtime.header import Header
from evm_runtime.native import NativePrecompile
from evm_runtime.staking.parameters import InForce
from evm_runtime.state import keys
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.kv import KeyValueReader, WriteSet
from evm_runtime.state.source import EMPTY_ACCOUNT, TrieSource, encode_account
from evm_runtime.transaction import Transaction
from evm_runtime.views import StateReader
from genesis.chain_spec import STAKING_ADDRESS, ChainSpec
from genesis.errors import InvalidTransaction, StorageCorrupt
from genesis.primitives import Address
from genesis.types import Block


def undo_writes(
    spec: ChainSpec,
    store: KeyValueReader,
    computation: type[Computation],
    natives: Mapping[Address, NativePrecompile],
    parent: Header,
    parent_time_ms: int,
    header: Header,
    block: Block,
    transactions: Sequence[Transaction],
) -> WriteSet:
    """The writes that undo `block`, the last one of `store`. Raises StorageCorrupt if executing it again does not give its
    state root: then what is stored contradicts itself."""
    source = TrieSource(store, parent.state_root)
    before = StateReader(source, parent.state_root)
    run = BlockRun(spec, AccountDB(source, parent.state_root), computation, header)
    run.begin()
    try:
        for tx in transactions:
            run.apply(tx)
    except InvalidTransaction as error:
        raise StorageCorrupt(f"a transaction of block {header.number} was valid once and is not: {error}") from error
    parameters = InForce(spec).at(before.slots(STAKING_ADDRESS))
    time_ms = block.consensus.time_ms
    result = run.finish(parent_time_ms, time_ms, block.last_commit, block.evidence, natives, parameters)
    if result.header.state_root != header.state_root:
        raise StorageCorrupt(
            f"executing block {header.number} again gives state root {result.header.state_root.hex()}, stored is "
            f"{header.state_root.hex()}"
        )
    undo: WriteSet = {
        key: _old_value(before, *place) for key in result.writes if (place := keys.parse(key)) is not None
    }
    undo[keys.STATE_ROOT] = parent.state_root
    return undo


def _old_value(before: StateReader, address: Address, slot: int | None) -> bytes | None:
    """What the flat state had of an account, or of a slot."""
    if slot is not None:
        return int_bytes(before.storage(address, slot)) or None
    account = before.account(address)
    return None if account is None or account == EMPTY_ACCOUNT else encode_account(account)

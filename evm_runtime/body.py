"""Do the parts of a block belong together? Cheap, and without any state.

A block's hash is its header's alone, so anybody can pair a good header with another body. Such bytes are no block: they say
nothing about the block of that hash, and only about the peer that sent them.
"""

from evm_runtime.header import Header
from evm_runtime.state.trie import root_of_list
from genesis.codec import encode_rlp
from genesis.errors import InvalidBlock, WireError
from genesis.types import Block, evidence_hash


def check_body(block: Block) -> None:
    """Raises InvalidBlock unless the header commits to these transactions, withdrawals, ConsensusData, commit and evidence."""
    try:
        header = Header.from_rlp(block.header)
    except WireError as error:
        raise InvalidBlock(str(error)) from None
    data = block.consensus
    withdrawals = [encode_rlp(withdrawal.to_rlp()) for withdrawal in block.withdrawals]
    pairs = [
        ("parent_beacon_block_root", header.parent_beacon_block_root, data.hash()),
        ("last_commit_hash", data.last_commit_hash, block.last_commit.hash()),
        ("evidence_hash", data.evidence_hash, evidence_hash(block.evidence)),
        ("transactions_root", header.transactions_root, root_of_list(block.transactions)),
        ("withdrawals_root", header.withdrawals_root, root_of_list(withdrawals)),
    ]
    for name, have, want in pairs:
        if have != want:
            raise InvalidBlock(f"{name} is 0x{have.hex()}, but that of the body is 0x{want.hex()}")
    if header.number != block.height:
        raise InvalidBlock(f"header {header.number} carries the commit of block {block.last_commit.height}")

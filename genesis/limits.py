"""Caps on everything that comes from outside. A cap is checked before the bytes are decoded or buffered further.

These protect one node and may differ between nodes' versions; what all nodes must agree on stands in the chain spec.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# -- frames on the wire (a frame is a 4-byte big-endian length and one canonical message)
FRAME_BYTES_MAX: Final = 256 * KIB
BLOCK_CHUNK_BYTES: Final = 64 * KIB
BLOCK_BYTES_MAX: Final = 8 * MIB
"""EIP-7934's 8 MiB of RLP plus commit and evidence would not fit a 30M-gas block anyway; this is the hard stop."""
CONSENSUS_MESSAGE_BYTES_MAX: Final = 64 * KIB
TX_BATCH_BYTES_MAX: Final = 256 * KIB
SYNC_REQUEST_BYTES_MAX: Final = 1 * KIB

# -- transactions
TRANSACTION_BYTES_MAX: Final = TX_BATCH_BYTES_MAX - 1 * KIB
"""What a gossip batch has room for: the hard stop of the decoder. A chain's own bound is its `block.transaction_bytes_max`."""

# -- consensus
VALIDATORS_MAX: Final = 256
CANDIDATES_MAX: Final = 1024
EVIDENCE_PER_BLOCK_MAX: Final = 16
HANDSHAKE_BYTES_MAX: Final = 4 * KIB

# -- JSON
JSON_BODY_BYTES_MAX: Final = 5 * MIB

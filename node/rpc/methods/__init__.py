"""Every JSON-RPC method, by namespace. Importing this package declares them all."""

from node.rpc.methods import (
    admin,
    debug,
    debug_trace,
    eth_blocks,
    eth_calls,
    eth_config,
    eth_fees,
    eth_logs,
    eth_state,
    eth_transactions,
    net,
    open_chain,
    open_registry,
    rpc,
    txpool,
    web3,
)

__all__ = [
    "admin",
    "debug",
    "debug_trace",
    "eth_blocks",
    "eth_calls",
    "eth_config",
    "eth_fees",
    "eth_logs",
    "eth_state",
    "eth_transactions",
    "net",
    "open_chain",
    "open_registry",
    "rpc",
    "txpool",
    "web3",
]

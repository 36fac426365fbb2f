"""Every JSON-RPC method, by namespace. Importing this package declares them all."""

from node.rpc.methods import (
    admin,
    debug,
    debug_trace,
    eth_accounts,
    eth_blocks,
    eth_calls,
    eth_config,
    eth_fees,
    eth_logs,
    eth_simulate,
    eth_state,
    eth_transactions,
    net,
    open_attributions,
    open_audit,
    open_chain,
    open_registry,
    open_staking,
    rpc,
    txpool,
    web3,
)
from node.rpc.schema.declare import DECLARED, Method

__all__ = [
    "admin",
    "debug",
    "debug_trace",
    "declared",
    "eth_accounts",
    "eth_blocks",
    "eth_calls",
    "eth_config",
    "eth_fees",
    "eth_logs",
    "eth_simulate",
    "eth_state",
    "eth_transactions",
    "net",
    "open_attributions",
    "open_audit",
    "open_chain",
    "open_registry",
    "open_staking",
    "rpc",
    "txpool",
    "web3",
]


def declared() -> tuple[Method, ...]:
    """Every method there is, whether its namespace is switched on or not."""
    return tuple(DECLARED.values())

"""net: the network, as Ethereum tools ask for it."""

from node.rpc.context import Context
from node.rpc.schema.declare import method
from node.rpc.schema.format import quantity


@method("net_version", result="decimal chain id")
def version(context: Context) -> str:
    """The network id, which is the chain id, in decimal."""
    return str(context.chain.spec.chain_id)


@method("net_listening", result="boolean")
def listening(context: Context) -> bool:
    """Whether the node accepts peers."""
    return context.status.listening()


@method("net_peerCount", result="quantity")
def peer_count(context: Context) -> str:
    """How many peers are connected."""
    return quantity(context.status.peer_count())

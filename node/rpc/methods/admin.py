"""admin: this node, for its operator. Off by default; asks for the bearer token, or without one for a caller on loopback."""

from typing import Any

from genesis.errors import LocalError
from node.rpc.context import Context
from node.rpc.schema.declare import Param, method
from node.rpc.schema.errors import server_error
from node.rpc.schema.format import Json, data
from node.rpc.schema.params import TEXT


@method("admin_nodeInfo", result="node info")
def node_info(context: Context) -> Json:
    """Who this node is on the network, and which chain it follows."""
    chain, address = context.chain, context.status.p2p_address()
    return {
        "id": address.rpartition("/p2p/")[2] if address else None,
        "name": context.status.client_version(),
        "listenAddr": address,
        "protocols": {
            "openledger": {
                "network": chain.spec.chain_id,
                "genesis": data(chain.identity.genesis_hash),
                "head": data(chain.tip().hash),
            }
        },
    }


@method("admin_peers", result="admin peer[]")
def peers(context: Context) -> list[Json]:
    """The connected peers."""
    return [
        {
            "id": peer.peer_id,
            "network": {"remoteAddress": peer.address, "inbound": peer.direction == "inbound"},
            "validator": None if peer.validator is None else data(peer.validator),
        }
        for peer in context.status.peers()
    ]


@method("admin_addPeer", Param("address", TEXT), result="boolean")
def add_peer(context: Context, address: str) -> Any:
    """Dial a peer (`/ip4/…/tcp/…/p2p/…`) now and whenever it is lost, until this node stops."""
    try:
        context.status.add_peer(address)
    except LocalError as error:
        raise server_error(str(error)) from None
    return True

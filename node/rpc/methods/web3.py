"""web3: the client itself."""

from genesis.primitives import keccak256
from node.rpc.context import Context
from node.rpc.schema.declare import Param, method
from node.rpc.schema.format import data
from node.rpc.schema.params import DATA


@method("web3_clientVersion", result="text")
def client_version(context: Context) -> str:
    """Name and version of this node."""
    return context.status.client_version()


@method("web3_sha3", Param("data", DATA), result="hash")
def sha3(context: Context, content: bytes) -> str:
    """Keccak-256 of the given bytes."""
    return data(keccak256(content))

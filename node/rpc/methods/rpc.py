"""rpc: what this server speaks."""

from typing import Any

from node.rpc.context import Context
from node.rpc.schema.declare import method
from node.rpc.schema.document import document


@method("rpc_modules", result="object of namespace to version")
def modules(context: Context) -> dict[str, str]:
    """The namespaces that are switched on."""
    return dict.fromkeys(sorted(context.services.registry.namespaces), "1.0")


@method("rpc.discover", result="anything")
def discover(context: Context) -> dict[str, Any]:
    """The API as an OpenRPC document: every method with its parameters, its result and its errors."""
    return document(context.services.registry.every)

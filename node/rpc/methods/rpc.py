"""rpc: what this server speaks."""

from node.rpc.backend import Context
from node.rpc.registry import method


@method("rpc_modules", result="object of namespace to version")
def modules(context: Context) -> dict[str, str]:
    """The namespaces that are switched on."""
    return dict.fromkeys(sorted(context.services.registry.namespaces), "1.0")

"""Prints the OpenRPC document: `python -m node.rpc.methods > docs/openrpc.json`."""

import sys

from node.rpc.methods import declared
from node.rpc.schema.document import text

sys.stdout.buffer.write(text(declared()))

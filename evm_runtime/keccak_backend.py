"""Point py-evm's keccak at pysha3 (six times faster than the default back end) without touching the environment.

Importing this module does it; `fork` imports it before anything is hashed.
"""

from typing import Any

from eth_hash.auto import keccak
from eth_hash.backends import pysha3

_hash: Any = keccak
_hash.hasher = pysha3.backend.keccak256
_hash.preimage = pysha3.backend.preimage

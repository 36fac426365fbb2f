"""Proof that who registers a validator holds its consensus key: a signature by that key over what it is registered as.

Without it anybody could register somebody else's key, and be answerable for, or profit from, votes that are not its own.
"""

from typing import Final

from genesis.chain_spec import STAKING_ADDRESS
from genesis.primitives import Address, Hash32, abi_words, keccak256

_DOMAIN: Final = keccak256(b"OpenLedger validator registration v1")


def possession_digest(chain_id: int, validator: Address, owner: Address) -> Hash32:
    """What the consensus key of `validator` signs so that `owner` may register it on the chain of that id.

    keccak(abi.encode(domain, chain id, staking contract, validator, owner)), domain = keccak("OpenLedger validator registration
    v1"). No consensus signature can be one of these: their digests begin with another domain.
    """
    return keccak256(abi_words(_DOMAIN, chain_id, STAKING_ADDRESS, validator, owner))

"""Keys of a simulated network. Signing costs nothing here, so that a campaign spends its time on the rules.

A toy signature is keccak(address, digest), a mark and the address. Nobody in the simulator computes it for a key that it does
not hold, which is all that unforgeable means to the rules. `real` keys are secp256k1; a few tests run on them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import pytest

import consensus.block_rules
import consensus.driver
import consensus.evidence
import consensus.last_commit
import consensus.signer
import genesis.types
from consensus.signer import Signer, SignRecordStore
from genesis import crypto
from genesis.errors import WireError
from genesis.primitives import NO_ROUND, ZERO_HASH, Address, Hash32, Height, Round, Signature, keccak256
from genesis.types import Proposal, ValidatorSet, Vote, VoteType, sign_digest
from tests.unit.consensus.support import CHAIN, private_key

_MARK = b"toy signature"
_recover_real = lru_cache(maxsize=1 << 16)(crypto.recover)
_digest = lru_cache(maxsize=1 << 14)(sign_digest)


def recover(digest: Hash32, signature: bytes) -> Address:
    """As crypto.recover, for toy and real signatures. Raises WireError if nobody signed this."""
    if signature[32:45] != _MARK:
        return _recover_real(digest, signature)
    address = signature[45:]
    if signature[:32] != keccak256(address + digest):
        raise WireError("not a signature of this digest")
    return Address(address)


@contextmanager
def toy_signatures() -> Iterator[None]:
    """Let the real code check signatures with `recover`."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (consensus.driver, consensus.block_rules, consensus.last_commit, consensus.evidence):
            patch.setattr(module, "recover", recover)
        for module in (genesis.types, consensus.block_rules, consensus.signer):
            patch.setattr(module, "sign_digest", _digest)
        yield


class Keys:
    """The keys of one network, by number."""

    def __init__(self, count: int, *, real: bool = False) -> None:
        self._private = [private_key(number) for number in range(count)] if real else None
        self.addresses = [
            crypto.address_of_private_key(self._private[number])
            if self._private
            else Address(keccak256(b"simulated validator %d" % number)[12:])
            for number in range(count)
        ]

    def sign(self, key: int, digest: Hash32) -> Signature:
        if self._private is not None:
            return crypto.sign(self._private[key], digest)
        address = self.addresses[key]
        return Signature(keccak256(address + digest) + _MARK + address)

    def signer(self, key: int, store: SignRecordStore) -> Signer:
        """The real signer with its guard, over a simulated record."""
        return Signer(CHAIN, self.addresses[key], lambda digest: self.sign(key, digest), store)

    def vote(
        self,
        key: int,
        kind: VoteType,
        place: tuple[Height, int],
        value: Hash32,
        validators: ValidatorSet,
        *,
        name: Address | None = None,
    ) -> Vote:
        """A vote without any guard, for those who cheat; in another's `name` if given."""
        height, round_ = place
        digest = _digest(CHAIN, kind, height, Round(round_), value, validators.hash())
        return Vote(kind, height, Round(round_), value, name or self.addresses[key], self.sign(key, digest))

    def proposal(
        self,
        key: int,
        place: tuple[Height, int],
        value: Hash32,
        validators: ValidatorSet,
        *,
        valid_round: int = NO_ROUND,
        polka: tuple[Vote, ...] = (),
        name: Address | None = None,
    ) -> Proposal:
        height, round_ = place
        digest = _digest(CHAIN, VoteType.PROPOSAL, height, Round(round_), value, validators.hash(), Round(valid_round))
        signature = self.sign(key, digest)
        return Proposal(height, Round(round_), Round(valid_round), value, name or self.addresses[key], signature, polka)


NIL = ZERO_HASH

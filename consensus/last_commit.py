"""The commit of the parent, growing while precommits still come in: rewards go to all who signed in time."""

from consensus.application import HeightContext
from genesis.crypto import recover
from genesis.errors import PeerFault, WireError
from genesis.types import ChainIdentity, Commit, Vote, VoteType


class LastCommit:
    """Starts as the commit that this node stored; `commit()` holds every matching precommit known by now."""

    def __init__(self, chain: ChainIdentity, context: HeightContext) -> None:
        self._chain = chain
        self._validators = context.last_validators
        self._base = context.last_commit
        self._signatures = list(context.last_commit.signatures)

    def add(self, vote: Vote) -> bool:
        """Take a late precommit; False for any other vote, which is ignored. Raises PeerFault for a bad signature."""
        position = (self._base.height, self._base.round, self._base.block_hash)
        if vote.kind is not VoteType.PRECOMMIT or (vote.height, vote.round, vote.block_hash) != position:
            return False
        place = None if self._validators is None else self._validators.index(vote.validator)
        if self._validators is None or place is None or self._signatures[place]:
            return False
        try:
            signer = recover(vote.digest(self._chain, self._validators.hash()), vote.signature)
        except WireError as error:
            raise PeerFault(f"a late precommit with a bad signature: {error}") from None
        if signer != vote.validator:
            raise PeerFault("a late precommit signed by somebody else")
        self._signatures[place] = bytes(vote.signature)
        return True

    def commit(self) -> Commit:
        return Commit(self._base.height, self._base.round, self._base.block_hash, tuple(self._signatures))

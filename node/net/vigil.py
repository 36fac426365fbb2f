"""A key keeps silent after the start until this node knows that it is level with the others, and that nobody else signs
with it.

A validator that was restored from a copy may have a twin that runs. Its own chain, as old as its record, can't show
that. So it listens first: block sync and consensus hold every signature that comes in against the record
(`consensus.member`), and stop the signing for good at the first that is not its own. It begins to sign when one of
these is so:

- validators of more than 2/3 of the power, itself included, stand no higher than it does, and none has a vote of its
  that it does not know of: there is nothing that it could have missed. A network that starts anew is here as soon as it
  is connected;
- consensus has decided heights here, one after the other, and none held a signature of its key;
- it has peers, for PATIENCE_S, and none has shown it a further block: validators behind sentries, in a network that
  stands still.

Nothing of this waits for a liar: what peers say without a proof never stops a key, and delays it by PATIENCE_S at most.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from consensus.messages import RoundState
from consensus.ports import MessageSigner
from consensus.signer import STEP_OF, SignedMessage, SigningDelayed, SigningRefused, SignRecord
from genesis.primitives import Address, Hash32, Height, Round
from genesis.types import Proposal, ValidatorSet, Vote, VoteType

HEIGHTS_WATCHED: Final = 2
PATIENCE_S: Final = 30.0
"""Longer than block sync takes to ask a few silent peers and then one that answers."""


class Heard(NamedTuple):
    """What a connected peer said last of where it stands. `validator`: as whom it proved itself, if as any."""

    validator: Address | None
    state: RoundState


class VigilantSigner:
    """Implements consensus' MessageSigner around another: before it is sure it delays what it is asked for, then it
    only passes on.

    `heard` gives what connected peers said last, `validators` the set that votes now. With `key_is_here` nobody else
    may prove to be this validator; with a signer elsewhere another node may share it. `on_stop` is told why the key is
    not used any more.
    """

    def __init__(
        self,
        signer: MessageSigner,
        heard: Callable[[], Iterable[Heard]],
        validators: Callable[[], ValidatorSet],
        clock: Callable[[], float],
        *,
        key_is_here: bool,
        on_stop: Callable[[str], None],
    ) -> None:
        self._signer = signer
        self._heard = heard
        self._validators = validators
        self._clock = clock
        self._key_is_here = key_is_here
        self._on_stop = on_stop
        self._is_over = False
        self._from: Height | None = None
        """The height that it was asked for first, and since when it has peers; both begin anew after block sync."""
        self._since_s: float | None = None

    @property
    def address(self) -> Address:
        return self._signer.address

    @property
    def last(self) -> SignRecord | None:
        return self._signer.last

    def sign_vote(
        self, kind: VoteType, height: Height, round_: Round, block_hash: Hash32, validators_hash: Hash32
    ) -> Vote:
        self._keep(height)
        return self._signer.sign_vote(kind, height, round_, block_hash, validators_hash)

    def sign_proposal(
        self,
        height: Height,
        round_: Round,
        valid_round: Round,
        block_hash: Hash32,
        polka: tuple[Vote, ...],
        validators_hash: Hash32,
    ) -> Proposal:
        self._keep(height)
        return self._signer.sign_proposal(height, round_, valid_round, block_hash, polka, validators_hash)

    def covers(self, message: SignedMessage) -> bool:
        return self._signer.covers(message)

    def stop(self, reason: str) -> None:
        self._is_over = True  # the signer itself refuses from now on
        self._signer.stop(reason)

    def synced(self) -> None:
        """Block sync brought a block: what consensus watched before does not count."""
        self._from = self._since_s = None

    # ------------------------------------------------------------ inside

    def _keep(self, height: Height) -> None:
        """Raises SigningDelayed before the vigil is over, SigningRefused if it finds the key's other user."""
        if self._is_over:
            return
        heard = list(self._heard())
        if self._key_is_here and any(peer.validator == self.address for peer in heard):
            reason = (
                f"validator key 0x{self.address.hex()} is in use on another machine: a connected peer proved to have "
                "it. Stop one of the two; until this node is started again it signs nothing"
            )
            self.stop(reason)
            self._on_stop(reason)
            raise SigningRefused(reason)
        self._count(height, has_peers=bool(heard))
        if self._is_level(height, heard) or self._watched(height) or self._waited():
            self._is_over = True
            return
        raise SigningDelayed(
            "after its start this validator listens first whether it is level, and its key used elsewhere"
        )

    def _count(self, height: Height, *, has_peers: bool) -> None:
        if self._from is None:
            self._from = height
        if not has_peers:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = self._clock()

    def _watched(self, height: Height) -> bool:
        return self._from is not None and height - self._from >= HEIGHTS_WATCHED

    def _waited(self) -> bool:
        return self._since_s is not None and self._clock() - self._since_s >= PATIENCE_S

    def _is_level(self, height: Height, heard: list[Heard]) -> bool:
        validators = self._validators()
        level = {self.address}
        for peer in heard:
            if peer.validator is not None and not self._knows_more(peer.state, height, validators):
                level.add(peer.validator)
        return validators.is_quorum(sum(validators.power(validator) for validator in level))

    def _knows_more(self, state: RoundState, height: Height, validators: ValidatorSet) -> bool:
        """Is the peer further, or does it say that it has a vote of this key that the record does not reach?"""
        if state.height != height:
            return state.height > height
        place = validators.index(self.address)
        last = self._signer.last
        return place is not None and any(
            _has(row.bits, place) and (last is None or (height, row.round, STEP_OF[row.kind]) > last.position)
            for row in state.votes
        )


def _has(bits: bytes, place: int) -> bool:
    return place // 8 < len(bits) and bool(bits[place // 8] >> place % 8 & 1)

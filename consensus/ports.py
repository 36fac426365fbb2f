"""The ports of the engine, beside the Application: the signer, the network, the clock, and who is told of falling behind."""

from typing import Protocol

from consensus.messages import ConsensusMessage
from consensus.signer import SignedMessage, SignRecord
from genesis.errors import PeerFault
from genesis.primitives import Address, Hash32, Height, Round
from genesis.types import Block, Proposal, Vote, VoteType


class MessageSigner(Protocol):
    """Who holds the consensus key: `consensus.signer.Signer` in this process, or a client of one elsewhere.

    Both sign calls raise SigningRefused, for whatever reason there is no signature; the node is silent then. What they return
    is durably recorded as signed. They are called from the engine's task, so they must answer soon.
    """

    @property
    def address(self) -> Address: ...

    @property
    def last(self) -> SignRecord | None:
        """The last thing that was signed; None if nothing was."""
        ...

    def sign_vote(
        self, kind: VoteType, height: Height, round_: Round, block_hash: Hash32, validators_hash: Hash32
    ) -> Vote: ...

    def sign_proposal(
        self,
        height: Height,
        round_: Round,
        valid_round: Round,
        block_hash: Hash32,
        polka: tuple[Vote, ...],
        validators_hash: Hash32,
    ) -> Proposal: ...

    def covers(self, message: SignedMessage) -> bool:
        """False if `message`, signed with this key, can't be this signer's own: it is newer, or says something else."""
        ...

    def stop(self, reason: str) -> None:
        """Refuse everything from now on."""
        ...


class Transport(Protocol):
    """Sends to peers. Nothing here blocks or raises; what can't be sent is dropped, and asked for again later."""

    def broadcast(self, message: ConsensusMessage) -> None: ...

    def send(self, peer: str, message: ConsensusMessage) -> None: ...

    def broadcast_block(self, block: Block) -> None: ...

    def send_block(self, peer: str, block: Block) -> None: ...

    def report_fault(self, peer: str, fault: PeerFault) -> None: ...


class Clock(Protocol):
    """The wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


class Behind(Protocol):
    """Called (often, and without blocking) when a peer claims a height that consensus alone will not reach from here.

    A claim is not a proof: block sync verifies what it gets. To take over it uses `Engine.paused()`.
    """

    def __call__(self, height: Height, peer: str) -> None: ...

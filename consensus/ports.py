"""The ports of the engine, beside the Application: the network, the clock, and what tells the node that it fell behind."""

from typing import Protocol

from consensus.messages import ConsensusMessage
from genesis.errors import PeerFault
from genesis.primitives import Height
from genesis.types import Block


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

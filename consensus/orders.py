"""What the driver orders of whoever runs it, in the order in which it must happen: the engine, or a simulator."""

from dataclasses import dataclass

from consensus.events import TimeoutExpired
from consensus.messages import ConsensusMessage
from genesis.primitives import Round
from genesis.types import Block, Commit


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every peer."""

    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class Send:
    peer: str
    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class BroadcastBlock:
    block: Block


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Give `event` to `expire` after `delay_ms`."""

    event: TimeoutExpired
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Build:
    """Build a block for `round` and give it to `built`."""

    round: Round


@dataclass(frozen=True, slots=True)
class Judge:
    """Check and execute a block; answer with `judged`, or `body_refused` if the bytes are no block. `peer`: who sent it."""

    block: Block
    peer: str | None


@dataclass(frozen=True, slots=True)
class Finalize:
    """The height is decided. Nothing follows."""

    block: Block
    commit: Commit


Order = Broadcast | Send | BroadcastBlock | StartTimer | Build | Judge | Finalize

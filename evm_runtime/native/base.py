"""What an execution stands on: the final state that it began with, by its block's hash, or a state that is made up.

A native contract that keeps something beside the state (an index) may learn from final states only: what an execution itself
has written may never become final. So it is never shown the running state. It is given a `Base`, and opens the final state of
that block itself. Made-up states come with a place for what is kept of them, which is thrown away with them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from genesis.primitives import Address, Hash32


class AccountsReader(Protocol):
    """A state that nobody writes to any more: slots of accounts, and blobs by hash."""

    def storage(self, address: Address, slot: int) -> int: ...

    def get_blob(self, blob_hash: Hash32) -> bytes | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class MadeUp:
    """A state that no final block has: after a made-up block, or with overridden storage of a native contract.

    `number` is that of the block it stands after. `kept` is for what natives keep of it; the states of one simulation share
    it, and only the last of them may be asked about. `anew` says that what natives know of the base's block is of no use here.
    """

    number: int
    reader: AccountsReader
    anew: bool
    kept: dict[object, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """`block_hash` names the final block whose state this is, or is made up from. `poll` is called now and then in long work
    that is done for this base alone; it may raise."""

    block_hash: Hash32
    made_up: MadeUp | None = None
    poll: Callable[[], None] | None = None

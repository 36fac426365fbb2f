"""How an index is fed: with final states, which it opens itself; asked for what an execution stands on.

`Gateway.at(base)` gives a `Standing`: the state, and by datanet the index's part, ready for it. A live part takes in the states
of final blocks and serves everybody. A part for a made-up state is a copy of that, or made from nothing; it lives with the
state. A part for an old block that the live one can't answer for is made from nothing too.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Generic, Protocol, Self, TypeVar

from attribution_precompile.index.content import FinalState, FinalStates
from attribution_precompile.index.endings import first_death_after
from attribution_precompile.layout import DATANET_COUNT
from evm_runtime.native import Base, MadeUp
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.errors import ErasedContent, InvariantError, LocalError
from genesis.primitives import Hash32

OPENED_KEPT: Final = 4
"""States, and parts for old blocks, that are kept for the next question."""


class Part(Protocol):
    """An index of one datanet."""

    known: int
    """The newest block that it can be asked about; -1 if there is none yet."""
    changed: int
    """A block after which nothing has changed, as far as is known."""

    def step(self, state: FinalState) -> bool:
        """Take in some of a state; False if it is known. Leaves all as it was where it raises."""
        ...

    def answers(self, block: int) -> bool:
        """Whether it can tell about the state after a known block."""
        ...

    def forked(self) -> Self:
        """A copy that goes its own way."""
        ...


P = TypeVar("P", bound=Part)
K = TypeVar("K")
V = TypeVar("V")


class Gateway(Generic[P]):
    """The parts of one chain's index. Several threads may use it; the lock should let those who wait have their turn."""

    def __init__(
        self,
        lock: AbstractContextManager[object],
        states: FinalStates,
        death_blocks: int,
        make: Callable[[int, FinalState], P],
    ) -> None:
        self._lock = lock
        self._states: Final = states
        self._death_blocks: Final = death_blocks
        self.make: Final = make
        self._opened: dict[Hash32, FinalState] = {}
        self._past: dict[tuple[Hash32, int], P] = {}
        """Replaced as a whole, as is `_opened`: who looks something up doesn't wait for who takes something in."""
        self._live: dict[int, P] = {}
        self._newest: tuple[int, Hash32] | None = None
        self._untended: dict[int, None] = {}
        """Datanets that have taken something in since they were last looked after."""

    def clear(self) -> None:
        """Forget everything; the next questions build it again."""
        with self._lock:
            self._live, self._untended, self._newest = {}, {}, None
            self._opened, self._past = {}, {}

    def at(self, base: Base) -> "Standing[P]":
        """For what stands on `base`. Raises LocalError for a block that the chain doesn't have."""
        made_up = base.made_up
        state = self._open(base.block_hash) if made_up is None else _MadeUpState(made_up)
        return Standing(self, base, state)

    def warm(self, block_hash: Hash32, datanet: int) -> bool:
        """Do one step towards a final block, off the critical path; False if nothing is left."""
        state = self._open(block_hash)
        if not _exists(state, datanet):
            return False
        part = self._live_part(state, datanet)
        with self._lock:
            return self._step(part, state, datanet)

    def untended(self) -> tuple[int, P] | None:
        """A datanet whose live part has taken something in since it was last given here, and that part."""
        with self._lock:
            if not self._untended:
                return None
            datanet = next(iter(self._untended))
            del self._untended[datanet]
            return datanet, self._live[datanet]

    def tend(self, datanet: int) -> None:
        """Give a datanet once more by `untended`."""
        with self._lock:
            if datanet in self._live:
                self._untended[datanet] = None

    # ---------------------------------------------------------------- for standings

    def live(self, state: FinalState, datanet: int) -> P:
        """The live part, with the state taken in."""
        part = self._live_part(state, datanet)
        while part.known < state.number:
            with self._lock:
                self._step(part, state, datanet)
        return part

    def past(self, base: Base, state: FinalState, datanet: int) -> P:
        """A part from nothing, for an old block."""
        key = base.block_hash, datanet
        part = self._past.get(key)
        if part is None:
            part = self.make(datanet, state)
            bring_to(part, _polled(state, base))
            self._past = _newer(self._past) | {key: part}
        return part

    def fork(self, base: Base, datanet: int) -> P | None:
        """A copy of what is known of a final block; None if more is known by now, or the block hasn't the datanet."""
        state = self._open(base.block_hash)
        if not _exists(state, datanet):
            return None
        part = self.live(state, datanet)
        with self._lock:
            return part.forked() if part.changed <= state.number else None

    def check_reach(self, state: FinalState, datanet: int) -> None:
        """Raises ErasedContent for what stands before a death in the datanet that is deep by now."""
        tip = self._open(self._states.tip())
        deep = tip.number - self._death_blocks
        if deep <= state.number:
            return
        died = first_death_after(tip, datanet, state.number)
        if died <= deep:
            raise ErasedContent(
                f"a contribution to datanet {datanet} was erased or slashed in block {died}: states before that can't be asked "
                "any more whom windows belonged to"
            )

    def check_made_up_reach(self, base: Base, datanet: int) -> None:
        """As `check_reach`, for a state made up from a block: making something up opens no past."""
        state = self._open(base.block_hash)
        if _exists(state, datanet):
            self.check_reach(state, datanet)

    # ---------------------------------------------------------------- inside

    def _open(self, block_hash: Hash32) -> FinalState:
        """The state after a block. Whatever was learnt of a block that is no more is forgotten first."""
        if self._newest is not None and self._states.number_of(self._newest[1]) is None:
            self.clear()
        number = self._states.number_of(block_hash)
        if number is None:
            raise LocalError(f"the chain has no block 0x{block_hash.hex()}")
        if self._newest is None or number > self._newest[0]:
            with self._lock:  # it must never go back
                if self._newest is None or number > self._newest[0]:
                    self._newest = number, block_hash
        found = self._opened.get(block_hash)
        if found is None:
            found = self._states.open(block_hash)
            self._opened = _newer(self._opened) | {block_hash: found}
        return found

    def _live_part(self, state: FinalState, datanet: int) -> P:
        found = self._live.get(datanet)
        if found is None:
            if not _exists(state, datanet):
                raise InvariantError(f"the state after block {state.number} has no datanet {datanet}")
            found = self._live.setdefault(datanet, self.make(datanet, state))
        return found

    def _step(self, part: P, state: FinalState, datanet: int) -> bool:
        more = part.step(state)
        if more:
            self._untended[datanet] = None
        return more


class Standing(Generic[P]):
    """An index as it is seen from one base."""

    def __init__(self, gateway: Gateway[P], base: Base, state: FinalState) -> None:
        self._gateway = gateway
        self._base = base
        self.state: Final = state

    def part(self, datanet: int) -> P:
        """A datanet's part, with the base's state taken in. Raises ErasedContent for what no node tells any more."""
        gateway, made_up = self._gateway, self._base.made_up
        if made_up is not None:
            gateway.check_made_up_reach(self._base, datanet)
            return self._made_up_part(made_up, datanet)
        gateway.check_reach(self.state, datanet)
        part = gateway.live(self.state, datanet)
        return part if part.answers(self.state.number) else gateway.past(self._base, self.state, datanet)

    def _made_up_part(self, made_up: MadeUp, datanet: int) -> P:
        overlay: dict[int, P] = made_up.kept.setdefault(self._gateway, {})
        part = overlay.get(datanet)
        state = _polled(self.state, self._base)
        if part is None:
            forked = None if made_up.anew else self._gateway.fork(Base(self._base.block_hash), datanet)
            part = overlay[datanet] = forked or self._gateway.make(datanet, state)
        bring_to(part, state)
        return part


def bring_to(part: Part, state: FinalState) -> None:
    """Let a part that nobody else uses take in a state."""
    while part.step(state):
        pass


def _newer(kept: dict[K, V]) -> dict[K, V]:
    """Without the oldest, if there is no room for another."""
    return dict(list(kept.items())[1 - OPENED_KEPT :])


def _exists(state: FinalState, datanet: int) -> bool:
    return 0 < datanet <= DATANET_COUNT.get(state)


class _MadeUpState:
    """A made-up state as indexes read it."""

    def __init__(self, made_up: MadeUp) -> None:
        self.number: Final = made_up.number
        self._reader = made_up.reader

    def load(self, slot: int) -> int:
        return self._reader.storage(ATTRIBUTION_ADDRESS, slot)

    def store(self, slot: int, value: int) -> None:
        raise InvariantError("an index writes storage")

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        return self._reader.get_blob(blob_hash)


class _Polled:
    """A state whose every read may be interrupted."""

    def __init__(self, state: FinalState, poll: Callable[[], None]) -> None:
        self.number: Final = state.number
        self._state = state
        self._poll = poll

    def load(self, slot: int) -> int:
        self._poll()
        return self._state.load(slot)

    def store(self, slot: int, value: int) -> None:
        raise InvariantError("an index writes storage")

    def get_blob(self, blob_hash: Hash32) -> bytes | None:
        self._poll()
        return self._state.get_blob(blob_hash)


def _polled(state: FinalState, base: Base) -> FinalState:
    return state if base.poll is None else _Polled(state, base.poll)

"""Results of reads, kept as bytes: for as long as the chain's tip stays, or for ever where the block asked about is final.

A read of a chain that never reorganises is a function of its arguments and the tip. So what was answered once at a tip is
answered again without a thread, a look-up or an encoder, and requests for the same thing that come together are computed once.
Both kinds are bounded in bytes.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import trio

from node.interfaces import ChainReader, StoredBlock
from node.rpc.config import RpcLimits

Key = tuple[str, bytes]
_PARAMS_BYTES_MAX: Final = 4_096
"""Longer parameters are not worth a place."""
_SHARE_MAX: Final = 8
"""One result may take this part of the room."""


class _OfTip:
    """Results at one tip. Any thread may put one in: in a race the size of one of two is not counted, no more."""

    __slots__ = ("_room", "known", "tip")

    def __init__(self, tip: StoredBlock, room: int) -> None:
        self.tip: Final = tip
        self.known: Final[dict[Key, bytes]] = {}
        self._room = room

    def put(self, key: Key, result: bytes, size: int) -> None:
        if size <= self._room:
            self.known[key] = result
            self._room -= size


class Answers:
    """On the event loop, but for `key`, `peek` and `keep`, which any thread may call."""

    def __init__(self, chain: ChainReader, limits: RpcLimits) -> None:
        self._chain = chain
        self._room = limits.answers_bytes_max
        self._of_tip = _OfTip(chain.tip(), self._room)
        self._final: OrderedDict[Key, bytes] = OrderedDict()
        self._final_bytes = 0
        self._under_way: dict[Key, trio.Event] = {}

    def key(self, name: str, params: Any) -> Key | None:
        """None if it is not to be kept. Encoded anew, so that 1, 1.0 and true stay different."""
        try:
            encoded = orjson.dumps(params)
        except TypeError:  # nested deeper than it writes, though not than it reads
            return None
        return (name, encoded) if len(encoded) <= _PARAMS_BYTES_MAX else None

    def find(self, key: Key) -> bytes | None:
        """What is known about `key` at today's tip."""
        found = self._at_tip().known.get(key)
        if found is not None:
            return found
        found = self._final.get(key)
        if found is not None:
            self._final.move_to_end(key)
        return found

    def peek(self, key: Key) -> bytes | None:
        """As `find`, from any thread."""
        found = self._at_tip().known.get(key)
        return self._final.get(key) if found is None else found

    def keep(self, key: Key, tip: StoredBlock, result: bytes) -> None:
        """Keep what was asked while `tip` was the tip, if it still is."""
        of_tip, size = self._at_tip(), _size(key, result)
        if of_tip.tip is tip and size <= self._room // _SHARE_MAX:
            of_tip.put(key, result, size)

    async def get(self, key: Key, compute: Callable[[], Awaitable[bytes]], is_final: Callable[[bytes], bool]) -> bytes:
        """What `find` has, what another request is computing already, or what `compute` gives. Raises what `compute` does."""
        while (known := self.find(key)) is None and (other := self._under_way.get(key)) is not None:
            await other.wait()
        if known is not None:
            return known
        event = self._under_way[key] = trio.Event()
        tip = self._chain.tip()
        try:
            result = await compute()
        finally:
            del self._under_way[key]
            event.set()
        if is_final(result):
            self._keep_final(key, result)
        else:
            self.keep(key, tip, result)
        return result

    # ------------------------------------------------------------ inside

    def _at_tip(self) -> _OfTip:
        """What is kept for today's tip. A thread that is late may put an old tip's back: nothing is found there then."""
        of_tip, tip = self._of_tip, self._chain.tip()
        if of_tip.tip is not tip:
            of_tip = self._of_tip = _OfTip(tip, self._room)
        return of_tip

    def _keep_final(self, key: Key, result: bytes) -> None:
        size = _size(key, result)
        if size > self._room // _SHARE_MAX or key in self._final:
            return
        self._final[key] = result
        self._final_bytes += size
        while self._final_bytes > self._room:
            dropped, old = self._final.popitem(last=False)
            self._final_bytes -= _size(dropped, old)


def _size(key: Key, result: bytes) -> int:
    return len(key[1]) + len(result) + 256

"""Results of reads, kept as bytes: for as long as the chain's tip stays, or for ever where the block asked about is final.

A read of a chain that never reorganises is a function of its arguments and the tip. So what was answered once at a tip is
answered again without a thread, a look-up or an encoder, and requests for the same thing that come together are computed once.
What runs in the block to come depends on its time too: such an answer is good for the second in which it was asked for.
All three kinds are bounded in bytes.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import orjson
import trio

from node.interfaces import ChainReader, StoredBlock
from node.rpc.config import RpcLimits


class Key(NamedTuple):
    """A question: method and encoded parameters, and where the answer depends on the clock, the second of asking."""

    name: str
    params: bytes
    second: int | None = None


_PARAMS_BYTES_MAX: Final = 4_096
"""Longer parameters are not worth a place."""
_SHARE_MAX: Final = 8
"""One result may take this part of the room."""


class _Kept:
    """Results at one tip (and in one second). Any thread may put one in: a race leaves the size of one of two uncounted."""

    __slots__ = ("_room", "known", "second", "tip")

    def __init__(self, tip: StoredBlock, second: int | None, room: int) -> None:
        self.tip: Final = tip
        self.second: Final = second
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
        self._of_tip = _Kept(chain.tip(), None, self._room)
        self._of_second = self._of_tip
        self._final: OrderedDict[Key, bytes] = OrderedDict()
        self._final_bytes = 0
        self._under_way: dict[Key, trio.Event] = {}

    def key(self, name: str, params: Any, second: int | None = None) -> Key | None:
        """None if it is not to be kept. Encoded anew, so that 1, 1.0 and true stay different."""
        try:
            encoded = orjson.dumps(params)
        except TypeError:  # nested deeper than it writes, though not than it reads
            return None
        return Key(name, encoded, second) if len(encoded) <= _PARAMS_BYTES_MAX else None

    def find(self, key: Key) -> bytes | None:
        """What is known about `key` at today's tip."""
        found = self._kept(key).known.get(key)
        if found is not None:
            return found
        found = self._final.get(key)
        if found is not None:
            self._final.move_to_end(key)
        return found

    def peek(self, key: Key) -> bytes | None:
        """As `find`, from any thread."""
        found = self._kept(key).known.get(key)
        return self._final.get(key) if found is None else found

    def keep(self, key: Key, tip: StoredBlock, result: bytes) -> None:
        """Keep what was asked while `tip` was the tip, if it still is."""
        kept, size = self._kept(key), _size(key, result)
        if kept.tip is tip and size <= self._room // _SHARE_MAX:
            kept.put(key, result, size)

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

    def _kept(self, key: Key) -> _Kept:
        """What is kept for today's tip and the key's second. A thread that is late may put an old one back: nothing is found
        there then."""
        tip, second = self._chain.tip(), key.second
        kept = self._of_tip if second is None else self._of_second
        if kept.tip is not tip or kept.second != second:
            kept = _Kept(tip, second, self._room)
            if second is None:
                self._of_tip = kept
            else:
                self._of_second = kept
        return kept

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
    return len(key.params) + len(result) + 256

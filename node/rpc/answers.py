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


class Answers:
    """On the event loop, but for `peek`."""

    def __init__(self, chain: ChainReader, limits: RpcLimits) -> None:
        self._chain = chain
        self._room = limits.answers_bytes_max
        self._tip: StoredBlock = chain.tip()
        self._of_tip: dict[Key, bytes] = {}
        self._of_tip_bytes = 0
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
        if self._chain.tip() is self._tip:
            found = self._of_tip.get(key)
            if found is not None:
                return found
        else:
            self._forget_tip()
        found = self._final.get(key)
        if found is not None:
            self._final.move_to_end(key)
        return found

    def peek(self, key: Key) -> bytes | None:
        """As `find`, from any thread: it changes nothing."""
        if self._chain.tip() is self._tip:
            found = self._of_tip.get(key)
            if found is not None:
                return found
        return self._final.get(key)

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
        elif self._chain.tip() is tip:
            self._keep(key, result)
        return result

    # ------------------------------------------------------------ inside

    def _forget_tip(self) -> None:
        self._of_tip = {}  # first: whoever peeks and finds the new tip must not find an old result
        self._of_tip_bytes = 0
        self._tip = self._chain.tip()

    def _keep(self, key: Key, result: bytes) -> None:
        if self._chain.tip() is not self._tip:
            self._forget_tip()
        size = _size(key, result)
        if size <= self._room // _SHARE_MAX and self._of_tip_bytes + size <= self._room:
            self._of_tip[key] = result
            self._of_tip_bytes += size

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

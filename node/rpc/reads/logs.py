"""Finding logs: the index says which blocks hold an address or a topic, their headers' blooms which of them can't match, and
what is left is read and compared. A filter for any log at all goes by the blooms alone.
"""

from collections.abc import Collection, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import orjson

from genesis.errors import StorageCorrupt
from genesis.primitives import Height, keccak256
from node.interfaces import ChainReader, StoredBlock
from node.rpc.reads.lookup import stored_at
from node.rpc.schema.errors import limit_exceeded
from node.rpc.schema.format import Json, log_json, logs_of
from node.rpc.schema.params import LogFilter
from node.rpc.stopwatch import Stopwatch

if TYPE_CHECKING:
    from evm_runtime.header import Header
    from evm_runtime.receipt import Log

_WINDOW: Final = 65_536
"""Heights whose index entries are gathered at once: bounds memory, and work beyond a full answer."""


class LogQuery:
    """A log filter made ready for many blocks."""

    def __init__(self, wanted: LogFilter) -> None:
        self._addresses = wanted.addresses
        self._topics = wanted.topics
        groups = enumerate((wanted.addresses, *wanted.topics))
        self._groups: list[tuple[int, Collection[bytes]]] = [(place, group) for place, group in groups if group]
        self._blooms = [[_bloom_bits(value) for value in group] for _, group in self._groups]

    def may_match(self, header: "Header") -> bool:
        """False if the header's bloom excludes a match: of each group asked for, at least one value must be in it."""
        bloom = int.from_bytes(header.bloom, "big")
        if not bloom:
            return False
        return all(any(bloom & bits == bits for bits in group) for group in self._blooms)

    def matches(self, log: "Log") -> bool:
        if self._addresses and log.address not in self._addresses:
            return False
        if len(self._topics) > len(log.topics):
            return False
        return all(
            choices is None or topic in choices for choices, topic in zip(self._topics, log.topics, strict=False)
        )

    def in_block(self, stored: StoredBlock) -> list[Json]:
        """The matching logs of one block, in order."""
        if not self.may_match(stored.header):
            return []
        return [
            log_json(log, stored.header, transaction_hash, transaction_place, place)
            for log, transaction_hash, transaction_place, place in logs_of(stored)
            if self.matches(log)
        ]

    def by_block(self, chain: ChainReader, heights: range, stopwatch: Stopwatch) -> Iterator[tuple[Height, list[Json]]]:
        """(height, matching logs) for those of `heights` that may hold some. Raises RpcError when time is over."""
        for height in self.heights(chain, heights, stopwatch):
            stopwatch.check()
            header = chain.header(height)
            if header is None:
                raise StorageCorrupt(f"block {height} is missing below the tip")
            if not self.may_match(header):
                continue
            yield height, self.in_block(stored_at(chain, height))

    def heights(self, chain: ChainReader, heights: range, stopwatch: Stopwatch) -> Iterator[Height]:
        """The heights worth a look, in order. Reading the index costs no more than the rarest of what is asked for."""
        stopwatch.check()
        if not self._groups:
            yield from map(Height, heights)
            return
        for start in range(heights.start, heights.stop, _WINDOW):
            window = range(start, min(start + _WINDOW, heights.stop))
            yield from self._in_index(chain, window, stopwatch)

    def _in_index(self, chain: ChainReader, window: range, stopwatch: Stopwatch) -> list[Height]:
        """All groups are read in step, and the first that ends has the fewest blocks: the others must be among them."""
        found: list[set[Height]] = [set() for _ in self._groups]
        readers = [_heights(chain, place, group, window, stopwatch) for place, group in self._groups]
        try:
            while True:
                for reader, seen in zip(readers, found, strict=True):
                    height = next(reader, None)
                    if height is None:
                        return sorted(seen)
                    seen.add(height)
        finally:
            for reader in readers:
                reader.close()


class BlockLogs:
    """The logs of one block, by what they hold, for many filters; each is encoded once, when it is first wanted."""

    def __init__(self, stored: StoredBlock) -> None:
        self._header = stored.header
        self._logs = list(logs_of(stored))
        self._encoded: dict[int, bytes] = {}
        self._holding: dict[tuple[int, bytes], list[int]] = {}
        for number, (log, *_) in enumerate(self._logs):
            for place, value in enumerate((log.address, *log.topics)):
                self._holding.setdefault((place, value), []).append(number)

    def matching(self, wanted: LogFilter) -> Iterator[bytes]:
        """The matching logs as JSON, in order."""
        groups = [(place, group) for place, group in enumerate((wanted.addresses, *wanted.topics)) if group]
        numbers: Iterable[int] = range(len(self._logs))
        if groups:
            place, group = groups[0]
            numbers = sorted(number for value in group for number in self._holding.get((place, value), ()))
        query = LogQuery(wanted) if numbers else None
        for number in numbers:
            if query is not None and query.matches(self._logs[number][0]):
                yield self._json(number)

    def _json(self, number: int) -> bytes:
        found = self._encoded.get(number)
        if found is None:
            log, transaction_hash, transaction_place, place = self._logs[number]
            shown = log_json(log, self._header, transaction_hash, transaction_place, place)
            found = self._encoded[number] = orjson.dumps(shown)
        return found


def bloom_may_hold(bloom: bytes, value: bytes) -> bool:
    """False if no log under `bloom` has `value` as its address or as a topic."""
    bits = _bloom_bits(value)
    return int.from_bytes(bloom, "big") & bits == bits


def _heights(
    chain: ChainReader, place: int, values: Collection[bytes], window: range, stopwatch: Stopwatch
) -> Generator[Height, None, None]:
    """Where any of `values` stands at `place`; a height may come more than once."""
    for value in values:
        stopwatch.check()
        yield from chain.log_heights(place, value, window)


def search(chain: ChainReader, query: LogQuery, heights: range, results_max: int, stopwatch: Stopwatch) -> list[Json]:
    """All matching logs of `heights`. Raises RpcError if there are more than `results_max` or time is over."""
    found: list[Json] = []
    for _, logs in query.by_block(chain, heights, stopwatch):
        found += logs
        if len(found) > results_max:
            raise limit_exceeded(f"query returned more than {results_max} results; ask for fewer blocks at once")
    return found


def search_some(
    chain: ChainReader, query: LogQuery, heights: range, results_max: int, stopwatch: Stopwatch
) -> tuple[list[Json], int]:
    """Matching logs from the start of `heights` up to a block where enough are found, and the height to go on from."""
    found: list[Json] = []
    for height, logs in query.by_block(chain, heights, stopwatch):
        found += logs
        if len(found) >= results_max:
            return found, height + 1
    return found, heights.stop


def _bloom_bits(value: bytes) -> int:
    """The three bits that `value` sets in a 2048-bit bloom (Yellow Paper, M3:2048)."""
    digest = keccak256(value)
    bits = 0
    for place in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[place : place + 2], "big") & 2047)
    return bits

"""The attribution contract on a runtime without a chain store: final states are those of a test's blocks."""

from contextlib import nullcontext
from typing import Any

from attribution_precompile.contract import AttributionContract
from attribution_precompile.index.span_index import SpanIndex
from attribution_precompile.index.vector_index import VectorIndex
from evm_runtime.header import Header
from evm_runtime.state.kv import KeyValueReader
from evm_runtime.state.source import TrieSource
from evm_runtime.views import StateReader
from genesis.chain_spec import ChainSpec
from genesis.primitives import Hash32
from node.chain.final_states import StoredState
from tests.unit.evm_runtime.chain import Chain


class HeaderFinals:
    """Final blocks by their headers, over one store of trie nodes and content."""

    def __init__(self) -> None:
        self.store: KeyValueReader | None = None
        self.headers: dict[Hash32, Header] = {}

    def add(self, header: Header) -> None:
        self.headers[header.hash] = header

    def tip(self) -> Hash32:
        return next(reversed(self.headers))

    def number_of(self, block_hash: Hash32) -> int | None:
        header = self.headers.get(block_hash)
        return None if header is None else int(header.number)

    def open(self, block_hash: Hash32) -> Any:
        header = self.headers[block_hash]
        assert self.store is not None
        return StoredState(header.number, StateReader(TrieSource(self.store, header.state_root), header.state_root))


def contract_on(finals: HeaderFinals, spec: ChainSpec) -> AttributionContract:
    indexes = SpanIndex(nullcontext(), finals), VectorIndex(nullcontext(), finals)
    return AttributionContract(spec, spec.chain_id, *indexes)


class Followed(HeaderFinals):
    """The final blocks of a test's chain, once it is known."""

    chain: Any = None

    def follow(self, chain: Any) -> None:
        self.chain, self.store = chain, chain.store
        self.add(chain.tip)

    def tip(self) -> Hash32:
        self._learn()
        return super().tip()

    def number_of(self, block_hash: Hash32) -> int | None:
        self._learn()
        return super().number_of(block_hash)

    def _learn(self) -> None:
        for executed in self.chain.blocks[len(self.headers) - 1 :]:
            self.add(executed.header)


def attributing_chain(spec: ChainSpec) -> Chain:
    """A chain with the attribution contract."""
    followed = Followed()
    chain = Chain(spec, natives=(contract_on(followed, spec),))
    followed.follow(chain)
    return chain

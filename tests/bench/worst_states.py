"""States of the attribution contract made to be slow, and what the calls on them take for their gas.

A *state* is a few numbers: how many copies came before a text and were rejected, how long its tokens are and its windows, into
how many segments it is cut, how many versions, departures and uses there are. `States` makes one on a chain in LevelDB, by
transactions as anybody may send them, and measures the calls that it makes slow. Time and gas are those of the native call
alone, on a view of the state in which nothing has been read before. Times are processor time, the median of some runs.
"""

import random
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth.abc import ComputationAPI

from attribution_precompile.contract import AttributionContract
from evm_runtime.block import BlockRun
from evm_runtime.fork import computation_class
from evm_runtime.hardforks import OSAKA, TRANSACTION_GAS_MAX
from evm_runtime.native import NativePrecompile
from evm_runtime.source import FlatSource, stored_root
from evm_runtime.state import AccountDB
from evm_runtime.tiers import DEFAULT_TIERS
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import WEI_PER_OPEN
from node.storage.view import StateView
from tests.bench.workload import Sender
from tests.unit.attribution.world import NONE, ZERO32, params
from tests.unit.native.harness import Bound
from tests.unit.node.local_chain import LocalChain

REPEATS: Final = 9
REVIEW_SECONDS: Final = 30 * 24 * 3_600
CALL_BYTES: Final = 24 * 1024
SMALL_TOKENS: Final = 40
"""Of contributions that are there for their number."""
SETUP_GAS: Final = 3_000_000
CONTRIBUTE_GAS: Final = 8_000_000
KINDS: Final[Mapping[str, tuple[int, ...]]] = {
    "copies": (0, 1, 4, 16, 64, 200),
    "tokens": (8, 32, 100, 400, 1_600, 4_000),
    "token_bytes": (1, 2, 5, 15, 60, 390),
    "span": (8, 12, 16, 24, 32),
    "segments": (1, 2, 8, 42),
    "versions": (1, 4, 16),
    "departures": (0, 1, 8, 32, 100),
    "uses": (1, 2, 4, 16),
    "items": (1, 8, 64, 600),
}
"""The numbers of a state and the values that they may have, neighbours next to each other."""


@dataclass(frozen=True, slots=True)
class Found:
    """A call on a state: seconds of processor time, and gas."""

    call: str
    state: Mapping[str, int]
    seconds: float
    gas: int

    @property
    def ns_per_gas(self) -> float:
        return self.seconds * 1e9 / self.gas


class _Timed:
    """A native contract that notes what its outermost calls take."""

    def __init__(self, native: NativePrecompile) -> None:
        self._native = native
        self.address = native.address
        self.seconds, self.gas = 0.0, 0

    def __call__(self, computation: ComputationAPI) -> ComputationAPI:
        before, began = computation.get_gas_remaining(), time.thread_time()
        try:
            return self._native(computation)
        finally:
            self.seconds += time.thread_time() - began
            self.gas += before - computation.get_gas_remaining()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)


class States:
    """Makes states on one chain, each in datanets of its own, and measures calls on them."""

    def __init__(self, chain: LocalChain, sender: Sender) -> None:
        self._chain = chain
        self._sender = sender
        self._nonce = chain.store.live_runtime.state().nonce(sender.address)
        self._bound = Bound(None, AttributionContract, b"")  # type: ignore[arg-type]  # it is asked to encode, no more
        natives = dict(chain.store.live_runtime._natives)
        self._timed = natives[ATTRIBUTION_ADDRESS] = _Timed(natives[ATTRIBUTION_ADDRESS])
        self._computation = computation_class(natives, DEFAULT_TIERS.make(), OSAKA)
        self._made = 0
        self._counts = {"datanets": 0, "contributions": 0, "models": 0}

    # ---------------------------------------------------------------- transactions

    def _sign(self, nonce: int, gas: int, name: str, arguments: tuple[Any, ...], value: int) -> Transaction:
        chain_id, data = self._chain.spec.chain_id, self._bound.data(name, *arguments)
        raw = self._sender.sign(chain_id, nonce, ATTRIBUTION_ADDRESS, data=data, gas=gas, value=value)
        return decode_transaction(raw, chain_id=chain_id)

    def _send(self, calls: Iterable[tuple[Any, ...]], gas: int = SETUP_GAS) -> None:
        """Put calls into blocks, in order. Raises RuntimeError if one fails: nothing could be said of such a state."""
        waiting = []
        for name, *arguments in calls:
            waiting.append(self._sign(self._nonce, gas, name, tuple(arguments), 0))
            self._nonce += 1
        while waiting:
            executed = self._chain.build(*waiting[:64])
            if not executed.transactions or not all(receipt.status for receipt in executed.receipts):
                raise RuntimeError(f"a state can't be made: {executed.skipped[:1]}")
            self._chain.store.append(executed, self._chain.commit_for(executed.block))
            waiting = waiting[len(executed.transactions) :]

    def measure(self, state: Mapping[str, int], name: str, *arguments: Any, value: int = 0) -> Found:
        """One call, in a transaction on the tip that is thrown away."""
        store = StateView(self._chain.database)
        header = self._chain.build().header
        tx = self._sign(self._nonce, TRANSACTION_GAS_MAX, name, arguments, value)
        taken, timed = [], self._timed
        for _ in range(REPEATS):
            db = AccountDB(FlatSource(store), stored_root(store))
            block = BlockRun(self._chain.spec, db, self._computation, header, metered=False)
            timed.seconds, timed.gas = 0.0, 0
            block.apply(tx)
            taken.append(timed.seconds)
        gas = timed.gas
        return Found(name, dict(state), statistics.median(taken), gas)

    # ---------------------------------------------------------------- states

    def found(self, state: Mapping[str, int]) -> Iterator[Found]:
        """Make a state, and measure what it may make slow on the way."""
        self._made += 1
        rng = random.Random(self._made)
        span = state["span"]
        tokens = max(span, min(state["tokens"], (CALL_BYTES + 1) // (state["token_bytes"] + 1)))
        if tokens * (state["token_bytes"] + 1) > CALL_BYTES:
            return
        pieces = [_text(rng, tokens, state["token_bytes"]) for _ in range(state["segments"])]
        net = self._datanet(span)
        copies = self._contribute(net, [pieces[0]] * state["copies"])
        self._send(("review", copy, False, 0) for copy in copies)
        [mine] = self._contribute(net, pieces[:1])
        self._send((("appendContent", mine, piece) for piece in pieces[1:]), TRANSACTION_GAS_MAX)
        yield self.measure(state, "review", mine, True, 10_000)
        other = self._datanet(span)
        [later] = self._contribute(other, pieces[-1:])
        last = (mine, state["copies"] + state["segments"] - 1, 0)
        yield self.measure(state, "challengePriority", later, 0, 0, *last)
        self._send([("review", mine, True, 10_000), ("review", later, True, 10_000)], TRANSACTION_GAS_MAX)
        leaving = self._contribute(net, [_text(rng, SMALL_TOKENS, 5) for _ in range(state["departures"])])
        self._send(("review", one, True, 10_000) for one in leaving)
        yield self.measure(state, "publishVersion", net)
        self._send(("publishVersion", net) for _ in range(state["versions"]))
        self._send((("publishVersion", other),))
        yield from self._uses(state, rng, net, leaving, pieces)

    def _uses(
        self, state: Mapping[str, int], rng: random.Random, net: int, leaving: list[int], pieces: list[bytes]
    ) -> Iterator[Found]:
        nets = [net]
        for place in range(1, state["uses"]):
            nets.append(self._datanet(8 + (state["span"] - 8 + place) % 25))
            self._contribute(nets[-1], [_text(rng, SMALL_TOKENS, 5)])
        self._send(("publishVersion", one) for one in nets[1:])
        uses = [(one, 1, 0, 10_000 // len(nets)) for one in nets]
        model = self._model(uses, [])
        self._send(
            (
                ("erase" if place % 2 else "withdrawConsent", one, *(() if place % 2 else (31,)))
                for place, one in enumerate(leaving)
            )
        )
        output = pieces[-1]
        yield self.measure(state, "trace", model, output)
        yield self.measure(state, "infer", (model, 0, ZERO32, 0, output, NONE), value=WEI_PER_OPEN)
        least = b" ".join(output.split()[: state["span"]])
        yield self.measure(state, "trace", model, least)
        few = min(state["items"], 200)
        yield self.measure(state, "inferBatch", [(model, 0, ZERO32, 0, b"a", NONE)] * few, value=few * WEI_PER_OPEN)
        yield from self._arrays(state, uses)

    def _arrays(self, state: Mapping[str, int], uses: list[tuple[int, int, int, int]]) -> Iterator[Found]:
        """Arguments of many items; most are refused, after they were read."""
        count = state["items"]
        model = ("m", ZERO32, 0, bytes(20), 0, 0, 0)
        yield self.measure(state, "registerModel", *model, [(1, 1)] * count, uses)
        yield self.measure(state, "registerModel", *model, [], [(1, 1, 1, 1)] * count)
        yield self.measure(state, "claimPool", [1] * count)
        yield self.measure(state, "inferBatch", [(0, 0, ZERO32, 0, b"", NONE)] * count)

    def _datanet(self, span: int) -> int:
        self._send((("createDatanet", params(min_span=span, review_seconds=REVIEW_SECONDS)),))
        return self._next("datanets")

    def _contribute(self, net: int, contents: Iterable[bytes]) -> list[int]:
        calls = [("contribute", net, content, ZERO32, self._sender.address, ZERO32) for content in contents]
        self._send(calls, CONTRIBUTE_GAS)
        return [self._next("contributions") for _ in calls]

    def _model(self, uses: list[tuple[int, int, int, int]], parents: list[tuple[int, int]]) -> int:
        short = 10_000 - sum(use[3] for use in uses)
        uses = [(*uses[0][:3], uses[0][3] + short), *uses[1:]]
        self._send((("registerModel", "m", ZERO32, 0, bytes(20), 0, 10**6, 0, parents, uses),))
        return self._next("models")

    def _next(self, kind: str) -> int:
        self._counts[kind] += 1
        return self._counts[kind]


def neighbour(state: Mapping[str, int], rng: random.Random) -> dict[str, int]:
    """The state with one or two of its numbers moved to a value nearby."""
    moved = dict(state)
    for name in rng.sample(sorted(KINDS), rng.choice((1, 1, 2))):
        values = KINDS[name]
        place = values.index(state[name]) + rng.choice((-2, -1, 1, 2))
        moved[name] = values[min(max(place, 0), len(values) - 1)]
    return moved


def random_state(rng: random.Random) -> dict[str, int]:
    return {name: rng.choice(values) for name, values in KINDS.items()}


def _text(rng: random.Random, tokens: int, token_bytes: int) -> bytes:
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789"
    return b" ".join(bytes(rng.choices(letters, k=token_bytes)) for _ in range(tokens))

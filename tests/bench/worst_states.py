"""A search for states of the attribution contract in which calls take long for their gas.

A *state* is a few numbers: how many copies of a text came before it and were rejected, how long its tokens and its windows
are, into how many segments it is cut, how many versions, departures and uses there are, how many items arguments have. `States`
makes one on a chain in LevelDB, by transactions as anybody may send them, and measures the calls that it may make slow: gas and
processor time of the native call alone, on a view of the state in which nothing was read before; of some runs the median.

Machines do other work, which slows caches and clock, so a fixed piece of Python is timed beside each call, and the call's time
is divided by how much slower that was than it can be. What was found slowest is made and measured once more at the end, and the
smaller figure counts: else the slowest of hundreds would be the unluckiest.

The search climbs. Each step takes one of the calls in turn, moves a number or two of the state in which that call was slowest
so far, and keeps what is slower; now and then it starts somewhere else. `make bench-worst_states` runs it alone.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from eth.abc import ComputationAPI

from attribution_precompile.contract import AttributionContract
from evm_runtime.block import BlockRun
from evm_runtime.computation import computation_class
from evm_runtime.hardforks import OSAKA, TRANSACTION_GAS_MAX
from evm_runtime.llvm import engine
from evm_runtime.native import NativePrecompile
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.source import FlatSource, stored_root
from evm_runtime.tiers import DEFAULT_TIERS
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.chain_spec import ATTRIBUTION_ADDRESS, BlockParams
from genesis.primitives import WEI_PER_OPEN
from node.storage.view import StateView
from tests.bench.harness import RESULTS, Report
from tests.bench.workload import Sender, funded, senders
from tests.unit.attribution.world import NONE, ZERO32, params
from tests.unit.native.harness import Bound
from tests.unit.node.local_chain import LocalChain, make_spec

SEED: Final = 1
STEPS: Final = 60
RESTART_IN: Final = 6
"""Of so many steps one starts somewhere else."""
REPEATS: Final = 9
CALL_BYTES: Final = 24 * 1024
SMALL_TOKENS: Final = 40
"""Of contributions that are there for their number."""
SETUP_GAS: Final = 3_000_000
REVIEW_SECONDS: Final = 30 * 24 * 3_600
BLOCK_CALLS: Final = 64
BATCH_MAX: Final = 200
AUTHOR, COPIER = 0, 1
KINDS: Final[Mapping[str, tuple[int, ...]]] = {
    "copies": (0, 1, 4, 16, 64, 200),
    "tokens": (8, 32, 100, 400, 1_600, 4_000),
    "token_bytes": (1, 2, 5, 15, 60, 390),
    "span": (8, 12, 16, 24, 32),
    "segments": (1, 2, 8, 42),
    "versions": (1, 4, 16, 64),
    "departures": (0, 1, 8, 32, 100),
    "uses": (1, 2, 4, 16),
    "items": (1, 8, 64, 300),
}
"""The numbers of a state and the values that they may have, neighbours next to each other."""
CORNERS: Final[Sequence[Mapping[str, int]]] = (
    {},
    {"copies": 200, "tokens": 100},
    {"token_bytes": 390, "span": 32, "segments": 42},
    {"tokens": 8, "segments": 42},
    {"departures": 100, "versions": 16},
    {"uses": 16, "tokens": 8},
    {"token_bytes": 60, "span": 32, "uses": 16, "items": 300},
)
"""Where the search begins: what was found slow once."""

State = Mapping[str, int]
Call = tuple[Any, ...]
"""A method's name and its arguments."""


@dataclass(frozen=True, slots=True)
class Found:
    """A call on a state: seconds of processor time, and gas."""

    call: str
    state: State
    seconds: float
    gas: int

    @property
    def ns_per_gas(self) -> float:
        return self.seconds * 1e9 / self.gas


class _Timed:
    """A native contract that notes what its calls take."""

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


@dataclass(slots=True)
class _Made:
    """What one state consists of, as far as it is made."""

    net: int
    copy_net: int
    span: int
    pieces: list[bytes]
    mine: int = 0
    copy: int = 0
    others: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    model: int = 0
    uses: list[tuple[int, int, int, int]] = field(default_factory=list)


class States:
    """Makes states on one chain, each in datanets of its own, and measures calls on them."""

    def __init__(self, chain: LocalChain, people: Sequence[Sender]) -> None:
        self._chain = chain
        self._people = people
        self._nonces = [0] * len(people)
        self._bound = Bound(None, AttributionContract, b"")  # type: ignore[arg-type]  # it is asked to encode, no more
        natives = dict(chain.store.live_runtime._natives)
        self._timed = natives[ATTRIBUTION_ADDRESS] = _Timed(natives[ATTRIBUTION_ADDRESS])
        self._computation = computation_class(natives, DEFAULT_TIERS.make(), OSAKA)
        self._yardstick_s = min(_yardstick() for _ in range(100))
        self._made = 0
        self._counts = {"datanets": 0, "contributions": 0, "models": 0}

    # ---------------------------------------------------------------- transactions

    def _sign(self, who: int, nonce: int, gas: int, call: Call, value: int) -> Transaction:
        chain_id, (name, *arguments) = self._chain.spec.chain_id, call
        data = self._bound.data(name, *arguments)
        raw = self._people[who].sign(chain_id, nonce, ATTRIBUTION_ADDRESS, data=data, gas=gas, value=value)
        return decode_transaction(raw, chain_id=chain_id)

    def _send(self, calls: Iterable[Call], gas: int = SETUP_GAS, who: int = AUTHOR) -> None:
        """Put calls into blocks, in order. Raises RuntimeError if one fails: nothing could be said of such a state."""
        waiting = []
        for call in calls:
            waiting.append(self._sign(who, self._nonces[who], gas, call, 0))
            self._nonces[who] += 1
        while waiting:
            executed = self._chain.build(*waiting[:BLOCK_CALLS])
            if not executed.transactions or not all(receipt.status for receipt in executed.receipts):
                raise RuntimeError(f"a state can't be made: {executed.skipped[:1]}")
            self._chain.store.append(executed, self._chain.commit_for(executed.block))
            waiting = waiting[len(executed.transactions) :]

    def _measure(self, label: str, state: State, call: Call, *, value: int = 0, who: int = AUTHOR) -> Found:
        """One call, in a transaction on the tip that is thrown away."""
        store, header = StateView(self._chain.database), self._chain.build().header
        tx = self._sign(who, self._nonces[who], TRANSACTION_GAS_MAX, call, value)
        taken, timed = [], self._timed
        for _ in range(REPEATS):
            db = AccountDB(FlatSource(store), stored_root(store))
            block = BlockRun(self._chain.spec, db, self._computation, header, metered=False)
            timed.seconds, timed.gas = 0.0, 0
            before = _yardstick()
            block.apply(tx)
            beside = min(before, _yardstick())
            self._yardstick_s = min(self._yardstick_s, beside)
            taken.append(timed.seconds * self._yardstick_s / beside)
        return Found(label, state, statistics.median(taken), timed.gas)

    # ---------------------------------------------------------------- states

    def found(self, state: State) -> Iterator[Found]:
        """Make a state, and measure on the way what it may make slow."""
        self._made += 1
        rng, span = random.Random(self._made), state["span"]
        tokens = max(span, min(state["tokens"], (CALL_BYTES + 1) // (state["token_bytes"] + 1)))
        if tokens * (state["token_bytes"] + 1) > CALL_BYTES:
            return
        pieces = [_text(rng, tokens, state["token_bytes"]) for _ in range(state["segments"])]
        made = _Made(self._datanet(span), self._datanet(span), span, pieces)
        yield from self._reviewed(state, made)
        yield from self._published(state, made, rng)
        yield from self._inferred(state, made, rng)
        yield from self._arrays(state, made)

    def _reviewed(self, state: State, made: _Made) -> Iterator[Found]:
        copies = self._contribute(made.net, made.pieces[:1] * state["copies"])
        self._send(("review", copy, False, 0) for copy in copies)
        [made.mine] = self._contribute(made.net, made.pieces[:1])
        self._send((("appendContent", made.mine, piece) for piece in made.pieces[1:]), TRANSACTION_GAS_MAX)
        yield self._measure("review", state, ("review", made.mine, True, 10_000))
        [made.copy] = self._contribute(made.copy_net, made.pieces[-1:], COPIER)
        self._send([("finalizeContent", made.copy)], TRANSACTION_GAS_MAX, COPIER)
        windows = len(made.pieces[-1].split()) - made.span + 1
        where = (made.mine, state["copies"] + state["segments"] - 1, 0)
        yield self._measure("challengePriority", state, ("challengePriority", made.copy, 0, 0, windows, *where))
        self._send((("review", one, True, 10_000) for one in (made.mine, made.copy)), TRANSACTION_GAS_MAX)

    def _published(self, state: State, made: _Made, rng: random.Random) -> Iterator[Found]:
        """Versions, and those who leave after the first."""
        made.texts = [_text(rng, SMALL_TOKENS, 5) for _ in range(state["departures"])]
        made.others = self._contribute(made.net, made.texts)
        self._send(("review", one, True, 10_000) for one in made.others)
        yield self._measure("publishVersion", state, ("publishVersion", made.net))
        self._send(("publishVersion", made.net) for _ in range(state["versions"]))
        made.uses = [(made.net, 1, 0, 0)]
        for place in range(1, state["uses"]):
            net = self._datanet(8 + (made.span - 8 + place) % 25)
            self._contribute(net, [_text(rng, SMALL_TOKENS, 5)])
            made.uses.append((net, 1, 0, 0))
        self._send(("publishVersion", use[0]) for use in made.uses[1:])
        share = 10_000 // len(made.uses)
        made.uses = [(net, 1, 0, share) for net, *_ in made.uses]
        made.uses[0] = (made.net, 1, 0, 10_000 - share * (len(made.uses) - 1))
        made.model = self._model(made.uses)
        if made.others:
            yield self._measure("erase", state, ("erase", made.others[0]))
            yield self._measure("withdrawConsent", state, ("withdrawConsent", made.others[0], 31))
        self._send(("erase", one) for one in made.others[::3])
        self._send(("withdrawConsent", one, 31) for one in made.others[1::3])

    def _inferred(self, state: State, made: _Made, rng: random.Random) -> Iterator[Found]:
        output, model = made.pieces[-1], made.model
        windows = [
            b" ".join(text.split()[at : at + made.span]) for text in made.texts for at in range(0, 32, made.span)
        ]
        rng.shuffle(windows)
        torn = b" ".join(windows)[:CALL_BYTES] or output
        least = b" ".join(output.split()[: made.span])
        for label, text in (("whole", output), ("torn", torn), ("least", least)):
            yield self._measure(f"trace {label}", state, ("trace", model, text))
            call = (model, 0, ZERO32, 0, text, NONE)
            yield self._measure(f"infer {label}", state, ("infer", call), value=WEI_PER_OPEN)
        few = min(state["items"], BATCH_MAX)
        calls = [(model, 0, ZERO32, 0, b"a", NONE)] * few
        yield self._measure("inferBatch", state, ("inferBatch", calls), value=few * WEI_PER_OPEN)

    def _arrays(self, state: State, made: _Made) -> Iterator[Found]:
        """Arguments of many items, most of which are refused once they were read; and results."""
        count, model = state["items"], ("m", ZERO32, 0, bytes(20), 0, 0, 0)
        calls: dict[str, Call] = {
            "registerModel with parents": ("registerModel", *model, [(1, 1)] * count, made.uses),
            "registerModel with uses": ("registerModel", *model, [], [(1, 1, 1, 1)] * count),
            "registerModel": ("registerModel", *model, [], made.uses),
            "claimPool of one": ("claimPool", [made.mine] * count),
            "claimPool": ("claimPool", [made.mine, made.copy, *made.others]),
            "inferBatch refused": ("inferBatch", [(0, 0, ZERO32, 0, b"", NONE)] * count),
            "trainingSummary": ("trainingSummary", made.model, 0),
            "forgetSet": ("forgetSet", made.model, 0),
            "getDatanet": ("getDatanet", made.net),
        }
        for label, call in calls.items():
            yield self._measure(label, state, call)

    def _datanet(self, span: int) -> int:
        self._send([("createDatanet", params(min_span=span, review_seconds=REVIEW_SECONDS))])
        return self._next("datanets")

    def _contribute(self, net: int, contents: Iterable[bytes], who: int = AUTHOR) -> list[int]:
        payout = self._people[who].address
        calls = [("contribute", net, content, ZERO32, payout, ZERO32) for content in contents]
        self._send(calls, TRANSACTION_GAS_MAX, who)
        return [self._next("contributions") for _ in calls]

    def _model(self, uses: list[tuple[int, int, int, int]]) -> int:
        self._send([("registerModel", "m", ZERO32, 0, bytes(20), 0, 10**6, 0, [], uses)])
        return self._next("models")

    def _next(self, kind: str) -> int:
        self._counts[kind] += 1
        return self._counts[kind]


def search(states: States, rng: random.Random, steps: int) -> dict[str, Found]:
    """The slowest that was found of each call."""
    worst: dict[str, Found] = {}

    def look(state: State) -> None:
        for found in states.found(state):
            if found.call not in worst or found.ns_per_gas > worst[found.call].ns_per_gas:
                worst[found.call] = found

    middle = {name: values[len(values) // 2] for name, values in KINDS.items()}
    for corner in CORNERS:
        look(middle | {"copies": 0, "segments": 1, "versions": 1, "departures": 0, "uses": 1} | corner)
    for step in range(steps):
        calls = sorted(worst)
        slowest = worst[calls[step % len(calls)]].state
        look(_random_state(rng) if rng.randrange(RESTART_IN) == 0 else _neighbour(slowest, rng))
    return worst


def confirmed(states: States, worst: Mapping[str, Found]) -> list[Found]:
    """The same calls measured once more, each on its worst state, made anew; the faster of the two counts."""
    again: dict[str, Found] = {}
    for place in {tuple(found.state.items()) for found in worst.values()}:
        for found in states.found(dict(place)):
            first = worst[found.call]
            if first.state == found.state:
                again[found.call] = min(first, found, key=lambda item: item.ns_per_gas)
    return sorted(again.values(), key=lambda item: -item.ns_per_gas)


def _yardstick() -> float:
    """Seconds of processor time of a bit of Python that does what native methods do: calls, dictionaries, large numbers."""
    began, slots = time.thread_time(), {}
    for place in range(400):
        word = (place * 0x9E3779B97F4A7C15).to_bytes(32, "big")
        slots[word] = int.from_bytes(word, "big") >> 64
    return time.thread_time() - began


def _neighbour(state: State, rng: random.Random) -> State:
    """The state with a number or two moved to values nearby."""
    moved = dict(state)
    for name in rng.sample(sorted(KINDS), rng.choice((1, 1, 2))):
        values = KINDS[name]
        place = values.index(state[name]) + rng.choice((-2, -1, 1, 2))
        moved[name] = values[min(max(place, 0), len(values) - 1)]
    return moved


def _random_state(rng: random.Random) -> State:
    return {name: rng.choice(values) for name, values in KINDS.items()}


def _text(rng: random.Random, tokens: int, token_bytes: int) -> bytes:
    letters = b"abcdefghijklmnopqrstuvwxyz0123456789"
    return b" ".join(bytes(rng.choices(letters, k=token_bytes)) for _ in range(tokens))


def run(report: Report) -> None:
    engine.load()
    people, spec, block = senders(2), make_spec(), BlockParams()
    spec = replace(spec, alloc=(*spec.alloc, *funded(people, 10**6)))
    floor = block.gas_limit / (block.interval_ms / 2 / 1_000) / 1e6
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        chain = LocalChain(Path(folder) / "chain", spec)
        try:
            states = States(chain, people)
            found_again = confirmed(states, search(states, random.Random(SEED), STEPS))
        finally:
            chain.close()
    for found in found_again:
        mgas_s = 1e3 / found.ns_per_gas
        numbers = ", ".join(f"{name} {number}" for name, number in found.state.items())
        note = f"{mgas_s / floor:.1f} x the floor; {found.gas:,} gas in {found.seconds * 1e3:.2f} ms; {numbers}"
        report.add(f"state_{found.call.replace(' ', '_')}_mgas_s", mgas_s, "Mgas/s", note)

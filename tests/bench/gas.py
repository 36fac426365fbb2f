"""What a unit of gas buys: each method of the attribution contract at its largest, in Mgas/s, beside the budget of a block.

A block may take half of its interval to execute: gas_limit / (interval / 2) is the floor. Through the contract's own handlers
on a state that is a dictionary where every slot is warm, so the figures are those of the work that formulas pay for. Each is
the best of some runs in processor time: what is asked is what the work costs, not what else the machine does. (States made to
be slow, read cold from a database, are the search's: `worst_states.py`.)
"""

import random
import time
from collections.abc import Callable
from typing import Any

from attribution_precompile.contract import AttributionContract
from attribution_precompile.declarations import Call, DatanetParams, Method, Opening, Parent, Score, Signed, Use
from attribution_precompile.layout import DISPUTE_COUNT
from attribution_precompile.methods.commitments import ids_commitment_hash
from attribution_precompile.reading.queries import ReaderSlots
from attribution_precompile.rules.merkle import leaf_of, tree
from attribution_precompile.rules.tokens import WORDS_V1, tokenize
from evm_runtime.llvm import engine
from evm_runtime.native import gas as framework
from evm_runtime.native.abi import count_values, decode, encode
from genesis.chain_spec import BlockParams
from genesis.primitives import WEI_PER_OPEN, ZERO_ADDRESS, Hash32, keccak256
from tests.bench.harness import Report
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.world import ZERO32
from tests.unit.native.harness import address

OWNER, GIVER, DEV, USER, OTHER = (address(0x1000 + i) for i in range(5))
REPEATS = 15
VECTORS, DIM = 100_000, 256
CALL_BYTES = 24 * 1024
NOT_SIGNED = Signed(0, 0, b"")


def run(report: Report) -> None:
    engine.load()
    block = BlockParams()
    floor = block.gas_limit / (block.interval_ms / 2 / 1_000) / 1e6
    report.add("floor_mgas_s", floor, "Mgas/s", "gas limit over half a block interval")
    for name, (mgas_s, gas_used, note) in Methods().measured().items():
        report.add(f"{name}_mgas_s", mgas_s, "Mgas/s", f"{mgas_s / floor:.1f} x the floor; {gas_used:,} gas; {note}")


class Methods:
    """A datanet with 300 contributions of 80 tokens, models of every kind on it, and what the largest calls need."""

    def __init__(self) -> None:
        self.rng = random.Random(1)
        self.direct = Direct()
        for who in (OWNER, GIVER, DEV, USER, OTHER):
            self.direct.state.balances[who] = 10**9 * WEI_PER_OPEN
        self.results: dict[str, tuple[float, int, str]] = {}

    def words(self, count: int) -> bytes:
        return " ".join(f"{self.rng.getrandbits(20):x}" for _ in range(count)).encode()

    def measure(self, name: str, note: str, act: Callable[[], Any], *, keep: bool = False) -> None:
        """The best of some runs of one call, each undone but for the last where its effect is needed."""
        state, best = self.direct.state, float("inf")
        for place in range(REPEATS):
            mark = state.mark()
            best = min(best, _processor_seconds(act))
            if not keep or place < REPEATS - 1:
                state.undo(mark)
        self.results[name] = self.direct.gas_used / best / 1e6, self.direct.gas_used, note

    def call(self, who: bytes, name: str, *arguments: Any, value: int = 0) -> Any:
        return self.direct.call(who, name, *arguments, value=value)

    def datanet(self, **changes: Any) -> int:
        terms = DatanetParams("", ZERO32, WORDS_V1, 8, False, True, 31, 0, 0, 10_000, 0, 1_000)
        return int(self.call(OWNER, "createDatanet", terms._replace(**changes)))

    def model(self, kind: Method, uses: tuple[Use, ...], parents: tuple[Parent, ...] = ()) -> int:
        arguments = ("", ZERO32, kind, ZERO_ADDRESS, 0, WEI_PER_OPEN, 0, parents, uses)
        return int(self.call(DEV, "registerModel", *arguments))

    def measured(self) -> dict[str, tuple[float, int, str]]:
        self.arguments()
        self.content()
        self.inference()
        self.vectors()
        self.attested()
        self.disputes()
        return self.results

    def arguments(self) -> None:
        """Reading arguments, and writing what has as many values."""
        model = ("", ZERO32, 0, ZERO_ADDRESS, 0, 0, 0)
        call = (1, 0, ZERO32, 0, b"", (0, 0, b""))
        for name, note, values in (
            ("registerModel", "15,000 parents", (*model, [(1, 1)] * 15_000, [])),
            ("registerModel", "8,000 uses", (*model, [], [(1, 1, 1, 1)] * 8_000)),
            ("inferBatch", "2,500 calls", ([call] * 2_500,)),
            ("claimPool", "uint64[30,000]", (range(30_000),)),
        ):
            types = next(x.inputs for x in AttributionContract.methods.values() if x.signature.name == name)
            data = encode(types, values)
            price = framework.ABI_VALUE * sum(map(count_values, types, values))
            paid = {"read": price + framework.CALLDATA_WORD * framework.words(len(data)), "write": price}
            acts: dict[str, Callable[[], Any]] = {
                "read": lambda types=types, data=data: decode(types, data),
                "write": lambda types=types, values=values: encode(types, values),
            }
            for way, act in acts.items():
                best = min(_processor_seconds(act) for _ in range(REPEATS))
                key = f"{way}_{note.replace(' ', '_').replace(',', '')}"
                self.results[key] = paid[way] / best / 1e6, paid[way], f"arguments of {name}"

    def content(self) -> None:
        net = self.net = self.datanet()
        full = self.words(4_000)[:CALL_BYTES].rsplit(b" ", 1)[0]
        give = (net, full, ZERO32, GIVER, ZERO32)
        self.measure("contribute", "24 KiB of text", lambda: self.call(GIVER, "contribute", *give))
        shortest = b"a b " * (CALL_BYTES // 4)
        give_short = (net, shortest, ZERO32, GIVER, ZERO32)
        self.measure(
            "contribute_short", "24 KiB of tokens of one letter", lambda: self.call(GIVER, "contribute", *give_short)
        )
        self.texts = [self.words(80) for _ in range(300)]
        for text in self.texts:
            self.call(GIVER, "contribute", net, text, ZERO32, address(1_000 + len(text)), ZERO32)
        large = self.call(GIVER, "contribute", *give)
        self.direct.next_block()
        self.measure("review", "accepts 24 KiB", lambda: self.call(OWNER, "review", large, True, 10_000))
        for contribution in range(1, 301):
            self.call(OWNER, "review", contribution, True, 10_000)
        self.measure("publishVersion", "301 contributions", lambda: self.call(OWNER, "publishVersion", net), keep=True)
        self.direct.next_block()
        ids = self.rng.randbytes(CALL_BYTES)
        hidden = self.datanet(commit_only=True, min_span=16)
        committed = (hidden, Hash32(b"\x01" * 32), CALL_BYTES // 16 + 15, ids, GIVER, ZERO32)
        self.measure("contributeCommitted", "1,536 ids", lambda: self.call(GIVER, "contributeCommitted", *committed))

    def inference(self) -> None:
        uses = (Use(self.net, 1, 0, 10_000),)
        span = self.model(Method.SPAN, uses)
        output = b" ".join(self.texts[i] for i in range(40)) + b" " + self.words(400)
        self.call(USER, "trace", span, output)
        self.measure("trace", "3,600 tokens, one use", lambda: self.call(USER, "trace", span, output))
        pieces = [b" ".join(text.split()[i : i + 8]) for text in self.texts for i in range(0, 32, 8)]
        torn = b" ".join(self.rng.sample(pieces, 400))
        self.measure("trace_torn", "3,200 tokens, 400 runs", lambda: self.call(USER, "trace", span, torn))
        least = self.texts[0][: len(b" ".join(self.texts[0].split()[:8]))]
        self.measure("trace_least", "8 tokens, one use", lambda: self.call(USER, "trace", span, least))
        many = self.model(Method.SPAN, self.many_uses(16))
        self.measure("trace_uses", "8 tokens, 16 uses", lambda: self.call(USER, "trace", many, least))
        self.measure("trace_long_uses", "3,600 tokens, 16 uses", lambda: self.call(USER, "trace", many, output))
        call = Call(span, 0, ZERO32, 0, output, NOT_SIGNED)
        self.measure("infer", "the same, 40 paid", lambda: self.call(USER, "infer", call, value=10 * WEI_PER_OPEN))
        short = Call(span, 0, ZERO32, 0, b"one", NOT_SIGNED)
        self.measure(
            "infer_least", "an output of one token", lambda: self.call(USER, "infer", short, value=WEI_PER_OPEN)
        )
        parents: tuple[Parent, ...] = ()
        for _ in range(15):
            parents = (Parent(self.model(Method.POOL, uses, parents), 1),)
        self.measure("registerModel", "15 ancestors", lambda: self.model(Method.POOL, uses, parents))
        deep = Call(self.model(Method.POOL, uses, parents), 0, ZERO32, 0, b"one", NOT_SIGNED)
        self.measure(
            "infer_royalties", "15 ancestors, POOL", lambda: self.call(USER, "infer", deep, value=WEI_PER_OPEN)
        )
        some = tuple(range(1, 101))
        self.measure("claimPool", "100 contributions", lambda: self.call(USER, "claimPool", some))
        self.call(USER, "infer", call, value=10 * WEI_PER_OPEN)
        self.measure("claim", "a balance", lambda: self.call(DEV, "claim", DEV))
        self.measure("createDatanet", "no address", lambda: self.datanet())

    def many_uses(self, count: int) -> tuple[Use, ...]:
        """Uses of as many datanets, each with the same 300 contributions."""
        nets = [self.datanet() for _ in range(count)]
        for net in nets:
            for place, text in enumerate(self.texts):
                given = self.call(GIVER, "contribute", net, text, ZERO32, address(1_000 + place), ZERO32)
                self.direct.next_block()
                self.call(OWNER, "review", given, True, 10_000)
        versions = [self.call(OWNER, "publishVersion", net) for net in nets]
        self.direct.next_block()
        return tuple(Use(net, version, 0, 10_000 // count) for net, version in zip(nets, versions, strict=True))

    def vectors(self) -> None:
        net, left, place = self.datanet(), VECTORS, 0
        per_call = CALL_BYTES // DIM
        chunk = self.rng.randbytes(per_call * DIM)
        one = self.call(GIVER, "contribute", net, self.words(10), ZERO32, GIVER, ZERO32)
        self.measure(
            "commitVectors", f"{per_call} of {DIM}", lambda: self.call(GIVER, "commitVectors", one, DIM, chunk)
        )
        while left > 0:
            if place % 40 == 0:
                one = self.call(GIVER, "contribute", net, self.words(10), ZERO32, GIVER, ZERO32)
            count = min(per_call, left)
            self.call(GIVER, "commitVectors", one, DIM, self.rng.randbytes(count * DIM))
            place, left = place + 1, left - count
        self.direct.next_block()
        for contribution in range(one - (place - 1) // 40, one + 1):
            self.call(OWNER, "review", contribution, True, 1)
        self.call(OWNER, "publishVersion", net)
        self.direct.next_block()
        model = self.model(Method.DOT, (Use(net, 1, 2, 10_000),))
        query = self.rng.randbytes(DIM)
        arguments = (model, 0, ZERO32, 0, 100, query, NOT_SIGNED)
        self.call(USER, "inferVector", *arguments, value=WEI_PER_OPEN)
        note = f"{VECTORS:,} vectors of {DIM}"
        self.measure("inferVector", note, lambda: self.call(USER, "inferVector", *arguments, value=WEI_PER_OPEN))

    def attested(self) -> None:
        model = self.model(Method.ATTESTED, (Use(self.net, 1, 2, 10_000),))
        self.call(DEV, "bond", value=1_000 * WEI_PER_OPEN)
        leaves = [leaf_of(1 + i, 5) for i in range(256)]
        root, proofs = tree(leaves)
        arguments = (model, 0, ZERO32, 0, 100, root, 5 * 256)
        self.measure("inferAttested", "a root", lambda: self.call(DEV, "inferAttested", *arguments, value=WEI_PER_OPEN))
        receipt = self.call(DEV, "inferAttested", *arguments, value=WEI_PER_OPEN)
        other = self.call(DEV, "inferAttested", *arguments, value=WEI_PER_OPEN)
        value = 10 * WEI_PER_OPEN
        self.measure("disputeScores", "", lambda: self.call(USER, "disputeScores", other, ZERO32, value=value))
        self.direct.next_block(4 * 24 * 3_600)
        claim = (receipt, Score(1, 5), tuple(proofs[0]))
        self.measure("claimScored", "a proof of 8 nodes", lambda: self.call(USER, "claimScored", *claim))
        self.direct.next_block(181 * 24 * 3_600)
        self.measure("releaseScores", "", lambda: self.call(USER, "releaseScores", receipt))

    def disputes(self) -> None:
        net = self.datanet()
        text = self.words(4_000)[:CALL_BYTES].rsplit(b" ", 1)[0]
        earlier = self.call(GIVER, "contribute", net, text, ZERO32, GIVER, ZERO32)
        later = self.call(OTHER, "contribute", net, text, ZERO32, OTHER, ZERO32)
        self.call(OTHER, "finalizeContent", later)
        windows = len(text.split()) - 7
        places = (later, 1, 0, windows, earlier, 0, 0)
        self.measure("challengePriority", "two of 24 KiB", lambda: self.call(GIVER, "challengePriority", *places))
        hidden = self.datanet(commit_only=True, min_span=16)
        opening = bytes(32) + self.words(16)
        ids = tokenize(opening[32:], WORDS_V1).window_ids(16)
        root = leaf_of(0, keccak256(opening))
        given = self.call(GIVER, "contributeCommitted", hidden, root, 16, ids, GIVER, ZERO32)
        value = 10 * WEI_PER_OPEN
        self.measure("challengeCommitted", "", lambda: self.call(USER, "challengeCommitted", given, 0, value=value))
        dispute = self.call(USER, "challengeCommitted", given, 0, value=value)
        self.measure("reveal", "a window of 16", lambda: self.call(GIVER, "reveal", dispute, opening, ()))
        self.passages(hidden)

    def passages(self, net: int) -> None:
        """A commit-only contribution of 64 windows that opens three of them, of another of the same."""
        text = self.words(79)
        tokens, ids = text.split(), tokenize(text, WORDS_V1).window_ids(16)
        opened = [bytes(32) + b" ".join(tokens[i : i + 16]) for i in range(64)]
        root, proofs = tree([leaf_of(i, keccak256(opening)) for i, opening in enumerate(opened)])
        salt, value = Hash32(b"\x01" * 32), 10 * WEI_PER_OPEN
        self.call(GIVER, "commit", ids_commitment_hash(GIVER, salt, net, root, GIVER, ids))
        self.direct.next_block()
        first = self.call(GIVER, "contributeCommitted", net, root, 79, ids, GIVER, salt)
        copy = self.call(OTHER, "contributeCommitted", net, root, 79, ids, OTHER, ZERO32)
        places = (copy, 2, 0, first, 1, 0)
        self.measure(
            "announceChallenge",
            "64 ids",
            lambda: self.call(GIVER, "announceChallenge", *places, value=value),
            keep=True,
        )
        dispute = int(DISPUTE_COUNT.get(ReaderSlots(self.direct.state)))
        self.direct.next_block()
        self.direct.next_block()
        wanted = self.call(GIVER, "windowsToOpen", dispute)
        openings = tuple(Opening(opened[i], tuple(proofs[i])) for i in wanted)
        self.measure("openPassage", "three windows of 16", lambda: self.call(GIVER, "openPassage", dispute, openings))


def _processor_seconds(act: Callable[[], Any]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began

"""How fast attribution is over datanets of 10^4 to 10^7 tokens: indexing, tracing, settlement; memory; gas against time.

Through the contract's own handlers on a state that is a dictionary, so the figures are those of attribution, not of storage.
The text is made up: words drawn as unevenly as in real text, a tenth of each contribution copied from an earlier one.

`index_tokens_s` builds an index from nothing, as after a start; `bytes_per_token` is what it then keeps resident, and
`peak_bytes_per_token` the most that building it took meanwhile. `*_gas_margin` is how many times longer a method might take, by
the gas it charges per token, at the rate at which a block of full gas takes half a block interval.

Seconds are of processor time, of one thread: all of this computes and waits for nothing. On an idle machine that is
the time it takes, and on a busy one the figures still mean something.
"""

import ctypes
import gc
import random
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

from attribution_precompile import gas
from attribution_precompile.declarations import Call, DatanetParams, Method, Signed, Use
from attribution_precompile.rules.division import UseTerms, divide
from attribution_precompile.rules.span import Attribution
from evm_runtime.llvm import engine
from genesis.chain_spec import BlockParams
from genesis.primitives import WEI_PER_OPEN, ZERO_ADDRESS, Hash32, Wei
from tests.bench import settlement
from tests.bench.harness import Report
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.world import REVIEW_SECONDS, ZERO32, params
from tests.unit.native.harness import address

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
CONTRIBUTION_TOKENS = 2_000
VOCABULARY = 20_000
OUTPUTS = 20
OUTPUT_TOKENS = 2_000
PASSAGE_TOKENS = 30
PAYEES = 64
OWNER, DEV, USER = address(1), address(2), address(3)
NS_PER_GAS = BlockParams().interval_ms * 1_000_000 / 2 / BlockParams().gas_limit
"""A block of full gas may take half an interval: 8.3 ns per gas by default."""


def run(report: Report) -> None:
    engine.load()
    rng = random.Random(1)
    nets = []  # kept, so that no memory is freed between two measurements of memory
    for size in SIZES:
        nets.append(_Net(rng, size))
        _curve(report, nets[-1], rng)
    net = _Net(rng, 1_000_000, watched=True)
    _settlement(report, net, rng)
    _gas(report, net, rng)
    figures = {figure.key: figure for figure in report.figures}
    for key in ("index_tokens_s", "trace_tokens_s", "bytes_per_token", "peak_bytes_per_token"):
        figure = figures[f"{key}_1e7"]
        report.add(key, figure.value, figure.unit, "the largest datanet")
    settlement.run(report)


class _Net:
    """A datanet with one published version and a model on it; the span index is empty, or has watched from the beginning."""

    def __init__(self, rng: random.Random, size: int, *, watched: bool = False) -> None:
        self.size = size
        self.direct = Direct()
        self.direct.state.set_balance(USER, 10**9 * WEI_PER_OPEN)
        self.datanet = self.direct.call(OWNER, "createDatanet", DatanetParams(*params()))
        words = [f"{rng.choice('abcdefghijklmnop')}{place:x}" for place in range(VOCABULARY)]
        weights = list(accumulate(1 / (place + 10) for place in range(VOCABULARY)))
        self.texts: list[list[str]] = []
        while len(self.texts) * CONTRIBUTION_TOKENS < size:
            text = rng.choices(words, cum_weights=weights, k=CONTRIBUTION_TOKENS)
            if self.texts:
                source = rng.choice(self.texts)
                text[: CONTRIBUTION_TOKENS // 10] = source[-CONTRIBUTION_TOKENS // 10 :]
            self.texts.append(text)
        self.tokens = sum(map(len, self.texts))
        contents = [" ".join(text).encode() for text in self.texts]
        self.bytes_per_token = sum(map(len, contents)) / self.tokens
        self.contribute_s = seconds(lambda: [self._contribute(content) for content in contents])
        self.direct.next_block(REVIEW_SECONDS + 1)
        self.wait_s = self.warm() if watched else 0.0
        self.version = self.direct.call(OWNER, "publishVersion", self.datanet)
        self.direct.next_block()
        self.settle_s = self.warm() if watched else 0.0
        use = Use(self.datanet, self.version, 0, 10_000)
        arguments = ("ipfs://model", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, WEI_PER_OPEN, 0, (), (use,))
        self.model = self.direct.call(DEV, "registerModel", *arguments)
        self.direct.next_block()

    def _contribute(self, content: bytes) -> None:
        payout = address(1_000)
        self.direct.call(payout, "contribute", self.datanet, content, ZERO32, payout, ZERO32)

    def warm(self) -> float:
        """Ingest and merge all there is, as the node does after a block or a start. Returns seconds."""
        index, tip = self.direct.contract.index, self.direct.state.finals.tip()

        def work() -> None:
            while index.warm(tip, self.datanet):
                while index.maintain():
                    pass

        return seconds(work)

    def output(self, rng: random.Random, sources: int = 0) -> bytes:
        """Half of it passages of contributions, half words that nobody contributed."""
        found: list[str] = []
        places = rng.sample(range(len(self.texts)), sources) if sources else []
        while len(found) < OUTPUT_TOKENS:
            text = self.texts[places.pop()] if places else rng.choice(self.texts)
            start = rng.randrange(CONTRIBUTION_TOKENS // 5, CONTRIBUTION_TOKENS * 4 // 5)
            found += text[start : start + PASSAGE_TOKENS]
            found += [f"new{rng.getrandbits(24):x}" for _ in range(1 if sources else PASSAGE_TOKENS)]
        return " ".join(found[:OUTPUT_TOKENS]).encode()

    def trace(self, output: bytes) -> int:
        _, tokens, unmatched = self.direct.call(USER, "trace", self.model, output)
        return tokens - unmatched

    def infer(self, output: bytes) -> None:
        call = Call(self.model, 0, Hash32(ZERO32), 0, output, Signed(0, 0, b""))
        self.direct.call(USER, "infer", call, value=10 * WEI_PER_OPEN)


def _curve(report: Report, net: _Net, rng: random.Random) -> None:
    """One point of the curve over the datanet's size."""
    suffix = f"_1e{len(str(net.size)) - 1}"
    before = _resident_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    index_s = net.warm()
    peak = _memory("VmHWM")
    used = _resident_bytes() - before
    outputs = [net.output(rng) for _ in range(OUTPUTS)]
    trace_s = median_s(lambda: [net.trace(output) for output in outputs])
    report.add(f"index_tokens_s{suffix}", net.tokens / index_s, "tokens/s", f"datanet of {net.tokens:,} tokens")
    report.add(f"trace_tokens_s{suffix}", OUTPUTS * OUTPUT_TOKENS / trace_s, "tokens/s", "text to scores")
    report.add(f"bytes_per_token{suffix}", used / net.tokens, "B", "resident memory of the index")
    report.add(f"peak_bytes_per_token{suffix}", (peak - before) / net.tokens, "B", "at most, while it was built")


def _settlement(report: Report, net: _Net, rng: random.Random) -> None:
    """What paying costs on top of tracing, per payee: `divide` alone, and all of it (receipt, credits, events)."""
    outputs = [net.output(rng, PAYEES) for _ in range(OUTPUTS)]
    traced_s = median_s(lambda: [net.trace(output) for output in outputs])
    paid_s = median_s(lambda: [net.infer(output) for output in outputs])
    report.add(
        "settlement_us_per_payee", (paid_s - traced_s) / OUTPUTS / PAYEES * 1e6, "us", "infer less trace, per payee"
    )
    scores = tuple((contribution, 40) for contribution in range(1, PAYEES + 1))
    found = Attribution(OUTPUT_TOKENS * 2, scores)
    terms = [UseTerms(10_000, 0, 10_000)]
    use_of = dict.fromkeys(range(1, PAYEES + 1), 0)
    divide_s = median_s(lambda: [divide(Wei(10**18), found, terms, use_of, PAYEES) for _ in range(200)])
    report.add("divide_us_per_payee", divide_s / 200 / PAYEES * 1e6, "us", f"the arithmetic alone, {PAYEES} payees")


def _gas(report: Report, net: _Net, rng: random.Random) -> None:
    """Time per token of the methods that are paid by the token, with the index work that their payer causes later."""
    index_ns = (net.wait_s + net.settle_s) / net.tokens * 1e9
    contribute_ns = net.contribute_s / net.tokens * 1e9 + index_ns
    content_gas = gas.content_gas(1) * net.bytes_per_token + gas.index_gas(1, 0)
    report.add("contribute_ns_per_token", contribute_ns, "ns", "the call, waiting, settling, merging")
    report.add("contribute_gas_margin", content_gas * NS_PER_GAS / contribute_ns, "x", f"{content_gas:.0f} gas a token")
    append_s, appended = _append(net)
    append_ns = append_s / appended * 1e9 + index_ns
    report.add("append_ns_per_token", append_ns, "ns", "the same for appendContent")
    report.add("append_gas_margin", content_gas * NS_PER_GAS / append_ns, "x")
    review_s = median_s(lambda: [_count(net, contribution) for contribution in range(1, 11)])
    review_ns = review_s / 10 / CONTRIBUTION_TOKENS * 1e9
    report.add("review_ns_per_token", review_ns, "ns", "counting owned windows")
    report.add("review_gas_margin", gas.REVIEW_TOKEN * NS_PER_GAS / review_ns, "x")
    for tokens in (16, 200, OUTPUT_TOKENS):
        outputs = [b" ".join(net.output(rng).split()[:tokens]) for _ in range(OUTPUTS)]
        charged = sum(gas.output_gas(len(output)) + gas.trace_gas(tokens, 1) for output in outputs)
        trace_s = median_s(lambda outputs=outputs: [net.trace(output) for output in outputs])
        infer_s = median_s(lambda outputs=outputs: [net.infer(output) for output in outputs])
        report.add(
            f"trace_ns_per_token_{tokens}", trace_s / OUTPUTS / tokens * 1e9, "ns", f"outputs of {tokens} tokens"
        )
        report.add(
            f"trace_gas_margin_{tokens}", charged * NS_PER_GAS / 1e9 / trace_s, "x", "without calldata and storage"
        )
        report.add(f"infer_ns_per_token_{tokens}", infer_s / OUTPUTS / tokens * 1e9, "ns", "traced and paid")


def _append(net: _Net) -> tuple[float, int]:
    """Seconds and tokens of appending to a contribution."""
    payout = address(1_000)
    pieces = [" ".join(text).encode() for text in net.texts[:10]]
    given = net.direct.call(payout, "contribute", net.datanet, pieces[0], ZERO32, payout, ZERO32)
    taken = seconds(lambda: [net.direct.call(payout, "appendContent", given, piece) for piece in pieces])
    net.direct.next_block()
    net.warm()
    return taken, len(pieces) * CONTRIBUTION_TOKENS


def _count(net: _Net, contribution: int) -> None:
    net.direct.view().owned_windows(contribution)


def seconds(function: Callable[[], object]) -> float:
    """The processor time of one call."""
    began = time.process_time()
    function()
    return time.process_time() - began


def median_s(function: Callable[[], object], repeats: int = 5) -> float:
    return statistics.median(seconds(function) for _ in range(repeats))


def _resident_bytes() -> int:
    """What is in use: memory that was freed is given back first, or an index might move into it uncounted, or keep it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _memory("VmRSS")


def _memory(what: str) -> int:
    """VmRSS or VmHWM (its peak) of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1_024
    raise OSError(f"/proc/self/status has no {what}")

"""How fast attribution is over datanets of 10^4, 10^5 and 10^6 tokens: indexing, tracing, settlement; and the index's memory.

Through the contract's own handlers on a state that is a dictionary, so the figures are those of attribution, not of storage.
The text is made up: words drawn as unevenly as in real text, a tenth of each contribution copied from an earlier one.
"""

import gc
import os
import random
from itertools import accumulate
from pathlib import Path

from attribution_precompile.declarations import Call, DatanetParams, Method, Signed, Use
from attribution_precompile.settlement import UseTerms, divide
from attribution_precompile.span import Attribution
from evm_runtime.native import PlainSlots
from genesis.chain_spec import ATTRIBUTION_ADDRESS
from genesis.primitives import WEI_PER_OPEN, ZERO_ADDRESS, Hash32, Wei
from tests.bench import settlement
from tests.bench.harness import Report, median_s, seconds
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.world import REVIEW_SECONDS, ZERO32, params
from tests.unit.native.harness import address

SIZES = (10_000, 100_000, 1_000_000)
CONTRIBUTION_TOKENS = 2_000
VOCABULARY = 20_000
OUTPUTS = 20
OUTPUT_TOKENS = 2_000
PASSAGE_TOKENS = 30
PAYEES = 64
OWNER, DEV, USER = address(1), address(2), address(3)


def run(report: Report) -> None:
    rng = random.Random(1)
    nets = [_Net(rng, size) for size in SIZES]
    kept = []  # so that no memory is freed between two measurements of memory
    for net in nets:
        size, suffix = net.tokens, f"_1e{len(str(net.size)) - 1}"
        gc.collect()
        before = _resident_bytes()
        index_s = seconds(net.warm)
        gc.collect()
        used = _resident_bytes() - before
        kept.append(net)
        outputs = [net.output(rng) for _ in range(OUTPUTS)]
        trace_s = median_s(lambda net=net, outputs=outputs: [net.trace(output) for output in outputs])
        report.add(f"index_tokens_s{suffix}", size / index_s, "tokens/s", f"datanet of {size:,} tokens")
        report.add(f"trace_tokens_s{suffix}", OUTPUTS * OUTPUT_TOKENS / trace_s, "tokens/s", "text to scores")
        report.add(f"bytes_per_token{suffix}", used / size, "B", "resident memory of the index")
    largest = {figure.key: figure for figure in report.figures}
    for key in ("index_tokens_s", "trace_tokens_s", "bytes_per_token"):
        figure = largest[f"{key}_1e6"]
        report.add(key, figure.value, figure.unit, "the largest of the three")
    _settlement(report, nets[-1], rng)
    settlement.run(report)


class _Net:
    """A datanet with one published version and a model on it; the span index is empty."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.size = size
        self.direct = Direct()
        self.texts: list[list[str]] = []
        self.direct.state.set_balance(USER, 10**9 * WEI_PER_OPEN)
        datanet_params = DatanetParams(*params())
        self.datanet = self.direct.call(OWNER, "createDatanet", datanet_params)
        words = [f"{rng.choice('abcdefghijklmnop')}{place:x}" for place in range(VOCABULARY)]
        weights = list(accumulate(1 / (place + 10) for place in range(VOCABULARY)))
        while len(self.texts) * CONTRIBUTION_TOKENS < size:
            text = rng.choices(words, cum_weights=weights, k=CONTRIBUTION_TOKENS)
            if self.texts:
                source = rng.choice(self.texts)
                text[: CONTRIBUTION_TOKENS // 10] = source[-CONTRIBUTION_TOKENS // 10 :]
            self.texts.append(text)
            payout = address(1_000 + len(self.texts))
            self.direct.call(payout, "contribute", self.datanet, " ".join(text).encode(), ZERO32, payout, ZERO32)
        self.tokens = sum(map(len, self.texts))
        self.direct.next_block(REVIEW_SECONDS + 1)
        self.version = self.direct.call(OWNER, "publishVersion", self.datanet)
        self.direct.next_block()
        use = Use(self.datanet, self.version, 0, 10_000)
        arguments = ("ipfs://model", ZERO32, Method.SPAN, ZERO_ADDRESS, 0, WEI_PER_OPEN, 0, (), (use,))
        self.model = self.direct.call(DEV, "registerModel", *arguments)
        self.direct.next_block()

    def warm(self) -> None:
        """Build the index of the whole datanet."""
        state = self.direct.state
        slots = PlainSlots(state, ATTRIBUTION_ADDRESS)
        self.direct.contract.index.warm(slots, state, self.datanet, state.block_number)

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


def _settlement(report: Report, net: _Net, rng: random.Random) -> None:
    """What paying costs on top of tracing, per payee: `divide` alone, and all of it (receipt, credits, events)."""
    outputs = [net.output(rng, PAYEES) for _ in range(OUTPUTS)]
    traced_s = median_s(lambda: [net.trace(output) for output in outputs])
    paid_s = median_s(lambda: [net.infer(output) for output in outputs])
    report.add(
        "settlement_us_per_payee", (paid_s - traced_s) / OUTPUTS / PAYEES * 1e6, "us", "infer less trace, per payee"
    )
    scores = tuple((contribution, 40) for contribution in range(1, PAYEES + 1))
    found = Attribution(OUTPUT_TOKENS * 2, (), scores)
    terms = [UseTerms(1, 10_000, 0, 10_000)]
    datanet_of = dict.fromkeys(range(1, PAYEES + 1), 1)
    divide_s = median_s(lambda: [divide(Wei(10**18), found, terms, datanet_of, PAYEES) for _ in range(200)])
    report.add("divide_us_per_payee", divide_s / 200 / PAYEES * 1e6, "us", f"the arithmetic alone, {PAYEES} payees")


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

"""Consensus: how soon a transaction is final on a devnet, how long agreement takes, and what it costs with more validators.

The devnet is four validator processes on loopback that share this machine with the client. `consensus_*` is what the proposers
measured themselves, from the built block to its commit. The simulated networks run the real rules, log and signer on simulated
links of 20 to 150 ms (each message draws its own), full mesh, empty blocks of 1 transaction; signatures cost nothing there.
"""

import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from consensus.messages import encode_message
from genesis.codec import encode
from genesis.types import Block
from tests.bench.devnet import Client, measure_finality
from tests.bench.harness import RESULTS, Report, percentile
from tests.bench.workload import Sender
from tests.e2e.devnet_process import DevnetProcess
from tests.sim.cluster import Cluster
from tests.sim.keys import toy_signatures
from tests.sim.node import Message, SimNode
from tests.sim.plan import Plan

EMPTY_BLOCKS = 12
SIZES = (4, 7, 16, 32, 64, 100)
LINK_MS = (20, 150)
_DECIDED = re.compile(r"height (\d+) round (\d+) precommit: decided ([0-9.]+) ms after the proposal")
_OWN = re.compile(r"height (\d+) round (\d+) propose: own proposal")


def run(report: Report) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
        devnet = DevnetProcess(Path(folder) / "devnet", extra=("--log.level", "debug")).start()
        try:
            _devnet(report, devnet)
        finally:
            devnet.stop()
    for size in SIZES:
        _simulated(report, size)


def _devnet(report: Report, devnet: DevnetProcess) -> None:
    client = Client(devnet.url(0))
    first = int(client.call("eth_blockNumber"), 16)
    while int(client.call("eth_blockNumber"), 16) < first + EMPTY_BLOCKS:
        time.sleep(0.5)
    took_ms = [ms for height, ms in _decisions(devnet) if height > first]
    report.add("consensus_p50_ms", percentile(took_ms, 50), "ms", f"built to commit, {len(took_ms)} empty blocks")
    report.add("consensus_p99_ms", percentile(took_ms, 99), "ms", "the slowest of them")
    account = Sender(bytes.fromhex(devnet.info["accounts"][9]["private_key"][2:]))
    before = int(client.call("eth_blockNumber"), 16)
    measure_finality(report, client, account, int(devnet.info["chain_id"]))
    report.add(
        "block_interval_ms", _interval_ms(client, before), "ms", "consensus time between blocks with a transaction"
    )
    client.close()


def _decisions(devnet: DevnetProcess) -> list[tuple[int, float]]:
    """(height, ms) of the heights that were decided in the round of their proposer, as the proposer saw it."""
    found = []
    for node in devnet.info["nodes"]:
        text = (Path(node["datadir"]) / "node.log").read_text(errors="replace")
        own = {match.groups() for match in _OWN.finditer(text)}
        decided = (match.groups() for match in _DECIDED.finditer(text))
        found += [(int(height), float(ms)) for height, round_, ms in decided if (height, round_) in own]
    return found


def _interval_ms(client: Client, before: int) -> float:
    """The median time to a block with a transaction from the one before it."""
    tip = int(client.call("eth_blockNumber"), 16)
    times = {}
    for height in range(before, tip + 1):
        times[height] = int(client.call("open_consensusData", hex(height))["timeMs"], 16)
    full = [
        height
        for height in range(before + 1, tip + 1)
        if client.call("eth_getBlockByNumber", hex(height), False)["transactions"]
    ]
    return percentile([times[height] - times[height - 1] for height in full], 50)


# ---------------------------------------------------------------- many validators


class CountingCluster(Cluster):
    """A cluster that counts what goes over its wires."""

    def __init__(self, seed: int, plan: Plan) -> None:
        super().__init__(seed, plan)
        self.messages: Counter[str] = Counter()
        self.bytes = 0
        self._sizes: dict[int, tuple[Message, int]] = {}

    def _carry(self, node: SimNode, peer: SimNode, message: Message) -> None:
        self.messages[type(message).__name__] += 1
        self.bytes += self._size(message)
        super()._carry(node, peer, message)

    def _size(self, message: Message) -> int:
        known = self._sizes.get(id(message))
        if known is None or known[0] is not message:
            size = len(encode(message) if isinstance(message, Block) else encode_message(message))
            known = self._sizes[id(message)] = (message, size)
        return known[1]


def _simulated(report: Report, size: int) -> None:
    heights = 6 if size <= 16 else 2
    cluster = CountingCluster(1, Plan(powers=(10,) * size, heights=heights, delay_ms=LINK_MS))
    with toy_signatures():
        elapsed_ms = cluster.run()
    per_node = heights * size
    votes = cluster.messages["Vote"] + cluster.messages["Proposal"] + cluster.messages["Block"]
    report.add(f"sim_{size}_height_ms", elapsed_ms / heights, "ms", "simulated, a height, the block interval included")
    report.add(f"sim_{size}_rounds", cluster.monitor.max_round + 1, "rounds", "the most that a height took")
    report.add(f"sim_{size}_messages", sum(cluster.messages.values()) / per_node, "messages", "sent by a node a height")
    report.add(f"sim_{size}_votes", votes / per_node, "messages", "of them votes, proposals and blocks")
    report.add(f"sim_{size}_kib", cluster.bytes / per_node / 1024, "KiB", "sent by a node a height")

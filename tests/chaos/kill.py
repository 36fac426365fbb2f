"""kill -9 in a circle: validators die and come back while transactions flow, and nothing that was final may be lost.

A cycle kills one validator (sometimes two, sometimes all, sometimes the same one again in the first moments after its
start) and brings it back. Then there must be no fork, every acknowledged receipt must be the same on every node, all heights
must grow, who came back must sign again, and no node may have ended by itself.
"""

import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.load import Load
from tests.chaos.network import VALIDATORS, ChaosError, Network, call, call_all, height

COLD_SHARE = 0.1
FAILURES_MAX = 5
RECEIPTS_SAMPLED = 30
HEIGHTS_SAMPLED = 20
DOUBLE_SIGN_WORDS = ("equivocat", "signed twice", "double sign")


@dataclass(frozen=True)
class Plan:
    """What one cycle does, from its seed alone."""

    victims: tuple[int, ...]
    before_s: float
    down_s: float
    again_s: tuple[float, ...]
    """Kill the first victim again, each time this long after its start."""
    cold: bool

    @staticmethod
    def of(seed: str) -> "Plan":
        rng = random.Random(seed)
        kind = rng.choices(["one", "two", "early", "all"], [55, 15, 18, 12])[0]
        count = {"one": 1, "early": 1, "two": 2, "all": VALIDATORS}[kind]
        again = tuple(rng.uniform(0, 1.2) for _ in range(rng.randint(1, 3))) if kind == "early" else ()
        victims = tuple(rng.sample(range(VALIDATORS), count))
        return Plan(
            victims, rng.uniform(0, 1.0), rng.choice([0, rng.uniform(0, 1.5)]), again, rng.random() < COLD_SHARE
        )

    def __str__(self) -> str:
        again = f", again after {', '.join(f'{s:.2f}' for s in self.again_s)} s" if self.again_s else ""
        who = " ".join(map(str, self.victims))
        return f"kill {who} after {self.before_s:.2f} s, down {self.down_s:.2f} s{again}{', cold' if self.cold else ''}"


@dataclass
class Checks:
    """What was seen so far, held against what the nodes say now."""

    network: Network
    load: Load
    hashes: dict[int, str] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)

    def all(self, rng: random.Random, *, full: bool = False) -> None:
        self.network.check_alive()
        self.load.check()
        self._forks(rng, full)
        self._receipts(rng, full)
        for node in self.network.nodes:
            log = self.network.devnet.nodes[node].log.read_text(errors="replace").lower()
            if any(word in log for word in DOUBLE_SIGN_WORDS):
                raise ChaosError(f"node {node} logs a double signature")

    def _forks(self, rng: random.Random, full: bool) -> None:
        network = self.network
        common = min(height(network.url(node)) for node in network.nodes)
        known = sorted(self.hashes)
        fresh = [number for number in range(common + 1) if number not in self.hashes]
        old = known if full else rng.sample(known, min(len(known), HEIGHTS_SAMPLED))
        numbers = [*old, *fresh]
        for node in network.nodes:
            blocks = call_all(network.url(node), "eth_getBlockByNumber", [(hex(number), False) for number in numbers])
            for number, block in zip(numbers, blocks, strict=True):
                if block is None:
                    raise ChaosError(f"node {node} has lost block {number}")
                if self.hashes.setdefault(number, block["hash"]) != block["hash"]:
                    raise ChaosError(
                        f"fork at {number}: node {node} has {block['hash']}, it was {self.hashes[number]} before"
                    )

    def _receipts(self, rng: random.Random, full: bool) -> None:
        seen, tip = self.load.seen(), min(height(self.network.url(node)) for node in self.network.nodes)
        old = sorted(self.checked)
        wanted = {name for name in seen if name not in self.checked and int(seen[name]["blockNumber"], 16) <= tip}
        wanted |= set(old if full else rng.sample(old, min(len(old), RECEIPTS_SAMPLED)))
        names = sorted(wanted)
        for node in self.network.nodes:
            receipts = call_all(self.network.url(node), "eth_getTransactionReceipt", [(name,) for name in names])
            for name, receipt in zip(names, receipts, strict=True):
                if receipt != seen[name]:
                    raise ChaosError(f"acknowledged {seen[name]}, but node {node} has {receipt}")
        self.checked |= wanted


def run_cycle(network: Network, checks: Checks, plan: Plan, rng: random.Random) -> None:
    time.sleep(plan.before_s)
    before = {node: height(network.url(node)) for node in network.nodes}
    for victim in plan.victims:
        network.kill(victim)
    left = [node for node in network.nodes if node not in plan.victims]
    if len(left) == VALIDATORS - 1 and plan.down_s:
        goal = height(network.url(left[0])) + 1
        network.wait("a block by the other three", lambda: height(network.url(left[0])) > goal)
    time.sleep(plan.down_s)
    for victim in plan.victims:
        network.start(victim, cold=plan.cold and victim == plan.victims[0])
    for moment in plan.again_s:
        time.sleep(moment)
        network.kill(plan.victims[0])
        network.start(plan.victims[0])
    for victim in plan.victims:
        tip = network.wait("an answer after the restart", lambda node=victim: height(network.url(node)) + 1) - 1
        if tip < before[victim]:
            raise ChaosError(f"node {victim} went back from final block {before[victim]} to {tip}")
    goal = max(height(network.url(node)) for node in network.nodes) + 2
    network.wait(
        f"height {goal} on all nodes", lambda: all(height(network.url(node)) >= goal for node in network.nodes)
    )
    for victim in plan.victims:
        _wait_signature(network, victim, goal - 1)
    checks.all(rng)


def _wait_signature(network: Network, node: int, first: int) -> None:
    """Wait until a commit of `first` or above holds the node's signature."""
    members = call(network.url(node), "open_validators", "0x0")["validators"]
    ours = "0x" + network.devnet.nodes[node].validator.hex()
    place = [member["address"].lower() for member in members].index(ours)
    after = first

    def signed() -> bool:
        nonlocal after
        while after < height(network.url(node)):
            commit = call(network.url(node), "open_commit", hex(after))
            after += 1
            if commit["signatures"][place] is not None:
                return True
        return False

    network.wait(f"a signature of restarted node {node} from height {first} on", signed)


def run(cycles: int, seed: int, folder: Path | None = None) -> int:
    """Returns the exit code. On failure the data directory is kept, and a new network takes the rest of the cycles."""
    print(f"kill: {cycles} cycles, seed {seed}", flush=True)
    done = passed = failed = acknowledged = blocks = 0
    while done < cycles and failed < FAILURES_MAX:
        home = Path(tempfile.mkdtemp(prefix="openledger-kill-", dir=folder))
        ok = True
        try:
            with Network(home / "devnet") as network:
                network.start_all()
                load = Load(network, f"{seed}/{done}", accounts=4, pause_s=0.2)
                load.prepare_model()
                load.start()
                checks = Checks(network, load)
                try:
                    while done < cycles:
                        done, ok = done + 1, False
                        plan = Plan.of(f"{seed}/{done}")
                        print(f"cycle {done}: {plan}", end="", flush=True)
                        began = time.monotonic()
                        run_cycle(network, checks, plan, random.Random(f"{seed}/{done}/checks"))
                        print(f": {time.monotonic() - began:.1f} s", flush=True)
                        passed, ok = passed + 1, True
                    load.stop()
                    ok = False
                    checks.all(random.Random(seed), full=True)
                    ok = True
                finally:
                    load.stop()
                    acknowledged, blocks = acknowledged + len(load.acknowledged), blocks + len(checks.hashes)
        except (ChaosError, OSError, ValueError) as error:
            print(f"\nFAILED in cycle {done} (seed {seed}; data kept in {home}): {error}", flush=True)
            passed, failed = (passed - 1 if ok else passed), failed + 1
        if ok:
            shutil.rmtree(home)
    print(f"{acknowledged} acknowledged transactions, {blocks} blocks compared on {VALIDATORS} nodes")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or passed < cycles else 0

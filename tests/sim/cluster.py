"""A whole network on one heap: the real consensus code on simulated time, wires, disks and crashes. One seed decides all."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

from tests.sim.byzantine import BEHAVIOURS, Behaviour
from tests.sim.disk import Crash
from tests.sim.keys import Keys
from tests.sim.ledger import Ledger
from tests.sim.monitor import Monitor, Violation
from tests.sim.node import Message, SimNode
from tests.sim.plan import TWIN, Plan
from tests.sim.trace import Trace, words
from tests.unit.consensus.support import GENESIS_TIME_MS

CLOSE_SKEW_MS = 100
SETTLE_MS = 8_000
"""After healing: crashed nodes boot, what was under way arrives."""


class Cluster:
    """Runs a plan from a seed; `run` raises Violation, or returns the simulated time."""

    gossip_ms = 400

    def __init__(self, seed: int, plan: Plan, *, show: bool = False) -> None:
        self.seed, self.plan = seed, plan
        self.rng = random.Random(seed)
        self.trace = Trace(show=show)
        self.now = GENESIS_TIME_MS
        self.heap: list[tuple[int, int, Callable[[], None]]] = []
        self.count = 0
        self.crash_points: Counter[str] = Counter()
        self.lies = 0
        """What cheats said, did not say, or proposed otherwise than the honest would have."""
        self.keys = Keys(len(plan.powers) + plan.spare, real=plan.real_keys)
        self.ledger = Ledger(plan, self.keys.addresses, self.rng)
        self.monitor = Monitor(plan)
        self.blocked: set[tuple[str, str]] = set()
        """Directed pairs of names between which nothing passes."""
        self.nodes = list(self._make_nodes())
        self.by_name = {node.name: node for node in self.nodes}
        self.honest = [node for node in self.nodes if node.honest]

    def _make_nodes(self) -> list[SimNode]:
        nodes = []
        for key in range(len(self.keys.addresses)):
            name = self.plan.byzantine[key] if key < len(self.plan.byzantine) else None
            behaviour = BEHAVIOURS[name]() if name else Behaviour()
            nodes.append(SimNode(self, f"v{key}", key, behaviour))
            if name == TWIN:
                nodes.append(SimNode(self, f"v{key}-twin", key, BEHAVIOURS[name]()))
        nodes += [SimNode(self, f"follower{i}", None, Behaviour()) for i in range(self.plan.followers)]
        return nodes

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.plan}"

    # ------------------------------------------------------------ time

    def run(self) -> int:
        """Until every honest node has the plan's heights."""
        try:
            self._begin()
            while not all(len(node.chain) >= self.plan.heights for node in self.honest):
                if not self.heap or self.elapsed > self.plan.limit_ms:
                    raise Violation(f"no decision in time, at {[place_of(node) for node in self.nodes]}")
                self.now, _, action = heapq.heappop(self.heap)
                action()
        except Violation as violation:
            raise Violation(f"{self}: {violation}") from violation
        return self.elapsed

    def _begin(self) -> None:
        skew = self.plan.skew_ms if self.plan.heal_ms else min(self.plan.skew_ms, CLOSE_SKEW_MS)
        for node in self.nodes:
            node.skew_ms = self.rng.randint(-skew, skew)
            self.at(self.rng.randint(0, 50), node.boot)
        if self.plan.heal_ms:
            self.at(self.rng.randint(0, 2_000), self._nemesis)
            self.at(self.plan.heal_ms, self._heal)
        self.at(self.plan.heal_ms + SETTLE_MS, self.monitor.settle)

    @property
    def elapsed(self) -> int:
        return self.now - GENESIS_TIME_MS

    @property
    def faulty(self) -> bool:
        return self.elapsed < self.plan.heal_ms

    def at(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + max(delay_ms, 0), self.count, action))

    # ------------------------------------------------------------ faults

    def hazard(self, where: str) -> None:
        """A boundary of some process: it may die here."""
        if self.plan.hazard and self.faulty and self.rng.random() < self.plan.hazard:
            self.crash_points[where] += 1
            raise Crash(where)

    def _nemesis(self) -> None:
        if not self.faulty:
            return
        self.blocked = set()
        if self.plan.partitions and self.rng.random() < 0.6:
            self._partition()
        if self.rng.random() < self.plan.crashes:
            node = self.rng.choice(self.nodes)
            if node.driver is not None:
                node.crash("killed")
        self.at(self.rng.randint(200, 4_000), self._nemesis)

    def _partition(self) -> None:
        """Two sides that don't hear each other; or one of them hears the other still."""
        sides = {node.name: self.rng.randint(0, 1) for node in self.nodes}
        deaf = {(0, 1), (1, 0)}
        if self.plan.one_way and self.rng.random() < 0.4:
            deaf = {(0, 1)}
        self.blocked = {(a, b) for a in sides for b in sides if (sides[a], sides[b]) in deaf}
        self.trace.note(self.elapsed, "network", f"is cut {sorted(deaf)}: {''.join(map(str, sides.values()))}")

    def _heal(self) -> None:
        self.blocked = set()
        for node in self.nodes:
            node.skew_ms = self.rng.randint(-CLOSE_SKEW_MS, CLOSE_SKEW_MS)
        self.trace.note(self.elapsed, "network", "heals")

    def execution_ms(self) -> int:
        slow = self.faulty and self.rng.random() < 0.1
        return self.rng.randint(1, self.plan.execution_ms if slow else 60)

    # ------------------------------------------------------------ wires

    def send_all(self, node: SimNode, message: Message) -> None:
        for peer in self.nodes:
            if peer is not node:
                self.send(node, peer, message)

    def send(self, node: SimNode, peer: SimNode, message: Message) -> None:
        """What the node says to this peer is up to its behaviour."""
        if node.honest:
            self._carry(node, peer, message)
            return
        said = tuple(node.behaviour.say(node, peer, message))
        self.lies += said != (message,)
        for item in said:
            self.inject(node, peer, item)

    def inject(self, node: SimNode, peer: SimNode, message: Message) -> None:
        """Something that a cheat made up."""
        self.monitor.heard(message)
        self._carry(node, peer, message)

    def _carry(self, node: SimNode, peer: SimNode, message: Message) -> None:
        copies, slow = 1, 1
        if self.faulty:
            if (node.name, peer.name) in self.blocked or self.rng.random() < self.plan.loss:
                return
            copies += self.rng.random() < self.plan.duplicate
            slow = 30 if self.rng.random() < self.plan.slow else 1
        for _ in range(copies):
            self.at(self.rng.randint(*self.plan.delay_ms) * slow, partial(self._deliver, node, peer, message))

    def _deliver(self, sender: SimNode, node: SimNode, message: Message) -> None:
        self.trace.note(self.elapsed, node.name, f"<- {sender.name}: {words(message)}")
        node.receive(sender, message)


def place_of(node: SimNode) -> str:
    """Where a node stands, for a failure's message."""
    if node.driver is None:
        return f"{node.name}: down after {len(node.chain)}"
    state = node.driver.state
    place = f"{state.height}/{state.round}/{state.step.name}"
    return f"{node.name}: {place} lock {state.locked_round} valid {state.valid_round}"

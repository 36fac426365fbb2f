"""What the node measures, for Prometheus, and the small server that it is scraped from.

Names follow CometBFT's where it has the same thing. Everything is updated on the event loop.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from consensus.messages import Step
from consensus.observer import VoteIgnored, missing_power
from genesis.errors import LocalError
from genesis.primitives import NO_ROUND, Address, Height, Round
from genesis.types import Commit, Evidence, ValidatorSet, Vote
from node.home.config import host_port
from node.interfaces import NodeStatus, StoredBlock
from node.mempool.service import MempoolService
from node.os_errors import explain
from node.telemetry.clock_watch import ClockWatch
from node.telemetry.duty import Duty
from node.telemetry.readiness import Readiness
from p2p.accepting import accept_forever

logger = logging.getLogger(__name__)

REFUSAL_REPEATED_S: Final = 30.0
REQUEST_BYTES_MAX: Final = 8 * 1024
REQUEST_TIMEOUT_S: Final = 5.0
CONNECTIONS_MAX: Final = 16
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0)

_SHORT_SECONDS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class NodeMetrics:
    """Implements consensus' Observer; the application's blocks come in through `block`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._height = Gauge("openledger_consensus_height", "Height of the last final block", registry=self.registry)
        self._round = Gauge("openledger_consensus_round", "Round of the height being decided", registry=self.registry)
        self._rounds = Counter("openledger_consensus_rounds", "Rounds entered beyond round 0", registry=self.registry)
        self._step_seconds = Histogram(
            "openledger_consensus_step_duration_seconds",
            "Time spent in a step",
            ["step"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._interval = Histogram(
            "openledger_consensus_block_interval_seconds",
            "Consensus time between blocks",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._missing = Gauge(
            "openledger_consensus_missing_validators_power", "Power absent from the last commit", registry=self.registry
        )
        self._equivocations = Counter(
            "openledger_consensus_equivocations", "Conflicting signatures seen", registry=self.registry
        )
        self._refused = Counter(
            "openledger_consensus_signing_refused", "Signatures that the signer refused", registry=self.registry
        )
        self._to_polka = Histogram(
            "openledger_consensus_quorum_prevote_delay_seconds",
            "From a proposal to more than 2/3 of prevotes for it",
            registry=self.registry,
            buckets=_SHORT_SECONDS,
        )
        self._to_commit = Histogram(
            "openledger_consensus_quorum_precommit_delay_seconds",
            "From a proposal to more than 2/3 of precommits for it, the block held and valid",
            registry=self.registry,
            buckets=_SHORT_SECONDS,
        )
        self._timeouts = Counter(
            "openledger_consensus_timeouts", "Steps that ended by their timer", ["step"], registry=self.registry
        )
        self._ignored = Counter(
            "openledger_consensus_votes_ignored", "Votes that told nothing new", ["why"], registry=self.registry
        )
        self._clocks = ClockWatch(self.registry)
        self._proposed: tuple[Height, Round, float] | None = None
        self._transactions = Counter("openledger_transactions", "Transactions in final blocks", registry=self.registry)
        self._gas = Counter("openledger_gas_used", "Gas used by final blocks", registry=self.registry)
        self._size = Gauge("openledger_block_size_bytes", "Size of the last final block", registry=self.registry)
        self._base_fee = Gauge("openledger_base_fee_wei", "Base fee of the last final block", registry=self.registry)
        self._step: tuple[Step, float] | None = None
        self._where = (Height(0), NO_ROUND, Step.NEW)
        self._last_time_ms: int | None = None
        self._status: NodeStatus | None = None
        self._readiness: Readiness | None = None
        self._duty: Duty | None = None
        self._refusal = ("", -math.inf)

    def watch(
        self,
        status: NodeStatus,
        mempool: MempoolService,
        readiness: Readiness | None = None,
        duty: Duty | None = None,
    ) -> None:
        """Gauges that are read when the node is scraped, and what `/ready` goes by."""
        self._status, self._readiness, self._duty = status, readiness, duty
        self._gauge("openledger_p2p_peers", "Connected peers", status.peer_count)
        self._gauge("openledger_mempool_pending", "Executable transactions", lambda: mempool.stats().pending)
        self._gauge("openledger_mempool_queued", "Transactions behind a nonce gap", lambda: mempool.stats().queued)
        self._gauge("openledger_syncing", "1 while blocks are synced", lambda: int(status.syncing() is not None))

    def unready(self) -> str | None:
        """Why this node should not be asked now; None if it is ready."""
        status = self._status
        if status is None:
            return "the node starts"
        if self._duty is not None and self._duty.trouble:
            return self._duty.trouble
        if (progress := status.syncing()) is not None:
            return f"at block {progress.current} of {progress.highest}"
        if not status.listening():
            return "not on the network yet"
        return None if self._readiness is None else self._readiness.reason()

    def last_commit(self, commit: Commit, validators: ValidatorSet) -> None:
        """Who signed the parent, as the newest block says, late ones too: what rewards and downtime go by."""
        self._missing.set(missing_power(commit, validators))

    def block(self, stored: StoredBlock) -> None:
        """A block is final."""
        self._height.set(stored.height)
        self._transactions.inc(len(stored.transactions))
        self._gas.inc(stored.header.gas_used)
        self._size.set(stored.size)
        self._base_fee.set(stored.header.base_fee_per_gas)
        if self._last_time_ms is not None:
            self._interval.observe((stored.time_ms - self._last_time_ms) / 1000)
        self._last_time_ms = stored.time_ms

    def page(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    # ------------------------------------------------------------ Observer

    def step_entered(self, height: Height, round_: Round, step: Step) -> None:
        self._where = (height, round_, step)
        now = time.monotonic()
        if self._step is not None:
            before, since = self._step
            if before is step:
                return
            self._step_seconds.labels(before.name.lower()).observe(now - since)
        self._step = (step, now)
        if round_ > 0 and step is Step.PROPOSE:
            self._rounds.inc()
        self._round.set(max(round_, 0))

    def proposal_taken(self, height: Height, round_: Round, *, own: bool) -> None:
        self._proposed = (height, round_, time.monotonic())
        logger.debug("height %d round %d propose: %s proposal", height, round_, "own" if own else "a")

    def proposal_timed(self, height: Height, round_: Round, proposer: Address, *, ahead_ms: int, timely: bool) -> None:
        self._clocks.proposal(height, round_, proposer, ahead_ms, timely=timely)

    def time_ahead(self, height: Height, ahead_ms: int) -> None:
        self._clocks.waiting(height, ahead_ms)

    def polka_seen(self, height: Height, round_: Round) -> None:
        since_s = self._since_proposal(height, round_)
        if since_s is not None:
            self._to_polka.observe(since_s)

    def timed_out(self, height: Height, round_: Round, step: Step) -> None:
        self._timeouts.labels(step.name.lower()).inc()
        logger.info("height %d round %d %s: timed out", height, round_, step.name.lower())

    def vote_ignored(self, why: VoteIgnored) -> None:
        self._ignored.labels(why.value).inc()

    def decided(self, commit: Commit, validators: ValidatorSet) -> None:
        since_s = self._since_proposal(commit.height, commit.round)
        if since_s is not None:
            self._to_commit.observe(since_s)
            logger.debug(
                "height %d round %d precommit: decided %.1f ms after the proposal",
                commit.height,
                commit.round,
                since_s * 1_000,
            )

    def _since_proposal(self, height: Height, round_: Round) -> float | None:
        """Seconds since the last proposal, if that was of this round."""
        if self._proposed is None or self._proposed[:2] != (height, round_):
            return None
        return time.monotonic() - self._proposed[2]

    def equivocation(self, evidence: Evidence) -> None:
        first = evidence.first
        what = first.kind.name.lower() if isinstance(first, Vote) else "propose"
        logger.warning(
            "height %d round %d %s: 0x%s signed two different things, blocks %s and %s",
            evidence.height,
            first.round,
            what,
            evidence.offender.hex(),
            first.block_hash.hex(),
            evidence.second.block_hash.hex(),
        )
        self._equivocations.inc()
        if self._duty is not None:
            self._duty.accused(evidence)

    def signing_refused(self, reason: str) -> None:
        """A reason is logged again after a while only: it may hold for every vote of every height."""
        self._refused.inc()
        now_s = time.monotonic()
        if self._refusal[0] == reason and now_s - self._refusal[1] < REFUSAL_REPEATED_S:
            return
        self._refusal = reason, now_s
        height, round_, step = self._where
        logger.warning("height %d round %d %s: not signed: %s", height, round_, step.name.lower(), reason)

    def signing_stopped(self, reason: str) -> None:
        if self._duty is not None:
            self._duty.stopped(reason)

    def _gauge(self, name: str, documentation: str, read: Callable[[], int]) -> None:
        Gauge(name, documentation, registry=self.registry).set_function(read)


def _answer(metrics: NodeMetrics, request: bytes) -> bytes:
    """The whole HTTP answer to one request."""
    words = request.partition(b"\r\n")[0].split(b" ")
    method, path = words[0], words[1].partition(b"?")[0] if len(words) == 3 else b""
    status, kind, body = "200 OK", "text/plain", b"ok\n"
    if len(words) != 3:
        status, body = "400 Bad Request", b"malformed request\n"
    elif method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b"only GET is served here\n"
    elif path == b"/metrics":
        kind, body = CONTENT_TYPE_LATEST, metrics.page()
    elif path == b"/ready":
        reason = metrics.unready()
        if reason is not None:
            status, body = "503 Service Unavailable", f"not ready: {reason}\n".encode()
    elif path != b"/health":
        status, body = "404 Not Found", b"there are /metrics, /health and /ready\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)


async def serve_metrics(
    metrics: NodeMetrics,
    hosts: Sequence[str],
    port: int,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer `/metrics`, `/health` (200 while the node runs) and `/ready` (200, or 503 with the reason why this node should not
    be asked now). Raises LocalError if the port is taken.
    """

    async def answer(stream: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(REQUEST_TIMEOUT_S):
                request = b""
                while b"\r\n\r\n" not in request and len(request) < REQUEST_BYTES_MAX:
                    data = await stream.receive_some(REQUEST_BYTES_MAX)
                    if not data:
                        return
                    request += data
                await stream.send_all(_answer(metrics, request))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    listeners: list[trio.SocketListener] = []
    try:
        for host in hosts:
            listeners += await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise LocalError(f"metrics cannot listen on {host_port(host, port)}: {explain(error)}") from None
    task_status.started()
    await accept_forever(listeners, answer, places=CONNECTIONS_MAX, what="metrics")
